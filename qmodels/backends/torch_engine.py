"""torch's own quantized kernels: which engines there are, and what backends on them share."""

import platform
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Self

import torch
from torch import Tensor, nn

from qmodels.backends import dispatch, torch_ao
from qmodels.backends.base import (
    Backend,
    ForwardFn,
    Kernel,
    ProfiledForward,
    Stored,
)
from qmodels.backends.layer_sqnr import LayerSqnr
from qmodels.network.evaluation import sqnr_db
from qmodels.network.layers import Layer, blocks, executed, fused_outputs, output_sqnr
from qmodels.system import machine
from qmodels.system.errors import Obstacle

# The best first; the first three have kernels for x86 processors with AVX2.
_ENGINES = ("x86", "fbgemm", "onednn", "qnnpack")
_X86_ENGINES = _ENGINES[:3]
# On Linux, the engine x86 calls oneDNN on processors of these levels, and fbgemm on others.
_X86_CALLS_ONEDNN = ("avx512_vnni", "avx512_bf16", "amx")
# oneDNN's int8 kernels lay tensors out alike on these levels; elsewhere they take other memory.
_ONEDNN_ALIKE = ("avx512_vnni", "avx512_bf16")


def supported_engines() -> list[str]:
    """The engines that this torch has kernels of."""
    quantized = getattr(torch.backends, "quantized", None)  # goes with ``torch.ao.quantization``
    return list(quantized.supported_engines) if quantized else []


def default_engine() -> str:
    """The best engine for int8 that this torch has; "none" without."""
    return next((engine for engine in _ENGINES if engine in supported_engines()), "none")


@contextmanager
def quantized_engine(engine: str) -> Iterator[None]:
    """Pack quantized weights for an engine; torch keeps the choice in a global.

    The name of an engine that is not one of torch's leaves the choice as it is.
    """
    if engine not in supported_engines():
        yield
        return
    previous = torch.backends.quantized.engine
    torch.backends.quantized.engine = engine
    try:
        with torch_ao.short_warnings():
            yield
    finally:
        torch.backends.quantized.engine = previous


def on_engine(engine: str, forward: ForwardFn) -> ForwardFn:
    """A model that always runs on an engine, whatever the global choice is then.

    Some operators look at the choice when they run, not only when weights are packed. The name of
    an engine that is not one of torch's gives the model as it is.
    """
    if engine not in supported_engines():
        return forward

    def run(images: Tensor) -> Tensor:
        previous = torch.backends.quantized.engine
        if previous == engine:
            return forward(images)
        torch.backends.quantized.engine = engine
        try:
            return forward(images)
        finally:
            torch.backends.quantized.engine = previous

    return run


@cache
def int8_saturates(engine: str) -> bool:
    """Whether an engine's int8 convolution gives wrong sums at full range on this machine.

    Without VNNI, ``vpmaddubsw`` adds two products of uint8 and int8 into a saturating int16. The
    probe is a 64-channel 1x1 convolution of activations 255 and weights 127, whose exact result
    is 64 * 255 * 127.
    """
    with quantized_engine(engine):
        weight = torch.quantize_per_tensor(torch.full((64, 64, 1, 1), 127.0), 1.0, 0, torch.qint8)
        image = torch.quantize_per_tensor(torch.full((1, 64, 8, 8), 255.0), 1.0, 0, torch.quint8)
        packed = torch.ops.quantized.conv2d_prepack(weight, None, [1, 1], [0, 0], [1, 1], 1)
        exact = 64 * 255 * 127
        # One step of the output's scale is 1/255 of the exact result, so that it is the top step.
        out = torch.ops.quantized.conv2d.new(image, packed, exact / 255, 0)
        return bool((out.int_repr() != 255).any())


