"""What happens while `nnfs-gpu train` trains: speed, curve, live display, a request to stop.

`TrainingWatch` is the callback that `Model.train` calls; it measures, and tells a display what
to show: `BarDisplay` on a terminal, `LineDisplay` (one plain line an epoch) elsewhere.
"""

from __future__ import annotations

import math
import os
import signal
import time
from types import FrameType
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from .. import checks
from ..training.callbacks import Callback
from .common import CommandError

REFRESH = 0.2  # seconds between two pictures of the progress bar


class DivergedError(CommandError):
    """The loss is no number any more, and no later step can make it one."""

    def __init__(self, loss: float, learning_rate: float):
        super().__init__(
            f"training diverged: the loss is {loss}; nothing was written; "
            f"try a lower --learning-rate than {learning_rate:g}"
        )


class StopRequest:
    """In its `with` block Ctrl-C (SIGINT) and SIGTERM only leave a note, in `signum`.

    An exception in the middle of a step would leave a model of which some layers are updated
    and others not. The second signal does what signals did before: it ends at once.
    """

    def __init__(self) -> None:
        self.signum = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopRequest:
        for signum in (signal.SIGINT, signal.SIGTERM):
            # One that is ignored stays so: `nohup` and `command &` in a script ask for it.
            if signal.getsignal(signum) is not signal.SIG_IGN:
                self._before[signum] = signal.signal(signum, self._note)
        return self

    def _note(self, signum: int, _frame: FrameType | None) -> None:
        self.signum = signum
        self._restore()
        # Not print: the signal may have come in the middle of one.
        os.write(2, b"\nstopping after this step; once more ends at once, without saving\n")

    def __exit__(self, *exc: object) -> None:
        self._restore()

    def _restore(self) -> None:
        while self._before:
            signal.signal(*self._before.popitem())


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


class TrainingWatch(Callback):
    """Measures one training run and obeys a `StopRequest` between its steps.

    config              what the command was asked for; travels in the checkpoint, so that
                        `--resume` needs nothing but the folder
    steps               all steps done
    training_seconds    time in training steps, without validation
    samples_per_second  training samples over that time, since the command was started. The
                        first step is left out of both where there is a second one: it
                        compiles or loads the kernels.
    """

    def __init__(
        self, display: Display, batch_size: int, stop: StopRequest, config: dict[str, Any]
    ):
        self.display, self.batch_size, self.stop, self.config = display, batch_size, stop, config
        self.epoch = self.steps = 0
        self.training_seconds = 0.0
        self._first_seconds, self._first_samples = 0.0, 0
        self._samples_done = 0  # since the command was started
        self._earlier_seconds = self._earlier_speed = 0.0

    def on_train_begin(self, logs: dict[str, Any]) -> None:
        self.samples_an_epoch, self._last = logs["samples"], logs["steps"] - 1
        self.display.begin(logs["epochs"], logs["samples"])
        self._mark = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any]) -> None:
        self.epoch = logs["epoch"]
        self.steps += 1
        first = not self._samples_done
        done = min((batch + 1) * self.batch_size, self.samples_an_epoch)
        self._samples_done += done - batch * self.batch_size
        if first:
            self._clock_in()
            self._first_seconds = self.training_seconds - self._earlier_seconds
            self._first_samples = self._samples_done
        elif batch == self._last:
            self.model.backend.synchronize()  # once an epoch: its loss is fetched next anyway
            self._clock_in()  # validation follows, and must not count
        elif self.display.due():
            self._clock_in()
            self.display.step(self.epoch, done, self._numbers())
            self._mark = time.perf_counter()
        if self.stop.signum:
            self._clock_in()
            self.model.stop_training = True

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        if not math.isfinite(logs["loss"] + logs["val_loss"]):
            raise DivergedError(logs["loss"] + logs["val_loss"], self.model.optimizer.learning_rate)
        self.display.epoch(epoch, logs | {"samples_per_second": self.samples_per_second})
        self._mark = time.perf_counter()

    @property
    def samples_per_second(self) -> float:
        """See the class; what an earlier start measured where this one has made no step."""
        samples, seconds = self._samples_done, self.training_seconds - self._earlier_seconds
        if not samples:
            return self._earlier_speed
        if samples > self._first_samples:
            samples, seconds = samples - self._first_samples, seconds - self._first_seconds
        return samples / max(seconds, 1e-9)

    def get_state(self) -> dict[str, Any]:
        return {
            "config": self.config,
            "steps": self.steps,
            "training_seconds": self.training_seconds,
            "samples_per_second": self.samples_per_second,
        }

    def set_state(self, state: dict[str, Any]) -> None:
        steps = checks.seed(state["steps"], "steps")
        names = "training_seconds", "samples_per_second"
        seconds, speed = (checks.not_negative(state[name], name) for name in names)
        self.steps, self._earlier_speed = steps, speed
        self.training_seconds = self._earlier_seconds = seconds

    def _clock_in(self) -> None:
        """Add the time since the last call. Waits for the device, so never in every step."""
        self.model.backend.synchronize()
        now = time.perf_counter()
        self.training_seconds += now - self._mark
        self._mark = now

    def _numbers(self) -> dict[str, float]:
        """The means of the epoch so far; fetched from the device, so never in every step."""
        return {
            "loss": float(self.model.loss.calculate_accumulated()),
            "accuracy": float(self.model.accuracy.calculate_accumulated()),
            "samples_per_second": self.samples_per_second,
        }


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


def display_for(console: Console) -> Display:
    """The bar where it can be drawn, else lines."""
    if console.is_terminal and not console.is_dumb_terminal:
        return BarDisplay(console)
    return LineDisplay(console)


def _short(number: float) -> str:
    """1234567 as "1.23M": three digits that do not jump about."""
    for unit, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= unit:
            return f"{number / unit:.3g}{suffix}"
    return f"{number:.0f}"
