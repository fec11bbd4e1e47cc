"""Evaluation and prediction: forward passes over data of any size, without a step.

Called by `Model.evaluate` and `Model.predict`, and after each epoch of a training that has
validation data.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import checks
from ..data.blockwise import block_rows
from ..data.sources import is_source, targets_inside
from ..network.network import Network, accuracy_of, loss_of
from . import blas

Array = Any


def evaluate(model: Network, data: Any, batch_size: int | None, verbose: bool) -> dict[str, float]:
    """Mean loss and accuracy of `model` on `data` (see `data/held.py`)."""
    size = None if batch_size is None else checks.positive_int(batch_size, "batch_size")
    loss, accuracy = blas.for_model(model, lambda: _measured(model, data, size))
    if verbose:
        print(f"validation, acc: {accuracy:.3f}, loss: {loss:.3f}")
    return {"loss": loss, "accuracy": accuracy}


def _measured(model: Network, data: Any, size: int | None) -> tuple[float, float]:
    """Mean loss and accuracy, `size` samples at a time."""
    # Sums of its own: an epoch that is under way keeps the accumulated ones.
    backend = model.backend
    loss_part, accuracy_part = loss_of(model), accuracy_of(model)
    losses: Any = 0.0
    right: Any = 0.0
    compared = 0
    for _, X, y in data.blocks(size):
        output = model.forward(X, training=False)
        losses = losses + backend.sum(loss_part.forward(output, y))
        predictions = model.output_layer_activation.predictions(output)
        comparisons = accuracy_part.compare(predictions, y)
        right = right + backend.sum(comparisons)
        compared += comparisons.size
    return float(losses) / data.samples, float(right) / compared


def predict(model: Network, X: Any, batch_size: int | None, check_finite: bool) -> Array:
    """Outputs for X (N, features), (N, O): where X lay. A memory map is read in blocks."""
    if is_source(X) or targets_inside(X, "X"):
        raise TypeError(
            f"predict: got a {type(X).__name__}, expected an array X; predict its blocks one by "
            "one: use np.concatenate([np.asarray(model.predict(x)) for x, _ in X])"
        )
    mapped = isinstance(X, np.memmap) and X.size > 0
    x = X if mapped else model.checked_inputs(X, "predict", check_finite)
    samples = x.shape[0]
    size = samples if batch_size is None else checks.positive_int(batch_size, "batch_size")
    size = min(size, block_rows(model)) if mapped else size

    def read(rows: slice) -> Array:
        if not mapped:
            return x[rows]
        where = f"predict, rows {rows.start} to {min(rows.stop, samples) - 1}"
        return model.checked_inputs(x[rows], where, check_finite)

    return blas.for_model(model, lambda: _outputs(model, X, read, samples, size), size)


def _outputs(
    model: Network, X: Any, read: Callable[[slice], Array], samples: int, size: int
) -> Array:
    """The outputs of all samples, `size` at a time: where X lay."""
    result = None
    for start in range(0, samples, size):
        rows = slice(start, start + size)
        output = checks.like(X, model.backend, model.forward(read(rows), False))
        if output.shape[0] == samples:
            return output
        if result is None:
            on_host = isinstance(output, np.ndarray)
            shape = (samples, *output.shape[1:])
            result = np.empty(shape, output.dtype) if on_host else model.backend.zeros(shape)
        result[rows] = output
    return result
