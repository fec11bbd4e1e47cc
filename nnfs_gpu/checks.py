"""Checks on data where it enters: one clear error instead of a wrong number later.

Called by layers, losses and `Model`. Every message says what was got, what was expected and
what to do. Nothing here runs inside a training step of `Model.train`.
"""

from __future__ import annotations

import copy
from typing import Any, Self

import numpy as np

from .backend import Backend

Array = Any

ROW_SUM_TOLERANCE = 1e-3  # of a row of probabilities: float16 one-hot files still pass


def positive_int(value: Any, name: str) -> int:
    """`value` as an int of at least 1; TypeError or ValueError with `name` otherwise."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name}: got {value!r}, expected a whole number of at least 1")
    if value < 1:
        raise ValueError(f"{name}: got {value}, expected at least 1")
    return int(value)


def pair(value: Any, name: str) -> tuple[Any, Any]:
    """`value`, which must be a tuple or list of two: data and targets."""
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise TypeError(f"{name}: got {type(value).__name__}, expected a pair (X, y)")
    return value[0], value[1]


def not_negative(value: Any, name: str) -> Any:
    """`value`, which must be a finite number of at least 0, as a Python number.

    (A NumPy float64 would make the arithmetic of a float32 update float64.)
    """
    number = _number(value)
    if number is None or not 0 <= number < np.inf:
        raise ValueError(f"{name}: got {value!r}, expected a number of at least 0")
    return number


def positive(value: Any, name: str) -> Any:
    """`value`, which must be a finite number above 0, as a Python number."""
    number = _number(value)
    if number is None or not 0 < number < np.inf:
        raise ValueError(f"{name}: got {value!r}, expected a number above 0")
    return number


def fraction(value: Any, name: str) -> Any:
    """`value`, which must lie in [0, 1): 1 would divide by zero or never forget."""
    number = _number(value)
    if number is None or not 0 <= number < 1:
        raise ValueError(f"{name}: got {value!r}, expected a number from 0 to below 1")
    return number


def seed(value: Any, name: str) -> int:
    """`value` as an int from 0 to below 2^64, the key of the random generator."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name}: got {value!r}, expected a whole number of at least 0")
    if not 0 <= value < 2**64:
        raise ValueError(f"{name}: got {value}, expected a whole number from 0 to below 2^64")
    return int(value)


def _number(value: Any) -> int | float | None:
    value = value.item() if isinstance(value, np.generic) else value
    return value if isinstance(value, (int, float)) else None


def like(given: Any, backend: Backend, result: Array) -> Array:
    """`result` on the host where what was `given` lay there (a NumPy array or a list)."""
    return backend.to_numpy(result) if isinstance(given, (np.ndarray, list, tuple)) else result


def matrix(backend: Backend, x: Any, width: int | None, what: str) -> Array:
    """`x` as an (N, width) array of the backend's dtype, N >= 1."""
    x = backend.asarray(x)
    if x.ndim != 2:
        hint = "; one sample is x.reshape(1, -1)" if x.ndim == 1 else ""
        raise ValueError(f"{what}: got shape {x.shape}, expected (samples, features){hint}")
    if x.shape[0] == 0:
        raise ValueError(f"{what}: got an empty batch of shape {x.shape}, expected samples")
    if width is None and x.shape[1] == 0:
        raise ValueError(f"{what}: got shape {x.shape}, expected (samples, features >= 1)")
    if width is not None and x.shape[1] != width:
        raise ValueError(
            f"{what}: got shape {x.shape}, expected (samples, {width}): "
            f"{x.shape[1]} features do not fit {width}"
        )
    return x


def samples(backend: Backend, x: Any, what: str) -> Array:
    """`x` as an array of the backend's dtype with a row a sample, of any shape; N >= 1."""
    x = backend.asarray(x)
    return x if x.ndim > 2 and x.size else matrix(backend, x, None, what)


def gradient(backend: Backend, dvalues: Any, output: Array | None, what: str) -> Array:
    """`dvalues` as an array of the shape of the `output` that forward has stored."""
    if output is None:
        raise RuntimeError(f"{what}: backward was called before forward; call forward first")
    dvalues = backend.asarray(dvalues)
    if dvalues.shape != output.shape:
        raise ValueError(
            f"{what}: got dvalues of shape {dvalues.shape}, expected {output.shape}, "
            "the shape of the last output"
        )
    return dvalues


def finite(backend: Backend, x: Array, what: str) -> None:
    """ValueError where `x` holds NaN or infinity. Waits for the device."""
    if not backend.all_finite(x):
        bad = np.argwhere(~np.isfinite(backend.to_numpy(x)))
        raise ValueError(
            f"{what}: got NaN or infinity in {len(bad)} place(s), the first at index "
            f"{tuple(int(i) for i in bad[0])}; expected finite numbers: clean the data first"
        )


