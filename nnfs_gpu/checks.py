"""Checks on data where it enters: one clear error instead of a wrong number later.

Called by layers, losses and `Model`. Every message says what was got, what was expected and
what to do. Nothing here runs inside a training step of `Model.train`.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from . import remedies
from .backend import Backend
from .backend.arrays import incoming, plain, prefixed
from .backend.remedies import called

Array = Any


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
