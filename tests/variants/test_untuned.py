"""Variants of a network that nobody tuned them for. Half a minute."""

import pytest
import torch
from torch import Tensor, nn

from qmodels import variants
from qmodels.network import evaluation, open_network
from qmodels.system.errors import Unavailable
from qmodels.variants import pt2e
from tests import eager
from tests.eager import needs_eager_quantization

KNOWN = {name: variant for name, variant in variants.all_variants().items() if not variant.on_gpu}
# A network of a user's has no such sibling, and this one has no classes by which layers are ranked.
UNFIT = {
    "qat-int8": "masks has no quantization-aware sibling",
    "pt2e-qat-int8": "masks has no quantization-aware sibling",
    "mixed-int8": "the network gives (1, 1, 20, 24) for an image",
}


QUANTIZED = [
    name
    for name, variant in KNOWN.items()
    if name not in UNFIT and (variant.arithmetic == "int8" or name == "weight-int4")
]


@pytest.mark.parametrize("name", QUANTIZED)
def test_each_variant_is_built_and_computed_right(name: str) -> None:
    variant = KNOWN[name]
    if variant.unavailable_reason():
        pytest.skip(str(variant.unavailable_reason()))
    network = open_network("tests.outside:masks")
    artifact = variants.build(variant, network)
    forward = artifact.load()
    score = evaluation.evaluate(network, forward, range(60)).scores.mean()
    assert score > 0.97
    exact = artifact.reference_logits()
    if exact is None:
        return
    with torch.inference_mode():
        images = network.reference_images
        ran = variant.backend.kernels(forward, artifact, artifact.example(1))
        noise = evaluation.sqnr_db(exact, network.load()(images))
        runtime = evaluation.sqnr_db(forward(images), exact)
    print(f"{name}: {noise:.1f} dB, of the runtime {runtime:.1f} dB")
    assert sum(kernel.macs for kernel in ran if kernel.int8) > 0
    assert noise > 18
    assert runtime > noise


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=needs_eager_quantization if name in eager.VARIANTS else ())
        for name in UNFIT
    ],
)
def test_what_a_variant_can_not_take_is_said(name: str) -> None:
    with pytest.raises(Unavailable) as raised:
        variants.build(KNOWN[name], open_network("tests.outside:masks"))
    assert UNFIT[name] in str(raised.value)


@pytest.fixture
def needs_torchao() -> None:
    if KNOWN["pt2e-int8"].unavailable_reason():
        pytest.skip(str(KNOWN["pt2e-int8"].unavailable_reason()))


class Residual(nn.Module):
    """Two convolutions, and a ReLU that is called twice, as in torchvision's networks."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(4, 4, 3, padding=1)
        self.second = nn.Conv2d(4, 4, 3, padding=1)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.relu(self.second(self.relu(self.first(x))) + x)
        return y


@pytest.mark.usefixtures("needs_torchao")
def test_pt2e_takes_a_relu_that_is_called_twice() -> None:
    torch.manual_seed(0)
    model = Residual().eval().requires_grad_(False)
    images = torch.randn(8, 4, 8, 8)
    quantized = pt2e.pt2e_int8(model, images)
    assert evaluation.sqnr_db(quantized.eager(images), model(images)) > 30


@pytest.mark.usefixtures("needs_torchao")
def test_what_torchaos_quantizer_can_not_take_is_said() -> None:
    """A convolution that is called twice, for example."""

    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(4, 4, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.conv(torch.relu(self.conv(x)))
            return y

    with pytest.raises(Unavailable, match="torchao's quantizer does not take this network"):
        pt2e.pt2e_int8(Twice().eval(), torch.randn(4, 4, 8, 8))
