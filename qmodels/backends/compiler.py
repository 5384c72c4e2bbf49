"""The C++ compiler that torch's compiler calls, and the folder where it works."""

import os
import platform
import shlex
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from torch.export import ExportedProgram

from qmodels.backends import weight_layout
from qmodels.system import files, store
from qmodels.system.errors import UserError, first_line

# Without freezing, weights stay arguments, nothing is packed, and int8 patterns run in float.
# Precompiled headers take 275 MB of the temporary directory, and only pay off in a process that
# compiles many packages.
_OPTIONS: Mapping[str, Any] = {"freezing": True, "aot_inductor.precompile_headers": False}
# What the system says of programs and libraries in a folder of a mount without execution.
_NOEXEC = ("Permission denied", "failed to map segment")
# Folders for temporary files, where TMPDIR names one that Inductor can't take.
TEMPORARY = ("/tmp", "/var/tmp")


def path() -> str | None:
    """The C++ compiler that Inductor would call, if there is one."""
    named = os.environ.get("CXX", "")
    programs = (shutil.which(name) for name in (named, "g++", "clang++"))
    return next((program for program in programs if program), None)


def compile_program(program: ExportedProgram, package: Path, scratch: Path) -> None:
    """Compile a graph into a package."""
    from torch._inductor import aoti_compile_and_package

    weight_layout.register()
    options = {**_OPTIONS, "cpp.cxx": (None, str(wrapped_compiler(scratch)))}
    try:
        with torch.no_grad():
            aoti_compile_and_package(program, package_path=str(package), inductor_configs=options)
    except (RuntimeError, OSError) as error:
        remedy = "install a C++ compiler that works, as with apt-get install g++"
        if may_not_run(error):
            remedy = f"no program may run in {scratch}: set QMODELS_CACHE_DIR"
        if files.is_full(scratch, str(error)):
            remedy = "free the disk or set QMODELS_CACHE_DIR"
        raise UserError(
            f"torch could not compile the model ({first_line(error)}): {remedy}"
        ) from None


def may_not_run(error: Exception) -> bool:
    """Whether the reason is a mount without execution."""
    return any(text in str(error) for text in _NOEXEC)


@contextmanager
def scratch_dir() -> Iterator[Path]:
    """Where Inductor keeps sources, objects and precompiled headers while the block lasts."""
    before = os.environ.get(store.INDUCTOR_CACHE)
    with ExitStack() as stack:
        folder = store.cache_dir("inductor")
        if _has_space(folder):
            elsewhere = tempfile.TemporaryDirectory(dir=_dir_without_spaces())
            folder = Path(stack.enter_context(elsewhere))
        os.environ[store.INDUCTOR_CACHE] = str(folder)
        try:
            yield folder
        finally:
            if before is None:
                del os.environ[store.INDUCTOR_CACHE]
            else:
                os.environ[store.INDUCTOR_CACHE] = before


def _dir_without_spaces() -> str:
    """A folder for temporary files of Inductor, which splits the compiler's command at spaces."""
    preferred = tempfile.gettempdir()
    for folder in (preferred, *TEMPORARY):
        if not _has_space(folder) and os.access(folder, os.W_OK | os.X_OK):
            return folder
    raise UserError(f"torch can't compile in {preferred}: set TMPDIR to a folder without spaces")


def _has_space(path: str | Path) -> bool:
    return len(str(path).split()) > 1


def wrapped_compiler(scratch: Path) -> Path:
    """A script that calls the compiler, so that machine code names no path of this machine.

    Its own path is always the same in a folder, because Inductor's cache is keyed by it.
    """
    options = ["-g0"]
    if platform.system() == "Linux":
        options.append("-s")  # no symbol but those that are called
    for folder in (Path(torch.__file__).parents[1], scratch):
        options.append(f"-ffile-prefix-map={folder}=.")
    script = f'#!/bin/sh\nexec {shlex.quote(path() or "c++")} "$@" {shlex.join(options)}\n'
    wrapper = scratch / f"c++-{store.digest_bytes(script.encode())[:12]}"
    if not wrapper.exists():
        with files.atomic_write(wrapper, mode=0o777) as written:
            written.write_text(script)
    return wrapper
