"""TensorRT: engines for one kind of NVIDIA GPU, built from ONNX graphs with Q/DQ nodes.

Networks are strongly typed: precision is what the graph says, and nothing else is tried.
"""

import json
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from qmodels.backends.base import Backend, ForwardFn, Kernel, Stored
from qmodels.network.onnx_graph import INPUT, OUTPUT
from qmodels.nvidia import graphs
from qmodels.system.errors import Obstacle, UserError

if TYPE_CHECKING:
    from onnx import ModelProto

_FILE = "model.plan"
# Kernels are chosen for each of these batch sizes, and serve all down to the next smaller one.
_BATCH_SIZES = (1, 8, 256)
_REFERENCE_BATCH = 10


class _TensorRt(Backend):
    name = "tensorrt"
    processor = "gpu"
    requires = ("tensorrt", "onnx")
    extra = "tensorrt"
    portable = False

    def obstacle(self) -> Obstacle | None:
        return graphs.no_gpu()

    def save(self, model: "ModelProto", folder: Path) -> None:
        """Build an engine for this machine's GPU, which takes minutes, and write it."""
        (folder / _FILE).write_bytes(build(model.SerializeToString()))

    def load(self, artifact: Stored) -> ForwardFn:
        engine = deserialize(artifact.folder / _FILE)
        replayed = graphs.as_graphs(lambda: as_forward(engine))

        def forward(images: Tensor) -> Tensor:
            # More images than the engine takes at a time go through it in several batches.
            return torch.cat([replayed(some) for some in images.split(_BATCH_SIZES[-1])])

        return forward

    def kernels(self, forward: ForwardFn, artifact: Stored, images: Tensor) -> list[Kernel]:
        import tensorrt

        engine = deserialize(artifact.folder / _FILE)
        context = engine.create_execution_context()
        stream = torch.cuda.current_stream().cuda_stream
        context.set_optimization_profile_async(profile_of(len(images)), stream)
        context.set_input_shape(INPUT, tuple(images.shape))
        inspector = engine.create_engine_inspector()
        inspector.execution_context = context
        told = inspector.get_engine_information(tensorrt.LayerInformationFormat.JSON)
        return parse_layers(told)

    def reference(self, model: "ModelProto") -> ForwardFn:
        """The graph as it is written, on the CPU: products of rounded values in float32."""
        from onnx.reference import ReferenceEvaluator

        evaluator = ReferenceEvaluator(model)

        def forward(images: Tensor) -> Tensor:
            parts = [
                torch.from_numpy(evaluator.run(None, {INPUT: some.numpy()})[0])
                for some in images.split(_REFERENCE_BATCH)
            ]
            return torch.cat(parts)

        return forward

    def saturates(self) -> bool | None:
        return False


BACKEND = _TensorRt()


def build(graph: bytes) -> bytes:
    """A serialized engine of a serialized ONNX graph."""
    import tensorrt

    log = tensorrt.Logger(tensorrt.Logger.ERROR)
    builder = tensorrt.Builder(log)
    flag = tensorrt.NetworkDefinitionCreationFlag.STRONGLY_TYPED
    network = builder.create_network(1 << int(flag))
    parser = tensorrt.OnnxParser(network, log)
    if not parser.parse(graph):
        said = parser.get_error(0).desc() if parser.num_errors else "no reason given"
        raise UserError(f"TensorRT {tensorrt.__version__} can't read the graph ({said}): report it")
    config = builder.create_builder_config()
    config.profiling_verbosity = tensorrt.ProfilingVerbosity.DETAILED  # for ``kernels``
    image = tuple(network.get_input(0).shape)[1:]
    for least, most in batch_ranges():
        profile = builder.create_optimization_profile()
        shapes = [(size, *image) for size in (least, most, most)]
        profile.set_shape(INPUT, *shapes)
        config.add_optimization_profile(profile)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise UserError(
            f"TensorRT {tensorrt.__version__} built no engine for {torch.cuda.get_device_name()}: "
            "its lines above say why"
        )
    return bytes(plan)


