"""Files that survive being killed: atomic writes and locks.

Files are written under a temporary name beside their destination and renamed: a reader sees the
old file or the new one, never half of one.
"""

import errno
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock
from safetensors import SafetensorError

from qmodels.system.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

# A disk with fewer free bytes is full.
FULL = 2**18
# What the system says of a disk, a quota and a limit of file sizes that are reached.
_FULL_TEXTS = tuple(os.strerror(code) for code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG))


@contextmanager
def atomic_write(path: Path, mode: int = 0o666) -> Iterator[Path]:
    """A temporary name to write to; renamed to ``path`` when the block ends without an error.

    Of a link, the file that it names is replaced. A device or a pipe is written to as it is. What
    can't be replaced, as a file that is mounted into a container, gets the contents.

    Args:
        mode: of a new file, from which the umask takes bits away. An old one keeps its own.

    Raises:
        UserError: the disk is full, or the folder can't be written.
    """
    try:
        if path.is_char_device() or path.is_fifo():  # as /dev/stdout, which is to stay what it is
            yield path
            return
        target = Path(os.path.realpath(path))
        scratch = _scratch_file(target, mode)
        try:
            # Some writers make a file of their own.
            mode = (target if target.exists() else scratch).stat().st_mode
            yield scratch
            scratch.chmod(stat.S_IMODE(mode))
            replace(target, scratch)
        finally:
            scratch.unlink(missing_ok=True)
    except OSError as error:
        raise _unwritable(path, error.strerror) from None
    except SafetensorError as error:  # what safetensors raises for an OSError
        raise _unwritable(path, str(error)) from None


def may_write(path: Path) -> bool:
    """Whether a file can be made or replaced, with the folders above it that are missing.

    Of a link, the file that it names.
    """
    target = Path(os.path.realpath(path))
    folder = next(folder for folder in target.parents if os.access(folder, os.F_OK))
    may_make = os.access(folder, os.W_OK | os.X_OK)
    return not target.is_dir() and (may_make or os.access(target, os.W_OK))


def _scratch_file(target: Path, mode: int) -> Path:
    """A new file beside another one; elsewhere, where only the other one can be written."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        scratch = scratch_name(target.parent, target.name)
        scratch.touch(mode, exist_ok=False)
    except OSError:
        if not target.is_file() or not os.access(target, os.W_OK):
            raise
        scratch = scratch_name(Path(tempfile.gettempdir()), target.name)
        scratch.touch(0o600, exist_ok=False)
    return scratch


def scratch_name(folder: Path, name: str) -> Path:
    """A hidden name that nothing in a folder has.

    Not by ``tempfile``, which makes what only its owner may read.
    """
    return folder / f".{name}.{secrets.token_hex(4)}"


def replace(target: Path, scratch: Path) -> None:
    """Put a new file in the place of another one.

    Raises:
        OSError: it can't be written.
    """
    if scratch.parent == target.parent:
        try:
            scratch.replace(target)
            return
        except OSError as error:
            if error.errno != errno.EBUSY:  # a mount point
                raise
    shutil.copyfile(scratch, target)


def shown(path: Path) -> str:
    """A path as people type it: relative where it lies below the working directory."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def write_text(path: Path, text: str) -> None:
    """Write a whole text file atomically."""
    with atomic_write(path) as scratch:
        scratch.write_text(text, encoding="utf-8")


def read_safetensors(path: Path) -> tuple[dict[str, "Tensor"], dict[str, str]]:
    """The tensors of a safetensors file by name, and its metadata.

    Raises:
        SafetensorError: the file is damaged.
    """
    from safetensors import safe_open  # of torch tensors, which not every process needs

    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return tensors, file.metadata()


def named_folder(variable: str) -> Path | None:
    """The folder that a variable names, absolute; None where it is not set.

    ``~`` is the home directory, which no shell puts in where a file or a service sets variables.

    Raises:
        UserError: it is no text, or there is no home directory.
    """
    value = os.environ.get(variable, "").strip("\r\n")
    if not value:
        return None
    try:
        value.encode()
        return Path(value).expanduser().absolute()
    except (UnicodeError, RuntimeError) as error:
        raise UserError(f"{variable}={value!a} names no folder ({error}): set it anew") from None


def append_line(path: Path, line: str) -> None:
    """Add a line to a text file."""
    try:
        with path.open("a", encoding="utf-8") as stream:
            stream.write(line + "\n")
    except OSError as error:
        raise _unwritable(path, error.strerror) from None


def _unwritable(path: Path, reason: str | None) -> UserError:
    return UserError(f"{path} can't be written ({reason}): free the disk or choose another folder")


def is_full(folder: Path, reason: str) -> bool:
    """Whether the disk of a folder is full. Not every writer's error has the system's reason."""
    return any(text in reason for text in _FULL_TEXTS) or shutil.disk_usage(folder).free < FULL


@contextmanager
def lock(path: Path) -> Iterator[None]:
    """A lock on ``path`` between processes; the system frees it when its holder dies."""
    file = path.with_name(f".{path.name}.lock")
    try:
        with suppress(FileExistsError):
            file.touch(exist_ok=False)  # FileLock's own would keep out others of the same group
        held = FileLock(file)
        held.acquire()
    except OSError as error:
        raise _unwritable(file, error.strerror) from None
    try:
        yield
    finally:
        held.release()
