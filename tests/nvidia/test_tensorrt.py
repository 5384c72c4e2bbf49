"""How engines are run and given memory, with a TensorRT that only averages its images."""

import ctypes
import sys
import weakref
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from qmodels.backends.base import ForwardFn, Stored
from qmodels.network.resnet import random_images
from qmodels.nvidia import tensorrt
from qmodels.nvidia.times import peak_bytes
from qmodels.system.errors import UserError

WEIGHTS, SCRATCH, CLASSES = 10_000, 700, 2


class Memory:
    """What an allocator gave, until it is dropped."""

    def __init__(self, allocator: Any, size: int) -> None:
        # As the binding calls: by place, and more than a size.
        self.allocator, self.address = allocator, allocator.allocate(size, 256, 0)

    def __del__(self) -> None:
        assert self.allocator.deallocate(self.address)


class Context:
    def __init__(self, engine: "Engine") -> None:
        self.engine = engine
        self.scratch = Memory(engine.allocator, SCRATCH)
        self.active_optimization_profile = 0
        self.count = 0
        self.addresses: dict[str, int] = {}

    def set_optimization_profile_async(self, profile: int, stream: int) -> None:
        self.active_optimization_profile = profile

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> None:
        self.count = shape[0]

    def set_tensor_address(self, name: str, address: int) -> None:
        self.addresses[name] = address

    def execute_async_v3(self, stream: int) -> bool:
        scratch, count = weakref.ref(self.scratch), self.count
        pixels = (ctypes.c_float * (count * 3 * 32 * 32)).from_address(self.addresses["images"])
        logits = (ctypes.c_float * (count * CLASSES)).from_address(self.addresses["logits"])

        def kernel() -> None:
            assert scratch() is not None, "it reads memory that is freed"
            means = torch.tensor(pixels[:]).view(count, -1).mean(1)
            logits[:] = means.repeat_interleave(CLASSES).tolist()

        self.engine.gpu.launch(kernel)
        return True


class Engine:
    def __init__(self, gpu: Any, allocator: Any) -> None:
        self.gpu, self.allocator = gpu, allocator
        self.weights = Memory(allocator, WEIGHTS)
        self.contexts: weakref.WeakSet[Context] = weakref.WeakSet()

    def create_execution_context(self) -> Context:
        context = Context(self)
        self.contexts.add(context)
        return context

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return (-1, CLASSES)


class Outside:
    """TensorRT's own allocator, which torch knows nothing of."""

    def allocate(self, size: int, alignment: int, flags: int) -> int:
        return 0

    def deallocate(self, address: int) -> bool:
        return True


@pytest.fixture
def engines(gpu: Any, monkeypatch: pytest.MonkeyPatch) -> list[weakref.ref[Engine]]:
    """Those that were read from disk."""
    engines: list[weakref.ref[Engine]] = []

    class Runtime:
        def __init__(self, log: object) -> None:
            self.gpu_allocator: Any = Outside()

        def deserialize_cuda_engine(self, plan: bytes) -> Engine:
            engine = Engine(gpu, self.gpu_allocator)
            engines.append(weakref.ref(engine))
            return engine

    class Logger:
        ERROR = 1

        def __init__(self, severity: int) -> None:
            pass

    module = SimpleNamespace(Logger=Logger, Runtime=Runtime, IGpuAllocator=object)
    monkeypatch.setitem(sys.modules, "tensorrt", module)
    return engines


@pytest.fixture
def load(save: Callable[..., Stored], monkeypatch: pytest.MonkeyPatch) -> Callable[[], ForwardFn]:
    monkeypatch.setattr(tensorrt, "build", lambda graph: b"plan")
    graph = SimpleNamespace(SerializeToString=bytes)
    files = save(tensorrt.BACKEND, graph)
    return lambda: tensorrt.BACKEND.load(files)


def test_contexts_live_as_long_as_the_model_and_no_longer(
    gpu: Any, engines: list[weakref.ref[Engine]], load: Callable[[], ForwardFn]
) -> None:
    forward = load()
    for count in (1, 3, 1, 300):
        images = random_images(count)
        expected = images.mean((1, 2, 3))[:, None].expand(-1, CLASSES)
        torch.testing.assert_close(forward(images), expected)
    (engine,) = (reference() for reference in engines)
    assert engine is not None
    assert len(engine.contexts) == 4, "one for each of 1, 3, 256 and 44 images"
    del engine, forward
    assert [reference() for reference in engines] == [None]
    assert not gpu.live


def test_peak_memory_counts_weights_and_what_lies_between_the_layers(
    gpu: Any, engines: list[weakref.ref[Engine]], load: Callable[[], ForwardFn]
) -> None:
    kept = load()  # of a model that was there before, nothing counts
    kept(random_images(1))
    assert peak_bytes(load, random_images(8), gpu) == WEIGHTS + SCRATCH


def test_no_memory_for_a_context_is_one_line(
    engines: list[weakref.ref[Engine]],
    load: Callable[[], ForwardFn],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Engine, "create_execution_context", lambda engine: None)
    with pytest.raises(UserError, match="no memory on the GPU: free it"):
        load()(random_images(1))
