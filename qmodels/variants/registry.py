"""The definition of a variant, and all variants by name.

A variant is a function, decorated with ``variant``, in a module like those beside this one, or in
another folder ``variants`` of this package. It takes a trained model, and calibration images if it
needs any, and returns what its backend stores. Another package adds one by an entry point in the
group ``qmodels.variants``, which names a module.
"""

import sys
from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from inspect import signature
from pathlib import Path
from typing import Any, Literal, TypeVar

from torch import nn

from qmodels.backends import probe
from qmodels.backends.base import Backend
from qmodels.system import packages
from qmodels.system.defaults import REFERENCE
from qmodels.system.errors import Obstacle, UserError, describe_error

_GROUP = "qmodels.variants"
_PACKAGE = __name__.partition(".")[0]

Arithmetic = Literal["float32", "float16", "bfloat16", "int8"]
Quantize = TypeVar("Quantize", bound=Callable[..., Any])


@dataclass(frozen=True)
class Variant:
    """One way to run a model.

    Attributes:
        quantize: from the float model in eval mode to what ``backend`` stores. It leaves the
            model unchanged. As a second argument it may take ``calibration``, images (N, C, H, W)
            float32, normalized; or ``example``, two such images of random values, for their shape.
        int8_share: the least share of a packaged network's multiply-accumulates that run in int8.
            A forward with less fails the bench of kernels. Of another network any may run, not
            none.
        structure: from the float model to modules that a stored result fills, for backends that
            store weights alone. By default ``quantize``, where that takes no images.
        quantization_aware: whether ``quantize`` takes the fake-quantized model of the checkpoint's
            quantization-aware sibling instead of the float one.
        kernels: operators by classes of layers. Of a network with such layers, a profile of one
            forward must show one of the operators.
        extra: that installs ``requires``, of qmodels or of the variant's package.
        unfit: why this machine can't run the variant, though it can run its backend.
    """

    quantize: Callable[..., Any]
    backend: Backend
    summary: str
    arithmetic: Arithmetic = "float32"
    int8_share: float = 0.0
    structure: Callable[[nn.Module], nn.Module] | None = None
    quantization_aware: bool = False
    kernels: Mapping[type[nn.Module], tuple[str, ...]] = field(default_factory=dict)
    requires: tuple[str, ...] = ()
    extra: str | None = None
    unfit: Callable[[], Obstacle | None] | None = None

    @property
    def name(self) -> str:
        """The name in ``--qmodels-variants``: the function's, with hyphens."""
        return self.quantize.__name__.replace("_", "-")

    @property
    def module(self) -> str:
        """The module that defines it."""
        return self.quantize.__module__

    @property
    def engine(self) -> str:
        """The kernel library that executes it."""
        return self.backend.engine

    @property
    def takes(self) -> tuple[str, ...]:
        """The argument of ``quantize`` beside the model: ``calibration``, ``example`` or none."""
        return tuple(signature(self.quantize).parameters)[1:]

    @property
    def on_gpu(self) -> bool:
        """Whether a GPU executes it."""
        return self.backend.processor == "gpu"

    def absent_kernels(self, ran: Set[str], parts: Iterable[type[nn.Module]]) -> list[str]:
        """The ``kernels`` of which none ran, for a network with these classes of modules."""
        present = tuple(parts)
        return [
            " or ".join(kernels)
            for layer, kernels in self.kernels.items()
            if any(issubclass(part, layer) for part in present) and ran.isdisjoint(kernels)
        ]

    def modules(self, model: nn.Module) -> nn.Module:
        """Modules of the variant's structure, from a float model of any weights."""
        make = self.structure or self.quantize
        modules: nn.Module = make(model)
        return modules

    def probe(self) -> probe.BackendStatus:
        """The status of its backend, probed together with the modules that the variant requires."""
        return probe.probe_backend(self.backend, self.requires)

    def runtime(self) -> str | None:
        """The packages that run it beside torch, with their versions; None without."""
        versions = packages.versions(self.requires)
        return ", ".join(f"{name} {version}" for name, version in versions.items()) or None

    def obstacle(self) -> Obstacle | None:
        """Why this variant can't run here; None where it can.

        The machine comes first: what it can't run is not worth installing.
        """
        try:
            unfit = (self.unfit() if self.unfit else None) or self.backend.obstacle()
        except Exception as error:  # whatever another package's check raises
            return Obstacle(
                f"the check of whether it runs here failed ({describe_error(error)}): "
                f"fix `unfit` in {self.module}",
                fixable=True,
            )
        if unfit:
            return unfit
        for module in self.requires:
            if find_spec(module) is None:
                return Obstacle(f"{module} is not installed: {self.install()}", fixable=True)
        wrong = packages.wrong_version(self.requires, self.extra or "", self.distribution)
        if wrong:
            return Obstacle(f"{wrong}: {self.install('--upgrade')}", fixable=True)
        broken = self.probe().broken
        if broken:
            return Obstacle(
                f"{self.backend.name} is installed and does not work ({broken}): "
                f"{self.install('--force-reinstall')}",
                fixable=True,
            )
        return None

    def unavailable_reason(self) -> str | None:
        """Why this variant can't run here, in a line with the remedy; None where it can."""
        obstacle = self.obstacle()
        return obstacle.reason if obstacle else None

    @property
    def distribution(self) -> str | None:
        """The distribution that defines it: qmodels', or that of an entry point to its package."""
        package = self.module.partition(".")[0]
        if package == _PACKAGE:
            return packages.DISTRIBUTION
        return next(
            (
                entry.dist.name
                for entry in entry_points(group=_GROUP)
                if entry.dist and entry.value.partition(":")[0].partition(".")[0] == package
            ),
            None,
        )

    def install(self, *options: str) -> str:
        """The command that installs what it requires."""
        if self.distribution == packages.DISTRIBUTION and self.extra:
            return packages.install(self.extra, *options)
        what = " ".join(self.requires)
        if self.distribution and self.distribution != packages.DISTRIBUTION:
            what = f"'{self.distribution}[{self.extra}]'" if self.extra else self.distribution
        return " ".join(["pip", "install", *options, what])


