"""The stored runs of this repository: how they are written, and what is compared. A second."""

from pathlib import Path

import pytest

from qmodels import gate
from qmodels.gate.changes import LATENCIES
from qmodels.gate.run import ranks_path, times_path

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
            if finding.metric in LATENCIES
        ]
        assert sum(said.compared_latencies.values()) == len(latencies)
