"""The float model compiled ahead of time by Inductor: what the float side can do on its own.

In float32, and in bfloat16 where the processor multiplies it. Both are stored as two graphs, one
for a single image, each with its weights: see ``runtimes.inductor.export``.
"""

import torch
from torch import Tensor, nn

from qmodels import machine
from qmodels.fusion import fuse
from qmodels.obstacles import Obstacle
from qmodels.resnet import Resnet34
from qmodels.runtimes import inductor
from qmodels.runtimes.inductor import PACKAGE, Exported
from qmodels.variants.registry import variant


class Bfloat16(nn.Module):
    """A network in bfloat16 between images and logits of float32."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network.to(torch.bfloat16)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, classes) float32 of images (N, 3, 32, 32) float32."""
        logits: Tensor = self.network(images.to(torch.bfloat16)).float()
        return logits


def no_bfloat16() -> Obstacle | None:
    """Why bfloat16 is of no use here."""
    if machine.multiplies_bfloat16():
        return inductor.no_compiler()
    return Obstacle(
        "this processor has no bfloat16 instructions: run it on one with AVX512-BF16 or AMX",
        mendable=False,
    )


@variant(
    "fp32-compiled",
    engine="inductor",
    summary="fused and compiled, for one image and for any number",
    format=PACKAGE,
    here=inductor.no_compiler,
)
def fp32_compiled(model: Resnet34, calibration: Tensor | None) -> Exported:
    """Batch norms folded, weights frozen and laid out for oneDNN."""
    return inductor.export(fuse(model), also_one=True)


@variant(
    "bf16",
    engine="inductor",
    summary="fp32-compiled, in bfloat16",
    format=PACKAGE,
    arithmetic="bfloat16",
    here=no_bfloat16,
)
def bf16(model: Resnet34, calibration: Tensor | None) -> Exported:
    """Weights and activations in bfloat16; batch norms are folded before, in float32."""
    return inductor.export(Bfloat16(fuse(model)).eval(), also_one=True)
