"""Callbacks: what `Model.train` tells others while it runs; and the history that it returns."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from typing import Any

from .. import checks


class Callback:
    """Called by `Model.train`; override what you need. `model` is set before training.

    `logs` of an epoch: loss, data_loss, reg_loss, accuracy, learning_rate and, with
    validation data, val_loss and val_accuracy, as Python floats.
    `self.model.stop_training = True` ends training: after an epoch, or after the step, whose
    epoch is then left unfinished and is not in the history.

    Attributes
    ----------
    model : Model
        The one that is trained.
    rank_0 : bool
        True for one that prints or writes: of several ranks (`world=`) the first alone calls
        it. Others are called on all ranks, with the same numbers; one that stops training
        stops all, after the same step.
    """

    model: Any = None
    rank_0 = False

    def on_train_begin(self, logs: dict[str, Any]) -> None:
        """Before the first step.

        Parameters
        ----------
        logs : dict
            Of the run: "epochs", "steps" (of an epoch), "samples", "metrics" (names).
        """

    def on_train_batch_end(self, batch: int, logs: dict[str, Any]) -> None:
        """After a step. Nothing is fetched here.

        Parameters
        ----------
        batch : int
            Number of the step within its epoch, from 0.
        logs : dict
            Of the step: "epoch".
        """

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """After an epoch and its validation.

        Parameters
        ----------
        epoch : int
            Its number, from 1.
        logs : dict of str to float
            What was measured.
        """

    def on_train_end(self, logs: dict[str, float]) -> None:
        """After the last epoch.

        Parameters
        ----------
        logs : dict of str to float
            Those of that epoch; {} where none was finished.
        """

    def on_exception(self, error: BaseException) -> None:
        """An exception ends training, such as Ctrl-C or one of a callback; it goes on after.

        Called for every callback that training began with, `on_train_end` done or not.

        Parameters
        ----------
        error : BaseException
            The exception.
        """

    # ---- for checkpoints ----
    def settings(self) -> dict[str, Any]:
        """What must be the same when a run is resumed.

        Returns
        -------
        dict
            Numbers, texts, lists.
        """
        return {}

    def get_state(self) -> dict[str, Any]:
        """What has changed since `on_train_begin`.

        Returns
        -------
        dict
            Numbers, texts, lists and NumPy arrays.
        """
        return {}

    def set_state(self, state: dict[str, Any]) -> None:
        """Take what `get_state` gave; called after `on_train_begin` when a run is resumed.

        The state comes from a file: raise ValueError for one that is of another form. Set
        attributes anew instead of changing what is in them; where the resume fails, in this
        callback or in another, all attributes are put back.

        Parameters
        ----------
        state : dict
            As `get_state` gave it.
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

    Attributes
    ----------
    epoch : list of int
        The epochs' numbers, from 1.
    history : dict of str to list of float
        The lists by name, as in Keras.
    communication : float
        Seconds that this rank has spent in the sums of this call's steps, waiting for the
        others included; 0 where one process has trained.
    """

    def __init__(self) -> None:
        self.epoch: list[int] = []
        self.history: dict[str, list[float]] = {}
        self.communication = 0.0

    def append(self, epoch: int, logs: dict[str, float]) -> None:
        """Add numbers of an epoch.

        Parameters
        ----------
        epoch : int
            The last one or the one after it.
        logs : dict of str to float
            Its numbers by name.
        """
        if not self.epoch or self.epoch[-1] != epoch:
            self.epoch.append(epoch)
        for key, value in logs.items():
            self.history.setdefault(key, []).append(value)

    def last(self) -> dict[str, float]:
        """The numbers of the last epoch.

        Returns
        -------
        dict of str to float
            By name; {} before the first epoch.
        """
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


class EarlyStopping(Callback):
    """Ends training when a number has not improved for `patience` epochs in a row.

    After training: `best` and `best_epoch` (from 1), `stopped_epoch` (None: ran to the end).
    NaN is never an improvement.

    Parameters
    ----------
    monitor : str
        What to watch: a name of the epoch's logs. Accuracies should rise, all else should fall.
    patience : int, optional
        Epochs without improvement after which to stop; None: never stop.
    min_delta : float
        What counts as an improvement: a change of more than this.
    restore_best : bool
        At the end of training, also by Ctrl-C or another exception, put back the parameters of
        the best epoch (those of the layers; the optimizer's state stays that of the last step).

    Raises
    ------
    ValueError
        When training begins where nothing of the name `monitor` will be measured.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        patience: int | None = 10,
        min_delta: float = 0.0,
        restore_best: bool = False,
    ):
        self.monitor = monitor
        self.patience = None if patience is None else checks.positive_int(patience, "patience")
        self.min_delta = checks.not_negative(min_delta, "min_delta")
        self.restore_best = bool(restore_best)
        self._reset()

    def _reset(self) -> None:
        self.best = math.nan
        self.best_epoch: int | None = None
        self.stopped_epoch: int | None = None
        self.wait = 0
        self._parameters: list[tuple[Any, Any]] = []

    def on_train_begin(self, logs: dict[str, Any]) -> None:
        """Forget an earlier training."""
        if self.monitor not in logs["metrics"]:
            raise ValueError(
                f"EarlyStopping monitors {self.monitor!r}, but an epoch gives "
                f"{', '.join(logs['metrics'])}; val_ numbers need validation_data"
            )
        self._reset()

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """Compare the epoch with the best one so far."""
        value = logs[self.monitor]
        if self._improved(value):
            if self.restore_best:
                copy = self.model.backend.copy
                self._parameters = [(copy(w), copy(b)) for w, b in self.model.get_parameters()]
            self.best, self.best_epoch, self.wait = value, epoch, 0
            return
        self.wait += 1
        if self.patience is not None and self.wait >= self.patience:
            self.stopped_epoch = epoch
            self.model.stop_training = True

    def _improved(self, value: float) -> bool:
        if math.isnan(value) or self.best_epoch is None:
            return not math.isnan(value)
        gain = value - self.best if self.monitor.endswith("accuracy") else self.best - value
        return bool(gain > self.min_delta)

    def on_train_end(self, logs: dict[str, float]) -> None:
        """Put the best parameters back, where that was asked for."""
        self._restore()

    def on_exception(self, error: BaseException) -> None:
        """The same. A Ctrl-C that comes in the middle of it waits until it is done."""
        try:
            self._restore()
        except KeyboardInterrupt:
            self._restore()
            raise

    def _restore(self) -> None:
        if self._parameters:
            self.model.set_parameters(self._parameters)
            self._parameters = []

    # ---- for checkpoints ----
    def settings(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            "monitor": self.monitor,
            "patience": self.patience,
            "min_delta": self.min_delta,
            "restore_best": self.restore_best,
        }

    def get_state(self) -> dict[str, Any]:
        """The best number, the epochs waited since, and the best parameters."""
        to_numpy = self.model.backend.to_numpy
        state = {name: getattr(self, name) for name in self._NUMBERS}
        for number, pair in enumerate(self._parameters):
            for name, values in zip(("weights", "biases"), pair, strict=True):
                state[f"{number}.{name}"] = to_numpy(values)
        return state

    def set_state(self, state: dict[str, Any]) -> None:
        """Take them back; training that had been stopped stays so.

        Raises ValueError, TypeError, KeyError or OverflowError, and changes nothing, for
        another state.
        """
        best, wait = state["best"], checks.seed(state["wait"], "wait")
        if isinstance(best, bool) or not isinstance(best, (int, float)):
            raise TypeError(f"best: got {type(best).__name__}, expected a number")
        float(best)  # raises for a whole number that none can hold
        epochs = {name: _epoch(state[name], name) for name in ("best_epoch", "stopped_epoch")}
        parameters = self._checked_parameters(state, epochs["best_epoch"])
        self.best, self.wait, self._parameters = best, wait, parameters
        self.best_epoch, self.stopped_epoch = epochs["best_epoch"], epochs["stopped_epoch"]
        self.model.stop_training = self.stopped_epoch is not None

    def _checked_parameters(self, state: dict[str, Any], best_epoch: int | None) -> list[Any]:
        """The best parameters in `state`, of the model's shapes and dtype, on its backend."""
        copy, asarray = self.model.backend.copy, self.model.backend.asarray
        found: list[Any] = []
        needed = self.model.get_parameters() if self.restore_best and best_epoch else []
        names = {f"{n}.{name}" for n in range(len(needed)) for name in ("weights", "biases")}
        if state.keys() != {*self._NUMBERS, *names}:
            raise ValueError(f"got {sorted(state)}, expected {sorted({*self._NUMBERS, *names})}")
        for number, pair in enumerate(needed):
            arrays = state[f"{number}.weights"], state[f"{number}.biases"]
            for values, now in zip(arrays, pair, strict=True):
                if (values.shape, values.dtype) != (now.shape, now.dtype):
                    raise ValueError(
                        f"best parameters: got {values.shape} {values.dtype}, expected "
                        f"{now.shape} {now.dtype}"
                    )
            found.append(tuple(copy(asarray(values)) for values in arrays))
        return found

    _NUMBERS = ("best", "best_epoch", "stopped_epoch", "wait")


def _epoch(value: Any, name: str) -> int | None:
    return None if value is None else checks.positive_int(value, name)
