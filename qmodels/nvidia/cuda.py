"""torch on an NVIDIA GPU: float networks, compiled and replayed as CUDA graphs.

On disk are the weights as they run, in their precision.
"""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from qmodels.backends import dispatch, eager
from qmodels.backends.base import Backend, ForwardFn, Kernel, Stored
from qmodels.network.precision import InPrecision
from qmodels.nvidia import graphs
from qmodels.nvidia.graphs import DEVICE
from qmodels.system.errors import Obstacle


class _Cuda(Backend):
    name = "cuda"
    processor = "gpu"
    isolated = False

    def obstacle(self) -> Obstacle | None:
        return graphs.no_compiler()

    def save(self, model: InPrecision, folder: Path) -> None:
        eager.save_state(model, folder)

    def load(self, artifact: Stored) -> ForwardFn:
        network = eager.load_modules(artifact)
        assert isinstance(network, InPrecision)
        network.to(DEVICE)

        def forward(images: Tensor) -> Tensor:
            return compile_forward(network.precision, tuple(images.shape))(network, images)

        return graphs.as_graphs(lambda: forward)

    def kernels(self, forward: ForwardFn, artifact: Stored, images: Tensor) -> list[Kernel]:
        """The operators of the network uncompiled: what is compiled shows none."""
        return dispatch.kernels(eager.load_modules(artifact).to(DEVICE), images.to(DEVICE))

    def reference(self, model: Any) -> ForwardFn:
        return dispatch.reference(model)

    def saturates(self) -> bool | None:
        return None


BACKEND = _Cuda()


@cache
def compile_forward(
    precision: torch.dtype, shape: tuple[int, ...]
) -> Callable[[nn.Module, Tensor], Tensor]:
    """A compiled forward, of a network in a precision and images of one shape.

    Dynamo keeps what it compiled with a function's code, and runs what comes after the first few
    (``recompile_limit``) without compiling it. So each shape has code of its own. Networks of many
    widths can still exceed the limit; ``fullgraph`` makes that an error.
    """

    def forward(network: nn.Module, images: Tensor) -> Tensor:
        logits: Tensor = network(images)
        return logits

    forward.__code__ = forward.__code__.replace()
    return torch.compile(forward, dynamic=False, fullgraph=True)
