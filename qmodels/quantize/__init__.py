"""Rounding of a network by torch: fake quantization, ranges, stubs, sensitivity."""
