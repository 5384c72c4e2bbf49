import json
import random
from itertools import pairwise
from typing import Any

from qmodels.backends.base import ProfiledForward, Step
from qmodels.report.trace import trace_json

FORWARD = ProfiledForward(
    0.002,
    (Step("stem.conv", "aten::conv2d", 0.0001, 0.0015), Step(None, "aten::relu", 0.0017, 1e-5)),
)


def slices(*forwards: ProfiledForward) -> list[dict[str, Any]]:
    events = json.loads(trace_json("fp32", forwards))["traceEvents"]
    assert [event["args"]["name"] for event in events[:2]] == ["qmodels", "fp32"]
    assert all(event["ph"] == "X" for event in events[2:])
    return list(events[2:])


def test_forwards_follow_each_other_and_hold_their_steps() -> None:
    spans = [
        (event["name"], event["cat"], event["ts"], round(event["dur"], 1))
        for event in slices(FORWARD, FORWARD)
    ]
    assert spans == [
        ("forward 1", "forward", 0, 2000),
        ("stem.conv", "layer", 100, 1500),
        ("aten::relu", "other", 1700, 10),
        ("forward 2", "forward", 2000, 2000),
        ("stem.conv", "layer", 2100, 1500),
        ("aten::relu", "other", 3700, 10),
    ]
    assert slices(FORWARD)[1]["args"] == {"operation": "aten::conv2d"}


def test_no_slice_reaches_into_the_next() -> None:
    """As a reader sees it, which adds in floating point."""
    generator = random.Random(0)
    forwards = []
    for _ in range(50):
        seconds = [generator.expovariate(1e5) for _ in range(20)]
        steps = (Step("layer", "op", sum(seconds[:place]), seconds[place]) for place in range(20))
        forwards.append(ProfiledForward(sum(seconds), tuple(steps)))
    events = slices(*forwards)
    for kind in ("forward", "layer"):
        of_kind = [event for event in events if event["cat"] == kind]
        for before, after in pairwise(of_kind):
            assert before["ts"] + before["dur"] < after["ts"]
    for number in range(50):
        forward, *parts = events[21 * number : 21 * number + 21]
        assert all(forward["ts"] <= part["ts"] for part in parts)
        assert parts[-1]["ts"] + parts[-1]["dur"] <= forward["ts"] + forward["dur"]
