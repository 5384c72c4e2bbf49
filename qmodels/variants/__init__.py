"""How a network is quantized, a module a family, and the artifacts that come of it."""

from qmodels.variants.artifact import Artifact, build
from qmodels.variants.registry import Variant, all_variants, select, variant

__all__ = ["Artifact", "Variant", "all_variants", "build", "select", "variant"]
