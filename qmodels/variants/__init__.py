"""Quantization of a network, a module a family, and the artifacts that come of it."""

from qmodels.variants.artifact import Artifact, build, quantize
from qmodels.variants.registry import Variant, all_variants, select, variant

__all__ = ["Artifact", "Variant", "all_variants", "build", "quantize", "select", "variant"]
