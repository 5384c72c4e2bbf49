"""Changes that stored runs accept, of those of a base."""

from dataclasses import replace

import pytest

from qmodels import gate
from qmodels.gate import Entry, StoredChanges
from tests.gate.entries import KEY, OTHER, TOLERANCES, entry, holding, line, size


def changes(head: Entry | None, base: Entry | None) -> StoredChanges:
    return StoredChanges(*({KEY: entry} if entry else {} for entry in (head, base)))


@pytest.mark.parametrize(
    ("stored", "now", "verdict"),
    [
        (1500, 609, "ok"),  # 100 measured, 500 accepted, 10 tolerated
        (1500, 611, "regressed"),
        (1050, 151, "regressed"),  # 50 of 1000 are within tolerance: nothing was accepted
    ],
)
def test_a_loss_that_the_stored_run_accepts_passes_beside_a_base(
    stored: int, now: int, verdict: str
) -> None:
    accepted = changes(entry(size_bytes=size(stored)), entry(size_bytes=size(1000)))
    beside = holding(entry(size_bytes=size(100)), from_base=True)
    (finding,) = gate.compare(entry(size_bytes=size(now)), beside, TOLERANCES, accepted)
    assert finding.verdict == verdict
    assert ("0.5 kB more accepted" in line(finding)) == (stored == 1500)


@pytest.mark.parametrize(("now", "verdict"), [(159, "ok"), (161, "regressed")])
def test_where_the_base_stores_none_of_this_class_its_own_measurement_counts(
    now: int, verdict: str
) -> None:
    elsewhere = replace(entry(size_bytes=size(90)), machine_class=OTHER)
    beside = holding(entry(size_bytes=size(100)), from_base=True)
    for base in (None, elsewhere):
        accepted = changes(entry(size_bytes=size(150)), base)
        (finding,) = gate.compare(entry(size_bytes=size(now)), beside, TOLERANCES, accepted)
        assert finding.verdict == verdict
        assert "0.1 kB more accepted" in line(finding)


def test_an_entry_of_another_class_accepts_nothing_that_the_base_does_not_have() -> None:
    elsewhere = replace(entry(size_bytes=size(150)), machine_class=OTHER)
    beside = holding(entry(size_bytes=size(100)), from_base=True)
    (finding,) = gate.compare(
        entry(size_bytes=size(150)), beside, TOLERANCES, changes(elsewhere, None)
    )
    assert finding.verdict == "regressed"