class Targets:
    """Targets that have been checked and moved to the backend, once.

    values  an array of the backend, one row a sample
    given   dtype and shape of one target as the user gave it, for own parts; None: as values

    Losses and accuracies accept raw targets and check them at every call; `Model` makes one
    object of all targets and slices it, so that a training step checks nothing.
    """

    given: tuple[np.dtype, tuple[int, ...]] | None = None

    def __init__(self, values: Array):
        self.values = values

    def __len__(self) -> int:
        return self.values.shape[0]

    def __getitem__(self: Self, rows: Any) -> Self:
        part = copy.copy(self)
        part.values = self.values[rows]
        return part


class Labels(Targets):
    """Class targets, checked.

    values   int32 (N,) class indices, or (N, C) probabilities (one-hot or soft)
    classes  C
    """

    def __init__(self, y: Any, classes: int, backend: Backend, *, samples: int | None = None):
        """Raises TypeError for labels of the wrong kind, ValueError for shape or range."""
        host = backend.to_numpy(y) if hasattr(y, "dtype") else np.asarray(y)
        if host.ndim == 1:
            _check_indices(host, classes)
            values = backend.asarray(y, np.int32)
        elif host.ndim == 2:
            _check_probabilities(host, classes)
            values = backend.asarray(y)
        else:
            raise ValueError(
                f"labels: got shape {host.shape}, expected (N,) class indices "
                f"or (N, {classes}) one-hot rows"
            )
        if samples is not None and host.shape[0] != samples:
            raise ValueError(f"labels: got {host.shape[0]} labels for {samples} samples")
        super().__init__(values)
        self.classes = classes

    @classmethod
    def of(cls, y: Any, classes: int, backend: Backend, samples: int) -> Labels:
        """`y` itself where it is a `Labels` of this size, else `y` checked now."""
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
        values = backend.asarray(y)
        if values.ndim == 1 and outputs == 1:
            values = values.reshape(-1, 1)
        if values.shape != (samples, outputs):
            either = f"({samples},) or " if outputs == 1 else ""
            raise ValueError(
                f"targets: got shape {values.shape}, expected {either}({samples}, {outputs}): "
                "one row a sample, one column an output"
            )
        finite(backend, values, "targets")
        if unit:
            host = backend.to_numpy(values)
            if host.size and not (host.min() >= 0 and host.max() <= 1):
                raise ValueError(
                    f"targets: got values from {host.min():g} to {host.max():g}, expected 0 or 1 "
                    "(or probabilities between): sigmoid outputs answer yes or no; for classes "
                    "use softmax and categorical cross-entropy"
                )
        super().__init__(values)

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


def _check_indices(y: np.ndarray, classes: int) -> None:
    if y.dtype.kind not in "iu":
        raise TypeError(
            f"labels: got dtype {y.dtype} of shape {y.shape}, expected whole numbers "
            f"0 to {classes - 1}: use y.astype('int32')"
        )
    if y.shape[0] == 0:
        raise ValueError("labels: got an empty array, expected one label a sample")
    low, high = int(y.min()), int(y.max())
    if low < 0 or high >= classes:
        raise ValueError(
            f"labels: got values from {low} to {high}, expected 0 to {classes - 1} "
            f"for {classes} classes"
        )


def _check_probabilities(y: np.ndarray, classes: int) -> None:
    if y.dtype.kind not in "fiub":
        raise TypeError(f"labels: got dtype {y.dtype}, expected one-hot rows of numbers")
    if y.shape[0] == 0:
        raise ValueError(f"labels: got an empty array of shape {y.shape}, expected rows")
    if y.shape[1] != classes:
        hint = "; class indices need shape (N,): use y.reshape(-1)" if y.shape[1] == 1 else ""
        raise ValueError(f"labels: got shape {y.shape}, expected (N, {classes}){hint}")
    with np.errstate(invalid="ignore"):  # infinities of both signs: NaN, and refused below
        sums = y.sum(axis=1, dtype=np.float64)
    bad = ~(np.abs(sums - 1) <= ROW_SUM_TOLERANCE) | ~((y >= 0) & (y <= 1)).all(axis=1)
    if bad.any():
        row = int(np.argmax(bad))
        raise ValueError(
            f"labels: row {row} is {y[row].tolist()[:8]} with sum {sums[row]:.6g}, expected "
            "probabilities of 0 to 1 with sum 1 (one-hot or soft labels)"
        )
