"""What code makes something: the files that a module imports, of its own package, found by reading.

Import statements are read, not run, those within functions too. What is imported by a name that is
made at run time (importlib) is not seen: it has to be asked for.
"""

import ast
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from importlib.util import resolve_name
from pathlib import Path
from typing import Any, NamedTuple

from qmodels import store


class Import(NamedTuple):
    """A module, what is taken from it ("" for the module itself), and the name that it gets."""

    module: str
    name: str
    bound: str


def of(functions: Iterable[Callable[..., Any]]) -> dict[str, str]:
    """SHA-256 of each file that the modules of some functions import, by the modules' names.

    Followed are imports of the packages that the functions are of.
    """
    folders: dict[str, Path] = {}
    roots = []
    for name in sorted({function.__module__ for function in functions}):
        path = Path(getattr(sys.modules.get(name), "__file__", None) or "")
        if path.is_file():
            package = name if path.stem == "__init__" else name.rpartition(".")[0]
            folders[name.partition(".")[0]] = path.parents[len(package.split(".")) * bool(package)]
            roots.append(name)
    return imported(roots, folders)


def imported(roots: Iterable[str], folders: Mapping[str, Path]) -> dict[str, str]:
    """SHA-256 of the files of some modules and of all that these import, by the modules' names.

    Args:
        folders: where packages are, by the first part of their names; others are not followed.
    """
    digests: dict[str, str] = {}
    waiting, seen = list(roots), set()
    while waiting:
        module = waiting.pop()
        if module in seen or (path := file(module, folders)) is None:
            continue
        seen.add(module)
        text = path.read_bytes()
        digests[module] = store.digest_bytes(text)
        # Packages around it are run too; what they import for others is not followed.
        for package in packages(module):
            if (around := file(package, folders)) is not None:
                digests[package] = store.digest_bytes(around.read_bytes())
        inside = module if path.stem == "__init__" else module.rpartition(".")[0]
        waiting += [origin(one.module, one.name, folders) for one in imports(text, inside)]
    return dict(sorted(digests.items()))


def packages(module: str) -> list[str]:
    """The packages that a module is in."""
    parts = module.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts))]


def file(module: str, folders: Mapping[str, Path]) -> Path | None:
    """The file of a module, if it is of one of the packages."""
    top, *parts = module.split(".")
    if top not in folders:
        return None
    path = folders[top].joinpath(top, *parts)
    return next((one for one in (path / "__init__.py", Path(f"{path}.py")) if one.is_file()), None)


def origin(module: str, name: str, folders: Mapping[str, Path]) -> str:
    """The module that defines a name: one of the package's, or where the package has it from."""
    path = file(module, folders)
    if path is None or path.stem != "__init__" or not name:
        return module
    if file(f"{module}.{name}", folders):
        return f"{module}.{name}"
    for one in imports(path.read_bytes(), module):
        if one.bound == name and one.module != module:
            return origin(one.module, one.name, folders)
    return module


@cache
def imports(text: bytes, package: str) -> tuple[Import, ...]:
    """The import statements of a module's text, none where it is not Python.

    Args:
        package: that the module is in, or is.
    """
    found = []
    try:
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Import):
                found += [Import(one.name, "", one.asname or one.name) for one in node.names]
            elif isinstance(node, ast.ImportFrom):
                module = resolve_name("." * node.level + (node.module or ""), package)
                found += [Import(module, one.name, one.asname or one.name) for one in node.names]
    except (SyntaxError, ValueError, ImportError):
        return ()
    return tuple(found)
