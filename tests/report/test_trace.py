import json

from qmodels.backends.base import ProfiledForward, Step
from qmodels.report.trace import trace_json

FORWARD = ProfiledForward(
    0.002,
    (Step("stem.conv", "aten::conv2d", 0.0001, 0.0015), Step(None, "aten::relu", 0.0017, 1e-5)),
)


def test_forwards_follow_each_other_and_hold_their_steps() -> None:
    trace = json.loads(trace_json("fp32", [FORWARD, FORWARD]))
    names, slices = trace["traceEvents"][:2], trace["traceEvents"][2:]
    assert [event["args"]["name"] for event in names] == ["qmodels", "fp32"]
    assert all(event["ph"] == "X" for event in slices)
    spans = [(event["name"], event["cat"], event["ts"], event["dur"]) for event in slices]
    for number in (0, 1):
        began = 2000.0 * number
        forward, layer, other = spans[3 * number : 3 * number + 3]
        assert forward == (f"forward {number + 1}", "forward", began, 2000.0)
        assert layer[:2] == ("stem.conv", "layer")
        assert abs(layer[2] - began - 100) < 1e-6
        assert abs(layer[3] - 1500) < 1e-6
        assert other[:2] == ("aten::relu", "other")
    assert slices[1]["args"] == {"operation": "aten::conv2d"}
