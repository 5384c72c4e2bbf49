"""All that runs on NVIDIA GPUs alone: variants, runtimes, integer kernels, and their times."""
