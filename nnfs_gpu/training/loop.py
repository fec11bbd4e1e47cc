"""The training loop: epochs, batches, printed lines, callbacks, history, checkpoints.

`Model.train` makes one `Training`, which runs the epochs. Where the samples come from is the
data's (`data/held.py`), what a step does an engine's (`engines.py`).

The loop fetches nothing from the device in a step. Where nobody looks at an epoch when it
ends (no lines, callbacks or validation), its numbers stay on the device, too, and are fetched
for many epochs together: a run of tiny epochs costs a few microseconds each beside the step.
Where an epoch is one step of a fused engine, one call does many of them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import checks
from ..backend.interrupts import new_pass
from ..files.random_state import stream_kept
from ..network.network import Network, accuracy_of, loss_of, optimizer_of
from ..rollback import all_or_nothing
from . import blas, divergence, long_calls
from .callbacks import Callback, History, checked as checked_callbacks, tell_of_exceptions
from .checkpoint import Checkpoint
from .engines import Engine, steps_for
from .inference import evaluate
from .long_calls import METRICS

MOST_PENDING = 1000  # epochs whose numbers wait on the device
VALIDATION_METRICS = ("val_loss", "val_accuracy")


def epoch_order(samples: int, seed: int, epoch: int) -> np.ndarray:
    """The order of the samples in `epoch`: a function of (seed, epoch), with no state between.

    NumPy's PCG64 (O'Neill, 2014), seeded by both numbers, shuffles 0..samples-1.
    """
    return np.random.Generator(np.random.PCG64([seed, epoch])).permutation(samples)


class Training:
    """One call of `Model.train`: its settings, and where it stands.

    epochs_done  epochs that are finished
    steps_done   steps done of the epoch after them
    history      of the finished epochs
    """

    def __init__(
        self,
        model: Network,
        data: Any,
        *,
        epochs: int,
        batch_size: int | None,
        print_every: int | None,
        validation: Any,
        callbacks: Sequence[Callback],
        shuffle: bool,
        seed: int,
        checkpoint: Any,
        checkpoint_every: int | None,
        engine: str,
    ):
        self.model, self.data = model, data
        self.loss, self.accuracy = loss_of(model), accuracy_of(model)
        self.optimizer = optimizer_of(model)
        self.epochs = checks.positive_int(epochs, "epochs")
        if batch_size is not None:
            batch_size = checks.positive_int(batch_size, "batch_size")
        self.batch_size = batch_size
        self.print_every = checks.positive_int(print_every, "print_every") if print_every else 0
        self.validation = validation
        self.callbacks = checked_callbacks(callbacks)
        self.shuffle, self.seed = bool(shuffle), checks.seed(seed, "seed")
        self._check_data()
        self.steps = -(-data.samples // (batch_size or data.samples))  # of an epoch
        self.engine_name = engine
        self.engine = self._engine()
        self.checkpoint = None
        if checkpoint is not None:
            self.checkpoint = Checkpoint(checkpoint, checkpoint_every)
        elif checkpoint_every is not None:
            raise ValueError("checkpoint_every: needs checkpoint, the folder to write to")
        self.metrics = METRICS + (VALIDATION_METRICS if validation else ())
        self.epochs_done = self.steps_done = 0
        self.history = History()
        self.finite = divergence.FiniteWatch()
        self._pending: list[tuple[int, Any, Any, Any, float]] = []

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

    def _engine(self) -> Engine:
        several = self.data.several(self.batch_size)
        return steps_for(self.model, self.engine_name, in_pieces=several)

    def settings(self) -> dict[str, Any]:
        """What must be equal for a checkpoint to be of the same run, beside the model."""
        nothing = None, None
        X, y = self.data.fingerprints()
        X_val, y_val = self.validation.fingerprints() if self.validation else nothing
        return {
            "engine": self.engine.name,
            "batch_size": self.batch_size,
            "shuffle seed": self.seed if self.shuffle else None,
            "X": X,
            "y": y,
            "validation X": X_val,
            "validation y": y_val,
        }

    # ---- the loop ----
    def run(self) -> History:
        """Train to the end, or until a callback stops it; returns the history.

        Where an exception ends it, the callbacks hear of it, each, whatever the others do.
        """
        with contextlib.ExitStack() as ending:
            try:
                self._begin(ending)
                with divergence.numpy_quiet():
                    if self.engine.name == "layers":
                        blas.for_model(self.model, self._epochs)
                    else:  # no products by BLAS
                        self._epochs()
                if self.checkpoint is not None:
                    self.checkpoint.end(self)
            finally:
                if self.checkpoint is not None:
                    self.checkpoint.leave()
            logs = self.history.last()
            for callback in self.callbacks:
                callback.on_train_end(logs)
        self.finite.end(self.model, self.epochs_done)
        return self.history

    def _begin(self, ending: contextlib.ExitStack) -> None:
        """Up to the first step. What fails here, such as a resume, has changed nothing."""
        model = self.model
        parts = model.loss, model.optimizer, model.accuracy
        with all_or_nothing(model, *model.layers, *parts, *self.callbacks), stream_kept():
            for callback in self.callbacks:
                callback.model = model
            if self.checkpoint is not None:
                self.checkpoint.open(self)
            self.data.init_accuracy(self.accuracy)
            model.stop_training = False
            logs = {
                "epochs": self.epochs,
                "steps": self.steps,
                "samples": self.data.samples,
                "metrics": self.metrics,
            }
            for callback in self.callbacks:
                callback.on_train_begin(dict(logs))
            if self.checkpoint is not None and self.checkpoint.begin(self):
                self.engine = self._engine()  # for the parameters just read
                self.data.init_accuracy(self.accuracy)  # where the file has no precision
            tell_of_exceptions(self.callbacks, ending)

    def _epochs(self) -> None:
        """The epochs that are left."""
        while self.epochs_done < self.epochs and not self.model.stop_training:
            if long_calls.epochs_fit(self):
                long_calls.many_epochs(self)
                self.finite.tell()
                continue
            if not self._steps():
                break
            self._finish_epoch()
            if self.checkpoint is not None:
                self.checkpoint.epoch_done(self)
            self.finite.tell()
        self.fetch()

    def _steps(self) -> bool:
        """The steps of an epoch that are left; False where a callback stopped between two."""
        model, engine, epoch = self.model, self.engine, self.epochs_done + 1
        if self.steps_done == self.steps:  # killed between the last step and the epoch's end
            return True
        if self.print_every:
            print(f"epoch: {epoch}")
        if not self.steps_done:
            new_pass(self.loss, self.accuracy)
        order = epoch_order(self.data.samples, self.seed, epoch) if self.shuffle else None
        if long_calls.swept(self):
            long_calls.sweep(self, order)
            return True
        step, last, rows = self.steps_done, self.steps - 1, 0
        for total, X, y in self.data.pieces(self.batch_size, order, step):
            if total is None:
                measured = engine.step(X, y)
            else:
                engine.accumulate(X, y, total)
                rows += X.shape[0]
                if rows < total:
                    continue
                measured, rows = engine.finish(), 0
            self.steps_done = step + 1
            if self.printed(step):
                data_loss, penalty, accuracy = measured
                self.print_line(f"step: {step}", accuracy, float(data_loss), float(penalty))
            for callback in self.callbacks:
                callback.on_train_batch_end(step, {"epoch": epoch})
            if self.checkpoint is not None:
                self.checkpoint.step_done(self)
            if model.stop_training and step < last:
                return False
            step += 1
        return True

    def printed(self, step: int) -> bool:
        """Whether this step has a line of its own."""
        every = self.print_every
        return bool(every) and (step % every == 0 or step == self.steps - 1)

    # ---- the end of an epoch ----
    def _finish_epoch(self) -> None:
        epoch = self.epochs_done + 1
        data_loss, penalty = self.loss.calculate_accumulated(include_regularization=True)
        accuracy = self.accuracy.calculate_accumulated()
        rate = self.optimizer.current_learning_rate
        self._pending.append((epoch, data_loss, penalty, accuracy, rate))
        self.epochs_done, self.steps_done = epoch, 0
        watched = self.print_every or self.callbacks or self.validation
        if watched or len(self._pending) >= MOST_PENDING:
            self.fetch()
        if watched:
            self._show_epoch(epoch, self.history.last())

    def fetch(self) -> None:
        """Move the numbers of finished epochs to the history. Waits for the device."""
        for epoch, data_loss, penalty, accuracy, rate in self._pending:
            data_loss, penalty = float(data_loss), float(penalty)
            values = (data_loss + penalty, data_loss, penalty, float(accuracy), float(rate))
            self.history.append(epoch, dict(zip(METRICS, values, strict=True)))
            self.finite.look(epoch, values[0], "loss")
        self._pending.clear()

    def _show_epoch(self, epoch: int, logs: dict[str, float]) -> None:
        """Print the epoch, validate, and tell the callbacks."""
        if self.print_every:
            self.print_line("training", logs["accuracy"], logs["data_loss"], logs["reg_loss"])
        if self.validation is not None:
            verbose = bool(self.print_every)
            measured = evaluate(self.model, self.validation, self.batch_size, verbose)
            measured = {f"val_{key}": value for key, value in measured.items()}
            self.finite.look(epoch, measured["val_loss"], "val_loss")
            self.history.append(epoch, measured)
            logs = logs | measured
        for callback in self.callbacks:
            callback.on_epoch_end(epoch, logs)

    def print_line(self, what: str, accuracy: Any, data_loss: float, penalty: float) -> None:
        print(
            f"{what}, acc: {float(accuracy):.3f}, loss: {data_loss + penalty:.3f} "
            f"(data_loss: {data_loss:.3f}, reg_loss: {penalty:.3f}), "
            f"lr: {self.optimizer.current_learning_rate}"
        )
