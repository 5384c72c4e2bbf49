"""torch's compiler ahead of time: exported graphs as packages of machine code (AOTInductor).

What is stored is what runs: a package is loaded without compiling. Its kernels are called past
torch's dispatcher, so the proof that they ran is what oneDNN says of itself.
"""

import platform
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from packaging.version import Version
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from qmodels.backends import archive, compiler, exported_graph, onednn_log
from qmodels.backends.base import (
    Backend,
    ForwardFn,
    Kernel,
    ProfiledForward,
    Stored,
    time_forward,
)
from qmodels.backends.layer_sqnr import LayerSqnr
from qmodels.network.layers import Layer, executed, fused_outputs, output_sqnr
from qmodels.system.errors import Obstacle, UserError, first_line

_MOST_IMAGES = 4096
# Before torch 2.10 its loader knows the entries of a package by the name of their source.
_NEEDS_NAME_OF_SOURCE = Version(torch.__version__) < Version("2.10")
# Of a graph for any number of images, and of one for a single image.
MANY, SINGLE = "many.pt2", "one.pt2"
# On AVX2, oneDNN's layout of weights depends on the number of threads. This is the number that the
# graph for a single image is laid out for.
_LAYOUT_THREADS = 1
# Other work on the machine can delay several forwards in a row.
_ROUNDS_TO_CHOOSE = 20


@dataclass(frozen=True)
class Exported:
    """Graphs to compile: for any number of images, and where that is faster for a single one.

    ``eager`` computes the same operator by operator.
    """

    eager: nn.Module
    many: ExportedProgram
    single: ExportedProgram | None = None


def export(model: nn.Module, example: Tensor, *, also_single: bool = False) -> Exported:
    """Trace a model in eval mode.

    Args:
        example: at least two images (N, C, H, W) float32, for their shape.
        also_single: with a graph for a single image. Float convolutions reorder their weights when
            they are compiled, but only if shapes are known. Otherwise they do so in every forward,
            which for one image takes longer than the convolution.
    """
    with torch.no_grad():
        batch = Dim("batch", min=1, max=_MOST_IMAGES)
        many = torch.export.export(model, (example[:2],), dynamic_shapes=({0: batch},))
        single = torch.export.export(model, (example[:1],)) if also_single else None
    return Exported(model, many, single)


class _Inductor(Backend):
    """Packages of machine code for this processor."""

    name = "inductor"
    machine_code = True
    portable = False

    def obstacle(self) -> Obstacle | None:
        if compiler.path():
            return None
        remedy = (
            "xcode-select --install" if platform.system() == "Darwin" else "apt-get install g++"
        )
        return Obstacle(f"no C++ compiler: {remedy}, or name one in CXX", fixable=True)

    def save(self, model: Exported, folder: Path) -> None:
        threads = torch.get_num_threads()
        for name, program, count in (
            (MANY, model.many, threads),
            (SINGLE, model.single, _LAYOUT_THREADS),
        ):
            if program is None:
                continue
            with (
                compiler.scratch_dir() as scratch,
                tempfile.TemporaryDirectory(dir=scratch) as packages,
            ):
                package = Path(packages, name)
                torch.set_num_threads(count)
                try:
                    compiler.compile_program(program, package, scratch)
                finally:
                    torch.set_num_threads(threads)
                archive.copy_without(
                    package, folder / name, ".cpp", keep_names=_NEEDS_NAME_OF_SOURCE
                )

    def load(self, artifact: Stored) -> ForwardFn:
        many = _open_package(artifact.folder / MANY)
        if not (artifact.folder / SINGLE).exists():
            return many
        single = _open_package(artifact.folder / SINGLE)
        chosen = {_LAYOUT_THREADS: single}

        def forward(images: Tensor) -> Tensor:
            if len(images) > 1:
                return many(images)
            threads = torch.get_num_threads()
            if threads not in chosen:
                chosen[threads] = fastest((single, many), images)
            return chosen[threads](images)

        return forward

    def kernels(self, forward: ForwardFn, artifact: Stored, images: Tensor) -> list[Kernel]:
        return onednn_log.kernels(forward, images)

    def profile(
        self, artifact: Stored, layers: Sequence[Layer], images: Tensor, forwards: int
    ) -> list[ProfiledForward] | None:
        """The primitives of oneDNN; what Inductor compiled itself is the time between them."""
        return onednn_log.profile(self.load(artifact), layers, images, forwards)

    def layer_noise(
        self,
        artifact: Stored,
        model: nn.Module,
        images: Tensor,
        quantize: Callable[[], Any] | None = None,
    ) -> list[LayerSqnr] | None:
        """Noise of every layer's output by quantization alone: a package shows no activation."""
        if quantize is None:
            return None
        of_float = fused_outputs(model, images)
        of_reference = exported_graph.layer_outputs(
            quantize().eager, executed(model, images[:1]), images
        )
        return [
            LayerSqnr(layer, output_sqnr(exact, of_float[layer]), None)
            for layer, exact in of_reference.items()
        ]

    def reference(self, model: Exported) -> ForwardFn:
        """The quantized graph, operator by operator: its products are of dequantized values."""
        return model.eager

    def saturates(self) -> bool | None:
        """Whether the convolution that int8 graphs are lowered to does.

        As ``torch_engine.int8_saturates``: 64 channels of 255 times 127.
        """
        ops = torch.ops.onednn
        weight = torch.full((64, 64, 1, 1), 127, dtype=torch.int8)
        image = torch.full((1, 64, 8, 8), 255, dtype=torch.uint8)
        image = image.contiguous(memory_format=torch.channels_last)
        scales, zeros = torch.ones(64), torch.zeros(64, dtype=torch.int64)
        geometry = ([1, 1], [0, 0], [1, 1], 1)
        packed = ops.qconv_prepack(weight, scales, 1.0, 0, *geometry, None)
        out = ops.qconv_pointwise(
            image,
            1.0,
            0,
            packed,
            scales,
            zeros,
            None,
            *geometry,
            1.0,
            0,
            torch.float32,
            "none",
            [],
            "",
        )
        return bool((out != 64 * 255 * 127).any())


BACKEND = _Inductor()


def _open_package(package: Path) -> ForwardFn:
    """A package as what maps images to logits.

    By the loader in C++: torch's own around it brings in the compiler, which takes three seconds
    and 150 MB to load.
    """
    try:
        runner = torch._C._aoti.AOTIModelPackageLoader(str(package), "model", False, 1, -1)
    except RuntimeError as error:
        if compiler.may_not_run(error):
            reason = f"{package} can't be loaded ({first_line(error)})"
            raise UserError(f"{reason}: set TMPDIR to a folder where programs may run") from None
        raise

    def forward(images: Tensor) -> Tensor:
        logits: Tensor = runner.boxed_run([images])[0]
        return logits

    return forward


def fastest(forwards: Sequence[ForwardFn], images: Tensor) -> ForwardFn:
    """The one that takes the least time for some images, measured in turn."""
    least = [float("inf")] * len(forwards)
    for _ in range(_ROUNDS_TO_CHOOSE):
        for index, forward in enumerate(forwards):
            least[index] = min(least[index], time_forward(partial(forward, images)))
    return forwards[least.index(min(least))]
