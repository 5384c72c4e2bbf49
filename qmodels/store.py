"""Files that survive being killed: atomic writes, locks, digests, and the content-addressed cache.

Everything qmodels writes goes to a temporary name beside its destination and is renamed, so that a
reader sees the old file or the new one and never half of one. Artifacts live in folders named by a
digest of everything they were made from, with a manifest of their own digests that is checked on
every load.
"""

import hashlib
import json
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import platformdirs
from filelock import FileLock
from safetensors import SafetensorError

from qmodels.errors import UserError

MANIFEST = "manifest.json"
# Of manifests. Folders of another format have other names, so that nobody reads them.
FORMAT = 1


def cache_dir(*parts: str) -> Path:
    """The cache directory, or a folder in it, created where it is missing.

    ``QMODELS_CACHE_DIR`` overrides the platform's user cache directory.

    Raises:
        UserError: the folder can't be created or written.
    """
    configured = os.environ.get("QMODELS_CACHE_DIR")
    root = Path(configured) if configured else platformdirs.user_cache_path("qmodels")
    folder = root.joinpath(*parts)
    remedy = "set QMODELS_CACHE_DIR to a folder that can be written"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"cache directory {folder} can't be made ({error.strerror}): {remedy}"
        ) from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UserError(f"cache directory {folder} can't be written: {remedy}")
    return folder


def digest_bytes(data: bytes) -> str:
    """SHA-256 of some bytes, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def digest_file(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def digest_value(value: Mapping[str, Any]) -> str:
    """SHA-256 of a JSON value, independent of the order of its keys."""
    return digest_bytes(json.dumps(value, sort_keys=True).encode())


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name to write to; renamed to ``path`` when the block ends without an error.

    Raises:
        UserError: the disk is full, or the folder can't be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        os.close(descriptor)
    except OSError as error:
        raise unwritable(path, error.strerror) from None
    scratch = Path(name)
    try:
        yield scratch
        # mkstemp makes files private; a cache or a baseline is as readable as any other file.
        scratch.chmod(0o644)
        scratch.replace(path)
    except OSError as error:
        raise unwritable(path, error.strerror) from None
    except SafetensorError as error:  # how safetensors reports what the system said
        raise unwritable(path, str(error)) from None
    finally:
        scratch.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a whole text file atomically."""
    with replacing(path) as scratch:
        scratch.write_text(text, encoding="utf-8")


def append_line(path: Path, line: str) -> None:
    """Add a line to a text file.

    Raises:
        UserError: the disk is full, or the file can't be written.
    """
    try:
        with path.open("a", encoding="utf-8") as stream:
            stream.write(line + "\n")
    except OSError as error:
        raise unwritable(path, error.strerror) from None


def unwritable(path: Path, reason: str | None) -> UserError:
    """The line for a file that can't be written."""
    return UserError(f"{path} can't be written ({reason}): free the disk or choose another folder")


def lock(path: Path) -> FileLock:
    """A lock between processes that guards ``path``; it is freed when its holder dies."""
    return FileLock(path.with_name(f".{path.name}.lock"))


def build_folder(
    name: str, inputs: Mapping[str, Any], build: Callable[[Path], None], *, root: Path | None = None
) -> Path:
    """The folder that ``build`` fills, made once for each distinct ``inputs``.

    Args:
        name: readable first part of the folder's name.
        inputs: JSON value of everything the result depends on; its digest, with the format of
            manifests, names the folder.
        build: writes the folder's files into the empty scratch folder it is given.
        root: where such folders live; the cache's ``artifacts`` by default.

    Two processes asking for the same folder wait for one build. A folder whose files no longer
    match their digests is built again, with a warning.
    """
    root = root or cache_dir("artifacts")
    key = digest_value({"format": FORMAT, "inputs": inputs})
    folder = root / f"{name}-{key[:16]}"
    with lock(folder):
        if folder.exists():
            damage = damaged_file(folder)
            if damage is None:
                return folder
            warnings.warn(f"{damage} is damaged: building {name} again", stacklevel=2)
            shutil.rmtree(folder)
        # Whoever held the lock before and was killed left its scratch folder behind.
        for leftover in root.glob(f".{folder.name}.build-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{folder.name}.build-", dir=root))
        try:
            build(scratch)
            files = {
                str(path.relative_to(scratch)): digest_file(path)
                for path in sorted(scratch.rglob("*"))
                if path.is_file()
            }
            manifest = {"format": FORMAT, "inputs": inputs, "files": files}
            write_text(scratch / MANIFEST, json.dumps(manifest, indent=2))
            scratch.rename(folder)
        except OSError as error:
            raise UserError(
                f"{folder} can't be written ({error.strerror}): "
                "free the disk or set QMODELS_CACHE_DIR"
            ) from None
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    return folder


def damaged_file(folder: Path) -> Path | None:
    """The first file of a built folder that is missing or differs from its digest, if any.

    A manifest of another format is taken for damaged.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        if manifest["format"] != FORMAT:
            return folder / MANIFEST
        files: dict[str, str] = manifest["files"]
        for name, digest in files.items():
            if digest_file(folder / name) != digest:
                return folder / name
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return folder / MANIFEST
    return None
