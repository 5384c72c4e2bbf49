"""What a variant is, and the table of them all.

Adding one is a module like those beside this one: a function from a trained model and calibration
images to something that maps images to logits, decorated with ``variant``. Another package adds
one by naming such a module in its entry-point group ``qmodels.variants``.
"""

import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from typing import Any, Literal

from torch import Tensor

from qmodels import engines, obstacles
from qmodels.errors import UserError, described
from qmodels.obstacles import Obstacle
from qmodels.resnet import Resnet34
from qmodels.runtimes.format import Format

# In the order that tables show; the reference comes first.
FAMILIES = (
    "floating",
    "dynamic",
    "static",
    "qat",
    "compiled",
    "fx",
    "pt2e",
    "onnxruntime",
    "openvino",
    "mixed",
    "weight_only",
    "cuda",
    "tensorrt",
)

GROUP = "qmodels.variants"  # of entry points

Arithmetic = Literal["float32", "float16", "bfloat16", "int8"]
Quantize = Callable[[Resnet34, Tensor | None], Any]


@dataclass(frozen=True)
class Variant:
    """One way to run a model.

    Attributes:
        name: as in ``--qmodels-variants``.
        engine: what executes it.
        summary: what it does, in a line.
        quantize: from the float model in eval mode, and calibration images (N, 3, 32, 32)
            float32 normalized, to what ``format`` stores; of ``WEIGHTS`` and ``SCRIPT`` that is
            what maps such images to logits (N, classes) float32. It leaves the model as it was.
            With None for images it gives the structure alone, for loading.
        format: how the result is stored.
        arithmetic: what it multiplies in; the machine's limit for that is what it is held against.
        int8_share: the least share of the network's multiply-accumulates that run in int8. A
            forward that shows less is not what the variant claims to be.
        calibrates: whether ``quantize`` looks at the images.
        quantization_aware: whether ``quantize`` takes the fake-quantized model of the checkpoint's
            quantization-aware sibling instead of the float one.
        kernels: operators that a profile of one forward must show, as proof that they ran.
        requires: packages that must be importable.
        extra: the extra that installs them, of qmodels or of the package that defines the variant.
        here: why this machine can't run it all the same; None where it can.
    """

    name: str
    engine: str
    summary: str
    quantize: Quantize
    format: Format
    arithmetic: Arithmetic
    int8_share: float
    calibrates: bool
    quantization_aware: bool
    kernels: tuple[str, ...]
    requires: tuple[str, ...]
    extra: str | None
    here: Callable[[], Obstacle | None]

    @property
    def isolated(self) -> bool:
        """Whether it is built in a process of its own.

        Other runtimes set global state, Inductor's passes among it, and a crash of theirs is not
        to be ours.
        """
        return self.engine in engines.RUNTIMES

    @property
    def on_gpu(self) -> bool:
        """Whether a GPU executes it."""
        return self.engine in engines.GPU_ENGINES

    def obstacle(self) -> Obstacle | None:
        """Why this variant can't run here; None where it can.

        The machine comes first: what it can't run is not worth installing.
        """
        unfit = self.here() or engines.unsupported(self.engine)
        if unfit:
            return unfit
        for module in self.requires:
            if find_spec(module) is None:
                return Obstacle(f"{module} is not installed: {self.install()}", mendable=True)
        wrong = engines.wrong_version(self.requires, self.extra or "", self.distribution)
        if wrong:
            return Obstacle(f"{wrong}: {self.install('--upgrade')}", mendable=True)
        broken = engines.ask(self.engine, self.requires).broken if self.isolated else None
        if broken:
            return Obstacle(
                f"{self.engine} is installed and does not work ({broken}): "
                f"{self.install('--force-reinstall')}",
                mendable=True,
            )
        return None

    def missing(self) -> str | None:
        """Why this variant can't run here, in a line with the remedy; None where it can."""
        obstacle = self.obstacle()
        return obstacle.reason if obstacle else None

    @property
    def distribution(self) -> str | None:
        """The distribution that defines it: qmodels', or that of an entry point to its package."""
        package = self.quantize.__module__.partition(".")[0]
        if package == __name__.partition(".")[0]:
            return obstacles.DISTRIBUTION
        return next(
            (
                one.dist.name
                for one in entry_points(group=GROUP)
                if one.dist and one.value.partition(":")[0].partition(".")[0] == package
            ),
            None,
        )

    def install(self, *options: str) -> str:
        """The command that installs what it needs.

        Args:
            options: of pip.
        """
        if self.distribution == obstacles.DISTRIBUTION and self.extra:
            return obstacles.install(self.extra, *options)
        what = " ".join(self.requires)
        if self.distribution and self.distribution != obstacles.DISTRIBUTION:
            what = f"'{self.distribution}[{self.extra}]'" if self.extra else self.distribution
        return " ".join(["pip", "install", *options, what])


_VARIANTS: dict[str, Variant] = {}


def variant(
    name: str,
    *,
    engine: str,
    summary: str,
    format: Format,
    arithmetic: Arithmetic = "float32",
    int8_share: float = 0.0,
    calibrates: bool = False,
    quantization_aware: bool = False,
    kernels: Iterable[str] = (),
    requires: Iterable[str] = (),
    extra: str | None = None,
    here: Callable[[], Obstacle | None] = lambda: None,
) -> Callable[[Quantize], Quantize]:
    """Register a function as a variant; see ``Variant`` for the arguments.

    Raises:
        UserError: the name is taken.
    """

    def register(quantize: Quantize) -> Quantize:
        if name in _VARIANTS:
            raise UserError(f"variant {name!r} is defined twice: rename one of them")
        _VARIANTS[name] = Variant(
            name=name,
            engine=engine,
            summary=summary,
            quantize=quantize,
            format=format,
            arithmetic=arithmetic,
            int8_share=int8_share,
            calibrates=calibrates,
            quantization_aware=quantization_aware,
            kernels=tuple(kernels),
            requires=tuple(requires),
            extra=extra,
            here=here,
        )
        return quantize

    return register


def all_variants() -> dict[str, Variant]:
    """Every variant by name, those of other packages last."""
    ours = [f"qmodels.variants.{family}" for family in FAMILIES]
    for module in ours:  # importing one registers its variants; a second import does nothing
        import_module(module)
    for entry_point in entry_points(group=GROUP):
        load(entry_point)

    def rank(one: Variant) -> int:
        module = one.quantize.__module__
        return ours.index(module) if module in ours else len(ours)

    return {one.name: one for one in sorted(_VARIANTS.values(), key=rank)}


@cache
def load(entry_point: EntryPoint) -> None:
    """Import what an entry point names, once; one that is broken costs its variants and a line."""
    before = set(_VARIANTS)
    try:
        entry_point.load()
    except (Exception, SystemExit) as error:
        # Of the modules that were run, those that failed are gone, and so are their variants.
        for name in _VARIANTS.keys() - before:
            if _VARIANTS[name].quantize.__module__ not in sys.modules:
                del _VARIANTS[name]
        package = entry_point.dist.name if entry_point.dist else "unknown"
        print(
            f"qmodels: entry point {entry_point.name} of package {package} is broken and its "
            f"variants are left out ({described(error)}): mend or uninstall {package}",
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
