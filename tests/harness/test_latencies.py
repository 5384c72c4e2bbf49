import math
import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from qmodels.base.arms import Arm
from qmodels.gate import sequential
from qmodels.gate.intervals import Interval
from qmodels.gate.latency import Case, Process, Timings
from qmodels.gate.sequential import Rule, Stage
from qmodels.harness.latencies import time_cases
from qmodels.system.checkout import THIS_CHECKOUT, Checkout
from qmodels.system.errors import UserError

CASES: list[Case] = [("fp32", 1), ("dynamic-int8", 1)]
SECONDS = {"probe": 0.001, "fp32": 0.010, "dynamic-int8": 0.008}
# In place of the stopwatch: it answers with times that are told, not taken.
CLOCK = """
    from qmodels.system import child
    from qmodels.base.protocol import PROTOCOL

    seconds = {}

    def answer(request):
        if "protocol" in request:
            conditions = {"machine_class": "", "versions": {}, "isa": {}}
            about = {"version": "", "file": None, "variants": [], "conditions": conditions}
            return {"protocol": PROTOCOL, **about}
        if request["request"] == "load":
            seconds.update(request["seconds"])
            return {name: request["broken"].get(name) for name in seconds}
        return {"seconds": [seconds[request["model"]]] * request["timed"]}

    child.serve(answer)
"""


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """As few processes as possible."""
    monkeypatch.setattr(sequential, "SCREEN", Stage(1, 1, 1 / 2))
    monkeypatch.setattr(sequential, "CONFIRM", Stage(1, 1, 1 / 2))
    monkeypatch.setattr(sequential, "STORED_PROCESSES", 2)


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Checkout:
    (tmp_path / "clock.py").write_text(textwrap.dedent(CLOCK))
    monkeypatch.setenv("PYTHONPATH", str(THIS_CHECKOUT.root))
    return Checkout(tmp_path, Path(sys.executable))


def side(
    checkout: Checkout,
    slowed: Mapping[str, float] | None = None,
    broken: Mapping[str, str] | None = None,
) -> Arm:
    """Real processes whose models take the seconds above, or as many times that, or fail."""
    seconds = {name: value * (slowed or {}).get(name, 1.0) for name, value in SECONDS.items()}
    return Arm(checkout, {"seconds": seconds, "broken": dict(broken or {})}, ("clock",))


def succeeded(timings: Timings | UserError) -> Timings:
    assert isinstance(timings, Timings)
    return timings


def test_ratios_are_of_one_process_and_changes_of_two(checkout: Checkout) -> None:
    head, base = side(checkout, {"dynamic-int8": 1.5}), side(checkout)
    rule = Rule(
        "latency_change", lambda samples, alpha: Interval(samples[-1], samples[-1], 1.0), 0.1
    )
    timings = time_cases(CASES, [head, base], {case: [rule] for case in CASES}, threads=1)
    fp32, int8 = map(succeeded, timings.values())
    assert fp32.samples("latency_ratio") == ((), ()), "it would be against itself"
    assert fp32.samples("latency_change") == ((0.0,), ()), "not slower, so not confirmed"
    assert fp32.metrics()["probe_ratio"].samples == pytest.approx([math.log(10)])
    ratios, later = int8.samples("latency_ratio")
    assert ratios == pytest.approx([math.log(1.2)])
    assert later == (), "only the first process gives ratios"
    screened, confirmed = int8.samples("latency_change")
    assert screened == confirmed == pytest.approx([math.log(1.5)])
    metrics = int8.metrics()
    assert len(metrics["latency_change"].confirmation) == 1
    assert metrics["latency_change"].value == pytest.approx(1.5)
    assert metrics["latency_ratio"].value == pytest.approx(1.2)
    assert metrics["latency_ms"].value == pytest.approx(12)
    assert set(int8.seconds) == {0.012}
    assert set(int8.base_seconds) == {0.008}
    assert "latency_ratio" not in fp32.metrics()


def test_without_a_base_every_process_gives_ratios(checkout: Checkout) -> None:
    (timings,) = time_cases(CASES[1:], [side(checkout)], {}, threads=1, to_store=True).values()
    metrics = succeeded(timings).metrics()
    assert metrics["latency_ratio"].samples == pytest.approx([math.log(0.8)] * 2)
    assert metrics["latency_ratio"].confirmation == ()
    assert "latency_change" not in metrics


def slower(samples: Sequence[float], alpha: float) -> Interval:
    """Whatever the samples: but there have to be some."""
    assert samples
    return Interval(1.0, 1.0, level=1.0)


def test_a_model_that_fails_costs_its_case(checkout: Checkout) -> None:
    head, broken = side(checkout), side(checkout, broken={"dynamic-int8": "it is damaged"})
    for arms, metric in (([broken], "probe_ratio"), ([head, broken], "latency_change")):
        rules = {case: [Rule(metric, slower, 0.5)] for case in CASES}
        timings = time_cases(CASES, arms, rules, threads=1)
        screened, confirmed = succeeded(timings[CASES[0]]).samples(metric)
        assert len(screened) == len(confirmed) == 1
        assert str(timings[CASES[1]]) == "it is damaged"


def test_a_reference_that_fails_costs_all_cases(checkout: Checkout) -> None:
    broken = side(checkout, broken={"fp32": "it is damaged"})
    timings = time_cases(CASES, [broken], {}, threads=1, to_store=True)
    assert list(map(str, timings.values())) == ["it is damaged"] * 2


def test_all_processes_count_and_those_that_confirm_are_kept_apart() -> None:
    screened, confirmed = (
        Process((0.001, 0.001), {"latency_change": 0.1}, (0.004,)),
        Process((0.003, 0.009), {"latency_change": 0.2}, (0.005,)),
    )
    timings = Timings((screened,), (confirmed,))
    assert timings.seconds == (0.001, 0.001, 0.003, 0.009)
    assert timings.base_seconds == (0.004, 0.005)
    metrics = timings.metrics()
    assert metrics["latency_ms"].value == pytest.approx(2)
    change = metrics["latency_change"]
    assert change.value == pytest.approx(math.exp(0.15))
    assert (change.samples, change.confirmation) == ((0.1,), (0.2,))


def test_a_metric_is_the_median_of_its_processes() -> None:
    ratios = [math.log(ratio) for ratio in (0.5, 0.4, 0.9)]
    processes = [Process((0.001, 1.0), {"latency_ratio": ratio}) for ratio in ratios]
    metric = Timings(tuple(processes)).metrics()["latency_ratio"]
    assert metric.value == pytest.approx(0.5)
    assert metric.samples == tuple(ratios)
    low, high = metric.ci or (0, 0)
    assert (low, high) == pytest.approx((0.4, 0.9))
    assert metric.ci_level == pytest.approx(0.75), "three samples reach no more"
