"""Accuracy: the share of predictions that are right (book, chapters 18 and 19).

Sums over an epoch stay on the device until somebody reads them.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from . import remedies
from .backend.arrays import plain
from .own.parts import Part, ours
from .own.values import comparisons
from .targets import Labels, Targets

Array = Any


class Accuracy(Part):
    """What all accuracies share: the mean of comparisons and the sums over an epoch.

    An accuracy of your own needs `compare`; `__init__` need not call ours. In a `Model` it gets
    plain arrays, targets in the form in which they were given.
    """

    accumulated_sum: Any = 0.0
    accumulated_count: int = 0

    def init(self, y: Any) -> None:
        """Learn from the targets what a comparison needs; nothing by default.

        Parameters
        ----------
        y : array or Targets
            All targets of the training data.
        """

    def compare(self, predictions: Any, y: Any) -> Array:
        """True where a prediction is right. Each accuracy defines its own.

        One that knows only a number for the whole batch, such as R2, returns that: it is
        weighted with the rows.

        Parameters
        ----------
        predictions : array
            What the output activation's `predictions` made of the outputs.
        y : array or Targets
            Targets of the same samples.

        Returns
        -------
        array of bool
            One a prediction.
        """
        raise NotImplementedError

    def calculate(self, predictions: Any, y: Any) -> Any:
        """Share of right predictions in this batch, which is added to the sums of the epoch.

        Parameters
        ----------
        predictions : array
            As `compare` takes them.
        y : array or Targets
            Their targets.

        Returns
        -------
        float64 scalar
            From 0 to 1, on the backend.
        """
        compared = self.compare(predictions, y)
        if not ours(self, "compare"):
            compared = comparisons(self.backend, compared, predictions, type(self).__name__, y)
        right = self.backend.sum(compared)
        self.accumulated_sum = self.accumulated_sum + right
        self.accumulated_count += compared.size
        return right / compared.size

    def calculate_accumulated(self) -> Any:
        """Share of right predictions in all batches since `new_pass`.

        Returns
        -------
        float64 scalar
            From 0 to 1, on the backend.

        Raises
        ------
        RuntimeError
            Before the first batch.
        """
        if not self.accumulated_count:
            raise RuntimeError("no accuracy has been calculated since new_pass()")
        return self.accumulated_sum / self.accumulated_count

    def new_pass(self) -> None:
        """Forget the accumulated sums: an epoch begins."""
        self.accumulated_sum = 0.0
        self.accumulated_count = 0


def _array(y: Any) -> Array:
    """Targets as an array with NumPy's methods: the values of checked ones, else as they are."""
    y = y.values if isinstance(y, Targets) else y
    return y if isinstance(getattr(y, "dtype", None), np.dtype) else plain(y, "y")


def _same_shape(predictions: Array, targets: Array) -> None:
    if predictions.shape != targets.shape:
        raise ValueError(
            f"accuracy: got predictions of shape {predictions.shape} and targets of shape "
            f"{targets.shape}, expected the same shape"
        )


def _as_column(targets: Array, predictions: Array) -> Array:
    """Targets (N,) beside predictions (N, 1) as (N, 1): broadcast they would make (N, N)."""
    return targets.reshape(-1, 1) if (targets.ndim, predictions.ndim) == (1, 2) else targets


class Accuracy_Categorical(Accuracy):  # noqa: N801 - the book's name
    """Predicted class equal to the true one; one-hot targets are turned into classes.

    Parameters
    ----------
    binary : bool
        Yes-or-no outputs: predictions and targets (N, O) are compared one by one, as they are;
        targets (N,) fit one output.
    """

    DEFAULTS: ClassVar[dict[str, Any]] = {"binary": False}

    def __init__(self, *, binary: bool = False) -> None:
        self.binary = bool(binary)

    def compare(self, predictions: Any, y: Any) -> Array:
        """True where they agree.

        Raises ValueError for shapes that do not match, TypeError for targets that are neither
        whole numbers nor one-hot rows.
        """
        if self.binary:
            predictions = self.backend.asarray(predictions)
            targets = _as_column(self.backend.asarray(_array(y)), predictions)
        else:
            predictions, targets = self.backend.asarray(predictions, np.int32), self._classes(y)
        _same_shape(predictions, targets)
        return self.backend.equal(predictions, targets)

    def _classes(self, y: Any) -> Array:
        given, checked, y = y, isinstance(y, Labels), _array(y)
        if y.ndim == 2 and (y.shape[1] > 1 or checked):  # checked: rows for a single class
            return self.backend.argmax(self.backend.asarray(y))
        if y.ndim <= 2 and (y.ndim != 1 or y.dtype.kind not in "iu"):
            remedy = remedies.for_labels(given, plain(y, "y"), 2**31)
            raise TypeError(
                f"accuracy: got targets of shape {y.shape} and dtype {y.dtype}, expected whole "
                f"numbers of shape (N,) or one-hot rows: {remedy}"
            )
        return self.backend.asarray(y, np.int32)


class Accuracy_Regression(Accuracy):  # noqa: N801 - the book's name
    """Share of predictions closer to the target than `precision` (book, chapter 17).

    Attributes
    ----------
    precision : float or None
        Standard deviation of the targets that `init` saw, divided by 250; None before.
    """

    DEFAULTS: ClassVar[dict[str, Any]] = {"precision": None}

    def __init__(self) -> None:
        self.precision: float | None = None

    def init(self, y: Any, reinit: bool = False) -> None:
        """Set the precision from targets, the first time or where `reinit` asks for it.

        Parameters
        ----------
        y : array or Targets
            All targets of the training data.
        reinit : bool
            Also where there is a precision already.

        Raises
        ------
        ValueError
            Where there are no targets, or not all are finite.
        """
        if self.precision is None or reinit:
            values = self.backend.to_numpy(_array(y))
            if not (values.size and np.isfinite(values).all()):
                raise ValueError(
                    f"Accuracy_Regression.init: got {values.size} targets, NaN or infinity among "
                    "them or none at all; expected finite numbers: clean the data first"
                )
            self.precision = float(np.std(values)) / 250

    def compare(self, predictions: Any, y: Any) -> Array:
        """True where |prediction - target| < precision.

        Raises RuntimeError before `init`, ValueError for shapes that do not match.
        """
        if self.precision is None:
            raise RuntimeError("Accuracy_Regression has no precision yet; call init(y) first")
        predictions = self.backend.asarray(predictions)
        targets = _as_column(self.backend.asarray(_array(y)), predictions)
        _same_shape(predictions, targets)
        return self.backend.close(predictions, targets, self.precision)
