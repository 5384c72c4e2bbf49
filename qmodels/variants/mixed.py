"""Static quantization that leaves the most sensitive layers in float, to stay within a drop."""

import torch
from torch import Tensor, nn

from qmodels.network import fusion
from qmodels.quantize import sensitivity
from qmodels.variants import fx
from qmodels.variants.registry import variant
from qmodels.variants.static import CONVOLUTIONS, SCRIPT, freeze

# Of top-1, in points, that what is quantized may be expected to lose: see
# ``sensitivity.expected_drop``.
_MOST_POINTS = 0.02


@variant(
    backend=SCRIPT,
    summary=f"fx-int8, with what would lose more than {_MOST_POINTS} points left in float",
    arithmetic="int8",
    int8_share=0.5,
    kernels=CONVOLUTIONS,
)
def mixed_int8(model: nn.Module, calibration: Tensor) -> "torch.jit.ScriptModule":
    """Rank the layers, keep the first ones in float, quantize the others."""
    kept = set(sensitivity.left_in_float(model, calibration, _MOST_POINTS))
    # What is fused into a layer has to have the same precision.
    fused = [name for chain in fusion.chains(model) if kept & set(chain) for name in chain]
    in_float = sorted(kept.union(fused))
    return freeze(fx.quantize(model, calibration, SCRIPT, in_float=in_float), calibration, SCRIPT)
