"""The stored runs of this repository: how they are written, and that they gate. Four seconds."""

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from qmodels import gate
from qmodels.gate import Entry
from qmodels.gate.ranks import NOT_EVALUATED, WRONG_FROM, Ranks
from qmodels.gate.stored import ranks_path, times_path
from qmodels.measure.metric import Metric
from qmodels.measure.metrics import depends

BASELINES = Path(__file__).parents[2] / "baselines"
SHIPPED = sorted(path for path in BASELINES.glob("*-*/*.json") if path.suffixes == [".json"])
TOLERANCES = gate.read_tolerances(BASELINES)
each_shipped = pytest.mark.parametrize(
    "path", SHIPPED, ids=lambda path: f"{path.parent.name}-{path.stem}"
)


@each_shipped
def test_a_shipped_baseline_is_written_again_byte_for_byte(path: Path, tmp_path: Path) -> None:
    (done,) = gate.accept(tmp_path, gate.read_run(path), whole=True)
    assert done.path.relative_to(tmp_path) == path.relative_to(BASELINES)
    assert done.path.read_bytes() == path.read_bytes()
    for beside in (ranks_path, times_path):
        assert beside(done.path).read_bytes() == beside(path).read_bytes()


@each_shipped
def test_what_counts_as_compared_is_what_has_a_verdict(path: Path) -> None:
    """Of each stored run, with every other one of its network."""
    for other in BASELINES.glob(f"*/{path.name}"):
        before, now = gate.read_run(other).entries, gate.read_run(path).entries
        baseline = gate.Baseline(other, before)
        both = [key for key in now if key in before]
        judged = {key: gate.compare(now[key], baseline, TOLERANCES) for key in both}
        said = gate.coverage([(now[key], before[key]) for key in both], TOLERANCES)
        assert said.compared == sum(map(bool, judged.values()))
        latencies = [
            finding
            for findings in judged.values()
            for finding in findings
            if depends(finding.metric, "processor")
        ]
        assert sum(said.compared_latencies.values()) == len(latencies)


@each_shipped
def test_three_times_worse_is_red_in_each_metric(path: Path) -> None:
    """Measured on another host with the same processor, which has the widest tolerances."""
    stored = gate.read_run(path).entries
    baseline = gate.Baseline(path, stored)
    not_red, count = [], 0
    for entry in stored.values():
        host = replace(entry.provenance, host="another")
        for name in gated(entry):
            worse = replace(three_times_worse(entry, name), provenance=host)
            findings = gate.compare(worse, baseline, TOLERANCES)
            verdicts = {finding.metric: finding.verdict for finding in findings}
            related = WRONG_FROM if name in WRONG_FROM else [name]
            assert all(verdicts[other] == "ok" for other in verdicts if other not in related)
            count += 1
            if verdicts.get(name) != "regressed":
                not_red.append((entry.name, name, verdicts.get(name)))
    assert not_red == []
    assert count > 150


def gated(entry: Entry) -> Iterator[str]:
    """Gated metrics of an entry that are not zero: three times that is the same."""
    for name, metric in entry.metrics.items():
        if TOLERANCES.of(name, entry) is not None and metric.value != 0:
            yield name


def three_times_worse(entry: Entry, name: str) -> Entry:
    """An entry whose every image, process or value says that a metric is three times worse."""
    metric = entry.metrics[name]
    ranks = entry.by_image
    if name in WRONG_FROM:
        assert isinstance(ranks, Ranks)
        ranks = three_times_wrong(ranks, WRONG_FROM[name])
    return replace(entry, metrics={**entry.metrics, name: tripled(metric)}, by_image=ranks)


def tripled(metric: Metric) -> Metric:
    factor = 3.0 if metric.better == "lower" else 1 / 3
    return replace(
        metric,
        value=metric.value * factor,
        samples=tuple(sample + math.log(factor) for sample in metric.samples),
        confirmation=tuple(sample + math.log(factor) for sample in metric.confirmation),
    )


def three_times_wrong(ranks: Ranks, wrong_from: int) -> Ranks:
    """Three times as many images wrong, or else all of them."""
    values = ranks.values.copy()
    right = np.flatnonzero(values < wrong_from)
    wrong = np.flatnonzero((values >= wrong_from) & (values != NOT_EVALUATED))
    values[right[: 2 * len(wrong)]] = 99
    return Ranks(ranks.images, values)
