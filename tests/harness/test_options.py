from argparse import Namespace
from typing import Any

import pytest

from qmodels.harness.options import shows_times

NOTHING: dict[str, Any] = {
    "qmodels_times": False,
    "benchmark_compare": [],
    "benchmark_histogram": [],
    "benchmark_save": None,
    "benchmark_autosave": None,
    "benchmark_cprofile": None,
}


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("qmodels_times", True),
        ("benchmark_compare", True),
        ("benchmark_histogram", "picture"),
        ("benchmark_save", "name"),
        ("benchmark_autosave", "name"),
        ("benchmark_cprofile", "tottime"),
    ],
)
def test_options_that_need_pytest_benchmarks_output_leave_it_on(option: str, value: object) -> None:
    assert shows_times(Namespace(**{**NOTHING, option: value}))


def test_without_them_it_is_quiet() -> None:
    assert not shows_times(Namespace(**NOTHING))
