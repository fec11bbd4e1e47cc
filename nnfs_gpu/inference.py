"""Evaluation and prediction: forward passes over data of any size, without a step.

Called by `Model.evaluate`, `Model.predict` and after the epochs of a training with validation
data.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from . import checks
from .data_blocks import block_rows
from .own_measures import accuracy_of, loss_of

Array = Any


def evaluate(model: Any, data: Any, batch_size: int | None, verbose: bool) -> dict[str, float]:
    """Mean loss and accuracy of `model` on `data` (see `data.py`)."""
    # Sums of its own: an epoch that is under way keeps the accumulated ones.
    backend = model.backend
    loss_part, accuracy_part = loss_of(model), accuracy_of(model)
    losses: Any = 0.0
    right: Any = 0.0
    compared = 0
    size = None if batch_size is None else checks.positive_int(batch_size, "batch_size")
    for _, X, y in data.pieces(size):
        output = model.forward(X, training=False)
        losses = losses + backend.sum(loss_part.forward(output, y))
        predictions = model.output_layer_activation.predictions(output)
        comparisons = accuracy_part.compare(predictions, y)
        right = right + backend.sum(comparisons)
        compared += comparisons.size
    loss, accuracy = float(losses) / data.samples, float(right) / compared
    if verbose:
        print(f"validation, acc: {accuracy:.3f}, loss: {loss:.3f}")
    return {"loss": loss, "accuracy": accuracy}


def predict(model: Any, X: Any, batch_size: int | None, check_finite: bool) -> Array:
    """Outputs for X (N, features), (N, O): where X lay. A memory map is read in blocks."""
    mapped = isinstance(X, np.memmap) and X.size > 0
    x = X if mapped else model._inputs(X, "predict", check_finite)
    samples = x.shape[0]
    size = samples if batch_size is None else checks.positive_int(batch_size, "batch_size")
    size = min(size, block_rows(model)) if mapped else size
    result = None
    for start in range(0, samples, size):
        rows = slice(start, start + size)
        part = x[rows]
        if mapped:
            where = f"predict, rows {start} to {start + part.shape[0] - 1}"
            part = model._inputs(part, where, check_finite)
        output = checks.like(X, model.backend, model.forward(part, False))
        if output.shape[0] == samples:
            return output
        if result is None:
            on_host = isinstance(output, np.ndarray)
            shape = (samples, *output.shape[1:])
            result = np.empty(shape, output.dtype) if on_host else model.backend.zeros(shape)
        result[rows] = output
    return result
