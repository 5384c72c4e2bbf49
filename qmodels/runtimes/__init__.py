"""What executes models, a module a runtime.

Each knows how its artifacts are stored and loaded, which kernels ran in a forward, how the same
model computes in reference arithmetic, and whether its int8 kernels saturate here.
"""
