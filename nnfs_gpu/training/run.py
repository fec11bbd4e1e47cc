"""A run of training: what it is to do, and where it stands.

`Model.train` makes one. The loop (`loop.py`) moves it on, `long_calls.py` does many of its steps
at once, and a checkpoint (`checkpoint.py`) writes it down and puts it back.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from .. import checks
from ..network.network import Network, accuracy_of, loss_of, optimizer_of
from .callbacks import Callback, Onlooker, checked as checked_callbacks
from .divergence import FiniteWatch
from .history import History

METRICS = ("loss", "data_loss", "reg_loss", "accuracy", "learning_rate")
VALIDATION_METRICS = ("val_loss", "val_accuracy")


@dataclass
class Run:
    """The arguments of `Model.train`, checked, and where training stands.

    data, validation  as `data/held.py` makes them; validation may be None
    loss, accuracy, optimizer
                      of the model, as engines call them: they hold the epoch's sums
    called            callbacks that are called here: all, but for ranks beside the first
    told, onlookers   of these, those that are told of each epoch, and those that look now and then
    steps             of an epoch
    metrics           the names in the history
    settings          what must be equal for a checkpoint to be of this run, beside the model
    epochs_done       epochs that are finished
    steps_done        steps done of the epoch after them
    history           of the finished epochs
    """

    model: Network
    data: Any
    epochs: int
    batch_size: int | None
    print_every: int | None
    validation: Any
    callbacks: Sequence[Callback]
    shuffle: bool
    seed: int
    settings: dict[str, Any] = field(default_factory=dict)
    epochs_done: int = 0
    steps_done: int = 0
    history: History = field(default_factory=History)
    finite: FiniteWatch = field(default_factory=FiniteWatch)
    _shown: int = 0

    def __post_init__(self) -> None:
        self.loss, self.accuracy = loss_of(self.model), accuracy_of(self.model)
        self.optimizer = optimizer_of(self.model)
        self.epochs = checks.positive_int(self.epochs, "epochs")
        if self.batch_size is not None:
            self.batch_size = checks.positive_int(self.batch_size, "batch_size")
        every = self.print_every
        self.print_every = checks.positive_int(every, "print_every") if every else 0
        self.callbacks = checked_callbacks(self.callbacks)
        self.call(self.callbacks)
        self.shuffle, self.seed = bool(self.shuffle), checks.seed(self.seed, "seed")
        self._check_data()
        self.steps = -(-self.data.samples // (self.batch_size or self.data.samples))
        self.metrics = METRICS + (VALIDATION_METRICS if self.validation else ())

    def _check_data(self) -> None:
        if self.shuffle and hasattr(self.data, "source"):
            raise ValueError(
                "shuffle: blocks come in their own order; mix the data in the source, or train "
                "on arrays or memory maps"
            )
        for data in (self.data, self.validation):
            if data is not None and data.runs_out and self.epochs > 1:
                raise ValueError(
                    f"epochs: got {self.epochs}, but these blocks can be used once; give a "
                    "function that returns a new iterator for every epoch, as in "
                    "Blocks(lambda: my_blocks(), samples=N)"
                )

    def call(self, callbacks: Iterable[Callback]) -> None:
        """These callbacks are called here."""
        self.called = tuple(callbacks)
        self.onlookers = [one for one in self.called if isinstance(one, Onlooker)]
        self.told = [one for one in self.called if not isinstance(one, Onlooker)]

    # ---- those who look now and then ----
    def progress(self) -> None:
        """Tell them where training stands."""
        for one in self.onlookers:
            one.on_progress(self.epochs_done, self.steps_done)

    def due(self, epoch: int) -> bool:
        """Whether one of them wants to see the end of `epoch`."""
        return any(one.due(epoch) for one in self.onlookers)

    def show(self) -> None:
        """Tell them of the last epoch, unless they know it. Its numbers are in the history."""
        if self.onlookers and self.epochs_done > self._shown:
            self._shown = self.epochs_done
            for one in self.onlookers:
                one.on_epoch_end(self.epochs_done, self.history.last())

    def settle(self, engine: str) -> None:
        """Fill in `settings`, for a run by this engine. Reads samples of the data."""
        nothing = None, None
        X, y = self.data.fingerprints()
        X_val, y_val = self.validation.fingerprints() if self.validation else nothing
        self.settings = {
            "engine": engine,
            "batch_size": self.batch_size,
            "shuffle seed": self.seed if self.shuffle else None,
            "X": X,
            "y": y,
            "weights": self.data.weights_fingerprint(),
            "validation X": X_val,
            "validation y": y_val,
            "validation weights": self.validation and self.validation.weights_fingerprint(),
        }

    # ---- lines ----
    def printed(self, step: int) -> bool:
        """Whether this step has a line of its own."""
        every = self.print_every or 0
        return every > 0 and (step % every == 0 or step == self.steps - 1)

    def print_line(self, what: str, accuracy: Any, data_loss: float, penalty: float) -> None:
        """A line in the book's format."""
        print(
            f"{what}, acc: {float(accuracy):.3f}, loss: {data_loss + penalty:.3f} "
            f"(data_loss: {data_loss:.3f}, reg_loss: {penalty:.3f}), "
            f"lr: {self.optimizer.current_learning_rate}"
        )
