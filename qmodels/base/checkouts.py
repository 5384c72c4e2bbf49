"""Find another state of the code under test.

It may be another revision, the same code in another environment, or both. Only the command
`qmodels serve` of that environment is used; see ``base.protocol``.
"""

import os
import shutil
import sys
import tarfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from qmodels import __version__
from qmodels.base.protocol import PROTOCOL, Hello, connect
from qmodels.system import checkout, packages, sources, store
from qmodels.system.checkout import Checkout
from qmodels.system.errors import UserError
from qmodels.system.repository import GitError, git
from qmodels.system.worker import StartError


@dataclass(frozen=True)
class Base:
    """Another state of the code under test.

    Attributes:
        code: the folder that corresponds to ``root``, and the Python that runs it.
        root: of the code under test: the folder of a user's repository, or that of qmodels.
        commit: that its files are of; None where some of them are not committed.
    """

    code: Checkout
    root: Path
    commit: str | None
    hello: Hello

    def counterpart(self, path: Path) -> Path:
        """Where the base has what lies here at a path."""
        return Path(os.path.normpath(self.code.root / os.path.relpath(path, self.root)))


def find(name: str | None, python: str | None, root: Path, module: str) -> Base:
    """The base that a folder or a git revision names, and the Python that is to run it.

    Args:
        name: None for the code under test itself.
        python: a command. By default that of the folder's own tox environment where it has one,
            else this Python.
        root: of the code under test.
        module: that gives the network.

    Raises:
        UserError: there is no such code or no such Python, or it does not speak this code's
            protocol.
    """
    root = root.resolve()
    top = _top_of(root)
    folder, commit = _locate(name, root, top)
    command = _interpreter(folder, python)
    code = Checkout(folder, command, _import_paths(folder, command, root, top))
    remedy = "name a later commit, or leave out --qmodels-base"
    if python is not None:
        remedy = f"install {packages.DISTRIBUTION} {__version__} for {python}"
    try:
        base = Base(code, root, commit, hello(code, module))
    except StartError:
        raise
    except UserError as error:
        raise UserError(
            f"base {name or python} can't be asked by protocol {PROTOCOL} ({error}): {remedy}"
        ) from None
    here = Path(packages.file_of(module) or "")
    # An environment may lie in the folder too.
    is_of_repository = here.is_relative_to(top) and sources.INSTALLED.isdisjoint(here.parts)
    if is_of_repository and base.hello.file != str(base.counterpart(here).resolve()):
        raise UserError(
            f"base {name or python} has no {base.counterpart(here)}, and its Python finds module "
            f"{module} {f'at {base.hello.file}' if base.hello.file else 'nowhere'}: {remedy}"
        )
    return base


def _locate(name: str | None, root: Path, top: Path) -> tuple[Path, str | None]:
    """The folder that a base has for ``root``, and the commit that its files are of."""
    if name is None or Path(name).is_dir():
        folder = root if name is None else Path(name).resolve()
        return folder, _commit_of(folder)
    try:
        commit = git("rev-parse", "--verify", "--end-of-options", f"{name}^{{commit}}", folder=root)
    except GitError as error:
        raise UserError(
            f"base {name!r} is neither a folder nor a commit ({error}): "
            "name one, as in --qmodels-base origin/main"
        ) from None
    sha = commit.decode().strip()
    folder = _revision(sha, top) / root.relative_to(top)
    if not folder.is_dir():
        raise UserError(f"base {name} has no folder {root.relative_to(top)}: name a later commit")
    return folder, sha


def _revision(sha: str, top: Path) -> Path:
    """A folder with all files of a commit, from the cache where it was made before."""

    def write(folder: Path) -> None:
        file = folder / ".revision.tar"
        git("archive", "--format=tar", f"--output={file}", sha, folder=top)
        with tarfile.open(file) as archive:
            # Python 3.11.3 and before, as in Debian 12, have no filters.
            archive.extraction_filter = getattr(tarfile, "data_filter", None)
            archive.extractall(folder)
        file.unlink()

    return store.get_or_build(
        "checkout", {"commit": sha, "files": "all"}, write, root=store.cache_dir("checkouts")
    )


def _top_of(root: Path) -> Path:
    """The top of the repository that a folder is in; the folder itself where it is in none."""
    try:
        return Path(git("rev-parse", "--show-toplevel", folder=root).decode().rstrip("\n"))
    except UserError:
        return root


def _commit_of(folder: Path) -> str | None:
    try:
        if git("status", "--porcelain", folder=folder):
            return None
        return git("rev-parse", "HEAD", folder=folder).decode().strip()
    except UserError:
        return None


def _interpreter(folder: Path, python: str | None) -> Path:
    if python is None:
        own = folder / ".tox" / "benches" / "bin" / "python"
        # Of a link that leads nowhere, the folder's environment is to be made again.
        return own if own.exists() or own.is_symlink() else Path(sys.executable)
    command = shutil.which(python)
    if command is None:
        raise UserError(
            f"--qmodels-base-python {python} is no command that can be run: name the Python of "
            "an environment that has pytest-qmodels"
        )
    return Path(command).absolute()


def _import_paths(folder: Path, python: Path, root: Path, top: Path) -> tuple[str, ...]:
    """The folders that a base imports from: those of this process, where the base has them.

    Of those outside the repository, another Python gets what PYTHONPATH names.
    """
    paths = [str(folder)]
    for path in checkout.here().paths:
        if Path(path).resolve().is_relative_to(top):
            paths.append(os.path.normpath(folder / os.path.relpath(Path(path).resolve(), root)))
        elif python == Path(sys.executable) or path in checkout.python_path():
            paths.append(path)
    return tuple(dict.fromkeys(paths))


@cache
def hello(code: Checkout, module: str) -> Hello:
    """The answer of a base to a hello; it is asked once.

    Raises:
        UserError: it does not speak this code's protocol.
    """
    with connect(code, module=module) as (_, greeting):
        return greeting
