import pytest
import torch
from torch import Tensor, nn

from qmodels.backends import dispatch, torch_engine, torchscript
from qmodels.network import resnet
from qmodels.network.layers import Layer
from qmodels.variants import fx, static
from tests.eager import needs_eager_quantization

BACKEND = torchscript.BACKEND.on(torch_engine.default_engine())
IMAGES = resnet.random_images(2)


@pytest.fixture(scope="module")
def network() -> resnet.Resnet34:
    torch.manual_seed(0)
    model = resnet.build("resnet34", 8, 10)
    model.train()(resnet.random_images(32))
    return model.eval()


@pytest.fixture(scope="module")
def quantized(network: resnet.Resnet34) -> nn.Module:
    return static.quantize(network, resnet.random_images(64), BACKEND)


def test_a_network_has_37_layers_that_multiply() -> None:
    model = resnet.build("resnet34", 8, 10).eval()
    ran = dispatch.kernels(model, IMAGES[:1])
    assert len(ran) == 37
    # Two 3x3 layers a block, the stem, three shortcuts and the linear layer, by hand.
    blocks = 2 * 16 * 9 * 8 * 8 * 32 * 32 - 3 * 9 * 8 * 8 * 32 * 32 // 2
    ends = 9 * 3 * 8 * 32 * 32 + 64 * 10
    shortcuts = 3 * 8 * 16 * 16 * 16
    assert sum(kernel.macs for kernel in ran) == blocks + ends + shortcuts
    assert not any(kernel.int8 for kernel in ran)


@needs_eager_quantization
def test_quantized_kernels_multiply_as_much_and_in_int8(
    network: resnet.Resnet34, quantized: nn.Module
) -> None:
    whole = sum(kernel.macs for kernel in dispatch.kernels(network, IMAGES))
    for forward in (quantized, static.freeze(quantized, IMAGES, BACKEND)):
        ran = dispatch.kernels(forward, IMAGES)
        assert sum(kernel.macs for kernel in ran if kernel.int8) == whole


@needs_eager_quantization
def test_a_layer_in_float_is_counted_as_such(quantized: nn.Module) -> None:
    conv = nn.Conv2d(3, 4, 3, bias=False)

    def half(images: Tensor) -> Tensor:
        conv(images)
        logits: Tensor = quantized(images)
        return logits

    (extra,) = [kernel for kernel in dispatch.kernels(half, IMAGES) if not kernel.int8]
    assert extra.macs == 2 * 4 * 30 * 30 * 3 * 9


@needs_eager_quantization
def test_reference_arithmetic_is_exact_on_integers() -> None:
    generator = torch.Generator().manual_seed(0)
    levels = torch.randint(-64, 64, (8, 6, 3, 3), generator=generator)
    image = torch.randint(0, 256, (2, 6, 7, 7), generator=generator)
    packed = torch.ops.quantized.conv2d_prepack(
        torch.quantize_per_tensor(levels.float(), 1.0, 0, torch.qint8),
        None,
        [2, 2],
        [1, 1],
        [1, 1],
        1,
    )
    x = torch.quantize_per_tensor(image.float() - 10, 1.0, 10, torch.quint8)
    sums = nn.functional.conv2d(image.double() - 10, levels.double(), stride=2, padding=1)
    scale = float(sums.abs().max()) / 100
    out = dispatch.exact("quantized::conv2d_relu", (x, packed, scale, 5))
    expected = (sums.relu() / scale).round().clamp(0, 250) + 5
    # A sum just between two levels may fall to either side.
    assert int((out.int_repr() - expected).abs().max()) <= 1
    assert float((out.int_repr() == expected).float().mean()) > 0.99


@needs_eager_quantization
def test_a_model_in_reference_arithmetic_agrees_with_its_kernels(quantized: nn.Module) -> None:
    with torch.inference_mode():
        ran, exact = quantized(IMAGES), dispatch.reference(quantized)(IMAGES)
    assert ran.shape == exact.shape
    noise = (ran - exact).pow(2).sum() / exact.pow(2).sum()
    assert float(noise) < 10**-1.5
    if not torch_engine.int8_saturates(BACKEND.engine):
        assert not torch.equal(exact, torch.zeros_like(exact))


@needs_eager_quantization
def test_reference_arithmetic_ends_with_the_forward(quantized: nn.Module) -> None:
    with torch.inference_mode():
        before = quantized(IMAGES)
        dispatch.reference(quantized)(IMAGES)
        assert torch.equal(quantized(IMAGES), before)


def test_operators_whose_weights_have_one_shape_are_told_apart_by_their_outputs() -> None:
    fine, coarse = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 1, stride=2)
    ran = dispatch.products(lambda images: (coarse(images), fine(images))[0], IMAGES)
    weight = (4, 3, 1, 1)
    layers = [Layer("fine", weight, (4, 32, 32)), Layer("coarse", weight, (4, 16, 16))]
    assert dispatch.names_of(ran, layers) == ["coarse", "fine"]


class Shuffle(nn.Module):
    """A convolution whose channels are shuffled by sizes that the graph computes."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, 3, H, W) to (N, 4)."""
        x = self.convolution(x)
        count, channels, height, width = x.size()
        halves = x.view(count, 2, channels // 2, height, width)
        return halves.transpose(1, 2).reshape(count, channels, height, width).mean([2, 3])


@needs_eager_quantization
def test_graphs_that_compute_sizes_are_seen_before_torch_has_rewritten_them() -> None:
    torch.manual_seed(0)
    script = fx.fx_int8(Shuffle().eval(), resnet.random_images(8))
    with torch.inference_mode():
        exact = dispatch.reference(script)(IMAGES)
        assert [product.integer for product in dispatch.products(script, IMAGES)] == [True]
        assert torch.allclose(script(IMAGES), exact, atol=0.05)
