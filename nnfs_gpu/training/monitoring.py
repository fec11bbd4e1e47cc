"""Callbacks that watch a number of the epochs: `EarlyStopping` in `early_stopping.py`, and here
what lowers the learning rate and what keeps the best model.
"""

from __future__ import annotations

import math
import os
from numbers import Real
from pathlib import Path
from typing import Any

from .. import checks
from ..files import model_file, tensor_file
from ..files.tensor_file import AnyPath
from .callbacks import Callback

MODES = ("auto", "min", "max")
BEST = ("best", "best_epoch")


class Monitoring(Callback):
    """What they share: which epoch was the best so far.

    monitor    a name of the epoch's logs
    min_delta  what counts as an improvement: a change of more than this
    mode       "min": it should fall, "max": it should rise, "auto": accuracies should rise, all
               else should fall

    `best` and `best_epoch` (from 1) are the best number and its epoch; NaN is never the best.
    """

    def __init__(self, monitor: str, min_delta: float, mode: str):
        if mode not in MODES:
            raise ValueError(f"mode: got {mode!r}, expected 'auto', 'min' or 'max'")
        self.monitor, self.mode = monitor, mode
        self.min_delta = checks.not_negative(min_delta, "min_delta")
        self._reset()

    def _reset(self) -> None:
        self.best = math.nan
        self.best_epoch: int | None = None

    def on_train_begin(self, logs: dict[str, Any]) -> None:
        """Forget an earlier training. Raises ValueError where nothing of the name is measured."""
        if self.monitor not in logs["metrics"]:
            raise ValueError(
                f"{type(self).__name__} monitors {self.monitor!r}, but an epoch gives "
                f"{', '.join(logs['metrics'])}; val_ numbers need validation_data"
            )
        self._reset()

    def _improved(self, value: float) -> bool:
        """Whether it is better than the best so far."""
        if math.isnan(value) or self.best_epoch is None:
            return not math.isnan(value)
        rises = self.mode == "max" or (self.mode == "auto" and self.monitor.endswith("accuracy"))
        gain = value - self.best if rises else self.best - value
        return bool(gain > self.min_delta)

    # ---- for checkpoints ----
    def settings(self) -> dict[str, Any]:
        """What decides on the best."""
        return {"monitor": self.monitor, "min_delta": self.min_delta, "mode": self.mode}

    def get_state(self) -> dict[str, Any]:
        """The best number and its epoch."""
        return {name: getattr(self, name) for name in BEST}

    def set_state(self, state: dict[str, Any]) -> None:
        """Take them back. Raises ValueError, TypeError or OverflowError for another state."""
        if state.keys() != (expected := self.get_state()).keys():
            raise ValueError(f"got {sorted(state)}, expected {sorted(expected)}")
        self.best, self.best_epoch = checked_best(state)


def checked_best(state: dict[str, Any]) -> tuple[float, int | None]:
    """`best` and `best_epoch` of a state. Raises ValueError, TypeError, KeyError, OverflowError."""
    best = state["best"]
    if isinstance(best, bool) or not isinstance(best, (int, float)):
        raise TypeError(f"best: got {type(best).__name__}, expected a number")
    float(best)  # raises for a whole number that none can hold
    return best, checked_epoch(state, "best_epoch")


def checked_epoch(state: dict[str, Any], name: str) -> int | None:
    """The epoch `name` of a state, from 1; or None."""
    return None if state[name] is None else checks.positive_int(state[name], name)


