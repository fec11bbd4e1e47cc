"""The training loop: epochs, batches, printed lines, callbacks, history, checkpoints.

`Model.train` checks the data and makes one `Training`, which runs the epochs. What one step
does is an engine's: `LayerSteps` goes through the layers as the book does, a fused engine
(`nnfs_gpu/fused/`) does the same numbers in one call. An engine has a `name` and
    step(X, y) -> (data loss, penalty, accuracy) of the batch before the update,
updates the parameters and adds to the epoch's sums in `model.loss` and `model.accuracy`.

The loop fetches nothing from the device in a step. Where nobody looks at an epoch when it
ends (no lines, callbacks or validation), its numbers stay on the device, too, and are fetched
for many epochs together: a run of tiny epochs costs a few microseconds each beside the step.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np

from . import checks
from .callbacks import Callback, History
from .checkpoint import Checkpoint, fingerprint

Array = Any

MOST_PENDING = 1000  # epochs whose numbers wait on the device
METRICS = ("loss", "data_loss", "reg_loss", "accuracy", "learning_rate")
VALIDATION_METRICS = ("val_loss", "val_accuracy")


class Engine(Protocol):
    """What does a training step. See the module docstring."""

    name: str

    def step(self, X: Array, y: Any) -> tuple[Any, Any, Any]:
        """One batch: forward, loss and penalty, accuracy, backward, update."""


class LayerSteps:
    """The book's step: one layer after the other, forward and back."""

    name = "layers"

    def __init__(self, model: Any):
        self.model = model

    def step(self, X: Array, y: Any) -> tuple[Any, Any, Any]:
        """One batch: forward, loss and penalty, accuracy, backward, update."""
        model = self.model
        output = model.forward(X, training=True)
        data_loss, penalty = model.loss.calculate(output, y, include_regularization=True)
        predictions = model.output_layer_activation.predictions(output)
        accuracy = model.accuracy.calculate(predictions, y)
        model.backward(output, y)
        optimizer = model.optimizer
        optimizer.pre_update_params()
        for layer in model.trainable_layers:
            optimizer.update_params(layer)
        optimizer.post_update_params()
        return data_loss, penalty, accuracy


def steps_for(model: Any, engine: str) -> Engine:
    """The engine called `engine` for this model.

    Raises ValueError for an unknown name, and for "fused" where the model cannot be fused.
    """
    if engine not in ("auto", "fused", "layers"):
        raise ValueError(f"engine: got {engine!r}, expected 'auto', 'fused' or 'layers'")
    if engine != "layers":
        from . import fused

        try:
            return fused.engine(model)
        except fused.CannotFuse as reason:
            if engine == "fused":
                raise ValueError(
                    f"engine='fused': {reason}; use engine='layers', or 'auto' to take what can be"
                ) from reason
    return LayerSteps(model)


