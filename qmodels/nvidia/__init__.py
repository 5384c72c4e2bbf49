"""NVIDIA GPUs alone: variants, runtimes, kernels of integers, and their times."""
