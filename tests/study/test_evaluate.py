import random
from pathlib import Path

import pytest
from rich.console import Console

from docs.study import evaluate, picture, record
from docs.study.record import Row
from qmodels.gate import read_tolerances

QUIET = Console(quiet=True)
TOLERANCES = read_tolerances(Path("no-such-folder"))


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


def test_rates_are_those_of_the_noise_that_was_recorded() -> None:
    rates = {
        (rate.rule, rate.subject, rate.planted): rate
        for rate in evaluate.rates(recorded(400, 0.01), TOLERANCES, console=QUIET)
    }
    assert rates["in turn", evaluate.WHOLE_RUN, 0].percent <= 2
    assert rates["in turn", evaluate.ANY, 5].percent >= 95
    assert rates["in turn", "static-int8", 20].percent == 100
    assert rates["median:5%", evaluate.ANY, 20].percent == 100


def test_no_two_comparisons_of_a_case_share_a_pair() -> None:
    for rate in evaluate.rates(recorded(80, 0.01), TOLERANCES, console=QUIET):
        pairs = {0: 30, 3: 20, 5: 20, 20: 10}[rate.planted]
        cases = 2 if rate.subject == evaluate.ANY else 1
        assert rate.pairs * rate.comparisons <= cases * pairs
        assert rate.comparisons > 0 or rate.cut_short > 0


def test_a_comparison_that_the_recordings_end_cuts_short_is_not_called_slower(
    tmp_path: Path,
) -> None:
    rates = evaluate.rates(recorded(24, 0.2), TOLERANCES, console=QUIET)
    slowed = [rate for rate in rates if rate.rule == "in turn" and rate.planted == 20]
    assert [(rate.called, rate.comparisons, rate.cut_short) for rate in slowed] == [
        (0, 0, 2),  # any variant
        (0, 0, 1),
        (0, 0, 1),
    ]
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
