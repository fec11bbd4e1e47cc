"""What `nnfs-gpu train` shows while it trains: a bar on a terminal, plain lines elsewhere.

`progress.TrainingWatch` tells a display what to show, and asks it first whether it would.
"""

from __future__ import annotations

import time
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

REFRESH = 0.2  # seconds between two pictures of the progress bar


class Display(Protocol):
    """Shows a training run to people."""

    def begin(self, epochs: int, samples: int) -> None:
        """Training begins: so many epochs over so many samples."""

    def due(self) -> bool:
        """Whether `step` would show anything now. Costs next to nothing."""

    def step(self, epoch: int, samples: int, numbers: dict[str, float]) -> None:
        """`samples` samples of `epoch` are done; loss, accuracy, samples_per_second so far."""

    def epoch(self, epoch: int, numbers: dict[str, float]) -> None:
        """An epoch is done: its logs and samples_per_second."""

    def end(self) -> None:
        """Training is over, well or not."""


class LineDisplay:
    """One line an epoch, for files and pipes."""

    def __init__(self, console: Console):
        self.console = console

    def begin(self, epochs: int, samples: int) -> None:
        self.epochs = epochs

    def due(self) -> bool:
        return False

    def step(self, epoch: int, samples: int, numbers: dict[str, float]) -> None:
        """Nothing between epochs."""

    def epoch(self, epoch: int, numbers: dict[str, float]) -> None:
        width = len(str(self.epochs))
        line = (
            f"epoch {epoch:{width}}/{self.epochs}"
            f"  loss {numbers['loss']:.4f}  accuracy {numbers['accuracy']:.4f}"
            f"  val_loss {numbers['val_loss']:.4f}  val_accuracy {numbers['val_accuracy']:.4f}"
            f"  {numbers['samples_per_second']:,.0f} samples/s"
        )
        self.console.print(line, soft_wrap=True, markup=False)

    def end(self) -> None:
        """Every line is out already."""


class BarDisplay:
    """A bar that moves within an epoch, redrawn by the training loop itself, without a thread."""

    def __init__(self, console: Console):
        self.progress = Progress(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[numbers]}"),
            TimeRemainingColumn(compact=True),
            TextColumn("left"),
            console=console,
            auto_refresh=False,
            expand=True,
        )
        self._next = 0.0

    def begin(self, epochs: int, samples: int) -> None:
        self.epochs, self.samples = epochs, samples
        self.task = self.progress.add_task("", total=epochs * samples, epoch="", numbers="")
        self.progress.start()
        self._show(0, 1, "first step: kernels are made ready")
        self._next = 0.0  # the first numbers at once

    def due(self) -> bool:
        return time.perf_counter() >= self._next

    def step(self, epoch: int, samples: int, numbers: dict[str, float]) -> None:
        self._show(
            (epoch - 1) * self.samples + samples,
            epoch,
            f"loss {numbers['loss']:.4f} accuracy {numbers['accuracy']:.4f} "
            f"{_short(numbers['samples_per_second'])} samples/s",
        )

    def _show(self, completed: int, epoch: int, numbers: str) -> None:
        place = f"{epoch:{len(str(self.epochs))}}/{self.epochs}"
        self.progress.update(self.task, completed=completed, epoch=place, numbers=numbers)
        self.progress.refresh()
        self._next = time.perf_counter() + REFRESH

    def epoch(self, epoch: int, numbers: dict[str, float]) -> None:
        self.step(epoch, self.samples, numbers)

    def end(self) -> None:
        self.progress.stop()


class SilentDisplay:
    """Shows nothing: that of a rank beside the first."""

    def begin(self, epochs: int, samples: int) -> None:
        """Nothing."""

    def due(self) -> bool:
        return False

    def step(self, epoch: int, samples: int, numbers: dict[str, float]) -> None:
        """Nothing."""

    def epoch(self, epoch: int, numbers: dict[str, float]) -> None:
        """Nothing."""

    def end(self) -> None:
        """Nothing."""


def display_for(console: Console) -> Display:
    """The bar where it can be drawn, else lines; nothing where nobody reads."""
    if console.quiet:
        return SilentDisplay()
    if console.is_terminal and not console.is_dumb_terminal:
        return BarDisplay(console)
    return LineDisplay(console)


def _short(number: float) -> str:
    """1234567 as "1.23M": three digits that do not jump about."""
    for unit, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= unit:
            return f"{number / unit:.3g}{suffix}"
    return f"{number:.0f}"
