"""Arrays from outside, and whether arrays of one call fit: what every backend asks first.

An array of NumPy, CuPy, PyTorch or JAX is told by the protocols that it speaks
(`__cuda_array_interface__`, DLPack, `__array__`), so that none of them needs to be installed.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = Any

KDL_CUDA = 2  # DLPack's number for CUDA memory
TO_HOST = ("get", "cpu", "copy_to_host")  # what CuPy, PyTorch and Numba call it; JAX: np.asarray


def on_gpu(x: Any) -> bool:
    """Whether `x` is an array in CUDA memory."""
    if isinstance(x, np.ndarray):
        return False
    if hasattr(x, "__cuda_array_interface__"):
        return True
    return hasattr(x, "__dlpack_device__") and x.__dlpack_device__()[0] == KDL_CUDA


def to_host(x: Any) -> np.ndarray:
    """`x` as a NumPy array of real numbers; a copy only where it lies on a GPU or is no array.

    Raises TypeError for what holds no real numbers.
    """
    if on_gpu(x):
        x = next((getattr(x, name)() for name in TO_HOST if hasattr(x, name)), x)
    return check_real(np.asarray(x))


def check_real(a: Array) -> Array:
    """`a` itself; TypeError unless it holds real numbers or bools."""
    if a.dtype.kind not in "fiub":
        raise TypeError(f"array of real numbers expected, got dtype {a.dtype}; convert it first")
    return a


def check_shapes(first: Array, *others: Array, indices: bool = False) -> None:
    """For kernels, which do not look: rows beside an array are never read or written.

    Others have the shape of the first; with `indices`, also whole numbers, one a row.
    Raises ValueError.
    """
    for other in others:
        labels = indices and other.dtype.kind in "iu" and other.shape == first.shape[:1]
        if other.shape != first.shape and not labels:
            classes = f", or {first.shape[:1]} for whole numbers" if indices else ""
            raise ValueError(
                f"arrays of shapes {first.shape} and {other.shape} do not fit: expected "
                f"{first.shape}{classes}; give both the same rows and columns"
            )


def check_reals(*arrays: Array, indices: bool = False) -> None:
    """For kernels that read real numbers alone: the bits of others would be taken for them.

    With `indices`, vectors of whole numbers pass. Raises TypeError.
    """
    for a in arrays:
        if a.dtype.kind != "f" and not (indices and a.dtype.kind in "iu" and a.ndim == 1):
            raise TypeError(
                f"array of shape {a.shape} and {a.dtype}: expected float32 or float64; convert "
                "with backend.asarray(x)"
            )


def check_bias(b: Array, y: Array) -> None:
    """ValueError unless `b` has one number for each column of `y`."""
    if b.shape != (1, y.shape[1]):
        raise ValueError(
            f"b has shape {b.shape}, expected (1, {y.shape[1]}): a bias for each column of w"
        )


def common_dtype(*arrays: Array) -> Any:
    """The one dtype of the real arrays among them, or None without any; TypeError for several.

    Kernels exist for float32 and float64.
    """
    found = {a.dtype for a in arrays if a.dtype.kind == "f"}
    if len(found) > 1 or not found <= {np.dtype(np.float32), np.dtype(np.float64)}:
        names = " and ".join(sorted(dtype.name for dtype in found))
        raise TypeError(
            f"arrays of {names}: expected one dtype, float32 or float64; "
            "convert with backend.asarray(x)"
        )
    return found.pop() if found else None


def mean_over(samples: int | None, rows: int) -> int:
    """The N of a mean: `samples`, or the rows at hand where it is None; at least 1."""
    if samples is not None and samples < 1:
        raise ValueError(
            f"samples: got {samples}, expected the rows of the whole batch, at least 1; None for "
            "those of x"
        )
    return max(rows, 1) if samples is None else samples
