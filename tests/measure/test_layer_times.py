import pytest

from qmodels import variants
from qmodels.backends.base import ProfiledForward, Step
from qmodels.measure.layer_times import LayerTime, OtherTime, TimeProfile, profile
from qmodels.network import Network
from qmodels.network.layers import executed
from tests import small

# Float graphs of other runtimes: tests/backends/test_graphs.py.
OF_TORCH = ("fp32", "dynamic-int8", "static-int8-jit")
NAMES = (*OF_TORCH, "onnx-int8", "openvino-int8")
# What each runtime has to do beside the layers, as it names that.
PARTS = {
    "fp32": "aten::add",
    "dynamic-int8": "aten::add",
    "static-int8-jit": "aten::quantize_per_tensor",
    "onnx-int8": "QuantizeLinear",
    "openvino-int8": "Reorder",
}


@pytest.mark.parametrize("name", NAMES)
def test_every_runtime_shows_the_time_of_every_layer(name: str, small_network: Network) -> None:
    variant = variants.all_variants()[name]
    reason = variant.unavailable_reason()
    if reason:
        pytest.skip(reason)
    artifact = variants.build(variant, small_network)
    # Runtimes beside torch count whole microseconds: of 128 images, no layer takes less.
    profiled = profile(artifact, batch_size=4 if name in OF_TORCH else 128, threads=1)
    model = small_network.load()
    names = {layer.name for layer in executed(model, artifact.example(1))}
    assert {layer.layer for layer in profiled.layers} == names
    assert len(names) == small.LAYERS
    assert not profiled.unseen
    assert all(layer.seconds > 0 for layer in profiled.layers)
    assert profiled.others
    assert all(other.seconds >= 0 for other in profiled.others)
    assert any(PARTS[artifact.variant.name] in other.operation for other in profiled.others)
    assert profiled.between_seconds < profiled.seconds
    for forward in profiled.forwards:
        assert all(0 <= step.start < forward.seconds for step in forward.steps)


def forward(seconds: float, convolution: float, again: float) -> ProfiledForward:
    steps = (
        Step("conv", "convolve", 0.0, convolution),
        Step(None, "relu", convolution, 1.0),
        Step(None, "copy", convolution + 1, again),
        Step(None, "relu", convolution + 1, 0.5),
        Step("fc", "multiply", convolution + 2, 2.0),
        Step("conv", "accumulate", convolution + 4, again),
    )
    return ProfiledForward(seconds, steps)


def test_rows_are_medians_and_the_rest_is_between_them() -> None:
    forwards = (forward(12, 4, 1), forward(14, 4, 2), forward(33, 20, 1))
    profiled = TimeProfile(9.0, forwards, ("conv", "between", "fc"))
    assert profiled.layers == [
        LayerTime("conv", 6, "convolve, accumulate"),
        LayerTime("fc", 2, "multiply"),
    ]
    assert profiled.others == [OtherTime("relu", 2, 1.5), OtherTime("copy", 1, 1)]
    # 12 - 9.5, 14 - 11.5 and 33 - 25.5.
    assert profiled.between_seconds == 2.5
    assert profiled.seconds == 13
    assert profiled.unseen == ["between"]
