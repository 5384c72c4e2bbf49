"""Entries of runs, with whatever they need and a test does not speak of."""

from typing import Any

from qmodels.gate import Entry, Provenance

PROVENANCE = Provenance(
    date="2026-01-01",
    commit="abc",
    host="host",
    processor="GenuineIntel 6 207",
    versions={"python": "3.11.7", "torch": "2.15.0"},
)


def entry(bench: str, variant: str, batch_size: int = 1, **attributes: Any) -> Entry:
    """An entry without metrics, but for the attributes that are given."""
    name = f"{bench}[{variant}]"
    others: dict[str, Any] = {
        "name": name,
        "nodeid": f"benches/{bench}.py::{name}",
        "network": "digits-resnet34-w8",
        "engine": "eager",
        "threads": 1,
        "weights": "weights",
        "arithmetic": "float32",
        "machine_class": "linux-x86_64-avx2",
        "source": {"function": "birds:network"},
        "provenance": PROVENANCE,
        "metrics": {},
    }
    identity = {"bench": bench, "variant": variant, "batch_size": batch_size}
    return Entry(**others | identity | attributes)