@dataclass(frozen=True)
class TorchBackend(Backend):
    """A backend whose models run operator by operator, through torch's dispatcher.

    Attributes:
        engine: whose quantized kernels run; "eager" for float models.
    """

    engine: str = "eager"
    isolated = False

    def on(self, engine: str) -> Self:
        """The same backend on another engine."""
        return replace(self, engine=engine)

    def obstacle(self) -> Obstacle | None:
        """Why this torch lacks the engine; None where it has it."""
        if self.engine == "eager":
            return None
        obstacle = torch_ao.obstacle()
        if obstacle or (self.engine in supported_engines() and self.engine != "none"):
            return obstacle
        x86 = platform.machine().lower() in ("x86_64", "amd64") and "avx2" in machine.cpu_flags()
        if self.engine in _X86_ENGINES and not x86:
            return Obstacle(
                f"engine {self.engine} needs an x86 processor with AVX2: use one that has it",
                fixable=False,
            )
        return Obstacle(
            f"this build of torch has no quantized engine {self.engine}: install it from PyPI",
            fixable=True,
        )

    def deprecation(self) -> str | None:
        """What torch announces of the engines; None for float models."""
        return None if self.engine == "eager" else torch_ao.deprecation()

    def load(self, artifact: Stored) -> ForwardFn:
        """Read what was saved, to run on the engine whatever torch's global choice is."""
        with quantized_engine(self.engine):
            return on_engine(self.engine, self.read(artifact))

    @abstractmethod
    def read(self, artifact: Stored) -> ForwardFn:
        """Read what was saved, with weights packed for the engine that is chosen."""

    def kernels(self, forward: ForwardFn, artifact: Stored, images: Tensor) -> list[Kernel]:
        """The operators that torch dispatched."""
        return dispatch.kernels(forward, images)

    def reference(self, model: Any) -> ForwardFn:
        """The model with quantized operators replaced by float ones on the same integers."""
        return on_engine(self.engine, dispatch.reference(model))

    def saturates(self) -> bool | None:
        """Whether the engine does; None for float models."""
        return int8_saturates(self.engine) if self.engine in supported_engines() else None

    def kernel_library(self, machine_class: str) -> str:
        """The library that the engine calls on a machine class."""
        linux, level = machine_class.startswith("linux-"), machine_class.rpartition("-")[2]
        if self.engine == "x86" and not (linux and level in _X86_CALLS_ONEDNN):
            return "fbgemm"
        if self.engine in ("x86", "onednn"):
            return "onednn" if level in _ONEDNN_ALIKE else f"onednn of {machine_class}"
        return self.engine

    def kernel_library_here(self) -> str:
        """The library; x86 asks the processor itself, whatever the system says of it."""
        library = super().kernel_library_here()
        sees_vnni = getattr(torch.cpu, "_is_vnni_supported", None)
        if self.engine != "x86" or sees_vnni is None or platform.system() != "Linux":
            return library
        return self.on("onednn").kernel_library_here() if sees_vnni() else "fbgemm"

    def layer_noise(
        self,
        artifact: Stored,
        model: nn.Module,
        images: Tensor,
        quantize: Callable[[], Any] | None = None,
    ) -> list[LayerSqnr] | None:
        """Noise of every operator that multiplied."""
        forward = self.load(artifact)
        ran = dispatch.products(forward, images)
        reference = dispatch.products(forward, images, exactly=True)
        names = dispatch.names_of(ran, executed(model, images[:1]))
        outputs = fused_outputs(model, images)
        noise = []
        for layer, runtime, exact in zip(names, ran, reference, strict=True):
            if layer is None:
                continue
            expected = [outputs[layer]]
            if "_add" in runtime.operator:  # it gives the output of a block that the layer is in
                shape = exact.output.shape
                around = [outputs[block] for block in blocks(layer)]
                expected = [output for output in around if output.shape == shape]
            if expected:  # a sum may be no module's output
                quantization_db = max(output_sqnr(exact.output, output) for output in expected)
                runtime_db = sqnr_db(runtime.output, exact.output)
                noise.append(LayerSqnr(layer, quantization_db, runtime_db))
        return noise

    def profile(
        self, artifact: Stored, layers: Sequence[Layer], images: Tensor, forwards: int
    ) -> list[ProfiledForward] | None:
        """What torch's profiler sees."""
        return dispatch.profile(self.load(artifact), layers, images, forwards)
