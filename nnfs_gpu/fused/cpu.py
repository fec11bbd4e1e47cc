"""Fused training steps on the CPU: the engine of the `numba` backend.

The arithmetic is kernels/fused_step.py. Here the model's objects become the tables that it
reads, before every step, so that a rate, a factor, a seed or an array that somebody changed
between two steps counts; and here work is shared out to threads.

After a step the layers hold the new weights and biases, `dweights` and `dbiases` with the
penalty's gradient, and the optimizer's state under the book's names. They do not hold
`inputs`, `output` and `dinputs`: those never existed as a whole, and are None.
`dweights` and `dbiases` are the engine's arrays and are written again by the next step.
"""

from __future__ import annotations

from operator import attrgetter, is_
from typing import Any

import numba
import numpy as np

from ..backend import launch, philox
from ..kernels import fused_tables as k
from ..kernels.fused_step import train
from .layout import Layout
from .plan import Plan, stage_parts

Array = Any

# A thread takes about 60 microseconds to wake; below this many operations one does it all.
SERIAL_FLOPS = 30_000_000
GROUP_FLOPS = 2_000_000  # a group of samples has at least so many,
GROUP_SAMPLES = 128  # and so many samples: its gradient must be added to the others'
MOST_GROUP = 8_192  # samples: longer sums in float32 would lose digits
MOST_GROUPS = 32  # at a time: more threads than that find no work
GROUP_BYTES = 256 << 20  # of all groups' gradients at a time
WHOLE = k.GROUPS | k.COLLECT | k.FRESH | k.FINISH

MOMENTUMS = {k.W_FIRST: "weight_momentums", k.B_FIRST: "bias_momentums"}
CACHE = {k.W_SECOND: "weight_cache", k.B_SECOND: "bias_cache"}
STATE = {  # optimizer: what it keeps on a layer, and where the table holds the address
    "sgd": {},
    "momentum": MOMENTUMS,
    "adagrad": CACHE,
    "rmsprop": CACHE,
    "adam": MOMENTUMS | CACHE,
}
SETTINGS = {  # optimizer: its attributes, and where the rules hold them
    "sgd": {},
    "momentum": {"momentum": k.FIRST},
    "adagrad": {"epsilon": k.EPSILON},
    "rmsprop": {"epsilon": k.EPSILON, "rho": k.FIRST},
    "adam": {"epsilon": k.EPSILON, "beta_1": k.FIRST, "beta_2": k.SECOND},
}
RATES = {
    "learning_rate": k.LEARNING_RATE,
    "decay": k.DECAY,
    "current_learning_rate": k.CURRENT,
}
PENALTIES = {
    "weight_regularizer_l1": k.W_L1,
    "weight_regularizer_l2": k.W_L2,
    "bias_regularizer_l1": k.B_L1,
    "bias_regularizer_l2": k.B_L2,
}


