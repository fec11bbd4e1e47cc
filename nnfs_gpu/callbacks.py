"""What `Model.train` tells others while it runs, and what it returns."""

from __future__ import annotations

from typing import Any


class Callback:
    """Called by `Model.train`; override what you need. `model` is set before training.

    `logs` of an epoch: loss, data_loss, reg_loss, accuracy, learning_rate and, with
    validation data, val_loss and val_accuracy, as Python floats.
    """

    model: Any = None

    def on_train_begin(self, logs: dict[str, Any]) -> None:
        """Before the first step. logs: epochs, steps (an epoch), samples."""

    def on_train_batch_end(self, batch: int, logs: dict[str, Any]) -> None:
        """After step `batch` (from 0) of an epoch. logs: epoch. Nothing is fetched here."""

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """After epoch `epoch` (from 1) and its validation."""

    def on_train_end(self, logs: dict[str, float]) -> None:
        """After the last epoch, with that epoch's logs."""


class History:
    """The curve of a training run: `history["loss"]` is a list with one number an epoch."""

    def __init__(self) -> None:
        self.epoch: list[int] = []
        self.history: dict[str, list[float]] = {}

    def append(self, epoch: int, logs: dict[str, float]) -> None:
        """Add the numbers of one epoch."""
        self.epoch.append(epoch)
        for key, value in logs.items():
            self.history.setdefault(key, []).append(value)

    def __getitem__(self, key: str) -> list[float]:
        return self.history[key]

    def __repr__(self) -> str:
        last = ", ".join(f"{key} {values[-1]:.4g}" for key, values in self.history.items())
        return f"<History of {len(self.epoch)} epochs; {last}>"
