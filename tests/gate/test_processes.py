import math
from collections.abc import Sequence

import pytest

from qmodels.checkpoints import Checkpoint
from qmodels.child import HERE
from qmodels.data import Dataset
from qmodels.gate import processes, sequential
from qmodels.gate.processes import Limit, Timings
from qmodels.gate.sequential import Rule
from qmodels.measure import ceiling, latency
from qmodels.measure.latency import Side
from qmodels.variants import all_variants, build

CASES: list[sequential.Case] = [("fp32", 1), ("dynamic-int8", 1)]


@pytest.fixture
def side(digits: Dataset, digits_checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> Side:
    """Real artifacts in real processes, as few as possible."""
    monkeypatch.setattr(latency, "BUDGET_SECONDS", 0.05)
    monkeypatch.setattr(sequential, "SCREEN", sequential.Stage(1, 1, 1 / 2))
    monkeypatch.setattr(sequential, "CONFIRM", sequential.Stage(1, 1, 1 / 2))
    folders = {
        name: str(build(all_variants()[name], digits_checkpoint, digits).folder)
        for name, _ in CASES
    }
    return Side(HERE, {"artifacts": folders})


def test_ratios_are_of_one_process_and_changes_of_two(side: Side) -> None:
    rules = {case: Rule(lambda samples, level: (1.0, 1.0), 0.5) for case in CASES[1:]}
    found = processes.measure(CASES, side, side, rules, threads=1, limits={}, to_store=False)
    fp32, int8 = found[CASES[0]], found[CASES[1]]
    assert (fp32.x_fp32, len(fp32.x_probe), len(fp32.changes)) == ([], 1, 1)
    assert (len(int8.x_fp32), len(int8.changes), int8.screened) == (1, 2, 1), "and confirmed"
    metrics = int8.metrics()
    assert len(metrics["latency_change"].confirmation) == 1
    assert 0.5 < metrics["latency_change"].value < 2
    assert 0.3 < metrics["latency_ratio"].value < 3
    assert metrics["latency_ms"].value == pytest.approx(
        1e3 * sorted(int8.seconds)[len(int8.seconds) // 2], rel=0.1
    )
    assert "latency_ratio" not in fp32.metrics(), "it would be against itself"


def test_a_run_to_store_takes_a_fixed_number_of_processes(
    side: Side, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "STORED_PROCESSES", 2)
    limits = {CASES[1]: Limit(ceiling.name("float32"), work=0.001)}
    (timings,) = processes.measure(
        CASES[1:], side, None, {}, 1, limits=limits, to_store=True
    ).values()
    assert len(timings.metrics()["latency_ratio"].samples) == 2
    assert timings.metrics()["latency_ratio"].confirmation == ()
    assert "latency_change" not in timings.metrics()
    assert len(timings.x_ceiling) == 2
    # A thousandth of the work, in time of the same order.
    assert 1e-5 < timings.metrics()["ceiling_share"].value < 1e-1


def slower(samples: Sequence[float], level: float) -> tuple[float, float]:
    """Whatever the samples: but there have to be some."""
    assert samples
    return (1.0, 1.0)


def test_a_model_that_fails_costs_its_case(side: Side) -> None:
    folders = dict(side.request["artifacts"])
    damaged = Side(HERE, {"artifacts": {**folders, "dynamic-int8": str(HERE.root)}})
    rules = {case: Rule(slower, 0.5) for case in CASES}
    found = processes.measure(CASES, damaged, None, rules, threads=1, limits={}, to_store=False)
    fp32, int8 = found[CASES[0]], found[CASES[1]]
    assert fp32.failure is None
    assert len(fp32.x_probe) == 2, "and confirmed"
    assert "is damaged" in (int8.failure or "")
    assert int8.x_probe == []
    beside = processes.measure(CASES, side, damaged, rules, threads=1, limits={}, to_store=False)
    assert beside[CASES[1]].failure == int8.failure
    assert len(beside[CASES[0]].changes) == 2


def test_a_reference_that_fails_costs_all_cases(side: Side) -> None:
    damaged = {**side.request["artifacts"], "fp32": str(HERE.root)}
    found = processes.measure(
        CASES, Side(HERE, {"artifacts": damaged}), None, {}, 1, limits={}, to_store=True
    )
    assert all("is damaged" in (timings.failure or "") for timings in found.values())


def test_a_metric_is_the_median_of_its_processes() -> None:
    ratios = [math.log(one) for one in (0.5, 0.4, 0.9)]
    metric = Timings([0.001, 0.002, 1.0], ratios, [0.0], screened=3).metrics()["latency_ratio"]
    assert metric.value == pytest.approx(0.5)
    assert metric.samples == tuple(ratios)
    low, high = metric.ci or (0, 0)
    assert (low, high) == pytest.approx((0.4, 0.9))
