from dataclasses import replace

import pytest
import torch

from qmodels import variants
from qmodels.backends.base import Kernel
from qmodels.measure import kernels

STATIC = variants.all_variants()["static-int8"]
FP32 = torch.randn(50, 10, generator=torch.Generator().manual_seed(0))


def noisy(decibels: float, logits: torch.Tensor = FP32) -> torch.Tensor:
    noise = torch.randn(logits.shape, generator=torch.Generator().manual_seed(1))
    amplitude = float(logits.norm() / noise.norm()) * 10 ** (-decibels / 20)
    return logits + amplitude * noise


def shown(int8: int, runtime_db: float) -> kernels.KernelReport:
    reference = noisy(25)
    ran = [Kernel("a", "int8", int8, True), Kernel("b", "float", 100 - int8, False)]
    return kernels.report(ran, 100, noisy(runtime_db, reference), reference, FP32)


def test_a_proof_tells_the_share_and_both_noises() -> None:
    proof = shown(60, 40)
    assert proof.int8_fraction == 0.6
    assert proof.runtime_sqnr_db == pytest.approx(40, abs=0.1)
    assert proof.quantization_sqnr_db == pytest.approx(25, abs=0.1)
    assert proof.metrics()["int8_mac_fraction"].value == 0.6


def test_what_claims_int8_and_runs_float_is_doubted() -> None:
    said = kernels.check(STATIC, shown(60, 40))
    assert said is not None
    assert "static-int8 ran 60.0 % of its multiply-accumulates in int8 and claims 100 %" in said
    assert kernels.check(replace(STATIC, int8_share=0.0), shown(0, 40)) is None
    assert kernels.check(STATIC, shown(100, 40)) is None


def test_nothing_is_claimed_for_networks_of_users_but_that_int8_runs() -> None:
    """Some runtimes have no int8 kernel for depthwise convolutions, or for one channel."""
    assert kernels.check(STATIC, shown(1, 40), claimed=False) is None
    said = kernels.check(STATIC, shown(0, 40), claimed=False)
    assert said is not None
    assert said.startswith("static-int8 ran none of its multiply-accumulates in int8: ")


def test_logits_that_are_not_finite_are_doubted() -> None:
    logits = FP32.clone()
    logits[:3, 5] = torch.nan
    said = kernels.check(
        STATIC, kernels.report([Kernel("a", "int8", 100, True)], 100, logits, FP32, FP32)
    )
    assert said == "static-int8: 3 of 50 images have outputs that are not finite"


def test_a_runtime_that_adds_more_noise_than_quantization_is_doubted() -> None:
    assert kernels.check(STATIC, shown(100, 24)) is None, "within the margin"
    said = kernels.check(STATIC, shown(100, 12))
    assert said is not None
    assert "they saturate" in said
    assert "\n" not in said
