"""A network in a precision of its own, between images and logits of float32."""

import torch
from torch import Tensor, nn


class InPrecision(nn.Module):
    """Converts a network, and its images and logits in every forward.

    Args:
        network: float32; its weights are converted in place.
        precision: of weights and activations.
        memory_format: of weights and images.
    """

    def __init__(
        self,
        network: nn.Module,
        precision: torch.dtype,
        memory_format: torch.memory_format = torch.preserve_format,
    ) -> None:
        super().__init__()
        self.precision = precision
        self.memory_format = memory_format
        self.network = network.to(precision)
        if memory_format != torch.preserve_format:
            self.network.to(memory_format=memory_format)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, classes) float32 of images (N, C, H, W) float32."""
        x = images.to(self.precision, memory_format=self.memory_format)
        logits: Tensor = self.network(x).float()
        return logits
