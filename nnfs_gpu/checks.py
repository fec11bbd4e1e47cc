"""Checks on data where it enters: one clear error instead of a wrong number later.

Called by layers, losses and `Model`. Every message says what was got, what was expected and
what to do. Nothing here runs inside a training step of `Model.train`.
"""

from __future__ import annotations

import copy
import sys
from typing import Any, Self

import numpy as np

from . import remedies
from .backend import Backend
from .backend.arrays import incoming, on_gpu, plain, prefixed
from .backend.remedies import called

Array = Any

ROW_SUM_TOLERANCE = 1e-3  # of a row of probabilities: float16 one-hot files still pass


def positive_int(value: Any, name: str) -> int:
    """`value` as an int of at least 1; TypeError or ValueError with `name` otherwise."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name}: got {value!r}, expected a whole number of at least 1")
    if value < 1:
        raise ValueError(f"{name}: got {value}, expected at least 1")
    return int(value)


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
    """`value` as a Python number; None for what is none, or a whole number no float can hold."""
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, int) and abs(value) > sys.float_info.max:
        return None
    return value if isinstance(value, (int, float)) else None


def like(given: Any, backend: Backend, result: Array) -> Array:
    """`result` on the host where what was `given` lay there (a NumPy array or a list)."""
    return backend.to_numpy(result) if isinstance(given, (np.ndarray, list, tuple)) else result


def array(backend: Backend, x: Any, what: str, name: str) -> Array:
    """`x` as an array of the backend's dtype. Raises with `what` and `name` in front."""
    try:
        if type(x) is not backend.xp.ndarray or x.dtype.kind not in "fiub":
            x = incoming(x, name)
        return backend.asarray(x)
    except (TypeError, ValueError, RuntimeError) as error:
        raise prefixed(error, what) from error


def matrix(backend: Backend, given: Any, width: int | None, what: str, name: str = "x") -> Array:
    """`given` as an (N, width) array of the backend's dtype, N >= 1.

    what, name  the call and its argument, for the errors
    """
    x = array(backend, given, what, name)
    if x.ndim != 2 or x.shape[0] == 0 or x.shape[1] != (width or x.shape[1] or -1):
        raise ValueError(f"{what}: {remedies.not_a_matrix(given, x.shape, width, name)}")
    return x


def samples(backend: Backend, given: Any, what: str, name: str = "x") -> Array:
    """`given` as an array of the backend's dtype with a row a sample, of any shape; N >= 1."""
    x = array(backend, given, what, name)
    return x if x.ndim > 2 and x.size else matrix(backend, given, None, what, name)


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


def finite(backend: Backend, x: Array, what: str, name: str, given: Any) -> None:
    """ValueError where `x` holds NaN or infinity. Waits for the device.

    name, given  the argument that `x` was made of, for the remedy
    """
    here = isinstance(x, backend.xp.ndarray)
    if backend.all_finite(x) if here else np.isfinite(x).all():
        return
    host = backend.to_numpy(x) if here else x
    bad = np.argwhere(~np.isfinite(host))
    place = tuple(int(i) for i in bad[0])
    raw = plain(given, name)
    remedy = remedies.for_bad_numbers(called(given, name), name, raw.ndim)
    if np.isfinite(raw).all():
        remedy = (
            f"they are too large for {host.dtype}: scale the data, as {name} / abs({name}).max()"
        )
    raise ValueError(
        f"{what}: got NaN or infinity in {len(bad)} place(s), the first at index {place}; "
        f"expected finite numbers in {name}: {remedy}"
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
        kept = y if here or on_gpu(y) else host
        super().__init__(backend.asarray(kept, np.int32 if host.ndim == 1 else None))
        self.classes = classes

    def suit(self, y: np.ndarray) -> bool:
        """Whether labels `y` on the host, of this form, are right: looked at quickly."""
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
        finite(backend, y, "targets", "y", given)
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
