"""What goes into parts of the user's own, and what comes out of them.

Plain arrays go in, with targets in the form that the user gave (`AsGiven`, `as_given`). What
comes out may be returned or stored, in any dtype, as one number a sample or one for the batch;
here it becomes an array of the backend in the shape that the engines expect, or an error that
names the part. Called by `parts.py`, `network/measures.py`, and by our base classes of losses and
accuracies for their subclasses.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import checks
from ..backend import Backend
from ..backend.arrays import incoming, prefixed, to_host, waits
from ..backend.protocol import DTypeLike
from ..targets import Targets

Array = Any


# ---- targets ----
class AsGiven(Targets):
    """Targets as the user gave them, for a loss whose wishes nobody knows.

    values  whole numbers and bools in the dtype they have, other numbers in the backend's;
            in any shape with a row a sample
    """

    def __init__(self, y: Any, backend: Backend, samples: int):
        """Raises TypeError for what holds no numbers, ValueError for a wrong count or NaN."""
        dtype, _ = form_of(y)
        whole = dtype.kind in "iub"
        values = backend.asarray(y, dtype if whole else None)
        if values.shape[0] != samples:
            raise ValueError(f"targets: got {values.shape[0]} targets for {samples} samples")
        if not whole:
            checks.finite(backend, values, "targets", "y", y)
        super().__init__(values)

    @classmethod
    def of(cls, y: Any, backend: Backend, samples: int) -> AsGiven:
        """`y` itself where it is one, else `y` checked now."""
        if isinstance(y, cls) and len(y) == samples:
            return y
        return cls(y.values if isinstance(y, Targets) else y, backend, samples)


def form_of(y: Any) -> tuple[np.dtype, tuple[int, ...]]:
    """The dtype of targets and the shape of one, as the user gave them."""
    if isinstance(y, Targets):
        return y.given or (y.values.dtype, y.values.shape[1:])
    host = to_host(y[:1] if waits(y) else y, "y")
    return host.dtype, host.shape[1:]


def as_given(y: Any) -> Any:
    """Targets as an own loss or accuracy gets them: an array, in the form the user gave."""
    if not isinstance(y, Targets):
        return y
    if y.given is None:
        return y.values
    dtype, row = y.given
    values = y.values.reshape(len(y), *row)
    return values.astype(dtype, copy=False) if dtype.kind in "iub" else values


# ---- what they give ----
def converted(backend: Backend, value: Any, what: str, dtype: DTypeLike | None = None) -> Array:
    """`value` as an array of the backend, in its dtype.

    Errors begin with `what`, the part and the name of the value, which remedies use.
    """
    try:
        return backend.asarray(value, dtype)
    except (TypeError, ValueError):
        part, _, name = what.rpartition(" ")
        try:
            incoming(value, name)
        except (TypeError, ValueError) as error:
            raise prefixed(error, part.rstrip(",")) from error
        raise


def result(returned: Any, part: Any, name: str) -> Any:
    """What a method computed: what it returned, else what it stored in `part.<name>`, or None."""
    stored = returned is None or returned is part
    return getattr(part, name, None) if stored else returned


def per_row(backend: Backend, value: Any, y_pred: Array, what: str, y: Any) -> Array:
    """Losses (N,), from losses (N,), (N, 1) or (N, O), or one number for the whole batch."""
    if value is None:
        raise ValueError(f"{what}: got nothing; return the losses of the samples, one a sample")
    wide, shape = shape_of(y_pred), shape_of(value)
    rows = wide[:1]
    if not shape:
        return backend.zeros(rows, np.float64) + value
    value = converted(backend, value, what)
    if shape in ((*rows, 1), wide):
        value = value.mean(axis=1)
    if value.shape != rows:
        raise ValueError(
            f"{what}: got shape {shape}, expected {rows}, one loss a sample; y_true has shape "
            f"{shape_of(y)}{hint(y_pred, y)}"
        )
    return value


def comparisons(backend: Backend, value: Any, predictions: Array, what: str, y: Any) -> Array:
    """What an accuracy compared, as an array; one number for the whole batch once a row."""
    if value is None:
        raise ValueError(f"{what}: compare returned nothing; return the comparisons")
    wide, shape = shape_of(predictions), shape_of(value)
    rows = wide[:1]
    if not shape:
        return backend.zeros(rows, np.float64) + value
    if shape == rows * 2 != wide and rows != (1,):
        raise ValueError(
            f"{what}: compared every prediction with every target, {shape}: predictions have "
            f"shape {wide}, y has shape {shape_of(y)}{hint(predictions, y)}"
        )
    dtype = value.dtype if hasattr(value, "dtype") else np.asarray(value).dtype
    return converted(backend, value, f"{what}, comparisons", dtype)


def shape_of(x: Any) -> tuple[int, ...]:
    """The shape of an array or of nested lists; () of a number."""
    return tuple(x.shape if hasattr(x, "shape") else np.shape(x))


def hint(predictions: Any, y: Any) -> str:
    """The remedy for (N,) beside (N, 1), which broadcast to (N, N)."""
    p, t = shape_of(predictions), shape_of(y)
    if len(p) == 2 and p[1] == 1 and len(t) == 1:
        return "; give y.reshape(-1, 1)"
    return "; give y.reshape(-1)" if len(p) == 1 and len(t) == 2 and t[1] == 1 else ""
