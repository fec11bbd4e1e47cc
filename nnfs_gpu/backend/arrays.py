"""Arrays from outside, and whether the arrays of a call fit each other: what every backend checks.

An array of NumPy, CuPy, PyTorch or JAX is recognized by the protocols that it speaks
(`__cuda_array_interface__`, DLPack, `__array__`), so that none of them needs to be installed;
a table of pandas or polars by its columns (`tables.py`). Errors begin with the name that the
caller gives the array, and end with what to do (`remedies.py`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from . import remedies, tables

Array = Any

KDL_CUDA = 2  # DLPack's number for CUDA memory
KDL_HOST = (1, 3)  # ... for the CPU's own, and for the part of it that a GPU reads
TO_HOST = ("get", "cpu", "copy_to_host")  # what CuPy, PyTorch and Numba call it; JAX: np.asarray
FLOATS = np.dtype(np.float32), np.dtype(np.float64)  # that kernels exist for
# What np.asarray reads; of an object with none of them only DLPack knows what it holds.
NUMPY_READS = ("__array__", "__array_interface__", "__array_struct__")


def on_gpu(x: Any) -> bool:
    """Whether `x` is an array in CUDA memory."""
    if isinstance(x, np.ndarray) or _is_sparse_tensor(x):
        return False
    if hasattr(x, "__cuda_array_interface__"):
        return True
    return hasattr(x, "__dlpack_device__") and x.__dlpack_device__()[0] == KDL_CUDA


def waits(x: Any) -> bool:
    """Whether to look at the values of `x` here means to wait for a device, and to copy them."""
    return on_gpu(x)


def incoming(x: Any, name: str = "x") -> Array:
    """`x` as an array of real numbers: where it lies on a GPU itself, else as a NumPy array.

    Raises TypeError or ValueError, with `name` in front, as `to_host`.
    """
    if on_gpu(x):
        _check_detached(x, name)
        return check_real(x, name) if hasattr(x.dtype, "kind") else x
    return to_host(x, name)


def to_host(x: Any, name: str = "x") -> np.ndarray:
    """`x` as a NumPy array of real numbers; a copy only where it lies on a GPU or is no array.

    Raises TypeError for what holds no real numbers or is masked, sparse, or has missing values,
    ValueError for rows of different lengths, RuntimeError for a tensor that wants gradients.
    """
    found: np.ndarray = check_real(plain(x, name), name, x)
    return found


def plain(x: Any, name: str = "x") -> np.ndarray:
    """`x` as a NumPy array of any dtype. Raises as `to_host`, but for the dtype."""
    if isinstance(x, np.ma.MaskedArray):
        raise TypeError(remedies.masked(x, name))
    if isinstance(x, np.ndarray):
        return np.asarray(x)
    if tables.is_table(x) or tables.is_column(x):
        return tables.to_numpy(x, name)
    if hasattr(x, "nnz") and hasattr(x, "toarray"):  # SciPy's sparse matrices and arrays
        raise TypeError(remedies.sparse(x, f"{name}.toarray()", name))
    if _is_sparse_tensor(x):
        raise TypeError(remedies.sparse(x, f"{name}.to_dense()", name))
    _check_detached(x, name)
    if _elsewhere(x):
        x = next((getattr(x, move)() for move in TO_HOST if hasattr(x, move)), x)
    try:
        if hasattr(x, "__dlpack__") and not any(hasattr(x, way) for way in NUMPY_READS):
            return np.from_dlpack(x)
        return np.asarray(x)
    except (TypeError, ValueError, RuntimeError, BufferError) as error:
        kind = ValueError if isinstance(error, ValueError) else TypeError
        raise kind(remedies.not_converted(x, error, name)) from error


def _check_detached(x: Any, name: str) -> None:
    if getattr(x, "requires_grad", False) is True:  # PyTorch's: nothing here would give it any
        raise RuntimeError(
            f"{name}: got a {type(x).__name__} that requires gradients, expected one without; use "
            f"{name}.detach()"
        )


def prefixed(error: Exception, where: str) -> Exception:
    """The same error with `where` in front."""
    kinds = (TypeError, ValueError, RuntimeError)
    kind = next((kind for kind in kinds if isinstance(error, kind)), TypeError)
    return kind(f"{where}: {error}")


def _is_sparse_tensor(x: Any) -> bool:
    """PyTorch's: no array, wherever it lies."""
    return getattr(x, "is_sparse", False) is True or getattr(x, "is_sparse_csr", False) is True


def _elsewhere(x: Any) -> bool:
    """Whether `x` lies in memory that NumPy cannot read."""
    if on_gpu(x):
        return True
    return hasattr(x, "__dlpack_device__") and x.__dlpack_device__()[0] not in KDL_HOST


def check_real(a: Array, name: str = "x", given: Any = None) -> Array:
    """`a` itself; TypeError unless it holds real numbers or bools, and none is masked.

    given  what `a` was made of, where it is something else: for the remedy
    """
    if isinstance(a, np.ma.MaskedArray):
        raise TypeError(remedies.masked(a, name))
    if a.dtype.kind not in tables.REAL:
        raise TypeError(
            f"{name}: array of real numbers expected, got dtype {a.dtype}; convert it first: "
            f"{remedies.to_real(a, a if given is None else given, name)}"
        )
    return a


def check_shapes(first: Array, *others: Array, indices: bool = False) -> None:
    """For kernels, which do not look: rows beside an array are never read or written.

    Others have the shape of the first; with `indices`, also whole numbers, one a row.
    Raises ValueError.
    """
    for other in others:
        if other.shape == first.shape:
            continue
        if not (indices and other.dtype.kind in "iu" and other.shape == first.shape[:1]):
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
            f"b has shape {b.shape}, expected (1, {y.shape[1]}): a bias for each column of w; "
            "use b.reshape(1, -1)"
        )


def common_dtype(*arrays: Array) -> Any:
    """The one dtype of the real arrays among them, or None without any; TypeError for several.

    Kernels exist for float32 and float64.
    """
    found = None
    for a in arrays:
        dtype = a.dtype
        if dtype is found or dtype.kind != "f":  # asked for every kernel: nothing slow
            continue
        if dtype not in FLOATS or (found is not None and dtype != found):
            names = {a.dtype.name for a in arrays if a.dtype.kind == "f"}
            raise TypeError(
                f"arrays of {' and '.join(sorted(names))}: expected one dtype, float32 or float64; "
                "convert with backend.asarray(x)"
            )
        found = dtype
    return found


def mean_over(samples: int | None, rows: int) -> int:
    """The N of a mean: `samples`, or the rows at hand where it is None; at least 1."""
    if samples is not None and samples < 1:
        raise ValueError(
            f"samples: got {samples}, expected the rows of the whole batch, at least 1; None for "
            "those of x"
        )
    return max(rows, 1) if samples is None else samples
