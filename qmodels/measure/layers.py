"""Layer by layer: what quantization cost, and what the runtime added to it.

A layer's output is compared with that of the float network (quantization), and with that of the
same quantized network in reference arithmetic (runtime). Both include what the layers before lost.
"""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from qmodels.backends.layer_sqnr import LayerSqnr
from qmodels.variants import Artifact


def noise(
    artifact: Artifact,
    model: nn.Module,
    images: Tensor,
    *,
    quantize: Callable[[], Any] | None = None,
) -> list[LayerSqnr]:
    """Every convolution and linear layer of a variant.

    Args:
        model: the float network, in eval mode.
        images: (N, C, H, W) float32, normalized.
        quantize: quantizes the network once more; some runtimes show no layers without that.

    Returns:
        Empty where nothing of the variant is int8, or its runtime does not show its layers.
    """
    variant = artifact.variant
    if variant.int8_share == 0:
        return []
    return variant.backend.layer_noise(artifact, model, images, quantize) or []
