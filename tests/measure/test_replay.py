from typing import Any

import pytest

from qmodels.measure.replay import Replay

REPLAY = Replay()
SECONDS = [0.001, 0.25, 0.004]


@pytest.mark.benchmark(timer=REPLAY.timer)
def test_pytest_benchmark_takes_the_times_it_is_told(benchmark: Any) -> None:
    REPLAY.play(SECONDS)
    benchmark.pedantic(REPLAY.forward, rounds=len(SECONDS))
    if not benchmark.disabled:
        assert benchmark.stats.stats.data == pytest.approx(SECONDS)
