"""Is an operation right where it is timed? The ends of large results against the specification."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from nnfs_gpu.backend.numpy_backend import NumpyBackend

from .cases import Case

SPOT = 4096  # elements at either end of the results that are compared
TOLERANCE = 3e-5  # relative to the largest; a wrong element is far outside


def check(case: Case, n: int, c: int, arguments: dict[str, Any], call: Callable[[], Any]) -> None:
    """AssertionError where the first or last rows are not what the specification says."""
    k = n if case.of.whole else max(1, min(n // 2, SPOT // c + 1))
    both = not (case.of.whole or case.of.positional or n < 2)
    ends = [slice(0, k), slice(n - k, n)] if both else [slice(0, k)]
    count = k * len(ends)

    def rows(a: Any) -> Any:
        if not hasattr(a, "shape") or a.shape[:1] != (n,):
            return host(a) if hasattr(a, "shape") else a
        return np.concatenate([host(a[part]) for part in ends])

    exact = {name: rows(a) for name, a in arguments.items()}
    for name, a in exact.items():
        exact[name] = a.astype(np.float64) if getattr(a, "dtype", None) == np.float32 else a
    expected = case.exact(NumpyBackend(np.float64), exact, count, c)
    results = call()
    results = () if results is None else results if isinstance(results, tuple) else (results,)
    found = (*results, *(arguments[name] for name in case.of.writes))
    for number, (got, want) in enumerate(zip(found, expected, strict=True)):
        if got is None:  # PyTorch's is something else
            continue
        want = np.asarray(want, np.float64) * (count / n if number in case.of.divided else 1)
        got = rows(got)
        tolerance = TOLERANCE * np.abs(want).max() if got.dtype.kind == "f" else 0.0
        got = np.asarray(got, np.float64).reshape(-1)[: want.size].reshape(want.shape)
        error = np.abs(got - want).max()
        if not error <= tolerance:
            raise AssertionError(f"result {number} is wrong by {error:.3g}, not timed")


def host(a: Any) -> np.ndarray:
    """A copy in NumPy, of an array of NumPy, CuPy or PyTorch."""
    found: np.ndarray
    if hasattr(a, "detach"):
        found = a.detach().cpu().numpy()
    else:
        found = a.get() if hasattr(a, "get") else np.array(a)
    return found
