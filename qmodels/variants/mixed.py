"""Static quantization that leaves the most sensitive layers in float, to stay within a drop."""

from collections.abc import Sequence

from torch import Tensor

from qmodels import machine, sensitivity
from qmodels.resnet import Resnet34
from qmodels.runtimes.dispatch import Runnable
from qmodels.runtimes.eager import SCRIPT
from qmodels.variants import fx
from qmodels.variants.registry import variant
from qmodels.variants.static import KERNELS, freeze

ENGINE = machine.quantized_engine()
# Of top-1, in points, that what is quantized may be expected to lose: see
# ``sensitivity.expected_drop``.
MOST_POINTS = 0.02


@variant(
    "mixed-int8",
    engine=ENGINE,
    summary=f"fx-int8, with what would lose more than {MOST_POINTS} points left in float",
    format=SCRIPT,
    arithmetic="int8",
    int8_share=0.5,
    calibrates=True,
    kernels=KERNELS[:2],
)
def mixed_int8(model: Resnet34, calibration: Tensor | None) -> Runnable:
    """Rank the layers, keep the first ones in float, quantize the others."""
    assert calibration is not None
    kept = sensitivity.left_in_float(model, calibration, MOST_POINTS)
    return freeze(fx.quantize(model, calibration, ENGINE, in_float=whole_groups(kept)), ENGINE)


def whole_groups(layers: Sequence[str]) -> list[str]:
    """Names of layers and of what is fused into them, which has to have the same precision."""
    found = []
    for name in layers:
        head, _, tail = name.rpartition(".")
        others = {
            "conv1": ("bn1", "relu1"),
            "conv2": ("bn2",),
            "conv": ("bn", "relu"),
        }.get(tail, ())
        found += [name, *(f"{head}.{other}" for other in others)]
    return found
