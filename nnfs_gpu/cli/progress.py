"""What happens while `nnfs-gpu train` trains: speed, curve, a request to stop.

`TrainingWatch` is the callback that `Model.train` calls; it measures, and tells a display what
to show (`show/display.py`). Of several ranks each has one, as each may be asked to stop.
"""

from __future__ import annotations

import math
import os
import signal
import time
from types import FrameType
from typing import Any

import numpy as np

from .. import checks
from ..ranks.world import World, everybody
from ..show.display import Display
from ..training.callbacks import Callback
from .errors import CommandError
from .film import Film


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

    signum  what this process was sent, or after `agree` any of the ranks; 0: nothing
    says    whether it says so at once
    """

    def __init__(self, says: bool = True) -> None:
        self.signum, self.says = 0, says
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
        if self.says:  # Not print: the signal may have come in the middle of one.
            os.write(2, b"\nstopping after this step; once more ends at once, without saving\n")

    def agree(self, world: World) -> int | None:
        """Let all ranks know which signal any of them was sent; the first one that was, or None."""
        signums = everybody(world, (self.signum,))[:, 0]
        if not signums.any():
            return None
        first = int(np.argmax(signums != 0))
        self.signum = int(signums[first])
        return first

    def __exit__(self, *exc: object) -> None:
        self._restore()

    def _restore(self) -> None:
        while self._before:
            signal.signal(*self._before.popitem())


class TrainingWatch(Callback):
    """Measures one training run and obeys a `StopRequest` between its steps.

    film                what shows it each epoch's regions; None: --animate was not given
    config              what the command was asked for; travels in the checkpoint, so that
                        `--resume` needs nothing but the folder
    judged              whether answers are right or wrong, so that an accuracy is shown
    steps               all steps done
    training_seconds    time in training steps, without validation
    samples_per_second  training samples over that time, since the command was started. The
                        first step is left out of both where there is a second one: it
                        compiles or loads the kernels.
    """

    def __init__(
        self,
        display: Display,
        batch_size: int,
        stop: StopRequest,
        config: dict[str, Any],
        judged: bool = True,
        film: Film | None = None,
    ):
        self.display, self.batch_size, self.stop, self.config = display, batch_size, stop, config
        self.judged, self.film = judged, film
        self.epoch = self.steps = 0
        self.training_seconds = 0.0
        self._first_seconds, self._first_samples = 0.0, 0
        self._samples_done = 0  # since the command was started
        self._earlier_seconds = self._earlier_speed = 0.0

    def on_train_begin(self, logs: dict[str, Any]) -> None:
        self.samples_an_epoch, self._last = logs["samples"], logs["steps"] - 1
        self.display.begin(logs["epochs"], logs["samples"])
        if self.film is not None:
            self.film.begin(logs["epochs"])
        self._mark = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any]) -> None:
        self.epoch = logs["epoch"]
        self.steps += 1
        first = not self._samples_done
        done = min((batch + 1) * self.batch_size, self.samples_an_epoch)
        self._samples_done += done - batch * self.batch_size
        if first:
            self._clock_in()
            self._first_seconds = self.seconds
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
        self.display.epoch(epoch, self._shown(logs))
        if self.film is not None:
            self.film.epoch(self.model, epoch, logs["val_accuracy"])
        self._mark = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Of `training_seconds` those since the command was started."""
        return self.training_seconds - self._earlier_seconds

    @property
    def samples_per_second(self) -> float:
        """See the class; what an earlier start measured where this one has made no step."""
        samples, seconds = self._samples_done, self.seconds
        if not samples:
            return self._earlier_speed
        if samples > self._first_samples:
            samples, seconds = samples - self._first_samples, seconds - self._first_seconds
        return samples / max(seconds, 1e-9)

    def get_state(self) -> dict[str, Any]:
        self._clock_in()  # another rank may have asked to stop in the middle of an epoch
        return {
            "config": self.config,
            "steps": self.steps,
            "training_seconds": self.training_seconds,
            "samples_per_second": self.samples_per_second,
            **(self.film.get_state() if self.film else {}),
        }

    def set_state(self, state: dict[str, Any]) -> None:
        steps = checks.seed(state["steps"], "steps")
        names = "training_seconds", "samples_per_second"
        seconds, speed = (checks.not_negative(state[name], name) for name in names)
        if self.film is not None:
            self.film.set_state(state)
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
        return self._shown(
            {
                "loss": float(self.model.loss.calculate_accumulated()),
                "accuracy": float(self.model.accuracy.calculate_accumulated()),
            }
        )

    def _shown(self, numbers: dict[str, float]) -> dict[str, float]:
        """With the speed; without accuracies where they say nothing."""
        kept = numbers if self.judged else {n: v for n, v in numbers.items() if "acc" not in n}
        return kept | {"samples_per_second": self.samples_per_second}
