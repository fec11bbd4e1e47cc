"""Accuracy: the share of predictions that are right (book, chapters 18 and 19).

Sums over an epoch stay on the device until somebody reads them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from . import checks
from .backend import get_backend

Array = Any


class Accuracy:
    """What all accuracies share: the mean of comparisons and the sums over an epoch."""

    accumulated_sum: Any
    accumulated_count: int

    def __init__(self) -> None:
        self.backend = get_backend()
        self.new_pass()

    def init(self, y: Any) -> None:
        """Learn from the targets what a comparison needs; nothing by default."""

    def compare(self, predictions: Any, y: Any) -> Array:
        """True where a prediction is right. Each accuracy defines its own."""
        raise NotImplementedError

    def calculate(self, predictions: Any, y: Any) -> Any:
        """Share of right predictions in this batch, a float64 scalar."""
        comparisons = self.compare(predictions, y)
        right = self.backend.sum(comparisons)
        self.accumulated_sum = self.accumulated_sum + right
        self.accumulated_count += comparisons.size
        return right / comparisons.size

    def calculate_accumulated(self) -> Any:
        """The same over all batches since `new_pass`. Raises RuntimeError before the first."""
        if not self.accumulated_count:
            raise RuntimeError("no accuracy has been calculated since new_pass()")
        return self.accumulated_sum / self.accumulated_count

    def new_pass(self) -> None:
        """Forget the accumulated sums: an epoch begins."""
        self.accumulated_sum = 0.0
        self.accumulated_count = 0


class Accuracy_Categorical(Accuracy):  # noqa: N801 - the book's name
    """Predicted class equal to the true one; one-hot targets are turned into classes.

    binary  predictions and targets are compared element by element, as they are
    """

    def __init__(self, *, binary: bool = False) -> None:
        super().__init__()
        self.binary = binary

    def compare(self, predictions: Any, y: Any) -> Array:
        """True where they agree.

        Raises ValueError for shapes that do not match, TypeError for targets that are neither
        whole numbers nor one-hot rows.
        """
        if isinstance(y, checks.Labels):
            y = y.values
        y = y if hasattr(y, "dtype") else np.asarray(y)
        if self.binary:
            predictions, targets = self.backend.asarray(predictions), self.backend.asarray(y)
        else:
            predictions, targets = self.backend.asarray(predictions, np.int32), self._classes(y)
        if predictions.shape != targets.shape:
            raise ValueError(
                f"accuracy: got predictions of shape {predictions.shape} and targets of shape "
                f"{targets.shape}, expected the same shape"
            )
        return self.backend.equal(predictions, targets)

    def _classes(self, y: Array) -> Array:
        if y.ndim == 2 and y.shape[1] > 1:
            return self.backend.argmax(self.backend.asarray(y))
        if y.ndim <= 2 and (y.ndim != 1 or y.dtype.kind not in "iu"):
            raise TypeError(
                f"accuracy: got targets of shape {y.shape} and dtype {y.dtype}, expected whole "
                "numbers of shape (N,) or one-hot rows; use y.reshape(-1).astype('int32')"
            )
        return self.backend.asarray(y, np.int32)
