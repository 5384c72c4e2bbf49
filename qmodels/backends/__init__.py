"""What runs models, a module a runtime: storing, loading, proof of kernels, saturation."""
