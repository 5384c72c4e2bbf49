import gc
import time

import numpy as np
import pytest
import torch

from qmodels.errors import UserError
from qmodels.measure import latency


def test_a_ratio_survives_a_machine_that_slows_down() -> None:
    """Both sides triple over the run; the variant takes half as long throughout."""
    speed = np.linspace(1.0, 3.0, 201)
    reference, variant = speed[0::2], 0.5 * speed[1::2]
    metrics = latency.metrics(variant, reference)
    assert metrics["latency_ratio"].value == pytest.approx(0.5, rel=1e-3)
    low, high = metrics["latency_ratio"].ci or (0, 0)
    assert (low, high) == pytest.approx((0.5, 0.5), rel=1e-3)


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    generator = np.random.default_rng(0)
    covered = 0
    for _ in range(100):
        reference = np.exp(generator.normal(0, 0.1, 61))
        variant = 0.8 * np.exp(generator.normal(0, 0.1, 60))
        low, high = latency.metrics(variant, reference)["latency_ratio"].ci or (0, 0)
        covered += low <= 0.8 <= high
    assert 87 <= covered <= 100


def test_latency_is_the_median_in_milliseconds() -> None:
    metrics = latency.metrics([0.001, 0.002, 1.0], [0.004] * 4)
    assert metrics["latency_ms"].value == pytest.approx(2.0)
    assert metrics["latency_ratio"].value == pytest.approx(0.5)
    assert metrics["latency_ms"].tolerance is None, "absolute times are not gated"


def test_quiet_sets_threads_and_stops_collection_and_puts_both_back() -> None:
    before = torch.get_num_threads()
    with latency.quiet(1):
        assert torch.get_num_threads() == 1
        assert not gc.isenabled()
        assert torch.is_inference_mode_enabled()
    assert torch.get_num_threads() == before
    assert gc.isenabled()


def test_no_threads_are_refused() -> None:
    with pytest.raises(UserError, match="0 threads"), latency.quiet(0):
        pass


def test_slow_pairs_get_fewer_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latency, "WARMUP_SECONDS", 0.01)
    monkeypatch.setattr(latency, "BUDGET_SECONDS", 0.5)
    assert latency.plan_rounds(lambda: time.sleep(0.1)) == latency.LEAST_ROUNDS
    assert latency.plan_rounds(lambda: None) == latency.MOST_ROUNDS
    assert latency.plan_rounds(lambda: time.sleep(0.01)) < 60
