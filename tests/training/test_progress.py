import io
from dataclasses import replace
from pathlib import Path

import torch
from rich.console import Console

from qmodels.training.progress import READ_LOSS_EVERY, Reporter
from qmodels.training.recipes import RECIPES

RECIPE = replace(RECIPES["compact-cpu"].with_epochs(3), batch_size=10)


def reported(console: Console | None, log: Path | None) -> None:
    """Two of three epochs, as a training that was resumed after the first."""
    steps = READ_LOSS_EVERY + 1
    with Reporter("a-job", RECIPE, steps, 1, log=log, console=console) as reporter:
        for epoch in (1, 2):
            reporter.begin_epoch()
            total = torch.zeros(())
            for step in range(steps):
                total += 2.5
                reporter.step(epoch, step + 1, total)
            reporter.end_epoch(epoch, 2.5)
        reporter.say("a line for both")


def test_the_log_gets_a_line_an_epoch(tmp_path: Path) -> None:
    log = tmp_path / "job.log"
    reported(None, log)
    lines = log.read_text().splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("epoch 2/3  24 px  loss 2.5000  ")
    assert lines[1].startswith("epoch 3/3  32 px  loss 2.5000  ")
    assert "images/s" in lines[1]
    assert lines[2] == "a line for both"


def test_the_bar_shows_epoch_loss_speed_and_time_left() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=80)
    reported(console, None)
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "training a-job" in shown
    assert "epoch 3/3" in shown
    assert "loss 2.500" in shown
    assert "images/s" in shown
    assert "0:00:00" in shown
    assert "a line for both" in shown
