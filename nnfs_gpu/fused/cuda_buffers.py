"""What a fused step on the GPU keeps on the device between launches.

`Parameters`: weights, gradients and optimizer state of all layers, each kind in one array that
the layers see parts of. `Schedule`: learning rates of the steps to come and records of those
done. Used by `cuda.FusedSteps`; array code alone, so that it also runs on NumPy arrays.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backend import philox
from .plan import Plan, StageParts

Array = Any

STATES = {  # optimizer: the book's names of what it keeps, by our arrays
    "sgd": (),
    "momentum": ("momentums",),
    "adagrad": ("caches",),
    "rmsprop": ("caches",),
    "adam": ("momentums", "caches"),
}
SUFFIX = {"momentums": "momentums", "caches": "cache"}  # weight_momentums, weight_cache


class Parameters:
    """Flat arrays (P,): stage after stage weights (I, O), then biases (1, O).

    parameters, gradients, momentums, caches   what the kernel reads and writes; those that the
                optimizer does not have are one zero
    """

    def __init__(self, model: Any, plan: Plan, parts: tuple[StageParts, ...]):
        xp, dtype = model.backend.xp, model.backend.dtype
        kept = STATES[plan.optimizer]
        self.parameters = xp.zeros(plan.parameters, dtype)
        self.gradients = xp.zeros(plan.parameters, dtype)
        self.momentums = xp.zeros(plan.parameters if "momentums" in kept else 1, dtype)
        self.caches = xp.zeros(plan.parameters if "caches" in kept else 1, dtype)
        self._views: list[tuple[Any, str, Array]] = []
        first = 0
        for part, stage in zip(parts, plan.stages, strict=True):
            weights = (stage.n_inputs, stage.n_outputs)
            for prefix, plural, shape in (
                ("weight", "weights", weights),
                ("bias", "biases", (1, stage.n_outputs)),
            ):
                last = first + shape[0] * shape[1]
                self._see(part.dense, f"_{plural}", self.parameters[first:last].reshape(shape))
                self._see(part.dense, f"d{plural}", self.gradients[first:last].reshape(shape))
                for name in kept:
                    view = getattr(self, name)[first:last].reshape(shape)
                    self._see(part.dense, f"{prefix}_{SUFFIX[name]}", view)
                first = last

    def _see(self, layer: Any, name: str, view: Array) -> None:
        self._views.append((layer, name, view))

    def refresh(self) -> None:
        """Let the layers' attributes be parts of our arrays, with the values that they have.

        An attribute that somebody assigned since the last step is copied; one that is not
        there yet (the state before the first step) begins as zeros.
        """
        for layer, name, view in self._views:
            held = getattr(layer, name, None)
            if held is view:
                continue
            if held is None:
                view[...] = 0
            else:
                view[...] = held
            setattr(layer, name, view)


class Schedule:
    """Rows for ROWS steps: rates (ROWS, 3) for the kernel, records (ROWS, 3) from it.

    The kernel's counter says which row comes next; so a launch that a CUDA graph replays
    takes the next rows by itself.
    """

    ROWS = 1024

    def __init__(self, xp: Any, dtype: np.dtype):
        self._xp, self._dtype = xp, dtype
        self.rates = xp.zeros((self.ROWS, 3), dtype)
        self.records = xp.zeros((self.ROWS, 3), dtype)
        self._next = self.ROWS  # none left
        self._key: tuple[float, ...] = ()
        self._iteration = -1  # of the row that comes next

    def prepare(self, optimizer: Any, steps: int, counters: Array) -> int:
        """Makes rows where there are none that fit; how many of `steps` steps they are for."""
        key = _rate_key(optimizer)
        left = self._next < self.ROWS
        if not left or key != self._key or optimizer.iterations != self._iteration:
            rows = _rates(optimizer, self.ROWS)
            self.rates = self._xp.asarray(rows.astype(self._dtype))  # callers hold the old ones
            self.records = self._xp.zeros((self.ROWS, 3), self._dtype)
            counters[0] = 0
            self._next, self._key, self._iteration = 0, key, optimizer.iterations
        return min(steps, self.ROWS - self._next)

    def taken(self, steps: int) -> tuple[Array, Array]:
        """Records and learning rates of the next rows, which a launch has just taken."""
        rows = slice(self._next, self._next + steps)
        self._next += steps
        self._iteration += steps
        return self.records[rows], self.rates[rows, 0]


def _rate_key(optimizer: Any) -> tuple[float, ...]:
    fixed = 0.0 if optimizer.decay else optimizer.current_learning_rate
    betas = (getattr(optimizer, name, 0.0) for name in ("beta_1", "beta_2"))
    return (optimizer.learning_rate, optimizer.decay, fixed, *betas)


def _rates(optimizer: Any, rows: int) -> np.ndarray:
    """Learning rate and Adam's corrections of steps iterations, iterations + 1, ... (rows, 3)."""
    iterations = np.arange(optimizer.iterations, optimizer.iterations + rows, dtype=np.float64)
    found = np.ones((rows, 3))
    if optimizer.decay:
        found[:, 0] = optimizer.learning_rate * (1.0 / (1.0 + optimizer.decay * iterations))
    else:
        found[:, 0] = optimizer.current_learning_rate
    for column, name in ((1, "beta_1"), (2, "beta_2")):
        beta = getattr(optimizer, name, 0.0)
        found[:, column] = 1.0 - beta ** (iterations + 1)
    return found


def settings_of(model: Any, parts: tuple[StageParts, ...], clip: float) -> tuple[float, ...]:
    """What `settings` of fused.cu holds, in its order, as the model's objects say it now."""
    optimizer, dtype = model.optimizer, model.backend.dtype
    precision = getattr(model.accuracy, "precision", 0.0)
    if precision is None:
        raise RuntimeError("Accuracy_Regression has no precision yet; call init(y) first")
    momentum = getattr(optimizer, "momentum", 0.0)
    beta_1 = getattr(optimizer, "beta_1", momentum)
    beta_2 = getattr(optimizer, "beta_2", getattr(optimizer, "rho", 0.0))
    found = [clip, 1 - clip, precision, getattr(optimizer, "epsilon", 0.0)]
    found += [beta_1, 1.0 - beta_1, beta_2, 1.0 - beta_2, 0.0, 0.0]
    for part in parts:
        dense = part.dense
        found += [dense.weight_regularizer_l1, dense.weight_regularizer_l2]
        found += [dense.bias_regularizer_l1, dense.bias_regularizer_l2]
        keep = 1.0 if part.dropout is None else part.dropout.rate
        found.append(float(1 / dtype.type(keep)))
    return tuple(map(float, found))


def dropout_of(layer: Any) -> tuple[int, int, int]:
    """Seed, share kept in units of 2^-32 and number of the next mask; draws a missing seed."""
    if layer is None:
        return 0, 0, 0
    if layer.seed is None:  # as its own forward does
        layer.seed = int(np.random.randint(2**63 - 1, dtype=np.int64))
    seed, _, call = philox.counter(layer.seed, philox.STREAM_DROPOUT, layer.calls)
    return seed, philox.keep_below(layer.rate), call
