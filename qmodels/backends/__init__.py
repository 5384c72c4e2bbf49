"""Runtimes, a module each: storing, loading, proof of kernels, saturation."""