def batch_ranges() -> list[tuple[int, int]]:
    """The smallest and the largest batch of each of ``_BATCH_SIZES``."""
    starts = (1, *(size + 1 for size in _BATCH_SIZES))
    return list(zip(starts, _BATCH_SIZES, strict=False))


def profile_of(batch: int) -> int:
    """The place among ``_BATCH_SIZES`` of the one that serves a batch.

    Raises:
        UserError: it is larger than all of them, or empty.
    """
    for place, (least, most) in enumerate(batch_ranges()):
        if least <= batch <= most:
            return place
    raise UserError(f"a batch of {batch} images: the engine takes 1 to {_BATCH_SIZES[-1]}")


def deserialize(path: Path) -> Any:
    """An engine that was stored."""
    import tensorrt

    runtime = tensorrt.Runtime(tensorrt.Logger(tensorrt.Logger.ERROR))
    runtime.gpu_allocator = _torch_allocator()
    engine = runtime.deserialize_cuda_engine(path.read_bytes())
    if engine is None:
        raise UserError(
            f"engine {path} is not for this GPU and TensorRT {tensorrt.__version__}: "
            "build it again with `qmodels build`"
        )
    return engine


def _torch_allocator() -> Any:
    """An allocator for engines and contexts that takes memory from torch, which counts it.

    TensorRT's documentation wants all five methods; their arguments differ between versions.
    """
    import tensorrt

    class Allocator(tensorrt.IGpuAllocator):  # type: ignore[misc]
        def allocate(self, size: int, *_: Any) -> int:
            return int(torch.cuda.caching_allocator_alloc(size))

        def deallocate(self, address: int, *_: Any) -> bool:
            torch.cuda.caching_allocator_delete(address)
            return True

        allocate_async, deallocate_async = allocate, deallocate

        def reallocate(self, *_: Any) -> int:
            return 0  # refused: what asks then allocates and copies

    return Allocator()


def as_forward(engine: Any) -> ForwardFn:
    """An engine as what maps images on the GPU to logits there.

    Of a context of its own: one that was captured for a shape must not see another. The context
    owns the memory between the layers, for as long as the forward lives.

    Raises:
        UserError: the GPU has not that much memory.
    """
    context = engine.create_execution_context()
    if context is None:
        raise UserError("TensorRT found no memory on the GPU: free it of other processes")
    classes = engine.get_tensor_shape(OUTPUT)[-1]

    def forward(images: Tensor) -> Tensor:
        stream = torch.cuda.current_stream().cuda_stream
        profile = profile_of(len(images))
        if context.active_optimization_profile != profile:
            context.set_optimization_profile_async(profile, stream)
        logits = torch.empty(len(images), classes, device=images.device)
        context.set_input_shape(INPUT, tuple(images.shape))
        context.set_tensor_address(INPUT, images.data_ptr())
        context.set_tensor_address(OUTPUT, logits.data_ptr())
        if not context.execute_async_v3(stream):
            raise UserError("TensorRT ran no forward: its lines above say why")
        return logits

    return forward


def parse_layers(information: str) -> list[Kernel]:
    """Layers with weights, of an engine inspector's JSON for known shapes.

    A layer multiplies integers where its weights are; its outputs are (N, out, ...).
    """
    kernels = []
    for layer in json.loads(information)["Layers"]:
        weights = layer.get("Weights") if isinstance(layer, dict) else None
        if not weights or not weights.get("Count"):
            continue
        batch, _, *sizes = layer["Outputs"][0]["Dimensions"]
        kernels.append(
            Kernel(
                layer["Name"],
                layer.get("TacticName", layer["LayerType"]),
                batch * prod(sizes) * weights["Count"],
                weights["Type"] == "Int8",
            )
        )
    return kernels
