"""The Triton kernels in Triton's interpreter, on the CPU."""

import sys
from collections.abc import Callable, Iterator
from importlib import util
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from qmodels.nvidia import integer
from qmodels.system import packages
from qmodels.system.errors import UserError
from tests.nvidia.integer_layers import operands, random_integers, random_layer

triton = pytest.importorskip(
    "triton", reason=f"the kernels are Triton's: {packages.install('cuda')}"
)
tl = pytest.importorskip("triton.language")


@pytest.fixture
def language() -> Iterator[None]:
    """Triton's language, put back afterwards: some interpreters leave it unfit to compile with."""
    modules = [module for name, module in sys.modules.items() if name.startswith("triton.language")]
    classes = [
        value for module in modules for value in vars(module).values() if isinstance(value, type)
    ]
    before = [(owner, dict(vars(owner))) for owner in (*modules, *classes)]
    yield
    for owner, attributes in before:
        for name in vars(owner).keys() - attributes.keys():
            if not isinstance(vars(owner)[name], ModuleType):  # imported meanwhile, by torch too
                delattr(owner, name)
        for name, value in attributes.items():
            if vars(owner)[name] is not value:
                setattr(owner, name, value)


@pytest.fixture
def interpreted(language: None) -> ModuleType:
    """A copy of the module whose kernels are interpreted, which is settled when it is imported.

    The variable must not outlive that: torch's own Triton kernels would be interpreted too.
    """
    spec = util.find_spec("qmodels.nvidia.triton_int8")
    assert spec is not None
    assert spec.loader is not None
    module = util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRITON_INTERPRET", "1")
        spec.loader.exec_module(module)
    return module


def count(y: Any, steps: Any) -> None:
    """A loop as long as a value says: what the kernel of convolutions needs."""
    for step in range(steps):
        tl.store(y + step, step)


@pytest.fixture
def convolving(interpreted: ModuleType) -> ModuleType:
    """The same, where such loops are interpreted."""
    y = torch.zeros(3, dtype=torch.int32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRITON_INTERPRET", "1")
        try:
            triton.jit(count)[(1,)](y, 3)
        except triton.runtime.errors.InterpreterError as error:
            versions = f"Triton {triton.__version__} with numpy {np.__version__}"
            pytest.skip(f"{versions} can't interpret a loop over a value: {error}")
    assert y.tolist() == [0, 1, 2]
    return interpreted


KINDS = {
    "stem": (3, 8, 3, 1, True, False),
    "3x3": (8, 8, 3, 1, True, False),
    "3x3 residual": (8, 8, 3, 1, True, True),
    "3x3 residual without ReLU": (8, 8, 3, 1, False, True),
    "3x3 stride 2": (8, 16, 3, 2, True, False),
    "1x1 stride 2 shortcut": (8, 16, 1, 2, False, False),
    "channels of several tiles": (40, 24, 3, 1, True, True),
    "odd channels": (33, 17, 3, 2, True, False),
}


@pytest.mark.parametrize(("batch", "height", "width"), [(1, 4, 4), (3, 5, 7)])
@pytest.mark.parametrize("kind", KINDS)
def test_the_interpreted_kernel_gives_the_exact_result_to_the_bit(
    kind: str, batch: int, height: int, width: int, convolving: ModuleType
) -> None:
    layer = random_layer(*KINDS[kind])
    x, residual = operands(layer, batch, height, width, added=KINDS[kind][-1])
    expected = integer.convolve(x, layer, residual)
    assert expected.unique().numel() > 10
    assert torch.equal(convolving.convolve(x, layer, residual), expected)


def test_full_range_does_not_saturate(convolving: ModuleType) -> None:
    layer = random_layer(64, 8, 3, 1, False, False)
    layer.weight.fill_(-127)
    layer.offset.fill_(0)
    layer.multiplier.fill_(1)
    layer.numbers[2] = 16  # 128 * 127 * 576 >> 16 is 142: too much for a result
    layer.numbers[3] = -128
    x = torch.full((1, 3, 3, 64), 127, dtype=torch.int8)
    got = convolving.convolve(x, layer)
    assert torch.equal(got, integer.convolve(x, layer))
    assert got.min() == -128
    layer.numbers[2] = 24
    assert torch.equal(convolving.convolve(x, layer), torch.full_like(got, -1))


def test_nothing_is_written_beside_the_result(convolving: ModuleType) -> None:
    """Of tiles that reach beyond the rows and beyond the channels."""
    layer = random_layer(*KINDS["odd channels"])
    x = random_integers(1, 5, 7, 33)
    expected = integer.convolve(x, layer)
    around = torch.full((10_000 + expected.numel() + 10_000,), 99, dtype=torch.int8)
    y = around[10_000:-10_000]
    rows = expected.numel() // 17
    convolving.convolve_kernel[convolving.grid(rows, 17)](
        *(x, layer.weight, layer.multiplier, layer.offset, layer.numbers, y, y),
        *(rows, 5, 7, 33, expected.shape[1], expected.shape[2], 17),
        **{"stride": 2, "kernel": 3, "has_residual": False},
        **convolving.INTERPRETED_TILE,
    )
    assert torch.equal(y.view_as(expected), expected)
    assert bool((around[:10_000] == 99).all() & (around[-10_000:] == 99).all())


def test_an_empty_batch_gives_an_empty_result(interpreted: ModuleType) -> None:
    layer = random_layer(*KINDS["3x3 stride 2"])
    assert interpreted.convolve(random_integers(0, 4, 4, 8), layer).shape == (0, 2, 2, 16)
    assert interpreted.quantize(torch.empty(0, 3, 4, 4), torch.ones(2)).shape == (0, 4, 4, 3)


@pytest.mark.parametrize("shape", [(1, 3, 4, 4), (2, 3, 33, 5)])
def test_interpreted_quantization_of_images_is_exact(
    shape: tuple[int, ...], interpreted: ModuleType
) -> None:
    images = torch.randn(shape, generator=torch.Generator().manual_seed(0)) * 3
    steps = torch.tensor([25.3, -7.5])
    expected = integer.quantize(images, steps)
    assert (expected == 127).any()
    assert torch.equal(interpreted.quantize(images, steps), expected)


def test_strided_images_are_read_as_what_they_are(interpreted: ModuleType) -> None:
    images = torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last)
    steps = torch.tensor([25.3, -7.5])
    assert torch.equal(interpreted.quantize(images, steps), integer.quantize(images, steps))


def test_what_a_kernel_would_misread_is_one_line(interpreted: ModuleType) -> None:
    layer = random_layer(*KINDS["3x3"])
    x = random_integers(1, 4, 4, 8)
    calls: list[Callable[[], object]] = [
        lambda: interpreted.convolve(x.transpose(1, 2), layer),
        lambda: interpreted.convolve(x, layer, x.transpose(1, 2)),
        lambda: interpreted.convolve(x.float(), layer),
        lambda: interpreted.quantize(torch.zeros(1, 1, 4, 4), torch.ones(2)),
        lambda: interpreted.quantize(torch.zeros(1, 3, 4, 4).double(), torch.ones(2)),
    ]
    for wrong in calls:
        with pytest.raises(UserError, match="give it") as caught:
            wrong()
        assert "\n" not in str(caught.value)
