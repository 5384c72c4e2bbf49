"""Progress of a training: a bar on the terminal, and a line an epoch in a log file."""

import math
import time
from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from qmodels.system import files
from qmodels.training.recipes import Recipe

READ_LOSS_EVERY = 50  # steps; reading makes a GPU's queue run empty


class Reporter:
    """A bar with epoch, loss, images per second and time left, and the log beside it.

    Args:
        log: the file that lines are appended to; None writes none.
        console: where the bar goes; None shows nothing.
    """

    def __init__(
        self,
        name: str,
        recipe: Recipe,
        steps: int,
        done: int,
        log: Path | None,
        console: Console | None,
    ) -> None:
        self.name = name
        self.log = log
        self.recipe = recipe
        self.steps = steps
        self.loss = math.nan
        self.bar = Progress(
            TextColumn("epoch {task.fields[epoch]}/{task.fields[epochs]}"),
            BarColumn(),
            TextColumn("loss {task.fields[loss]:.3f}  {task.fields[speed]:.0f} images/s"),
            TimeRemainingColumn(),
            console=console,
            disable=console is None,
        )
        self.task = self.bar.add_task(
            "",
            total=recipe.epochs * steps,
            completed=done * steps,
            epoch=done,
            epochs=recipe.epochs,
            loss=self.loss,
            speed=0.0,
        )
        self.started = time.perf_counter()

    def __enter__(self) -> "Reporter":
        if not self.bar.disable:
            self.bar.console.print(f"training {self.name}")
        self.bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.bar.stop()

    def begin_epoch(self) -> None:
        """Start the epoch's clock."""
        self.started = time.perf_counter()

    def step(self, epoch: int, done: int, total_loss: Tensor) -> None:
        """Show one more step; ``total_loss`` is the sum over the ``done`` steps of the epoch."""
        if done % READ_LOSS_EVERY == 1:
            self.loss = float(total_loss) / done
        self.bar.update(
            self.task, advance=1, epoch=epoch + 1, loss=self.loss, speed=self.speed(done)
        )

    def end_epoch(self, epoch: int, loss: float) -> None:
        """Show an epoch's mean loss, and log it."""
        self.loss = loss
        self.bar.update(self.task, loss=loss)
        self.write(
            f"epoch {epoch + 1}/{self.recipe.epochs}  {self.recipe.image_size(epoch)} px  "
            f"loss {loss:.4f}  {self.speed(self.steps):.0f} images/s  "
            f"{time.perf_counter() - self.started:.0f} s"
        )

    def say(self, line: str) -> None:
        """Print a line and log it."""
        if not self.bar.disable:
            self.bar.console.print(line)
        self.write(line)

    def write(self, line: str) -> None:
        """Append a line to the log."""
        if self.log is not None:
            files.append_line(self.log, line)

    def speed(self, steps: int) -> float:
        """Images per second of this epoch."""
        return steps * self.recipe.batch_size / (time.perf_counter() - self.started)
