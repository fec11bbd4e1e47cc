"""EarlyStopping: ends training when it gets no better, and puts back the best parameters."""

from __future__ import annotations

from typing import Any

from .. import checks
from .monitoring import Monitoring, checked_best, checked_epoch

NUMBERS = ("best", "best_epoch", "stopped_epoch", "wait")


class EarlyStopping(Monitoring):
    """Ends training when a number has not improved for `patience` epochs in a row.

    After training: `best` and `best_epoch` (from 1), `stopped_epoch` (None: ran to the end).
    NaN is never an improvement.

    Parameters
    ----------
    monitor : str
        What to watch: a name of the epoch's logs.
    patience : int, optional
        Epochs without improvement after which to stop; None: never stop.
    min_delta : float
        What counts as an improvement: a change of more than this.
    restore_best : bool
        At the end of training, also by Ctrl-C or another exception, put back the parameters of
        the best epoch (those of the layers; the optimizer's state stays that of the last step).
    mode : {"auto", "min", "max"}
        Which way is better; "auto": accuracies should rise, all else should fall.

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
        mode: str = "auto",
    ):
        super().__init__(monitor, min_delta, mode)
        self.patience = None if patience is None else checks.positive_int(patience, "patience")
        self.restore_best = bool(restore_best)

    def _reset(self) -> None:
        super()._reset()
        self.stopped_epoch: int | None = None
        self.wait = 0
        self._parameters: list[tuple[Any, Any]] = []

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
        names = ("patience", "restore_best")
        return super().settings() | {name: getattr(self, name) for name in names}

    def get_state(self) -> dict[str, Any]:
        """The best number, the epochs waited since, and the best parameters."""
        to_numpy = self.model.backend.to_numpy
        state = {name: getattr(self, name) for name in NUMBERS}
        for number, pair in enumerate(self._parameters):
            for name, values in zip(("weights", "biases"), pair, strict=True):
                state[f"{number}.{name}"] = to_numpy(values)
        return state

    def set_state(self, state: dict[str, Any]) -> None:
        """Take them back; training that had been stopped stays so.

        Raises ValueError, TypeError, KeyError or OverflowError, and changes nothing, for
        another state.
        """
        wait = checks.seed(state["wait"], "wait")
        best, best_epoch = checked_best(state)
        stopped_epoch = checked_epoch(state, "stopped_epoch")
        parameters = self._checked_parameters(state, best_epoch)
        self.best, self.wait, self._parameters = best, wait, parameters
        self.best_epoch, self.stopped_epoch = best_epoch, stopped_epoch
        self.model.stop_training = self.stopped_epoch is not None

    def _checked_parameters(self, state: dict[str, Any], best_epoch: int | None) -> list[Any]:
        """The best parameters in `state`, of the model's shapes and dtype, on its backend."""
        copy, asarray = self.model.backend.copy, self.model.backend.asarray
        found: list[Any] = []
        needed = self.model.get_parameters() if self.restore_best and best_epoch else []
        names = {f"{n}.{name}" for n in range(len(needed)) for name in ("weights", "biases")}
        if state.keys() != {*NUMBERS, *names}:
            raise ValueError(f"got {sorted(state)}, expected {sorted({*NUMBERS, *names})}")
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