class ReduceLROnPlateau(Monitoring):
    """Lowers the learning rate when a number has not improved for `patience` epochs in a row.

    The arguments are Keras's. With `decay` the rate of a step stays learning_rate / (1 + decay
    iterations), of the new `learning_rate`; `min_lr` is compared with `learning_rate`. The
    history's learning_rate shows what came of it.

    Parameters
    ----------
    monitor : str
        What to watch: a name of the epoch's logs.
    factor : float
        What the optimizer's `learning_rate` is multiplied by, above 0 and below 1.
    patience : int
        Epochs without improvement after which to lower it.
    min_delta : float
        What counts as an improvement: a change of more than this.
    cooldown : int
        Epochs after a change in which nothing is counted.
    min_lr : float
        Lower than this it does not become.
    mode : {"auto", "min", "max"}
        Which way is better; "auto": accuracies should rise, all else should fall.

    Raises
    ------
    ValueError
        When training begins where nothing of the name `monitor` will be measured.
    TypeError
        When training begins with an optimizer of the user's own without a `learning_rate`.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        factor: float = 0.1,
        patience: int = 10,
        min_delta: float = 1e-4,
        cooldown: int = 0,
        min_lr: float = 0.0,
        mode: str = "auto",
    ):
        super().__init__(monitor, min_delta, mode)
        self.factor = checks.positive(checks.fraction(factor, "factor"), "factor")
        self.patience = checks.positive_int(patience, "patience")
        self.cooldown = checks.seed(cooldown, "cooldown")
        self.min_lr = checks.not_negative(min_lr, "min_lr")

    def _reset(self) -> None:
        super()._reset()
        self.wait = self.cooling = 0  # epochs without improvement; of the cooldown that are left

    def on_train_begin(self, logs: dict[str, Any]) -> None:
        """Forget an earlier training; the rate stays what it is."""
        super().on_train_begin(logs)
        optimizer = self.model.optimizer
        if not isinstance(getattr(optimizer, "learning_rate", None), Real):
            raise TypeError(
                f"ReduceLROnPlateau: {type(optimizer).__name__} has no number learning_rate; "
                "keep its rate in self.learning_rate"
            )

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """Compare the epoch with the best one so far."""
        value = logs[self.monitor]
        if self.cooling:
            self.cooling, self.wait = self.cooling - 1, 0
        if self._improved(value):
            self.best, self.best_epoch, self.wait = value, epoch, 0
        elif not self.cooling:
            self.wait += 1
            if self.wait >= self.patience:
                self._reduce()

    def _reduce(self) -> None:
        optimizer = self.model.optimizer
        before = optimizer.learning_rate
        if before <= self.min_lr:
            return
        optimizer.learning_rate = max(before * self.factor, self.min_lr)
        if not getattr(optimizer, "decay", 0):  # else the next step computes it
            optimizer.current_learning_rate = optimizer.learning_rate
        self.wait, self.cooling = 0, self.cooldown

    # ---- for checkpoints ----
    def settings(self) -> dict[str, Any]:
        """The constructor's arguments."""
        names = ("factor", "patience", "cooldown", "min_lr")
        return super().settings() | {name: getattr(self, name) for name in names}

    def get_state(self) -> dict[str, Any]:
        """The best number and the epochs counted since; the model's file has the rate."""
        return super().get_state() | {"wait": self.wait, "cooling": self.cooling}

    def set_state(self, state: dict[str, Any]) -> None:
        """Take them back. Raises as `Monitoring.set_state`."""
        counts = [checks.seed(state[name], name) for name in ("wait", "cooling")]
        super().set_state(state)
        self.wait, self.cooling = counts


class ModelCheckpoint(Monitoring):
    """Saves the model while it is trained: after every so many epochs, or when it is the best.

    Each file is one of `Model.save`: written to a temporary file and renamed, so that it is whole
    or not there; `Model.load` reads it. Without braces each takes the place of the one before.
    These are models to keep and to use; to go on after a kill is what `train(checkpoint=)` is for.
    After training: `best` and `best_epoch`, `saved` (the path last written; None: none was).

    Parameters
    ----------
    filepath : str or path
        The file, with the epoch and numbers of its logs where they are named in braces, as in
        "runs/{epoch:03d}-{val_loss:.3f}.safetensors". Folders that are missing are made.
    monitor : str
        For `save_best_only`: a name of the epoch's logs.
    save_best_only : bool
        Save only where `monitor` is better than in all epochs that were looked at.
    mode : {"auto", "min", "max"}
        Which way is better; "auto": accuracies should rise, all else should fall.
    every : int
        Look, and save, after every so many epochs.

    Raises
    ------
    ValueError
        When training begins with a `filepath` whose braces name something else, or where nothing
        of the name `monitor` will be measured.
    IsADirectoryError
        When training begins and `filepath` is a folder.
    TypeError
        When training begins with a model that no file can hold.
    """

    rank_0 = True

    def __init__(
        self,
        filepath: AnyPath,
        monitor: str = "val_loss",
        save_best_only: bool = False,
        mode: str = "auto",
        every: int = 1,
    ):
        super().__init__(monitor, 0.0, mode)
        self.filepath, self.save_best_only = os.fsdecode(filepath), bool(save_best_only)
        self.every = checks.positive_int(every, "every")
        self.saved: Path | None = None

    def on_train_begin(self, logs: dict[str, Any]) -> None:
        """Forget an earlier training; find out what could not be written."""
        if self.save_best_only:
            super().on_train_begin(logs)
        else:
            self._reset()
        self.saved = None
        path = self._path(1, dict.fromkeys(logs["metrics"], 0.0))
        if path.is_dir():
            raise IsADirectoryError(
                f"filepath: {path} is a folder; give the name of a file in it, such as "
                f"{path / '{epoch:03d}.safetensors'}"
            )
        model_file.describe(self.model)

    def _path(self, epoch: int, logs: dict[str, float]) -> Path:
        try:
            return Path(self.filepath.format(epoch=epoch, **logs))
        except (KeyError, IndexError, ValueError, AttributeError) as error:
            raise ValueError(
                f"filepath: got {self.filepath!r}, expected names in braces of "
                f"epoch, {', '.join(logs)}, with formats of numbers such as "
                "{epoch:03d} or {loss:.3f} (" + f"{error}); val_ numbers need validation_data"
            ) from error

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """Save where this epoch is one to save."""
        if epoch % self.every:
            return
        value = logs[self.monitor] if self.save_best_only else math.nan
        if self.save_best_only and not self._improved(value):
            return
        path = self._path(epoch, logs)
        tensor_file.make_folder(path.parent)
        self.model.save(path)
        self.saved = path
        if self.save_best_only:
            self.best, self.best_epoch = value, epoch

    # ---- for checkpoints ----
    def settings(self) -> dict[str, Any]:
        """The constructor's arguments but the path: files may move between two starts."""
        names = ("save_best_only", "every")
        return super().settings() | {name: getattr(self, name) for name in names}
