"""Torch as after the removal of ``torch.ao.quantization``, in every process with this on its path.

Eager quantization, its dtypes and engines, and TorchScript's tracing are gone. Torch, torchao and
torchvision still import parts of it, until they are released without.
"""

import builtins
import importlib.abc
import importlib.machinery
import sys
from types import ModuleType
from typing import Any

OWNERS = ("torch", "torchao", "torchvision")
PACKAGES = ("torch.ao.quantization", "torch.ao.nn")
# Of modules of torch.
ATTRIBUTES = {
    "torch": (
        *("quantize_per_tensor", "quantize_per_channel", "quint8", "qint8", "qint32"),
        *("_make_per_tensor_quantized_tensor", "_make_per_channel_quantized_tensor"),
    ),
    "torch.jit": ("trace", "freeze", "save", "load", "ScriptModule", "optimized_execution"),
}


def is_owner(name: object) -> bool:
    return str(name).partition(".")[0] in OWNERS


def hide(module: ModuleType, names: tuple[str, ...]) -> None:
    """Have attributes of a module be there for its owners alone."""
    hidden = {name: vars(module).pop(name) for name in names if name in vars(module)}
    fallback = vars(module).get("__getattr__")

    def lookup(name: str) -> Any:
        if name in hidden and is_owner(sys._getframe(1).f_globals.get("__name__")):
            return hidden[name]
        if fallback is not None and name not in hidden:
            return fallback(name)
        raise AttributeError(f"module {module.__name__!r} has no attribute {name!r}")

    vars(module)["__getattr__"] = lookup


class Loader(importlib.abc.Loader):
    """Loads torch, then hides what will be gone."""

    def __init__(self, loader: importlib.abc.Loader) -> None:
        self.loader = loader

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self.loader.exec_module(module)
        for name, attributes in ATTRIBUTES.items():
            hide(sys.modules[name], attributes)
        backends = sys.modules["torch.backends"]
        # From torch 2.9 on it wraps the module, and looks there too.
        for each in (backends, getattr(backends, "m", None)):
            if each is not None:
                vars(each).pop("quantized", None)


class Finder(importlib.abc.MetaPathFinder):
    """Finds torch, to be loaded so."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        spec = importlib.machinery.PathFinder.find_spec(name) if name == "torch" else None
        if spec is not None and spec.loader is not None:
            spec.loader = Loader(spec.loader)
        return spec


original_import = builtins.__import__


def guarded(
    name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0
) -> Any:
    """``import``, which finds no eager quantization."""
    if level == 0 and name.startswith("torch.ao") and not is_owner((globals or {}).get("__name__")):
        for full in (name, *(f"{name}.{each}" for each in fromlist or ())):
            if full.startswith(PACKAGES):
                raise ModuleNotFoundError(f"No module named {full!r}", name=full)
    return original_import(name, globals, locals, fromlist, level)


sys.meta_path.insert(0, Finder())
builtins.__import__ = guarded
