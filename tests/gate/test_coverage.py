"""How much of a run is compared, as the header of a run says it. Less than a second."""

from dataclasses import replace
from typing import Any

import pytest

from qmodels import gate
from qmodels.gate import Entry
from qmodels.gate.entry import CONDITIONS
from tests.entries import PROVENANCE
from tests.gate.entries import OTHER, TOLERANCES, entry, ratio, size

LATENCY = entry(latency_ratio=ratio(0.5), size_bytes=size(1))
SIZE = entry(size_bytes=size(1))


def lines(*pairs: tuple[Entry, Entry]) -> list[str]:
    return gate.coverage(pairs, TOLERANCES).lines()


def made_by(host: str, processor: str = PROVENANCE.processor) -> Entry:
    return replace(LATENCY, provenance=replace(PROVENANCE, host=host, processor=processor))


def test_all_of_this_host_is_compared() -> None:
    assert lines((LATENCY, LATENCY), (SIZE, SIZE)) == [
        "compared: 2 of 2 stored entries",
        "latency: 1 of 1 entries compared with this host",
    ]


def test_the_latency_of_another_host_has_wide_tolerances() -> None:
    assert lines((LATENCY, made_by(host="other")))[1:] == [
        "latency: 1 of 1 entries compared with another host, wide tolerances; "
        "--qmodels-base REVISION has narrow ones"
    ]


def test_an_entry_that_names_no_processor_does_not_hide_behind_the_others() -> None:
    unknown = made_by(host="other", processor="unknown")
    assert lines((LATENCY, made_by(host="other")), (LATENCY, unknown)) == [
        "compared: 2 of 2 stored entries",
        "not compared: latency_ratio of 1 entry: another model of processor",
        "latency: 1 of 2 entries compared with another host, wide tolerances; "
        "--qmodels-base REVISION has narrow ones",
    ]
    assert "latency: not compared; --qmodels-base REVISION compares it" in lines((LATENCY, unknown))


def test_each_reason_is_a_line_with_its_metrics() -> None:
    other = replace(LATENCY, machine_class=OTHER, portable=False)
    assert lines((LATENCY, replace(other, portable=True)), (other, LATENCY)) == [
        "compared: 1 of 2 stored entries",
        "not compared: latency_ratio of 2 entries: another machine class",
        "not compared: size_bytes of 1 entry: machine code of another class",
        "latency: not compared; --qmodels-base REVISION compares it",
    ]


@pytest.mark.parametrize("condition", CONDITIONS)
def test_other_conditions_are_not_compared(condition: str) -> None:
    other: dict[str, Any] = {condition: "another"}
    now = replace(SIZE, **other)
    assert lines((now, SIZE)) == [
        "compared: 0 of 1 stored entries",
        "not compared: size_bytes of 1 entry: other conditions",
    ]


def test_without_a_stored_entry_there_is_nothing_to_say() -> None:
    assert lines() == []
