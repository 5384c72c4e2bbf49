"""The machine class that is nearest to another one.

A machine whose class has no stored run is compared with the run of the nearest class of the same
system and architecture. Classes whose products of uint8 and int8 overflow alike come first, because
quantization gives weights seven bits where they do. Then the fewest steps in ``_LADDER`` decide,
and of two as near the lower one.
"""

from collections.abc import Iterable

from qmodels.system.machine import ARM_LEVELS, X86_LEVELS

# From the oldest instruction set to the newest. No class is of both architectures.
_LADDER = ("baseline", *reversed(ARM_LEVELS), *reversed(X86_LEVELS))
# Without VNNI, products of uint8 and int8 are added into saturating int16.
_OVERFLOWING = ("baseline", "avx2", "avx512")


def is_processor(machine_class: str) -> bool:
    """Whether a class is that of a processor, not of a GPU."""
    return machine_class.rpartition("-")[2] in _LADDER


def nearest(machine_class: str, others: Iterable[str]) -> list[str]:
    """The other classes that a class can be compared with, the nearest first.

    Empty for a class that is not of a processor, or of one that this code does not know.
    """
    platform, _, level = machine_class.rpartition("-")
    if level not in _LADDER:
        return []

    def distance(other: str) -> tuple[bool, int, int]:
        its = other.rpartition("-")[2]
        steps = _LADDER.index(its) - _LADDER.index(level)
        return (its in _OVERFLOWING) != (level in _OVERFLOWING), abs(steps), steps

    known = {f"{platform}-{other}" for other in _LADDER if other != level}
    return sorted(known.intersection(others), key=distance)
