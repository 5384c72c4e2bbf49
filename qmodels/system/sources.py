"""Digests of the code that makes something: of a module, and of all that it imports.

Import statements are read, not run, those within functions too. What a type checker alone
reads is left out. An import by a name that is made at run time (importlib) is not seen: name such a
module among the roots.
"""

import ast
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from importlib.util import resolve_name
from pathlib import Path
from typing import Any, NamedTuple

from qmodels.system import store

_OWN = __name__.partition(".")[0]
# Folders of installed packages.
INSTALLED = {"site-packages", "dist-packages"}


class _Import(NamedTuple):
    """A module, a name of it ("" for the module itself), and what the name is imported as."""

    module: str
    name: str
    bound: str


def import_digests(functions: Iterable[Callable[..., Any]]) -> dict[str, str]:
    """SHA-256 of the files that define some functions and of all that these import, by module.

    Only imports of the functions' own packages are followed, and of installed ones none but those
    of qmodels.
    """
    folders: dict[str, Path] = {}
    roots, alone = [], {}
    for name in sorted({function.__module__ for function in functions}):
        path = Path(getattr(sys.modules.get(name), "__file__", None) or "")
        if path.is_file():
            package = name if path.stem == "__init__" else name.rpartition(".")[0]
            folder = path.parents[len(package.split(".")) * bool(package)]
            top = name.partition(".")[0]
            if top != _OWN and not INSTALLED.isdisjoint(folder.parts):
                alone[name] = store.digest_file(path)
            else:
                folders[top] = folder
                roots.append(name)
    return digest_imports(roots, folders) | alone


def digest_imports(roots: Iterable[str], folders: Mapping[str, Path]) -> dict[str, str]:
    """SHA-256 of the files of some modules and of all that these import, by module.

    Args:
        folders: the folder that holds each package, by the first part of its name. Imports of
            other packages are not followed.
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
        # Its parent packages run too; what they import for others is not followed.
        for package in _parents(module):
            if (parent := file(package, folders)) is not None:
                digests[package] = store.digest_bytes(parent.read_bytes())
        inside = module if path.stem == "__init__" else module.rpartition(".")[0]
        waiting += [_origin(each.module, each.name, folders) for each in _imports(text, inside)]
    return dict(sorted(digests.items()))


def _parents(module: str) -> list[str]:
    parts = module.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts))]


def file(module: str, folders: Mapping[str, Path]) -> Path | None:
    """The file of a module; None where it is in none of the packages."""
    top, *parts = module.split(".")
    if top not in folders:
        return None
    path = folders[top].joinpath(top, *parts)
    candidates = (path / "__init__.py", Path(f"{path}.py"))
    return next((candidate for candidate in candidates if candidate.is_file()), None)


def _origin(module: str, name: str, folders: Mapping[str, Path]) -> str:
    """The module that defines a name: a submodule, or what the package's own file imports."""
    path = file(module, folders)
    if path is None or path.stem != "__init__" or not name:
        return module
    if file(f"{module}.{name}", folders):
        return f"{module}.{name}"
    for statement in _imports(path.read_bytes(), module):
        if statement.bound == name and statement.module != module:
            return _origin(statement.module, statement.name, folders)
    return module


@cache
def _imports(text: bytes, package: str) -> tuple[_Import, ...]:
    """The names that a module's text imports; none where it is not Python."""
    names = []
    try:
        nodes = list(ast.walk(ast.parse(text)))
        checks = [node for node in nodes if isinstance(node, ast.If) and _is_type_checking(node)]
        unread = {inner for check in checks for part in check.body for inner in ast.walk(part)}
        for node in nodes:
            if node in unread:
                continue
            if isinstance(node, ast.Import):
                names += [_Import(name.name, "", name.asname or name.name) for name in node.names]
            elif isinstance(node, ast.ImportFrom):
                module = resolve_name("." * node.level + (node.module or ""), package)
                names += [
                    _Import(module, name.name, name.asname or name.name) for name in node.names
                ]
    except (SyntaxError, ValueError, ImportError):
        return ()
    return tuple(names)


def _is_type_checking(statement: ast.If) -> bool:
    return isinstance(statement.test, ast.Name) and statement.test.id == "TYPE_CHECKING"