_VARIANTS: dict[str, Variant] = {}


def variant(
    *,
    backend: Backend,
    summary: str,
    requires: Iterable[str] = (),
    extra: str | None = None,
    **differs: Any,
) -> Callable[[Quantize], Quantize]:
    """Register a function as a variant, named as the function.

    Args:
        requires: modules beside those that the backend requires.
        extra: that installs them; the backend's by default.
        differs: other attributes of ``Variant`` that differ from their defaults.

    Raises:
        UserError: the name is taken.
    """

    def register(quantize: Quantize) -> Quantize:
        registered = Variant(
            quantize,
            backend,
            summary,
            requires=(*backend.requires, *requires),
            extra=extra or backend.extra,
            **differs,
        )
        if registered.name in _VARIANTS:
            raise UserError(f"variant {registered.name!r} is defined twice: rename one of them")
        _VARIANTS[registered.name] = registered
        return quantize

    return register


def all_variants() -> dict[str, Variant]:
    """Every variant by name: the reference first, then by backend; those on GPUs are last."""
    for module in _modules():
        import_module(module)
    for entry_point in entry_points(group=_GROUP):
        _load(entry_point)

    def order(known: Variant) -> tuple[bool, bool, bool, str, str]:
        foreign = not known.module.startswith(f"{_PACKAGE}.")
        return known.name != REFERENCE, foreign, known.on_gpu, known.backend.name, known.module

    return {known.name: known for known in sorted(_VARIANTS.values(), key=order)}


def _modules() -> list[str]:
    """The modules in all folders ``variants`` of this package."""
    root = Path(__file__).parents[1]
    files = [*root.glob("variants/[!_]*.py"), *root.glob("*/variants/[!_]*.py")]
    names = [file.relative_to(root.parent).with_suffix("").parts for file in sorted(files)]
    return [".".join(parts) for parts in names]


def find(name: str, module: str) -> Variant:
    """A variant, of the module that defines it. No other is imported.

    Raises:
        UserError: the module has no such variant, or can't be imported.
    """
    try:
        import_module(module)
        return _VARIANTS[name]
    except Exception as error:  # whatever a module of another package raises
        raise UserError(
            f"variant {name} is not in {module} ({describe_error(error)}): build its artifact again"
        ) from None


@cache
def _load(entry_point: EntryPoint) -> None:
    """Import what an entry point names, once; one that is broken costs its variants and a line."""
    before = set(_VARIANTS)
    try:
        entry_point.load()
    except (Exception, SystemExit) as error:
        # Of the modules that were run, those that failed are gone, and so are their variants.
        for name in _VARIANTS.keys() - before:
            if _VARIANTS[name].module not in sys.modules:
                del _VARIANTS[name]
        package = entry_point.dist.name if entry_point.dist else "unknown"
        print(
            f"qmodels: entry point {entry_point.name} of package {package} is broken and its "
            f"variants are left out ({describe_error(error)}): fix or uninstall {package}",
            file=sys.stderr,
        )


def select(names: str | None) -> list[Variant]:
    """The variants named in a comma-separated list, in that order; all of them for None.

    Raises:
        UserError: a name is unknown.
    """
    known = all_variants()
    if names is None:
        return list(known.values())
    chosen = [name.strip() for name in names.split(",") if name.strip()]
    for name in chosen:
        if name not in known:
            raise UserError(f"unknown variant {name!r}: choose from {', '.join(known)}")
    if not chosen:
        raise UserError(f"no variant named: choose from {', '.join(known)}")
    return [known[name] for name in dict.fromkeys(chosen)]
