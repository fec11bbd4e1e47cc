"""Many steps of training in one call of an engine, where nobody looks at each of them.

Epochs of one step are done many at a time, epochs of batches a sweep at a time. The numbers in the
history, on the model and in the lines that are printed are those of single steps, to the bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..data.held import Held
from ..data.order import Order
from ..parameters import penalized
from ..targets import per_weight
from .callbacks import Callback
from .run import METRICS, Run

MOST_EPOCHS = 1000  # in one call
ONE_CALL = 1 << 20  # samples in all epochs of one call: `stop_training` is looked at in between


# ---- many batches in one call ----
def swept(run: Run, engine: Any) -> int:
    """How many batches an engine may do in one call; 0 where a callback looks at each of them."""
    watched = any(
        getattr(callback.on_train_batch_end, "__func__", None) is not Callback.on_train_batch_end
        for callback in run.callbacks
    )
    small = isinstance(run.data, Held) and run.steps > 1 and run.print_every != 1
    if watched or not small or not hasattr(engine, "sweeps"):
        return 0
    return int(engine.sweeps(run.batch_size))


def sweep(run: Run, engine: Any, order: Order | None) -> None:
    """The steps of an epoch that are left. A call ends with a step that is printed, and before
    the last batch where it is smaller.
    """
    X, y, n = run.data.X, run.data.y, run.data.samples
    batch = run.batch_size or n
    if order is not None:
        order = np.asarray(order)  # of very many samples, it was none yet
    whole = n // batch
    while run.steps_done < run.steps:
        first = run.steps_done
        stop = min(first + engine.sweeps(batch), whole) if first < whole else first + 1
        if run.print_every:
            stop = min(stop, -(-first // run.print_every) * run.print_every + 1)
        size = min(batch, n - first * batch)
        measured = engine.sweep(X, y, first * batch, size, stop - first, order)
        run.steps_done = stop
        run.progress()
        if run.printed(stop - 1):
            losses, right, penalty, _, weight = measured[-1].tolist()
            right /= size * engine.compared
            run.print_line(f"step: {stop - 1}", right, per_weight(losses, weight), penalty)


# ---- many epochs in one call ----
def epochs_fit(run: Run, engine: Any) -> bool:
    """Whether an engine may do many epochs at once, with the same numbers in the history.

    Nobody may look at an epoch or change the order, and there may be no penalty: the
    history has it as it is after the step, an engine measures it before.
    """
    quiet = not (run.print_every or run.told or run.validation)
    whole = isinstance(run.data, Held) and run.steps == 1 and not run.shuffle
    return (
        quiet
        and whole
        and hasattr(engine, "run")
        and not any(map(penalized, run.model.trainable_layers))
    )


def many_epochs(run: Run, engine: Any) -> None:
    """As many of the epochs that are left as go into a call."""
    most = min(MOST_EPOCHS, 1 + ONE_CALL // run.data.samples)
    epochs = min(run.epochs - run.epochs_done, most)
    optimizer = run.model.optimizer
    before = optimizer.iterations
    *measured, _ = engine.run(run.data.X, run.data.y, epochs)
    losses, penalties, accuracies = (
        run.model.backend.to_numpy(numbers).astype(np.float64).tolist() for numbers in measured
    )
    rates = [optimizer.current_learning_rate] * epochs
    if optimizer.decay:  # the bits that the optimizer would give, step by step
        steps = np.arange(before, before + epochs)
        rates = (optimizer.learning_rate * (1.0 / (1.0 + optimizer.decay * steps))).tolist()
    run.history.epoch += range(run.epochs_done + 1, run.epochs_done + epochs + 1)
    for name, curve in zip(METRICS, (losses, losses, penalties, accuracies, rates), strict=True):
        run.history.history.setdefault(name, []).extend(curve)
    run.finite.look_at_all(run.epochs_done + 1, losses, "loss")
    run.epochs_done += epochs
