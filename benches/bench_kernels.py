"""Proof of kernels: how much really ran in int8, and whether it was computed right.

Timed: the forward that is held against reference arithmetic.
"""

from collections import Counter
from typing import Any

import pytest

from qmodels.measure import kernels, stopwatch
from qmodels.resnet import random_images
from qmodels.variants.making import reference_images


@pytest.mark.benchmark(group="kernels")
def bench_kernels(
    benchmark: Any,
    variant: Any,
    artifact: Any,
    fp32: Any,
    macs: Any,
    dataset: Any,
    settings: Any,
    record: Any,
) -> None:
    """int8_mac_fraction, runtime_sqnr_db; fails where a variant is not what it claims to be."""
    images = reference_images(dataset)
    with stopwatch.quiet(settings.threads):
        forward = artifact.load()
        ran = variant.format.kernels(forward, artifact.folder, random_images(1))
        logits = benchmark.pedantic(forward, args=(images,))
        proof = kernels.proof(ran, macs, logits, artifact.reference_logits(), fp32(images))
    doubt = kernels.doubt(variant, proof)
    if doubt:
        pytest.fail(doubt, pytrace=False)
    record(
        proof.metrics(),
        batch_size=1,
        threads=settings.threads,
        kernels=Counter(kernel.implementation for kernel in ran),
    )
