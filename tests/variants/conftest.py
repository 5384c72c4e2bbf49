"""Artifacts of the small network."""

from collections.abc import Callable

import pytest
from torch import Tensor

from qmodels import variants
from qmodels.data import Dataset
from qmodels.network import Network
from qmodels.variants import Artifact


@pytest.fixture(scope="session")
def build(small_network: Network) -> Callable[[str], Artifact]:
    """Build a variant by name; skips the test where this machine can't."""

    def built(name: str) -> Artifact:
        variant = variants.all_variants()[name]
        reason = variant.unavailable_reason()
        if reason:
            pytest.skip(reason)
        return variants.build(variant, small_network)

    return built


@pytest.fixture(scope="session")
def images(digits: Dataset) -> Tensor:
    return digits.normalize(digits.test.images[:24])
