import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmodels.errors import UserError
from qmodels.metric import METRICS, Metric, measured

numbers = st.floats(allow_nan=False, allow_infinity=False, width=32)


@given(
    value=numbers,
    name=st.sampled_from(sorted(METRICS)),
    ci=st.none() | st.tuples(numbers, numbers),
)
def test_a_record_comes_back_the_same(
    value: float, name: str, ci: tuple[float, float] | None
) -> None:
    metric = measured(name, value, ci)
    assert Metric.from_record(json.loads(json.dumps(metric.as_record()))) == metric


def test_percentages_have_absolute_tolerances_and_others_fractions() -> None:
    assert Metric(66.0, "%", "higher", 0.1).allowed() == pytest.approx(65.9)
    assert Metric(200.0, "bytes", "lower", 0.1).allowed() == pytest.approx(220)


def test_a_tolerance_can_be_raised_and_not_lowered() -> None:
    assert measured("top1", 50, least_tolerance=0.5).tolerance == 0.5
    assert measured("top1", 50, least_tolerance=0.01).tolerance == METRICS["top1"][2]
    assert measured("top1_drop", 0, least_tolerance=0.5).tolerance is None


@pytest.mark.parametrize(
    "record",
    [
        {},
        None,
        {"value": "much", "unit": "x", "better": "lower", "tolerance": 0, "ci": None},
        {"value": 1, "unit": "x", "better": "sideways", "tolerance": 0, "ci": None},
        {"value": 1, "unit": "x", "better": "lower", "tolerance": 0, "ci": [1]},
    ],
)
def test_what_is_no_metric_is_refused(record: object) -> None:
    with pytest.raises(UserError, match="no metric"):
        Metric.from_record(record)  # type: ignore[arg-type]
