import math
import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from qmodels.base.arms import Arm
from qmodels.gate import latency, sequential
from qmodels.gate.intervals import Interval
from qmodels.gate.latency import Timings
from qmodels.gate.sequential import Rule
from qmodels.harness import sampling
from qmodels.system.checkout import THIS_CHECKOUT, Checkout

CASES: list[sequential.Case] = [("fp32", 1), ("dynamic-int8", 1)]
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
    monkeypatch.setattr(sequential, "SCREEN", sequential.Stage(1, 1, 1 / 2))
    monkeypatch.setattr(sequential, "CONFIRM", sequential.Stage(1, 1, 1 / 2))
    monkeypatch.setattr(latency, "STORED_PROCESSES", 2)


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


def test_ratios_are_of_one_process_and_changes_of_two(checkout: Checkout) -> None:
    head, base = side(checkout, {"dynamic-int8": 1.5}), side(checkout)
    rules = {
        case: Rule(lambda samples, alpha: Interval(samples[-1], samples[-1], 1.0), 0.1)
        for case in CASES
    }
    timings = sampling.measure(CASES, head, base, rules, threads=1, to_store=False)
    fp32, int8 = timings[CASES[0]], timings[CASES[1]]
    assert fp32.x_fp32 == [], "it would be against itself"
    assert fp32.x_probe == pytest.approx([math.log(10)])
    assert fp32.changes == [0.0], "not slower, so not confirmed"
    assert int8.x_fp32 == pytest.approx([math.log(1.2)])
    assert int8.changes == pytest.approx([math.log(1.5)] * 2), "and confirmed"
    assert int8.screened == 1
    metrics = int8.metrics()
    assert len(metrics["latency_change"].confirmation) == 1
    assert metrics["latency_change"].value == pytest.approx(1.5)
    assert metrics["latency_ratio"].value == pytest.approx(1.2)
    assert metrics["latency_ms"].value == pytest.approx(12)
    assert "latency_ratio" not in fp32.metrics()


def test_a_run_to_store_takes_a_fixed_number_of_processes(checkout: Checkout) -> None:
    (timings,) = sampling.measure(CASES[1:], side(checkout), None, {}, 1, to_store=True).values()
    metrics = timings.metrics()
    assert metrics["latency_ratio"].samples == pytest.approx([math.log(0.8)] * 2)
    assert metrics["latency_ratio"].confirmation == ()
    assert "latency_change" not in metrics


def slower(samples: Sequence[float], alpha: float) -> Interval:
    """Whatever the samples: but there have to be some."""
    assert samples
    return Interval(1.0, 1.0, level=1.0)


def test_a_model_that_fails_costs_its_case(checkout: Checkout) -> None:
    broken = side(checkout, broken={"dynamic-int8": "it is damaged"})
    rules = {case: Rule(slower, 0.5) for case in CASES}
    timings = sampling.measure(CASES, broken, None, rules, threads=1, to_store=False)
    fp32, int8 = timings[CASES[0]], timings[CASES[1]]
    assert fp32.failure is None
    assert len(fp32.x_probe) == 2, "and confirmed"
    assert int8.failure == "it is damaged"
    assert int8.x_probe == []
    head = side(checkout)
    beside = sampling.measure(CASES, head, broken, rules, threads=1, to_store=False)
    assert beside[CASES[1]].failure == int8.failure
    assert len(beside[CASES[0]].changes) == 2


def test_a_reference_that_fails_costs_all_cases(checkout: Checkout) -> None:
    broken = side(checkout, broken={"fp32": "it is damaged"})
    timings = sampling.measure(CASES, broken, None, {}, 1, to_store=True)
    assert all(case.failure == "it is damaged" for case in timings.values())


def test_a_metric_is_the_median_of_its_processes() -> None:
    ratios = [math.log(ratio) for ratio in (0.5, 0.4, 0.9)]
    metric = Timings([0.001, 0.002, 1.0], ratios, [0.0], screened=3).metrics()["latency_ratio"]
    assert metric.value == pytest.approx(0.5)
    assert metric.samples == tuple(ratios)
    low, high = metric.ci or (0, 0)
    assert (low, high) == pytest.approx((0.4, 0.9))
    assert metric.ci_level == pytest.approx(0.75), "three samples reach no more"
