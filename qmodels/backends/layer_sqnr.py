"""Noise of a layer's output; without torch, which reports do not need."""

from typing import NamedTuple


class LayerSqnr(NamedTuple):
    """SQNR of one layer's output, in decibels: of quantization, and of the runtime.

    The latter is None where the runtime does not show what it computes.
    """

    layer: str
    quantization_db: float
    runtime_db: float | None
