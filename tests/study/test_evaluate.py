import random
from pathlib import Path

import pytest
from rich.console import Console

from docs.study import evaluate, picture, record
from docs.study.record import Row
from qmodels import variants
from qmodels.gate import read_tolerances

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
    monkeypatch.setattr(evaluate, "CASE_COMPARISONS", 20)


@pytest.mark.usefixtures("few")
def test_rates_are_those_of_the_noise_that_was_recorded() -> None:
    percent = {
        (rate.rule, rate.subject, rate.planted): rate.percent
        for rate in evaluate.rates(recorded(400, 0.01), TOLERANCES, console=QUIET)
    }
    assert percent["in turn", evaluate.WHOLE_RUN, 0] <= 2
    assert percent["in turn", evaluate.ANY, 5] >= 95
    assert percent["in turn", "static-int8", 20] == 100
    assert percent["median:5%", evaluate.ANY, 20] == 100


@pytest.mark.usefixtures("few")
def test_what_too_few_pairs_leave_undecided_is_not_called_slower(tmp_path: Path) -> None:
    rates = evaluate.rates(recorded(24, 0.2), TOLERANCES, console=QUIET)
    slowed = [rate for rate in rates if rate.rule == "in turn" and rate.planted == 20]
    assert all(rate.called == 0 for rate in slowed), "two pairs of it decide nothing"
    assert all(rate.comparisons >= 20 for rate in rates)
    cells = [
        [cell.strip() for cell in line.split("|")] for line in evaluate.table(rates).splitlines()
    ]
    assert ["", "in turn", "a whole run", "0"] in [row[:4] for row in cells]
    pytest.importorskip("matplotlib")
    picture.draw(rates, tmp_path / "curve.svg")
    drawn = (tmp_path / "curve.svg").read_text()
    assert "<svg" in drawn
    picture.draw(rates, tmp_path / "curve.svg")
    assert (tmp_path / "curve.svg").read_text() == drawn, "the same picture for the same rates"
