"""When a fit ends, and how its learning rate changes: scikit-learn's rules, as callbacks.

`EstimatorBase` asks for them and gives them to `Model.train`. Settings are those of
`settings.settings_of`.
"""

from __future__ import annotations

from typing import Any

from .. import checks
from ..training.callbacks import Callback
from ..training.early_stopping import EarlyStopping

LOWEST_RATE, DIVISOR = 1e-6, 5  # of "adaptive", as in scikit-learn


def one_epoch(settings: dict[str, Any]) -> None:
    """Make the settings those of `partial_fit`. Raises ValueError where it cannot keep them."""
    if settings["early_stopping"]:
        raise ValueError(
            "partial_fit: got early_stopping=True, which looks at many epochs; use fit, or "
            "early_stopping=False"
        )
    settings |= {"max_iter": 1, "n_iter_no_change": None}


def stopping(settings: dict[str, Any], score: str) -> EarlyStopping | None:
    """What ends training early, by the loss or by the curve `score`; None: nothing does."""
    early, patience = bool(settings["early_stopping"]), settings["n_iter_no_change"]
    if not early and patience is None:
        return None
    kind = Adaptive if _schedule(settings) == "adaptive" else EarlyStopping
    monitor = score if early else "loss"
    return kind(monitor, patience, min_delta=settings["tol"], restore_best=early)


def inverse_scaling(settings: dict[str, Any], seen: int) -> InverseScaling | None:
    """The callback where the settings ask for it; `seen` samples by the fits before."""
    if _schedule(settings) != "invscaling":
        return None
    power = checks.not_negative(settings["power_t"], "power_t")
    return InverseScaling(settings["learning_rate_init"], power, seen)


def go_on_with(optimizer: Any, settings: dict[str, Any]) -> None:
    """Give the optimizer of the last fit the rate of this one, but for one of the user's making."""
    rate = settings["learning_rate_init"]
    if rate is not None and isinstance(settings["solver"], str):
        _set_rate(optimizer, rate)


def _schedule(settings: dict[str, Any]) -> str:
    """How the rate changes: scikit-learn asks only where it is plain gradient descent."""
    return str(settings["learning_rate"]) if settings["solver"] == "sgd" else "constant"


def _set_rate(optimizer: Any, rate: float) -> None:
    optimizer.learning_rate = rate
    if not getattr(optimizer, "decay", 0):  # else it is made of `learning_rate` in every step
        optimizer.current_learning_rate = rate


class Adaptive(EarlyStopping):
    """Where training would stop, the rate is divided by 5 instead, as long as it is above 1e-6."""

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """See the class."""
        super().on_epoch_end(epoch, logs)
        optimizer = self.model.optimizer
        if self.stopped_epoch is not None and optimizer.learning_rate > LOWEST_RATE:
            _set_rate(optimizer, optimizer.learning_rate / DIVISOR)
            self.stopped_epoch, self.wait = None, 0
            self.model.stop_training = False


class InverseScaling(Callback):
    """After an epoch the rate is first / (t + 1)^power, t being the samples seen.

    seen  those of earlier fits that this one goes on from
    """

    def __init__(self, first: float, power: float, seen: int):
        self.first, self.power, self.seen = first, power, seen
        self._samples = 0

    def on_train_begin(self, logs: dict[str, Any]) -> None:
        """The rate that the last fit has ended with."""
        self._samples = logs["samples"]
        self._set()

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """See the class."""
        self.seen += self._samples
        self._set()

    def _set(self) -> None:
        _set_rate(self.model.optimizer, self.first / (self.seen + 1) ** self.power)
