"""Whether two entries can be compared, and by which tolerances."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from qmodels.gate.baseline import Baseline
from qmodels.gate.entry import CONDITIONS, Entry
from qmodels.gate.finding import ACCEPT, Verdict
from qmodels.gate.tolerances import Origin, Tolerances
from qmodels.measure.metrics import depends
from qmodels.system import packages

_PINNED = f"install the pinned versions with `{packages.install('all')}`"


@dataclass(frozen=True)
class Fit:
    """A stored entry that an entry is compared with."""

    entry: Entry
    origin: Origin
    tolerances: Mapping[str, float]

    @property
    def file(self) -> str:
        """The path of its file, to begin a sentence with."""
        return self.entry.file or "The base"


class Unfit(NamedTuple):
    """Why a baseline has no entry that fits: the verdict on the metrics, and a sentence."""

    verdict: Verdict
    reason: str


def fit(now: Entry, baseline: Baseline | None, tolerances: Tolerances) -> Fit | Unfit:
    """The stored entry that an entry is compared with, or why there is none."""
    before = baseline.entries.get(now.key) if baseline else None
    if baseline is not None and before is not None:
        reason = incompatibility(now, before, from_base=baseline.from_base)
        gated = {name: _tolerance_of(name, now, before, tolerances) for name in before.metrics}
        compared = {name: given for name, given in gated.items() if given is not None}
        fitting = Fit(before, origin_of(now, before), compared)
        if reason:
            return Unfit("missing", f"{fitting.file} was measured with {reason}, or {ACCEPT}")
        return fitting
    if baseline is None:
        lacks = f"No run of {now.key.network} is stored for {now.machine_class}"
        return Unfit("missing", f"{lacks}: {ACCEPT}")
    lacks = baseline.absence(now.name, now.variant)
    if baseline.from_base or now.machine_class in baseline.partial_for:
        return Unfit("new", lacks)
    return Unfit("missing", f"{lacks}: {ACCEPT}")


def _tolerance_of(metric: str, now: Entry, before: Entry, tolerances: Tolerances) -> float | None:
    """The tolerance of a metric against a stored one; None where the two are not compared."""
    if difference(metric, now, before, tolerances):
        return None
    return tolerances.of(metric, now if metric in now.metrics else before, origin_of(now, before))


def difference(metric: str, now: Entry, before: Entry, tolerances: Tolerances) -> str | None:
    """The reason why a metric is not compared with a stored one; None if it is compared.

    A metric is not compared if something that its value depends on differs. Files, kernels and bits
    differ between classes only.
    """
    origin = origin_of(now, before)
    if origin == "another class":
        if depends(metric, "files") and not now.portable:
            return "machine code of another class"
        if depends(metric, "kernels") and now.kernel_library != before.kernel_library:
            return "other kernels"
        if depends(metric, "bits") and _has_other_bits(now, before):
            return "int8 saturates on one class alone"
        if tolerances.of(metric, now, origin) is None:
            return "another machine class"
    if depends(metric, "python") and now.provenance.python != before.provenance.python:
        return "another Python"
    if depends(metric, "processor") and not _of_one_processor(now, before):
        return "another model of processor"
    return None


def origin_of(now: Entry, before: Entry) -> Origin:
    """Where a stored entry was made. Another Python moves times as another host does.

    Variables such as ``ONEDNN_MAX_CPU_ISA`` hide instructions from some libraries. What then calls
    other kernels, or has other bits, is as good as made on another class.
    """
    alike = (
        now.machine_class == before.machine_class
        and now.kernel_library == before.kernel_library
        and not _has_other_bits(now, before)
    )
    if not alike:
        return "another class"
    same = (
        now.provenance.host == before.provenance.host
        and now.provenance.python == before.provenance.python
    )
    return "this host" if same else "another host"


def _has_other_bits(now: Entry, before: Entry) -> bool:
    """Whether weights of int8 lose a bit on one side alone, as products overflow there."""
    return now.arithmetic == "int8" and now.int8_saturates != before.int8_saturates


def _of_one_processor(now: Entry, before: Entry) -> bool:
    """Whether times of two entries were measured on one host, or one model of processor.

    In one class, a processor with faster bfloat16 halves the time of ``bf16``.
    """
    first, second = now.provenance, before.provenance
    return first.host == second.host or first.processor == second.processor != "unknown"


def incompatibility(now: Entry, before: Entry, *, from_base: bool = False) -> str | None:
    """Why two entries can't be compared, with the remedy; None where they can.

    Args:
        from_base: the one before is a base's, whose packages may be other ones.
    """
    for condition in CONDITIONS:
        then, here = getattr(before, condition), getattr(now, condition)
        if condition == "runtime":
            then, here = _public_versions(then), _public_versions(here)
            if then != here and not from_base:
                return f"{then}, and this run has {here}: {_PINNED}"
        elif then != here:
            return f"{condition} {then}, and this run has {here}: use the setting of the baseline"
    then, here = (
        _public_versions(entry.provenance.versions.get("torch")) for entry in (before, now)
    )
    if then != here and not from_base:
        return f"torch {then}, and this run has {here}, so it is stale: {_PINNED}"
    if now.images_digest and before.images_digest not in (None, now.images_digest):
        return "other test images: restore them"
    return None


def _public_versions(versions: str | None) -> str:
    """Versions without their local labels: ``2.15.0+cpu`` is a build of 2.15.0."""
    return re.sub(r"\+[\w.]+", "", str(versions))
