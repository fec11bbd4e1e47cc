"""The fused step for wide layers on a GPU: row tiles whose activations stay in the L2 cache.

Beyond 128 units the time goes into products, which cuBLAS does. So a step goes depth first like
the others, but a tile is thousands of rows, and it goes through the backend's own operations,
some of which are fused: bias with ReLU, the ReLU's gradient with the bias gradient, softmax with
cross-entropy and its gradient. Memory does not grow with the batch. Chosen by
`fused/cuda/choose.py`; array code and operations alone, so that it runs on every backend.

Tiles are added up in order, in the network's dtype; those of a batch that other processes have
rows of without rounding (`tile_sums.py`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backend.cuda.errors import reported
from ..backend.interrupts import insist, new_pass
from ..network.network import Network
from ..parameters import add_penalties
from ..undo import Undo
from .plan import Plan
from .shared import SharedBatch
from .stages import stage_parts
from .tile_sums import SharedSums
from .vocabulary import ACTIVATIONS, CannotFuse, refuse_unknown

Array = Any

L2_BYTES = 24 << 20  # of a tile's activations and gradients: half of the cache of a large GPU
LEAST_ROWS = 1024  # of a tile: fewer would not fill a GPU


@reported
class TiledSteps:
    """Whole training steps, a tile of rows at a time.

    step, run, leaf, begin, accumulate, message, finish   as `cuda.engine.KernelSteps` has them

    Raises CannotFuse for a network with dropout: a mask is a function of the row in the batch,
    and the operation that makes it begins at row 0; and for an activation or a loss for which the
    backend has no operation.

    tile  rows that are worked on together; None: as many as the cache holds
    """

    name = "fused"

    def __init__(self, model: Network, plan: Plan, tile: int | None = None):
        if any(stage.dropout for stage in plan.stages):
            raise CannotFuse(f"{plan.name} is wider than 128 and has dropout")
        self.model, self.plan, self.backend = model, plan, model.backend
        known = {name.removesuffix("_forward") for name in dir(self.backend)}
        for stage in plan.stages:
            refuse_unknown("tiles of rows", "activation", stage.activation, known | {"linear"})
        refuse_unknown("tiles of rows", "loss", plan.loss, known)
        self._parts = stage_parts(model)
        self._undo = Undo(model)
        widths = plan.n_inputs + sum(stage.n_outputs for stage in plan.stages)
        held = L2_BYTES // (2 * widths * plan.itemsize)
        self._tile = tile or max(LEAST_ROWS, held // 256 * 256)
        self._gradients: list[tuple[Array, Array]] = []  # of the batch under way, as what follows
        self._loss: Any = 0.0
        self._right: Any = 0.0
        self._batch = SharedBatch()
        self._shared: SharedSums | None = None  # made at the first shared batch

    def describe(self) -> str:
        """How a step runs, for people."""
        return f"tiles of {self._tile:,} rows that stay in the cache, products by cuBLAS"

    def step(self, X: Array, y: Any) -> tuple[Array, Array, Array]:
        """One step over all of X (N, I) and targets y: mean loss, penalty, accuracy."""
        self._batch.none("step")
        try:
            self.accumulate(X, y, X.shape[0])
            return self.finish()
        finally:
            self._batch.forget()

    # ---- a batch in blocks ----
    def leaf(self, total: int) -> int:
        """Rows of a batch of `total` that are summed alone: a tile. Of sizes alone."""
        return min(self._tile, total)

    def begin(self, total: int) -> None:
        """A batch of `total` rows of which others may have some; its sums are 0.

        Raises RuntimeError while another is under way, ValueError for less than a row.
        """
        self._batch.begin(total)
        if self._shared is None:
            self._shared = SharedSums(self.backend, self.plan)
        self._shared.clear()

    def accumulate(self, X: Array, y: Any, total: int, first: int | None = None) -> None:
        """Add the gradient of the samples X, y: rows of a batch of `total`.

        first   number in a batch that `begin` has begun of the first of them, a multiple of
                leaf(total); None: they follow those given before

        Memory does not grow with `total`. Raises ValueError for rows that are not in the batch,
        or, where others may have the rest, no whole leaves.
        """
        n, t = X.shape[0], getattr(y, "values", y)
        at = self._batch.place(n, total, first, self.leaf(total))
        if not self._batch.total:
            self._gradients, self._loss, self._right = [], 0.0, 0.0
        shared = self._shared if self._batch.shared else None
        add = self._add if shared is None else shared.add
        try:
            for start in range(0, n, self._tile):
                rows = slice(start, min(start + self._tile, n))
                outputs = self._forward(X[rows])
                losses, comparisons, dz = self._end(outputs[-1], t[rows], total)
                loss = self.backend.sum(losses)
                right = 0.0 if comparisons is None else self.backend.sum(comparisons)
                add(self._backward(dz, outputs), loss, right)
            if shared is not None:
                shared.count(n)
            self._batch.given(at, n, total)
        except BaseException:
            self._batch.forget()
            raise

    def fingerprint(self) -> int:
        """0: a number made of the parameters would wait for the device."""
        return 0

    def message(self) -> Array:
        """What has been accumulated since `begin`, a `Message` where the engine keeps it: what
        others have may be added to it in place, on the current stream. Waits for nothing.

        Raises RuntimeError where `begin` has begun no batch.
        """
        if self._shared is None or not self._batch.shared:
            raise RuntimeError("message: no shared batch is under way; call begin(total) first")
        return self._shared.message()

    def finish(self) -> tuple[Array, Array, Array]:
        """The update from all rows: mean loss, penalty, accuracy of the batch before it.

        Raises RuntimeError where rows are missing that nobody else can have. What others have is
        known to the device alone: where it is not of all rows then, everything becomes NaN.
        """
        shared = self._shared if self._batch.shared else None
        n = self._batch.end()
        penalty = self.model.loss.regularization_loss()
        try:
            self._undo.begin()
            if shared is not None:
                self._gradients, self._loss, self._right = shared.sums(n)
            self._update(self._gradients)
            measured = self._measured(self._loss, self._right, penalty, n)
            self._undo.done()
        except BaseException:
            insist(self._undo.back)
            raise
        return measured

    # ---- a tile ----
    def _add(self, found: list[tuple[Array, Array]], loss: Any, right: Any) -> None:
        """A tile's sums to those of the tiles before it, in order."""
        self._loss, self._right = self._loss + loss, self._right + right
        if not self._gradients:
            self._gradients = found
            return
        for (dw, db), (more_w, more_b) in zip(self._gradients, found, strict=True):
            dw += more_w
            db += more_b

    def _forward(self, x: Array) -> list[Array]:
        """x and every stage's output; the last one before its activation."""
        backend, outputs = self.backend, [x]
        for number, (part, stage) in enumerate(zip(self._parts, self.plan.stages, strict=True)):
            w, b = part.dense.weights, part.dense.biases
            if number == len(self._parts) - 1:
                outputs.append(backend.linear_forward(outputs[-1], w, b))
            elif both := getattr(backend, f"linear_{stage.activation}_forward", None):
                outputs.append(both(outputs[-1], w, b))
            else:
                outputs.append(self._activated(number, backend.linear_forward(outputs[-1], w, b)))
        return outputs

    def _activated(self, number: int, z: Array) -> Array:
        """The outputs of a stage from its sums."""
        name = self.plan.stages[number].activation
        if name == "linear":
            return z
        constants = ACTIVATIONS[name].constants(self._parts[number].activation)
        return getattr(self.backend, f"{name}_forward")(z, *constants)

    def _derived(self, number: int, dy: Array, y: Array) -> Array:
        """The gradient at a stage's sums, from the one at its outputs y and from y itself."""
        name = self.plan.stages[number].activation
        if name == "linear":
            return dy
        constants = ACTIVATIONS[name].constants(self._parts[number].activation)
        return getattr(self.backend, f"{name}_backward")(dy, y, *constants)

    def _end(self, z: Array, t: Array, samples: int) -> tuple[Array, Array | None, Array]:
        """Losses of the rows, which of them are right, and the gradient at z."""
        backend, loss = self.backend, self.plan.loss
        if loss == "softmax_cross_entropy":
            losses, dz = backend.softmax_cross_entropy(z, t, samples)
            if self.model.accuracy is None:
                return losses, None, dz
            return losses, self.model.accuracy.compare(backend.argmax(z), t), dz
        t = t.reshape(z.shape)
        last = len(self._parts) - 1
        y = self._activated(last, z)
        losses = getattr(backend, f"{loss}_forward")(y, t)
        dz = getattr(backend, f"{loss}_backward")(y, t)
        dz *= dz.dtype.type(z.shape[0] / samples)  # the mean is the batch's, not the tile's
        dz = self._derived(last, dz, y)
        if self.model.accuracy is None:
            return losses, None, dz
        predictions = self.model.output_layer_activation.predictions(y)
        return losses, self.model.accuracy.compare(predictions, t), dz

    def _backward(self, dy: Array, outputs: list[Array]) -> list[tuple[Array, Array]]:
        """dw and db of every stage, from the gradient at the last one's sums."""
        backend, found = self.backend, []
        for number in reversed(range(len(self._parts))):
            name, w = self.plan.stages[number].activation, self._parts[number].dense.weights
            x, y = outputs[number], outputs[number + 1]
            hidden = number < len(self._parts) - 1
            if hidden and (both := getattr(backend, f"linear_{name}_backward", None)):
                dy, dw, db = both(dy, x, w, y)
            else:
                dy = self._derived(number, dy, y) if hidden else dy  # `_end` has the last one's
                dy, dw, db = backend.linear_backward(dy, x, w)
            found.append((dw, db))
        return found[::-1]

    def _update(self, gradients: list[tuple[Array, Array]]) -> None:
        optimizer = self.model.optimizer
        for part, (dw, db) in zip(self._parts, gradients, strict=True):
            part.dense.dweights, part.dense.dbiases = dw, db
            add_penalties(part.dense)
        self._undo.keep()
        optimizer.pre_update_params()
        for part in self._parts:
            optimizer.update_params(part.dense)
        optimizer.post_update_params()
        self.model.forget_pass()

    def _measured(self, loss: Any, right: Any, penalty: Any, n: int) -> tuple[Any, Any, Any]:
        model = self.model
        model.loss.accumulated_sum = model.loss.accumulated_sum + loss
        model.loss.accumulated_count += n
        count = n * self.plan.answers
        if model.accuracy is not None:
            model.accuracy.accumulated_sum = model.accuracy.accumulated_sum + right
            model.accuracy.accumulated_count += count
        return loss / n, penalty, right / count

    def run(
        self, X: Array, y: Any, steps: int, batch_size: int | None = None
    ) -> tuple[Array, Array, Array, Array]:
        """`steps` steps over X: losses, penalties, accuracies and rates, each (steps,).

        All of X at each step, or batch by batch from row 0, beginning anew after the last row.
        """
        model, t, measured = self.model, getattr(y, "values", y), []
        starts = range(0, X.shape[0], batch_size or X.shape[0])
        for step in range(steps):
            first = starts[step % len(starts)]
            if first == 0:
                new_pass(model.loss, model.accuracy)
            rows = slice(first, first + starts.step)
            record = self.step(X[rows], t[rows])
            measured.append((*record, model.optimizer.current_learning_rate))
        xp = self.backend.xp
        losses, penalties, accuracies, rates = (
            xp.stack([xp.asarray(value) for value in column])
            for column in zip(*measured, strict=True)
        )
        return losses, penalties, accuracies, rates.astype(np.float64)
