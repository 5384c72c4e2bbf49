"""Changes that a stored run accepts."""

import pytest

from qmodels import gate
from tests.gate.entries import KEY, TOLERANCES, entry, holding, line, size, stored


@pytest.mark.parametrize(("now", "verdict"), [(160, "ok"), (175, "regressed")])
def test_a_change_that_the_stored_run_accepts_passes_beside_a_base(now: int, verdict: str) -> None:
    head, base = stored(size_bytes=size(1500)), stored(size_bytes=size(1000))
    accepted = gate.changes(head, base, TOLERANCES)
    assert accepted == {(KEY, "size_bytes"): 500}
    accepted = {(KEY, "size_bytes"): 50.0}
    beside = holding(entry(size_bytes=size(100)), beside=True)
    (finding,) = gate.compare(entry(size_bytes=size(now)), beside, TOLERANCES, accepted)
    assert finding.verdict == verdict
    assert "50 bytes more accepted" in line(finding) or "0.1 kB more accepted" in line(finding)


def test_stored_runs_that_differ_within_tolerance_accept_nothing() -> None:
    head, base = stored(size_bytes=size(1050)), stored(size_bytes=size(1000))
    assert gate.changes(head, base, TOLERANCES) == {}
    assert gate.changes(base, head, TOLERANCES) == {}
    assert gate.changes(head, None, TOLERANCES) == {}
