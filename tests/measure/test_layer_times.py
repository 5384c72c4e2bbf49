import pytest

from qmodels import variants
from qmodels.backends.base import ProfiledForward, Step
from qmodels.measure.layer_times import LayerTime, Profile, profile
from qmodels.network import Network
from qmodels.network.layers import executed

NAMES = ("fp32", "dynamic-int8", "static-int8-jit", "onnx-fp32", "onnx-int8", "openvino-fp32")


@pytest.mark.parametrize("name", [*NAMES, "openvino-int8"])
def test_every_runtime_shows_the_time_of_every_layer(name: str, digits_network: Network) -> None:
    variant = variants.all_variants()[name]
    reason = variant.unavailable_reason()
    if reason:
        pytest.skip(reason)
    artifact = variants.build(variant, digits_network)
    profiled = profile(artifact, batch_size=8, threads=1)
    model = digits_network.load()
    names = {layer.name for layer in executed(model, artifact.example(1))}
    assert {layer.layer for layer in profiled.layers} == names
    assert len(names) == 37
    assert not profiled.unseen
    assert all(layer.seconds > 0 for layer in profiled.layers)
    assert 0 < profiled.other_seconds < profiled.seconds
    for forward in profiled.forwards:
        assert all(0 <= step.start < forward.seconds for step in forward.steps)


def forward(seconds: float, convolution: float, again: float) -> ProfiledForward:
    steps = (
        Step("conv", "convolve", 0.0, convolution),
        Step(None, "relu", convolution, 1.0),
        Step("fc", "multiply", convolution + 1, 2.0),
        Step("conv", "accumulate", convolution + 3, again),
    )
    return ProfiledForward(seconds, steps)


def test_rows_are_medians_and_what_is_no_layer_is_the_rest() -> None:
    forwards = (forward(10, 4, 1), forward(11, 4, 2), forward(30, 20, 1))
    profiled = Profile(9.0, forwards, ("conv", "between", "fc"))
    assert profiled.layers == [
        LayerTime("conv", 6, "convolve, accumulate"),
        LayerTime("fc", 2, "multiply"),
    ]
    # 10 - 7, 11 - 8 and 30 - 23.
    assert profiled.other_seconds == 3
    assert profiled.seconds == 11
    assert profiled.unseen == ["between"]
