"""Many steps of training in one call of an engine, where nobody looks at each of them.

Epochs of one step are done many at a time, epochs of batches a sweep at a time. The numbers in the
history, on the model and in the lines that are printed are those of single steps, to the bit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..data.held import Held
from .callbacks import Callback

if TYPE_CHECKING:
    from .loop import Training

MOST_EPOCHS = 1000  # in one call
ONE_CALL = 1 << 20  # samples in all epochs of one call: `stop_training` is looked at in between
METRICS = ("loss", "data_loss", "reg_loss", "accuracy", "learning_rate")


# ---- many batches in one call ----
def swept(training: Training) -> int:
    """How many batches an engine may do in one call; 0 where somebody looks at each of them."""
    checkpoint, engine = training.checkpoint, training.engine
    watched = any(
        getattr(callback.on_train_batch_end, "__func__", None) is not Callback.on_train_batch_end
        for callback in training.callbacks
    )
    if watched or (checkpoint is not None and checkpoint.every is not None):
        return 0
    several = isinstance(training.data, Held) and training.steps > 1 and training.print_every != 1
    return engine.sweeps(training.batch_size) if several and hasattr(engine, "sweeps") else 0


def sweep(training: Training, order: np.ndarray | None) -> None:
    """The steps of an epoch that are left. A call ends with a step that is printed, and before
    the last batch where it is smaller.
    """
    engine: Any = training.engine
    X, y, n = training.data.X, training.data.y, training.data.samples
    batch = training.batch_size or n
    whole = n // batch
    while training.steps_done < training.steps:
        first = training.steps_done
        stop = min(first + engine.sweeps(batch), whole) if first < whole else first + 1
        if training.print_every:
            stop = min(stop, -(-first // training.print_every) * training.print_every + 1)
        size = min(batch, n - first * batch)
        measured = engine.sweep(X, y, first * batch, size, stop - first, order)
        training.steps_done = stop
        if training.printed(stop - 1):
            losses, right, penalty, _ = measured[-1].tolist()
            training.print_line(
                f"step: {stop - 1}", right / (size * engine.compared), losses / size, penalty
            )


# ---- many epochs in one call ----
def epochs_fit(training: Training) -> bool:
    """Whether an engine may do many epochs at once, with the same numbers in the history.

    Nobody may look at an epoch or change the order, and there may be no penalty: the
    history has it as it is after the step, an engine measures it before.
    """
    quiet = not (
        training.print_every or training.callbacks or training.validation or training.checkpoint
    )
    whole = isinstance(training.data, Held) and training.steps == 1 and not training.shuffle
    return quiet and whole and hasattr(training.engine, "run") and not _penalized(training)


def _penalized(training: Training) -> bool:
    return any(
        getattr(layer, f"{what}_regularizer_{kind}") > 0
        for layer in training.model.trainable_layers
        for what in ("weight", "bias")
        for kind in ("l1", "l2")
    )


def many_epochs(training: Training) -> None:
    """As many of the epochs that are left as go into a call."""
    engine: Any = training.engine
    most = min(MOST_EPOCHS, 1 + ONE_CALL // training.data.samples)
    epochs = min(training.epochs - training.epochs_done, most)
    optimizer = training.model.optimizer
    before = optimizer.iterations
    *measured, _ = engine.run(training.data.X, training.data.y, epochs)
    losses, penalties, accuracies = (
        training.model.backend.to_numpy(numbers).astype(np.float64).tolist() for numbers in measured
    )
    rates = [optimizer.current_learning_rate] * epochs
    if optimizer.decay:  # the bits that the optimizer would give, step by step
        steps = np.arange(before, before + epochs)
        rates = (optimizer.learning_rate * (1.0 / (1.0 + optimizer.decay * steps))).tolist()
    training.history.epoch += range(training.epochs_done + 1, training.epochs_done + epochs + 1)
    for name, curve in zip(METRICS, (losses, losses, penalties, accuracies, rates), strict=True):
        training.history.history.setdefault(name, []).extend(curve)
    training.finite.look_at_all(training.epochs_done + 1, losses, "loss")
    training.epochs_done += epochs
