"""The ways to run a model, a module a family, and the artifacts they build."""

from qmodels.runtimes.dispatch import Runnable
from qmodels.variants.artifact import Artifact, build
from qmodels.variants.registry import Variant, all_variants, select, variant

__all__ = ["Artifact", "Runnable", "Variant", "all_variants", "build", "select", "variant"]
