"""The float model compiled ahead of time by Inductor: what the float side can do on its own.

In float32, and in bfloat16 where the processor multiplies it. Both are stored as two graphs, one
for a single image: see ``backends.inductor.export``. The graphs can't share their weights, which
are laid out for oneDNN in one and plain in the other.
"""

import torch
from torch import Tensor, nn

from qmodels.backends import inductor
from qmodels.backends.inductor import Exported
from qmodels.network.fusion import fuse
from qmodels.network.precision import InPrecision
from qmodels.system import machine
from qmodels.system.errors import Obstacle
from qmodels.variants.registry import variant


def _no_bfloat16() -> Obstacle | None:
    if machine.multiplies_bfloat16():
        return None
    return Obstacle(
        "this processor has no bfloat16 instructions: run it on one with AVX512-BF16 or AMX",
        fixable=False,
    )


@variant(backend=inductor.BACKEND, summary="fused and compiled, for one image and for any number")
def fp32_compiled(model: nn.Module, example: Tensor) -> Exported:
    """Batch norms folded, weights frozen and laid out for oneDNN."""
    return inductor.export(fuse(model), example, also_single=True)


@variant(
    backend=inductor.BACKEND,
    summary="fp32-compiled, in bfloat16",
    arithmetic="bfloat16",
    unfit=_no_bfloat16,
)
def bf16(model: nn.Module, example: Tensor) -> Exported:
    """Weights and activations in bfloat16; batch norms are folded before, in float32."""
    network = InPrecision(fuse(model), torch.bfloat16).eval()
    return inductor.export(network, example, also_single=True)
