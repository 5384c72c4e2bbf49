"""SQNR of a layer's output. This module imports no torch, so that reports need none."""

from typing import NamedTuple


class LayerSqnr(NamedTuple):
    """SQNR of one layer's output, in decibels: of quantization, and of the runtime.

    The latter is None where the runtime does not show what it computes.
    """

    layer: str
    quantization_db: float
    runtime_db: float | None
