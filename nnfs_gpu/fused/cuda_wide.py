"""The fused step for wide layers on a GPU: row tiles whose activations stay in the L2 cache.

Beyond 128 units the products are what takes time, and cuBLAS does them. So a step goes depth
first like the others, but a tile is thousands of rows and its parts are the backend's own
operations with fused ends: bias and ReLU, the ReLU's gradient and the bias gradient, softmax
and cross-entropy with its gradient. Memory does not grow with the batch. Chosen by
`cuda.FusedSteps`; array code and operations alone, so that it runs on every backend.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .plan import CannotFuse, Plan, stage_parts

Array = Any

L2_BYTES = 24 << 20  # of a tile's activations and gradients: half of the cache of a large GPU
LEAST_ROWS = 1024  # of a tile: fewer would not fill a GPU


class TiledSteps:
    """Whole training steps, a tile of rows at a time.

    Raises CannotFuse for a network with dropout: a mask is a function of the row in the batch,
    and the operation that makes it begins at row 0.

    tile  rows that are worked on together; None: as many as the cache holds
    """

    name = "fused"

    def __init__(self, model: Any, plan: Plan, tile: int | None = None):
        if any(stage.dropout for stage in plan.stages):
            raise CannotFuse(f"{plan.name} is wider than 128 and has dropout")
        self.model, self.plan, self.backend = model, plan, model.backend
        self._parts = stage_parts(model)
        widths = plan.n_inputs + sum(stage.n_outputs for stage in plan.stages)
        held = L2_BYTES // (2 * widths * plan.itemsize)
        self._tile = tile or max(LEAST_ROWS, held // 256 * 256)

    def describe(self) -> str:
        """How a step runs, for people."""
        return f"tiles of {self._tile:,} rows that stay in the cache, products by cuBLAS"

    def step(self, X: Array, y: Any) -> tuple[Array, Array, Array]:
        """One step over all of X (N, I) and targets y: mean loss, penalty, accuracy."""
        model, n = self.model, X.shape[0]
        t = getattr(y, "values", y)
        loss: Any = 0.0
        right: Any = 0.0
        gradients: list[tuple[Array, Array]] = []
        for start in range(0, n, self._tile):
            rows = slice(start, min(start + self._tile, n))
            outputs = self._forward(X[rows])
            losses, comparisons, dz = self._end(outputs[-1], t[rows], n)
            loss = loss + self.backend.sum(losses)
            if comparisons is not None:
                right = right + self.backend.sum(comparisons)
            found = self._backward(dz, outputs)
            if gradients:
                for (dw, db), (more_w, more_b) in zip(gradients, found, strict=True):
                    dw += more_w
                    db += more_b
            else:
                gradients = found
        penalty = model.loss.regularization_loss()
        self._update(gradients)
        return self._measured(loss, right, penalty, n)

    def _forward(self, x: Array) -> list[Array]:
        """x and every stage's output; the last one before its activation."""
        backend, outputs = self.backend, [x]
        for number, (part, stage) in enumerate(zip(self._parts, self.plan.stages, strict=True)):
            w, b = part.dense.weights, part.dense.biases
            hidden = number < len(self._parts) - 1
            if hidden and stage.activation == "relu":
                outputs.append(backend.linear_relu_forward(outputs[-1], w, b))
                continue
            y = backend.linear_forward(outputs[-1], w, b)
            if hidden and stage.activation == "sigmoid":
                y = backend.sigmoid_forward(y)
            outputs.append(y)
        return outputs

    def _end(self, z: Array, t: Array, samples: int) -> tuple[Array, Array | None, Array]:
        """Losses of the rows, which of them are right, and the gradient at z."""
        backend, loss = self.backend, self.plan.loss
        if loss == "softmax_cross_entropy":
            losses, dz = backend.softmax_cross_entropy(z, t, samples)
            if self.model.accuracy is None:
                return losses, None, dz
            return losses, self.model.accuracy.compare(backend.argmax(z), t), dz
        t = t.reshape(z.shape)
        y = backend.sigmoid_forward(z) if self.plan.stages[-1].activation == "sigmoid" else z
        losses = getattr(backend, f"{loss}_forward")(y, t)
        dz = getattr(backend, f"{loss}_backward")(y, t)
        dz *= dz.dtype.type(z.shape[0] / samples)  # the mean is the batch's, not the tile's
        if self.plan.stages[-1].activation == "sigmoid":
            dz = backend.sigmoid_backward(dz, y)
        if self.model.accuracy is None:
            return losses, None, dz
        predictions = self.model.output_layer_activation.predictions(y)
        return losses, self.model.accuracy.compare(predictions, t), dz

    def _backward(self, dy: Array, outputs: list[Array]) -> list[tuple[Array, Array]]:
        """dw and db of every stage, from the gradient at the last one's sums."""
        backend, found = self.backend, []
        for number in reversed(range(len(self._parts))):
            stage, w = self.plan.stages[number], self._parts[number].dense.weights
            x, y = outputs[number], outputs[number + 1]
            hidden = number < len(self._parts) - 1
            if hidden and stage.activation == "relu":
                dy, dw, db = backend.linear_relu_backward(dy, x, w, y)
            else:
                if hidden and stage.activation == "sigmoid":
                    dy = backend.sigmoid_backward(dy, y)
                dy, dw, db = backend.linear_backward(dy, x, w)
            found.append((dw, db))
        return found[::-1]

    def _update(self, gradients: list[tuple[Array, Array]]) -> None:
        optimizer = self.model.optimizer
        for part, (dw, db) in zip(self._parts, gradients, strict=True):
            dense = part.dense
            dense.dweights, dense.dbiases = dw, db
            for given, values, l1, l2 in (
                (dw, dense.weights, dense.weight_regularizer_l1, dense.weight_regularizer_l2),
                (db, dense.biases, dense.bias_regularizer_l1, dense.bias_regularizer_l2),
            ):
                if l1 > 0 or l2 > 0:
                    self.backend.regularization_step(given, values, l1, l2)
        optimizer.pre_update_params()
        for part in self._parts:
            optimizer.update_params(part.dense)
        optimizer.post_update_params()
        for layer in self.model.layers:
            layer.inputs = layer.output = layer.dinputs = None

    def _measured(self, loss: Any, right: Any, penalty: Any, n: int) -> tuple[Any, Any, Any]:
        model = self.model
        model.loss.accumulated_sum = model.loss.accumulated_sum + loss
        model.loss.accumulated_count += n
        count = n * (1 if self.plan.loss == "softmax_cross_entropy" else self.plan.n_outputs)
        if model.accuracy is not None:
            model.accuracy.accumulated_sum = model.accuracy.accumulated_sum + right
            model.accuracy.accumulated_count += count
        return loss / n, penalty, right / count

    def run(self, X: Array, y: Any, steps: int) -> tuple[Array, Array, Array, Array]:
        """`steps` steps over the same batch: losses, penalties, accuracies and rates (steps,)."""
        model, rows = self.model, []
        for _ in range(steps):
            model.loss.new_pass()
            if model.accuracy is not None:
                model.accuracy.new_pass()
            measured = self.step(X, y)
            rows.append((*measured, model.optimizer.current_learning_rate))
        columns = zip(*rows, strict=True)
        stack = self.backend.xp.stack
        asarray = self.backend.xp.asarray
        losses, penalties, accuracies, rates = (
            stack([asarray(value) for value in column]) for column in columns
        )
        return losses, penalties, accuracies, rates.astype(np.float64)
