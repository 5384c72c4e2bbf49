"""Runs that take logits from earlier ones. Ten seconds."""

import re

from tests.harness.conftest import Repository
from tests.harness.planting import NOISE, assert_red, loading, variants_file


def test_a_second_run_computes_a_tenth_of_the_logits_but_not_in_ci(stored: Repository) -> None:
    line = "logits of 2 variants are from an earlier run; one batch in ten was computed again"
    # Tests side by side have other variants of that name.
    stored.monkeypatch.setenv("QMODELS_CACHE_DIR", str(stored.folder / "cache"))
    stored.run("-k", "accuracy")
    for environment in ({}, {"CI": "true"}):
        printed = stored.run("-k", "accuracy", **environment).printed
        assert "gate: 5 ok, 0 regressed" in printed
        assert (line in printed) == (not environment)
    stored.plant(variants_file(loading(f"return {NOISE}")))
    noisy = [stored.run("-k", "accuracy").printed for _ in range(2)]
    assert line not in "".join(noisy)
    assert "planted: logits differ from those of an earlier run, so all were computed" in noisy[1]


def test_after_a_regression_the_next_run_computes_all_logits(stored: Repository) -> None:
    stored.monkeypatch.setenv("QMODELS_CACHE_DIR", str(stored.folder / "cache"))
    stored.plant(variants_file(loading("return lambda images: forward(images).roll(1, 1)")))
    runs = [stored.run("-k", "accuracy") for _ in range(3)]
    for result in runs:
        assert_red(result, "bench_accuracy[planted] regressed: top1")
    reused = [re.findall(r"logits of (\d) variant", result.printed) for result in runs]
    assert reused == [[], ["2"], ["1"]]
