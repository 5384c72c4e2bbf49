"""The code of a process: a folder, a Python, and the folders that it imports from."""

import os
import site
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from qmodels.system import files

# Variables that name a folder.
_FOLDERS = ("QMODELS_CACHE_DIR", "QMODELS_DATA_DIR")


@dataclass(frozen=True)
class Checkout:
    """Code to run, and the Python that runs it.

    Attributes:
        root: the folder that it lies in, and that it runs in.
        paths: folders to import from, beside those of its Python. By default ``root``, then those
            of PYTHONPATH.
    """

    root: Path
    python: Path
    paths: tuple[str, ...] = ()

    def environment(self) -> dict[str, str]:
        """Variables with which its Python imports from there what is not installed."""
        paths = self.paths or (str(self.root), *python_path())
        # Its working directory is another one than that of this process.
        named = {name: files.named_folder(name) for name in _FOLDERS}
        folders = {name: str(folder) for name, folder in named.items() if folder}
        return {**os.environ, **folders, "PYTHONPATH": os.pathsep.join(paths)}


THIS_CHECKOUT = Checkout(Path(__file__).parents[2], Path(sys.executable))


def here() -> Checkout:
    """The checkout of this process: working directory, Python, and all that it imports from."""
    named = sysconfig.get_paths()
    own = [named[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    own.append(site.getusersitepackages())
    # PYTHONPATH may have been set since this process began.
    folders = [Path(path).absolute() for path in (*sys.path, *python_path()) if Path(path).is_dir()]
    # Packages add folders of their own below: setuptools one of old versions of others.
    added = [str(path) for path in folders if not any(map(path.is_relative_to, own))]
    return Checkout(Path.cwd(), Path(sys.executable), tuple(dict.fromkeys(added)))


def python_path() -> list[str]:
    """The folders that PYTHONPATH names."""
    return [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
