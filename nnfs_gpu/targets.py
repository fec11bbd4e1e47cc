"""Targets: what a network is to learn, checked once and kept on the backend.

Made by losses (`Loss.targets`) and given to losses, accuracies and engines, which trust them.
"""

from __future__ import annotations

import copy
from typing import Any, Self

import numpy as np

from . import checks, remedies
from .backend import Backend
from .backend.arrays import incoming, plain, waits

Array = Any

ROW_SUM_TOLERANCE = 1e-3  # of a row of probabilities: float16 one-hot files still pass


class Targets:
    """Targets that have been checked and moved to the backend, once.

    values   an array of the backend, one row a sample
    weights  what each sample counts: (N,) on the backend, in its dtype; None: all alike
    given    dtype and shape of one target as the user gave it, for own parts; None: as
             values

    Losses and accuracies accept raw targets and check them at every call; `Model` makes one
    object of all targets and slices it, so that a training step checks nothing.
    """

    given: tuple[np.dtype, tuple[int, ...]] | None = None
    weights: Array | None = None

    def __init__(self, values: Array):
        self.values = values

    def __len__(self) -> int:
        return int(self.values.shape[0])

    def __getitem__(self: Self, rows: Any) -> Self:
        part = copy.copy(self)
        part.values = self.values[rows]
        if self.weights is not None:
            part.weights = self.weights[rows]
        return part


def weights_of(y: Any) -> Array | None:
    """The weights of targets; None of raw ones, which have none."""
    return y.weights if isinstance(y, Targets) else None


def per_weight(total: Any, weight: Any) -> Any:
    """total / weight: a weighted mean, of sums on the device or not; 0 where nothing counts."""
    return total / (weight + (weight == 0))


class Labels(Targets):
    """Class targets, checked.

    Parameters
    ----------
    y : array
        Class indices (N,) of a whole-number dtype, or (N, C) probabilities, one-hot or soft.
    classes : int
        C.
    backend : Backend
        Where they are kept.
    samples : int, optional
        How many there must be; None: any number.

    Attributes
    ----------
    values : array
        Int32 (N,) class indices, or (N, C) probabilities in the backend's dtype.

    Raises
    ------
    TypeError, ValueError
        For labels of the wrong kind; for another shape, or values out of range.
    """

    def __init__(self, y: Any, classes: int, backend: Backend, *, samples: int | None = None):
        here = type(y) is backend.xp.ndarray
        host = backend.to_numpy(y) if here else plain(y, "y")
        try:
            _check_labels(host, classes)
        except (TypeError, ValueError) as error:
            remedy = remedies.for_labels(y, host, classes)
            kind = TypeError if isinstance(error, TypeError) else ValueError
            raise kind(f"labels: {error}" + (f": {remedy}" if remedy else "")) from error
        if samples is not None and host.shape[0] != samples:
            raise ValueError(
                f"labels: got {host.shape[0]} labels for {samples} samples; expected one for each: "
                f"{remedies.same_rows(host.shape, samples)}"
            )
        kept = y if here or waits(y) else host
        super().__init__(backend.asarray(kept, np.int32 if host.ndim == 1 else None))
        self.classes = classes

    def suit(self, y: np.ndarray) -> bool:
        """Whether other labels of this form are right: looked at quickly.

        Parameters
        ----------
        y : numpy.ndarray
            Labels on the host.

        Returns
        -------
        bool
            False may also mean that they are of another form.
        """
        if y.ndim != self.values.ndim or not y.size:
            return False
        if y.ndim == 1:
            return y.dtype.kind in "iu" and bool(y.min() >= 0 and y.max() < self.classes)
        if y.dtype.kind not in "fiub" or y.shape[1] != self.classes:
            return False
        if not (y.min() >= 0 and y.max() <= 1):
            return False
        return bool(abs(y @ np.ones(self.classes, np.float32) - 1).max() <= ROW_SUM_TOLERANCE)

    @classmethod
    def of(cls, y: Any, classes: int, backend: Backend, samples: int) -> Labels:
        """`y` itself where it is a `Labels` of this size, else `y` checked now.

        Parameters
        ----------
        y : array, Labels or Targets
            Class labels.
        classes : int
            C.
        backend : Backend
            Where they are kept.
        samples : int
            How many there must be.

        Returns
        -------
        Labels
            Checked.
        """
        if not isinstance(y, Labels):
            raw = y.values if isinstance(y, Targets) else y  # of a loss that wanted another kind
            return cls(raw, classes, backend, samples=samples)
        if len(y) != samples or y.classes != classes:
            raise ValueError(
                f"labels: got {len(y)} of {y.classes} classes, expected {samples} of {classes}"
            )
        return y


