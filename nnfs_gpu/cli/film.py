"""What becomes `training.gif` of `nnfs-gpu train --animate`: which epochs get a frame.

`progress.TrainingWatch` has one, on rank 0, shows it each epoch and keeps its frames in the
checkpoint: a run that is killed and resumed leaves the file of a run that was not.
"""

from __future__ import annotations

from typing import Any

from .. import checks
from ..show.animation import Animation, chosen


class Film:
    """The frames of one run."""

    def __init__(self, animation: Animation):
        self._animation = animation
        self._epochs: set[int] = set()
        self._width, self._last = 1, 0  # digits of an epoch; the epoch of the last frame

    def begin(self, epochs: int) -> None:
        """Training over so many epochs begins, or goes on."""
        self._epochs, self._width = set(chosen(epochs)), len(str(epochs))

    def epoch(self, model: Any, epoch: int, accuracy: float) -> None:
        """An epoch is done."""
        if epoch in self._epochs:
            self._add(model, epoch, accuracy)

    def end(self, model: Any, epoch: int, accuracy: float) -> bytes:
        """The file, after so many epochs; the last of them is on it, whatever ended training."""
        if not len(self._animation) or epoch > self._last:
            self._add(model, epoch, accuracy)
        return self._animation.gif()

    def _add(self, model: Any, epoch: int, accuracy: float) -> None:
        self._animation.add(model, f"epoch {epoch:{self._width}}   accuracy {accuracy:.3f}")
        self._last = epoch

    # ---- for checkpoints ----
    def get_state(self) -> dict[str, Any]:
        """The frames, and the epoch of the last one."""
        return {"last_frame": self._last, **self._animation.get_state()}

    def set_state(self, state: dict[str, Any]) -> None:
        """Take them back. A run that was begun without --animate has none so far."""
        last = checks.seed(state.get("last_frame", 0), "last_frame")
        self._animation.set_state(state)
        self._last = last