class FusedSteps:
    """Whole training steps for one model, in place.

    step(X, y)                   a step: forward, loss, accuracy, backward, update
    run(X, y, steps)             many steps over the same batch in one call
    accumulate(X, y, total)      a block of a batch of `total` samples ...
    finish()                     ... and the update when all blocks have been given
    compile()                    what the first of these would do first

    X (n, I) of the backend's dtype; y what the model's targets are: `checks.Labels` or
    `checks.Values` of n samples. The numbers are those of the step layer by layer, up to
    rounding; the same calls give the same bits, however many threads there are.
    One engine serves one caller at a time.
    """

    name = "fused"

    def __init__(self, model: Any, plan: Plan):
        self.model, self.plan = model, plan
        self.parts = stage_parts(model)
        self.loss, self.accuracy, self.optimizer = model.loss, model.accuracy, model.optimizer
        self.layout = Layout(plan)
        self._like = self.layout.dtype.type(0)
        self._outputs = 1 if plan.loss == "softmax_cross_entropy" else plan.n_outputs
        # What the tables hold now, and how to ask the objects in one call each.
        self._arrays = attrgetter("weights", "biases", *STATE[plan.optimizer].values())
        self._penalties = attrgetter(*PENALTIES)
        self._settings = attrgetter(*RATES, *SETTINGS[plan.optimizer])
        self._bound: list[tuple] = [(None,)] * len(self.parts)
        self._factors: list[tuple] = [()] * len(self.parts)
        self._rules: tuple = ()
        self._last: tuple = (None, None, None)
        self._gradients = [
            (np.zeros_like(part.dense.weights), np.zeros_like(part.dense.biases))
            for part in self.parts
        ]
        self._workspaces = [self.layout.make_workspace()]
        self._tables = self.layout.head.ctypes.data
        self._gradient = np.zeros(self.layout.gradients)
        self._measured = np.zeros((1, k.MEASURED_FIELDS))
        self.layout.head[k.GRADIENT] = self._gradient.ctypes.data
        self.layout.head[k.MEASURED] = self._measured.ctypes.data
        self._rows = self._total = self._target_bytes = 0  # of the batch under way
        self._keep_per_group()

    def describe(self) -> str:
        """What `explain` says about this engine."""
        tile = int(self.layout.head[k.TILE])
        kilobytes = self.layout.workspace * self.layout.dtype.itemsize / 1024
        return (
            f"tiles of {tile} samples, {kilobytes:.0f} KiB a thread, up to "
            f"{numba.get_num_threads()} threads; compiled at first use, then cached on disk"
        )

    def compile(self) -> None:
        """Compile the step for this dtype, or fetch it from the disk: the first step does not wait.

        About a quarter of a minute the first time on a machine, a quarter of a second later.
        """
        self._train(0, 0, 1, 0, 1, 0, WHOLE)

    # ---- steps ----
    def step(self, X: Array, y: Any) -> tuple[float, float, float]:
        """One step on the batch X, y: (mean loss, penalty, accuracy) before the update."""
        n = X.shape[0]
        if n > self._serial_samples:
            self.accumulate(X, y, n)
            return self.finish()
        self._run(X, y, 1)
        return self._result(n)

    def run(self, X: Array, y: Any, steps: int) -> tuple[Array, Array, Array, Array]:
        """`steps` steps on the same batch: losses, penalties, accuracies, rates, each (steps,).

        `loss` and `accuracy` hold the sums of the last step, as after `new_pass` and `step`.
        """
        n = X.shape[0]
        measured = np.zeros((steps, k.MEASURED_FIELDS))
        if n > self._serial_samples:
            for one in measured:
                self._new_pass()
                self.step(X, y)
                one[:] = self._measured[0]
        else:
            self._new_pass()
            self.layout.head[k.MEASURED] = measured.ctypes.data
            try:
                self._run(X, y, steps)
            finally:
                self.layout.head[k.MEASURED] = self._measured.ctypes.data
            self._measured[0] = measured[-1]
            self._result(n)
        losses, right = measured[:, 0] / n, measured[:, 1] / (n * self._outputs)
        return losses, measured[:, 2].copy(), right, measured[:, 3].copy()

    def accumulate(self, X: Array, y: Any, total: int) -> None:
        """Add the gradient of the samples X, y: the next rows of a batch of `total` rows.

        Memory does not grow with `total`. Raises ValueError for more rows than `total`.
        """
        n, x_address, y_address = self._addresses(X, y)
        if self._total == 0:
            self._prepare()
        if (self._total and total != self._total) or self._rows + n > total:
            raise ValueError(
                f"accumulate: got rows {self._rows} to {self._rows + n} of a batch of {total}, "
                f"expected at most {self._total or total}; call finish() between batches"
            )
        self._total = total
        per = self._per(n)
        wave = per * self._most_groups
        wide = self.plan.n_inputs * self.layout.dtype.itemsize
        for start in range(0, n, wave):
            rows, row = min(wave, n - start), self._rows + start
            self._room(rows, per)
            samples = (x_address + start * wide, y_address + start * self._target_bytes, rows)
            self._on_threads(*samples, row, per)
            self._train(*samples, row, per, 1, k.COLLECT | (0 if row else k.FRESH))
        self._rows += n

    def finish(self) -> tuple[float, float, float]:
        """The update from all blocks: (mean loss, penalty, accuracy) of the batch before it."""
        if self._rows != self._total or not self._total:
            raise RuntimeError(
                f"finish: got {self._rows} of {self._total} samples; accumulate the rest first"
            )
        n, self._rows, self._total = self._total, 0, 0
        self._train(0, 0, n, 0, n, 1, k.FINISH)
        self._done(1)
        return self._result(n)

    # ---- inside a step ----
    def _run(self, X: Array, y: Any, steps: int) -> None:
        """Whole steps on this thread alone."""
        if self._total:
            raise RuntimeError("step: a batch is under way; call finish() first")
        n, x_address, y_address = self._addresses(X, y)
        self._prepare()
        per = self._per(n)
        self._room(n, per)
        self._train(x_address, y_address, n, 0, per, steps, WHOLE)
        self._done(steps)

    def _train(
        self, x: int, y: int, n: int, row: int, per: int, steps: int, what: int, thread: int = 0
    ) -> None:
        train(
            self._tables,
            self._workspaces[thread][1],
            x,
            y,
            n,
            row,
            per,
            steps,
            self.optimizer.iterations,
            1.0 / (n * self._outputs),
            what,
            self._like,
        )

    def _on_threads(self, x: int, y: int, n: int, row: int, per: int) -> None:
        """All groups of a wave, shared out: each thread takes the next one when it is free."""
        threads = min(numba.get_num_threads(), -(-n // per)) if n > self._serial_samples else 1
        while len(self._workspaces) < threads:
            self._workspaces.append(self.layout.make_workspace())
        self.layout.counter[0] = 0
        others = [
            launch._get_pool().submit(self._train, x, y, n, row, per, 1, k.GROUPS, thread)
            for thread in range(1, threads)
        ]
        try:
            self._train(x, y, n, row, per, 1, k.GROUPS)
        finally:
            for other in others:
                if not other.cancel():  # it has begun: what it took must be finished
                    other.result()

    # ---- the model's objects, before a step ----
    def _prepare(self) -> None:
        """Bring the tables up to date with the model's objects."""
        for s, part in enumerate(self.parts):
            dense = part.dense
            try:
                found = self._arrays(dense)
            except AttributeError:  # the optimizer's state is not there yet
                found = ()
            if len(found) != len(self._bound[s]) or not all(map(is_, found, self._bound[s])):
                self._bind(s, dense)
            factors = self._penalties(dense)
            if factors != self._factors[s]:
                self._factors[s] = factors
                self.layout.factors[s, :4] = factors
            if part.dropout is not None:
                self._bind_dropout(s, part.dropout)
        rules = self._settings(self.optimizer)
        if self.plan.accuracy == "close":
            if self.accuracy.precision is None:
                raise RuntimeError("Accuracy_Regression has no precision yet; call init(y) first")
            rules = (*rules, self.accuracy.precision)
        if rules != self._rules:
            self._rules = rules
            places = (*RATES.values(), *SETTINGS[self.plan.optimizer].values(), k.PRECISION)
            self.layout.rules[list(places[: len(rules)])] = rules

    def _bind(self, s: int, dense: Any) -> None:
        """Write the addresses of a layer's arrays into the table; make the state it lacks."""
        row = self.layout.table[s]
        shapes = {"weight": dense.weights.shape, "bias": dense.biases.shape}
        row[k.W] = self._address(dense.weights, shapes["weight"], "weights")
        row[k.B] = self._address(dense.biases, shapes["bias"], "biases")
        for at, name in STATE[self.plan.optimizer].items():
            parameter = dense.weights if name.startswith("weight") else dense.biases
            state = self.optimizer._state(dense, name, parameter)
            row[at] = self._address(state, parameter.shape, name)
        for at, made in zip((k.DW, k.DB), self._gradients[s], strict=True):
            row[at] = made.ctypes.data
        self._bound[s] = self._arrays(dense)

    def _address(self, a: Array, shape: tuple[int, ...], what: str) -> int:
        fits = isinstance(a, np.ndarray) and a.shape == shape and a.dtype == self.layout.dtype
        if not fits or not a.flags.c_contiguous or not a.flags.writeable:
            raise ValueError(
                f"{what}: expected a writeable contiguous array of shape {shape} and dtype "
                f"{self.layout.dtype}; assign a copy: np.ascontiguousarray(...)"
            )
        return a.ctypes.data

    def _bind_dropout(self, s: int, dropout: Any) -> None:
        if dropout.seed is None:
            dropout.seed = int(np.random.randint(2**63 - 1, dtype=np.int64))
        seed, _, call = philox.counter(dropout.seed, philox.STREAM_DROPOUT, dropout.calls)
        row = self.layout.table[s]
        row[k.SEED] = seed if seed < 1 << 63 else seed - (1 << 64)  # the same 64 bits
        row[k.CALL] = call
        row[k.BELOW] = philox.keep_below(dropout.rate)
        kind = self.layout.dtype.type
        self.layout.factors[s, k.SCALE] = kind(1) / kind(dropout.rate)

    def _addresses(self, X: Array, y: Any) -> tuple[int, int, int]:
        """(n, where the samples lie, where their targets lie); checked, as kernels do not look."""
        t = getattr(y, "values", y)
        if X is self._last[0] and t is self._last[1]:
            return self._last[2]
        given = X, t
        plan, backend, dtype = self.plan, self.model.backend, self.layout.dtype
        if X.dtype != dtype or not X.flags.c_contiguous:
            X = backend.asarray(X)
        if X.ndim != 2 or X.shape[1] != plan.n_inputs or X.shape[0] == 0:
            raise ValueError(f"X: got shape {X.shape}, expected (samples, {plan.n_inputs})")
        n = X.shape[0]
        rows = t.ndim == 2
        if rows:
            if t.dtype != dtype or not t.flags.c_contiguous:
                t = backend.asarray(t)
            fits = t.shape == (n, plan.n_outputs)
            self._target_bytes = plan.n_outputs * dtype.itemsize
        else:
            fits = plan.loss == "softmax_cross_entropy" and t.shape == (n,)
            fits = fits and t.dtype == np.int32 and t.flags.c_contiguous
            self._target_bytes = 4
        if not fits:
            raise ValueError(
                f"y: got shape {t.shape} and dtype {t.dtype} for {n} samples of "
                f"{plan.n_outputs} outputs; give the model's targets"
            )
        self.layout.head[k.SOFT] = rows
        found = (
            n,
            X.__array_interface__["data"][0],
            t.__array_interface__["data"][0],
        )
        self._converted = X, t  # alive until the step is done
        same = X is given[0] and t is given[1]
        self._last = (X, t, found) if same else (None, None, None)
        return found

    # ---- the model's objects, after a step ----
    def _done(self, steps: int) -> None:
        """What a step leaves behind on the layers and the optimizer."""
        optimizer = self.optimizer
        optimizer.iterations += steps - 1
        optimizer.pre_update_params()  # the rate of the last step, as the kernel had it
        optimizer.post_update_params()
        for part, (dweights, dbiases) in zip(self.parts, self._gradients, strict=True):
            part.dense.dweights, part.dense.dbiases = dweights, dbiases
            if part.dropout is not None:
                part.dropout.calls += steps
        for layer in self.model.layers:
            layer.inputs = layer.output = layer.dinputs = None

    def _result(self, n: int) -> tuple[float, float, float]:
        """Adds the step to the epoch's sums; (mean loss, penalty, accuracy)."""
        loss, right, penalty, _ = self._measured[0].tolist()
        count = n * self._outputs
        self.loss.accumulated_sum += loss
        self.loss.accumulated_count += n
        if self.accuracy is not None:
            self.accuracy.accumulated_sum += right
            self.accuracy.accumulated_count += count
        return loss / n, penalty, right / count

    def _new_pass(self) -> None:
        self.loss.new_pass()
        if self.accuracy is not None:
            self.accuracy.new_pass()

    # ---- sizes ----
    def _keep_per_group(self) -> None:
        flops, panel = max(1, self.plan.flops()), self.layout.panel
        self._serial_samples = SERIAL_FLOPS // flops
        least = max(GROUP_SAMPLES, GROUP_FLOPS // flops)
        self._least_group = -(-least // panel) * panel
        row = self.layout.gradients * self.layout.dtype.itemsize
        self._most_groups = max(4, min(MOST_GROUPS, GROUP_BYTES // row))
        self._sums = np.zeros((0, self.layout.gradients), self.layout.dtype)

    def _per(self, n: int) -> int:
        """Samples in a group: of n and the plan alone, never of the threads."""
        panel = self.layout.panel
        even = -(-n // self._most_groups)
        per = min(max(even, self._least_group), max(MOST_GROUP, self._least_group))
        return -(-per // panel) * panel

    def _room(self, n: int, per: int) -> None:
        """Make room for the sums of all groups, where there is less."""
        groups = -(-n // per)
        if groups > self._sums.shape[0]:
            self._sums = np.zeros((groups, self.layout.gradients), self.layout.dtype)
            self._totals = np.zeros((groups, 2))
            self.layout.head[k.SUMS] = self._sums.ctypes.data
            self.layout.head[k.TOTALS] = self._totals.ctypes.data