class Values(Targets):
    """Targets of a regression, or of yes-or-no outputs: finite numbers (N, O), checked."""

    def __init__(self, y: Any, outputs: int, backend: Backend, samples: int, *, unit: bool = False):
        """`unit`: the numbers must lie in [0, 1].

        (N,) is taken as (N, 1) where O is 1. Raises TypeError for what holds no numbers,
        ValueError for another shape, NaN, infinity, or numbers outside [0, 1] where `unit`.
        """
        given, y = y, incoming(y, "y")
        if isinstance(y, np.ndarray):  # looked at on the host, then moved
            y = np.ascontiguousarray(y, backend.dtype)
        else:
            y = backend.asarray(y)
        shape = (samples, outputs)
        if y.ndim == 1 and outputs == 1:
            y = y.reshape(-1, 1)
        if y.shape != shape:
            either = f"({samples},) or " if outputs == 1 else ""
            raise ValueError(
                f"targets: got shape {y.shape}, expected {either}{shape}: one row a sample, one "
                f"column an output: {remedies.for_values(given, y.shape, shape)}"
            )
        checks.finite(backend, y, "targets", "y", given)
        if unit:
            _check_unit(backend.to_numpy(y))
        super().__init__(backend.asarray(y))

    @classmethod
    def of(
        cls, y: Any, outputs: int, backend: Backend, samples: int, *, unit: bool = False
    ) -> Values:
        """`y` itself where it is a `Values` of this size, else `y` checked now."""
        if not isinstance(y, Values):
            raw = y.values if isinstance(y, Targets) else y
            return cls(raw, outputs, backend, samples, unit=unit)
        if y.values.shape != (samples, outputs):
            raise ValueError(
                f"targets: got shape {y.values.shape}, expected ({samples}, {outputs})"
            )
        return y


def _check_labels(y: np.ndarray, classes: int) -> None:
    if y.ndim == 1:
        _check_indices(y, classes)
    elif y.ndim == 2:
        _check_probabilities(y, classes)
    else:
        raise ValueError(
            f"got shape {y.shape}, expected (N,) class indices or (N, {classes}) one-hot rows"
        )


def _check_indices(y: np.ndarray, classes: int) -> None:
    if y.dtype.kind not in "iu":
        raise TypeError(
            f"got dtype {y.dtype} of shape {y.shape}, expected whole numbers 0 to {classes - 1}"
        )
    if y.shape[0] == 0:
        raise ValueError("got an empty array, expected one label a sample")
    if not (y.min() >= 0 and y.max() < classes):
        raise ValueError(
            f"got values from {int(y.min())} to {int(y.max())}, expected 0 to {classes - 1} "
            f"for {classes} classes"
        )


def _check_probabilities(y: np.ndarray, classes: int) -> None:
    if y.dtype.kind not in "fiub":
        raise TypeError(f"got dtype {y.dtype}, expected one-hot rows of numbers")
    if y.shape[0] == 0:
        raise ValueError(f"got an empty array of shape {y.shape}, expected rows")
    if y.shape[1] != classes:
        raise ValueError(f"got shape {y.shape}, expected (N, {classes})")
    with np.errstate(invalid="ignore"):  # infinities of both signs: NaN, and refused below
        sums = y.sum(axis=1, dtype=np.float64)
    bad = ~(np.abs(sums - 1) <= ROW_SUM_TOLERANCE) | ~((y >= 0) & (y <= 1)).all(axis=1)
    if bad.any():
        row = int(np.argmax(bad))
        raise ValueError(
            f"row {row} is {y[row].tolist()[:8]} with sum {sums[row]:.6g}, expected "
            "probabilities of 0 to 1 with sum 1 (one-hot or soft labels)"
        )


def _check_unit(y: np.ndarray) -> None:
    if not (y.min() >= 0 and y.max() <= 1):
        remedy = remedies.for_unit(y)
        raise ValueError(
            f"targets: got values from {y.min():g} to {y.max():g}, expected 0 or 1 "
            "(or probabilities between): sigmoid outputs answer yes or no; for classes "
            "use softmax and categorical cross-entropy" + (f"; {remedy}" if remedy else "")
        )
