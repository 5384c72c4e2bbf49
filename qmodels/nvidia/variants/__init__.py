"""Variants on NVIDIA GPUs."""
