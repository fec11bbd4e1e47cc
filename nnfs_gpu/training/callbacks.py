"""Callbacks: what `Model.train` tells others while it runs; and the history that it returns."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any


class Callback:
    """Called by `Model.train`; override what you need. `model` is set before training.

    `logs` of an epoch: loss, data_loss, reg_loss, accuracy, learning_rate and, with
    validation data, val_loss and val_accuracy, as Python floats.
    `self.model.stop_training = True` ends training: after an epoch, or after the step, whose
    epoch is then left unfinished and is not in the history.

    rank_0       True for one that prints or writes: of several ranks (`world=`) the first alone
                 calls it. Others are called on all ranks, with the same numbers; one that stops
                 training stops all, after the same step.
    wants_loss   True for one that asks for the numbers of every step: they are fetched from the
                 device for it, and training waits for that.
    """

    model: Any = None
    rank_0 = False
    wants_loss = False

    def on_train_begin(self, logs: dict[str, Any]) -> None:
        """Before the first step. logs: epochs, steps (an epoch), samples, metrics (names)."""

    def on_train_batch_end(self, batch: int, logs: dict[str, Any]) -> None:
        """After step `batch` (from 0) of an epoch.

        logs: epoch; with `wants_loss` loss, data_loss, reg_loss and accuracy of the batch before
        its update, too. Else nothing is fetched.
        """

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """After epoch `epoch` (from 1) and its validation."""

    def on_train_end(self, logs: dict[str, float]) -> None:
        """After the last epoch, with that epoch's logs; {} where none was finished."""

    def on_exception(self, error: BaseException) -> None:
        """An exception ends training, such as Ctrl-C or one of a callback; it goes on after.

        Called for every callback that training began with, `on_train_end` done or not.
        """

    # ---- for checkpoints ----
    def settings(self) -> dict[str, Any]:
        """What must be the same when a run is resumed: numbers, texts, lists."""
        return {}

    def get_state(self) -> dict[str, Any]:
        """What has changed since `on_train_begin`: numbers, texts, lists and NumPy arrays."""
        return {}

    def set_state(self, state: dict[str, Any]) -> None:
        """Take what `get_state` gave; called after `on_train_begin` when a run is resumed.

        The state comes from a file: raise ValueError for one that is of another form. Set
        attributes anew instead of changing what is in them; where the resume fails, in this
        callback or in another, all attributes are put back.
        """


def checked(callbacks: Any) -> tuple[Callback, ...]:
    """The callbacks as a tuple. Raises TypeError where they are no list of callback objects."""
    if hasattr(callbacks, "on_epoch_end"):
        raise TypeError(f"callbacks: got one {type(callbacks).__name__}, expected a list: [...]")
    for callback in callbacks:
        if isinstance(callback, type) or not hasattr(callback, "on_epoch_end"):
            raise TypeError(
                f"callbacks: got {callback!r}, expected an object with the methods of "
                "nnfs_gpu.Callback; make one: EarlyStopping(...)"
            )
    return tuple(callbacks)


def wants_loss(callback: Any) -> bool:
    """Whether it asks for the numbers of every step; one that knows nothing of it does not."""
    return bool(getattr(callback, "wants_loss", False))


def tell_of_exceptions(callbacks: Sequence[Callback], ending: contextlib.ExitStack) -> None:
    """Where the block of `ending` is left by an exception, call `on_exception` of each.

    In their order, and of all of them, whatever one of them raises.
    """
    for callback in reversed(callbacks):  # the last one pushed is called first

        def tell(_kind: Any, error: Any, _trace: Any, callback: Callback = callback) -> None:
            if error is not None and hasattr(callback, "on_exception"):
                callback.on_exception(error)

        ending.push(tell)


class History:
    """The curve of a training run: `history["loss"]` is a list with one number an epoch.

    epoch    the epochs' numbers, from 1
    history  the lists by name, as in Keras
    communication
             seconds that this rank has spent in the sums of this call's steps, waiting for the
             others included; 0 where one process has trained
    """

    def __init__(self) -> None:
        self.epoch: list[int] = []
        self.history: dict[str, list[float]] = {}
        self.communication = 0.0

    def append(self, epoch: int, logs: dict[str, float]) -> None:
        """Add numbers of `epoch`, which is the last one or the one after it."""
        if not self.epoch or self.epoch[-1] != epoch:
            self.epoch.append(epoch)
        for key, value in logs.items():
            self.history.setdefault(key, []).append(value)

    def last(self) -> dict[str, float]:
        """The numbers of the last epoch; {} before the first."""
        return {key: values[-1] for key, values in self.history.items()}

    def __getitem__(self, key: str) -> list[float]:
        if key not in self.history:
            known = ", ".join(self.history) or "nothing yet"
            raise KeyError(f"the history has no {key!r}; it has {known}")
        return self.history[key]

    def __contains__(self, key: str) -> bool:
        return key in self.history

    def __repr__(self) -> str:
        last = ", ".join(f"{key} {value:.4g}" for key, value in self.last().items())
        return f"<History of {len(self.epoch)} epochs; {last}>"
