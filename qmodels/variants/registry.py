"""What a variant is, and the table of them all.

Adding one is a module like those beside this one: a function from a trained model and calibration
images to something that maps images to logits, decorated with ``variant``. Another package adds
one by naming such a module in its entry-point group ``qmodels.variants``.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from importlib.util import find_spec

import torch
from torch import Tensor

from qmodels.errors import UserError
from qmodels.resnet import Resnet34
from qmodels.variants.formats import Format, Runnable

# In the order that tables show; the reference comes first.
FAMILIES = ("floating", "dynamic", "static", "qat")

Quantize = Callable[[Resnet34, Tensor | None], Runnable]


@dataclass(frozen=True)
class Variant:
    """One way to run a model.

    Attributes:
        name: as in ``--qmodels-variants``.
        engine: what executes it.
        summary: what it does, in a line.
        quantize: from the float model in eval mode, and calibration images (N, 3, 32, 32)
            float32 normalized, to what maps such images to logits (N, classes) float32. It leaves
            the model as it was. With None for images it gives the structure alone, for loading.
        format: how the result is stored.
        calibrates: whether ``quantize`` looks at the images.
        quantization_aware: whether ``quantize`` takes the fake-quantized model of the checkpoint's
            quantization-aware sibling instead of the float one.
        kernels: operators that a profile of one forward must show, as proof that they ran.
        requires: modules that must be importable.
        extra: the extra of qmodels that installs them.
    """

    name: str
    engine: str
    summary: str
    quantize: Quantize
    format: Format
    calibrates: bool
    quantization_aware: bool
    kernels: tuple[str, ...]
    requires: tuple[str, ...]
    extra: str | None

    def missing(self) -> str | None:
        """Why this variant can't run here, in a line with the remedy; None where it can."""
        for module in self.requires:
            if find_spec(module) is None:
                extra = self.extra or module
                return f"{module} is not installed: pip install 'qmodels[{extra}]'"
        supported = torch.backends.quantized.supported_engines
        if self.engine == "none" or (self.engine == "fbgemm" and "fbgemm" not in supported):
            return "this build of torch has no such quantized engine: install torch from PyPI"
        return None


_VARIANTS: dict[str, Variant] = {}


def variant(
    name: str,
    *,
    engine: str,
    summary: str,
    format: Format,
    calibrates: bool = False,
    quantization_aware: bool = False,
    kernels: Iterable[str] = (),
    requires: Iterable[str] = (),
    extra: str | None = None,
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
            calibrates=calibrates,
            quantization_aware=quantization_aware,
            kernels=tuple(kernels),
            requires=tuple(requires),
            extra=extra,
        )
        return quantize

    return register


def all_variants() -> dict[str, Variant]:
    """Every variant by name, those of other packages last."""
    ours = [f"qmodels.variants.{family}" for family in FAMILIES]
    for module in ours:  # importing one registers its variants; a second import does nothing
        import_module(module)
    for entry_point in entry_points(group="qmodels.variants"):
        entry_point.load()

    def rank(one: Variant) -> int:
        module = one.quantize.__module__
        return ours.index(module) if module in ours else len(ours)

    return {one.name: one for one in sorted(_VARIANTS.values(), key=rank)}


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
