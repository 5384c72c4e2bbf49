"""The study end to end, on recorded pairs made by hand and on two real ones."""

import random
from pathlib import Path

import pytest
import torch
from rich.console import Console

from qmodels import variants
from qmodels.checkpoints import Checkpoint
from qmodels.data import Dataset
from qmodels.gate import read_tolerances
from qmodels.measure import latency
from qmodels.study import evaluate, picture, process, record
from qmodels.study.record import Row

QUIET = Console(quiet=True)
TOLERANCES = read_tolerances(Path(__file__).parents[2] / "baselines", variants.all_variants())


def recorded(pairs: int, noise: float) -> list[Row]:
    """Rows of two variants, as unchanged and slowed processes might give."""
    generator = random.Random(0)
    rows = []
    for pair in range(pairs):
        planted = record.PLANTED[pair % len(record.PLANTED)]
        for variant in ("fp32", "static-int8"):
            change = generator.gauss(planted / 100, noise)
            base, head = 1000.0, 1000.0 * (1 + change)
            rows.append(
                Row(pair, 0.1, variant, 1, planted, change, 0, 0, 0, change, base, head, base, head)
            )
    return rows


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate, "UNCHANGED_COMPARISONS", 60)
    monkeypatch.setattr(evaluate, "SLOWED_COMPARISONS", 20)


@pytest.mark.usefixtures("few")
def test_rates_are_those_of_the_noise_that_was_recorded() -> None:
    found = {
        (rate.rule, rate.planted): rate.called / rate.comparisons
        for rate in evaluate.rates(recorded(400, 0.01), TOLERANCES, console=QUIET)
    }
    assert found["in turn", 0] <= 0.02
    assert found["in turn", 5] >= 0.95
    assert found["in turn", 20] == 1.0
    assert found["median:5%", 20] == 1.0


@pytest.mark.usefixtures("few")
def test_too_few_pairs_give_fewer_comparisons_not_wrong_ones(tmp_path: Path) -> None:
    found = evaluate.rates(recorded(24, 0.2), TOLERANCES, console=QUIET)
    assert any(rate.comparisons < 40 for rate in found if rate.rule == "in turn")
    assert "| in turn | 0 |" in evaluate.table(found)
    if picture_available():
        picture.draw(found, tmp_path / "curve.svg")
        assert "<svg" in (tmp_path / "curve.svg").read_text()


def picture_available() -> bool:
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        return False
    return True


def test_a_recording_goes_on_where_it_was_killed(
    digits: Dataset,
    digits_checkpoint: Checkpoint,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(latency, "BUDGET_SECONDS", 0.02)
    monkeypatch.setattr(record, "BATCH_SIZES", (1,))
    monkeypatch.setattr(record, "PLANTED", (0, 20))
    artifacts = {"fp32": variants.build(variants.all_variants()["fp32"], digits_checkpoint, digits)}
    path = tmp_path / "rows.csv"
    first = record.record(artifacts, path, 1, busy=True, console=QUIET)
    assert [row.planted for row in first] == [0]
    plan = path.with_suffix(".plan.json").read_text()
    with path.open("a") as stream:
        stream.write("1,0.2,fp32,1,20,0.1")  # killed while it wrote
    second = record.record(artifacts, path, 2, busy=False, console=QUIET)
    assert [(row.pair, row.planted) for row in second] == [(0, 0), (1, 20)]
    assert record.read(path)[-1].planted == 20
    assert path.with_suffix(".plan.json").read_text() == plan


def test_slowed_models_give_the_same_logits_later() -> None:
    slowed = process.slowed(lambda images: images * 2, {1: 20_000})
    image = torch.ones(1, 3)
    assert slowed(image).tolist() == [[2.0, 2.0, 2.0]]
    from qmodels.measure.stopwatch import timed

    plain = min(timed(lambda images: images * 2, image) for _ in range(5))
    assert min(timed(slowed, image) for _ in range(5)) > 10 * plain
