"""Layer by layer: what quantization cost, and what the runtime added to it.

A layer's output is compared with that of the float network (quantization), and with that of the
same quantized network in reference arithmetic (runtime). Both include what the layers before lost.
"""

from torch import Tensor, nn

from qmodels.backends.base import LayerNoise
from qmodels.system.errors import UserError
from qmodels.variants import Artifact


def noise(artifact: Artifact, model: nn.Module, images: Tensor) -> list[LayerNoise]:
    """Every convolution and linear layer of a variant, in the order that they ran.

    Args:
        model: the float network, in eval mode.
        images: (N, C, H, W) float32, normalized.

    Raises:
        UserError: the variant's runtime does not show its layers, or nothing of it is int8.
    """
    variant = artifact.variant
    layers = None
    if variant.int8_share > 0:
        layers = variant.backend.layer_noise(artifact, model, images)
    if layers is None:
        raise UserError(
            f"{variant.name} shows no quantized layers: choose one of TorchScript or ONNX, as "
            "static-int8-jit or onnx-int8"
        )
    return layers