def batches(samples: int, batch_size: int | None) -> Iterator[slice]:
    """Slices of `batch_size` rows that cover `samples` rows; None: one of all."""
    size = samples if batch_size is None else checks.positive_int(batch_size, "batch_size")
    return (slice(start, start + size) for start in range(0, samples, size))


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
        model: Any,
        X: Array,
        y: Any,
        *,
        epochs: int,
        batch_size: int | None,
        print_every: int | None,
        validation_data: tuple[Array, Any] | None,
        callbacks: Sequence[Callback],
        shuffle: bool,
        seed: int,
        checkpoint: Any,
        checkpoint_every: int | None,
        engine: str,
    ):
        self.model, self.X, self.y = model, X, y
        self.epochs = checks.positive_int(epochs, "epochs")
        self.batch_size = batch_size
        self.print_every = checks.positive_int(print_every, "print_every") if print_every else 0
        self.validation_data = validation_data
        self.callbacks = tuple(callbacks)
        self.shuffle, self.seed = bool(shuffle), checks.seed(seed, "seed")
        self.rows = list(batches(X.shape[0], batch_size))
        self.engine_name = engine
        self.engine = steps_for(model, engine)
        self.checkpoint = None
        if checkpoint is not None:
            self.checkpoint = Checkpoint(checkpoint, checkpoint_every)
        elif checkpoint_every is not None:
            raise ValueError("checkpoint_every: needs checkpoint, the folder to write to")
        self.epochs_done = self.steps_done = 0
        self.history = History()
        self._pending: list[tuple[int, Any, Any, Any, float]] = []

    def settings(self) -> dict[str, Any]:
        """What must be equal for a checkpoint to be of the same run, beside the model."""
        validation = self.validation_data
        return {
            "engine": self.engine.name,
            "batch_size": self.batch_size,
            "shuffle seed": self.seed if self.shuffle else None,
            "X": fingerprint(self.model.backend, self.X),
            "y": fingerprint(self.model.backend, self.y),
            "validation X": validation and fingerprint(self.model.backend, validation[0]),
            "validation y": validation and fingerprint(self.model.backend, validation[1]),
        }

    # ---- the loop ----
    def run(self) -> History:
        """Train to the end, or until a callback stops it; returns the history."""
        model = self.model
        model.accuracy.init(self.y)
        model.stop_training = False
        self._begin()
        if self.checkpoint is not None and self.checkpoint.begin(self):
            self.engine = steps_for(model, self.engine_name)  # for the parameters just read
        while self.epochs_done < self.epochs and not model.stop_training:
            if not self._steps():
                break
            self._finish_epoch()
            if self.checkpoint is not None:
                self.checkpoint.epoch_done(self)
        self.fetch()
        if self.checkpoint is not None:
            self.checkpoint.end(self)
        logs = self.history.last()
        for callback in self.callbacks:
            callback.on_train_end(logs)
        return self.history

    def _begin(self) -> None:
        logs = {
            "epochs": self.epochs,
            "steps": len(self.rows),
            "samples": self.X.shape[0],
            "metrics": METRICS + (VALIDATION_METRICS if self.validation_data else ()),
        }
        for callback in self.callbacks:
            callback.model = self.model
            callback.on_train_begin(dict(logs))

    def _steps(self) -> bool:
        """The steps of an epoch that are left; False where a callback stopped between two."""
        model, engine, epoch = self.model, self.engine, self.epochs_done + 1
        if self.print_every:
            print(f"epoch: {epoch}")
        if not self.steps_done:
            model.loss.new_pass()
            model.accuracy.new_pass()
        X, y = self._samples(epoch)
        last = len(self.rows) - 1
        for step in range(self.steps_done, last + 1):
            if last:
                rows = self.rows[step]
                measured = engine.step(X[rows], y[rows])
            else:
                measured = engine.step(X, y)
            self.steps_done = step + 1
            if self.print_every and (step % self.print_every == 0 or step == last):
                data_loss, penalty, accuracy = measured
                self._print(f"step: {step}", accuracy, float(data_loss), float(penalty))
            for callback in self.callbacks:
                callback.on_train_batch_end(step, {"epoch": epoch})
            if self.checkpoint is not None:
                self.checkpoint.step_done(self)
            if model.stop_training and step < last:
                return False
        return True

    def _samples(self, epoch: int) -> tuple[Array, Any]:
        """Data and targets in the order of this epoch."""
        if not self.shuffle:
            return self.X, self.y
        order = epoch_order(self.X.shape[0], self.seed, epoch)
        rows = self.model.backend.asarray(order, np.int64)
        return self.X[rows], self.y[rows]

    # ---- the end of an epoch ----
    def _finish_epoch(self) -> None:
        model, epoch = self.model, self.epochs_done + 1
        data_loss, penalty = model.loss.calculate_accumulated(include_regularization=True)
        accuracy = model.accuracy.calculate_accumulated()
        rate = model.optimizer.current_learning_rate
        self._pending.append((epoch, data_loss, penalty, accuracy, rate))
        self.epochs_done, self.steps_done = epoch, 0
        watched = self.print_every or self.callbacks or self.validation_data
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
        self._pending.clear()

    def _show_epoch(self, epoch: int, logs: dict[str, float]) -> None:
        """Print the epoch, validate, and tell the callbacks."""
        if self.print_every:
            self._print("training", logs["accuracy"], logs["data_loss"], logs["reg_loss"])
        if self.validation_data is not None:
            measured = self.model.evaluate(
                *self.validation_data, batch_size=self.batch_size, verbose=bool(self.print_every)
            )
            measured = {f"val_{key}": value for key, value in measured.items()}
            self.history.append(epoch, measured)
            logs = logs | measured
        for callback in self.callbacks:
            callback.on_epoch_end(epoch, logs)

    def _print(self, what: str, accuracy: Any, data_loss: float, penalty: float) -> None:
        print(
            f"{what}, acc: {float(accuracy):.3f}, loss: {data_loss + penalty:.3f} "
            f"(data_loss: {data_loss:.3f}, reg_loss: {penalty:.3f}), "
            f"lr: {self.model.optimizer.current_learning_rate}"
        )
