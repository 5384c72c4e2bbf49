"""The part of a run that is compared with its baseline, and why the rest is not."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from qmodels.gate.comparable import difference, incompatibility, origin_of
from qmodels.gate.entry import Entry
from qmodels.gate.tolerances import Tolerances
from qmodels.measure.metrics import depends


@dataclass(frozen=True)
class Coverage:
    """Counts of entries that a baseline has.

    Attributes:
        compared: those of which at least a metric is compared.
        compared_latencies: those whose latency is compared, by where the stored one was measured.
        uncompared: by the reason, the metrics that are not compared, and how many have some.
    """

    entries: int
    compared: int
    latencies: int
    compared_latencies: Mapping[str, int]
    uncompared: Mapping[str, tuple[tuple[str, ...], int]]

    def lines(self) -> list[str]:
        """Lines on compared metrics, and on each reason why others are not compared."""
        if not self.entries:
            return []
        text = [f"compared: {self.compared} of {self.entries} stored entries"]
        for reason, (metrics, count) in self.uncompared.items():
            entries = "1 entry" if count == 1 else f"{count} entries"
            text.append(f"not compared: {', '.join(metrics)} of {entries}: {reason}")
        return text + [self.latency_line()] * bool(self.latencies)

    def latency_line(self) -> str:
        """A line on the number of compared latencies, and their rules."""
        if not self.compared_latencies:
            return "latency: not compared; --qmodels-base REVISION compares it"
        total = sum(self.compared_latencies.values())
        counted = f"latency: {total} of {self.latencies} entries compared with"
        if self.compared_latencies.get("this host") == total:
            return f"{counted} this host"
        return f"{counted} another host, wide tolerances; --qmodels-base REVISION has narrow ones"


def coverage(pairs: Iterable[tuple[Entry, Entry]], tolerances: Tolerances) -> Coverage:
    """Count the entries and metrics that would be compared."""
    entries = compared = latencies = 0
    compared_latencies: Counter[str] = Counter()
    uncompared: dict[str, tuple[tuple[str, ...], int]] = {}
    for now, before in pairs:
        gated = [name for name in before.metrics if tolerances.of(name, now) is not None]
        other = "other conditions" if incompatibility(now, before) else None
        reasons = {name: other or difference(name, now, before, tolerances) for name in gated}
        entries += 1
        compared += None in reasons.values()
        times = [reason for name, reason in reasons.items() if depends(name, "processor")]
        latencies += bool(times)
        if None in times:
            compared_latencies[origin_of(now, before)] += 1
        for reason in dict.fromkeys(filter(None, reasons.values())):
            metrics, count = uncompared.get(reason, ((), 0))
            names = [name for name, why in reasons.items() if why == reason]
            uncompared[reason] = (tuple(sorted({*metrics, *names})), count + 1)
    return Coverage(entries, compared, latencies, compared_latencies, uncompared)
