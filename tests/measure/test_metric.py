import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmodels.measure.metric import Metric
from qmodels.measure.metrics import METRICS
from qmodels.system import codec
from qmodels.system.errors import UserError

numbers = st.floats(allow_nan=False, allow_infinity=False, width=32)


@given(
    value=numbers,
    name=st.sampled_from(sorted(METRICS)),
    ci=st.none() | st.tuples(numbers, numbers),
    samples=st.lists(st.floats(-3, 3), max_size=3).map(tuple),
)
def test_a_record_comes_back_the_same(
    value: float, name: str, ci: tuple[float, float] | None, samples: tuple[float, ...]
) -> None:
    value = math.exp(samples[0]) if samples else value
    metric = METRICS[name].of(value, ci, samples=samples, confirmation=samples)
    assert codec.decode(Metric, json.loads(json.dumps(codec.encode(metric)))) == metric


def test_percentages_have_absolute_tolerances_and_others_fractions() -> None:
    assert METRICS["top1"].of(66.0).slack(0.1) == pytest.approx(0.1)
    assert METRICS["size_bytes"].of(200.0).slack(0.1) == pytest.approx(20)


@pytest.mark.parametrize(
    ("name", "before", "now", "change"),
    [
        ("top1", 97.2222, 97.2222222, "="),  # stored with six digits
        ("top1", 71.5, 71.38, "-0.12 points"),
        ("sqnr_db", 25.0, 23.5, "-1.50 dB"),
        ("size_bytes", 1e6, 1_250_000, "+25.00 %"),
        ("operator_calls", 8, 200, "+2400.00 %"),
        ("operator_calls", 0, 3, "+3.00 calls"),
        ("score", -0.5, -0.25, "+50.00 %"),
    ],
)
def test_a_change_is_in_the_unit_of_the_tolerance(
    name: str, before: float, now: float, change: str
) -> None:
    assert METRICS[name].of(now).change_from(before) == change


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ({}, "value: it is missing"),
        (None, "expected an object"),
        ({"value": "much"}, "value: expected a number, not 'much'"),
        ({"value": float("nan")}, "value: expected a number, not nan"),
        ({"value": 1, "unit": "x", "better": "up"}, "better: expected lower or higher, not 'up'"),
        (
            {"value": 1, "unit": "x", "better": "lower", "ci": [1]},
            "ci: expected a list of 2",
        ),
        (
            {"value": 1, "unit": "x", "better": "lower", "samples": [float("inf")]},
            "samples[0]: expected a number, not inf",
        ),
        (
            {"value": 1, "unit": "x", "better": "lower", "samples": 3},
            "samples: expected a list",
        ),
        (
            {"value": 0.5, "unit": "x", "better": "lower", "samples": [0.0, 0.1]},
            "expected a value between those of its samples, not 0.5",
        ),
        (
            {"value": -1, "unit": "x", "better": "lower", "confirmation": [0.0]},
            "expected a value between those of its samples, not -1",
        ),
    ],
)
def test_what_is_no_metric_is_refused(record: object, said: str) -> None:
    with pytest.raises(UserError) as caught:
        codec.decode(Metric, record)
    assert str(caught.value) == said
