"""Are the kernels right at large sizes, and the same from run to run? Steps of `make gpu-check`.

    accuracy      every operation in float32 against the specification in float64, per element:
                      |result - exact| / (eps(float32) * magnitude),
                  the magnitude being that of the terms that were added up to make the element
    beyond 2^31   operations on more elements than a 32-bit index reaches: the rows of a small
                  batch over and over, which must give the small batch's bits over and over
    determinism   the same call again and again: the same bits

Nothing here names a device: the tests run it on the emulated backend.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nnfs_gpu.backend import Backend
from nnfs_gpu.backend.numpy_backend import NumpyBackend
from nnfs_gpu.selftest import crosscheck
from nnfs_gpu.selftest.operations import OPERATIONS, Operation

from . import training
from .notebook import Notebook, numba_cuda

CLASSES = (3, 10, 100, 1_000, 10_000, 100_000)
ELEMENTS = 1 << 23  # of an array in the accuracy step: NumPy computes the exact results
PERIOD = 999_983  # numbers drawn for an array, which repeat: a prime, so that no two rows agree
BEYOND = 1 << 31
LIMIT = 16.0  # units; our sums are trees, cuBLAS may add one by one: + 2 sqrt(terms)
SHAPES = tuple((max(1, (1 << 20) // c), c) for c in (3, 100, 20_000))  # of determinism

BY_ROW = (  # what depends on the number of classes; the others are measured at one shape
    *("softmax_forward", "softmax_backward", "cross_entropy_forward", "cross_entropy_backward"),
    *("softmax_cross_entropy_backward", "softmax_cross_entropy", "binary_cross_entropy_forward"),
    *("squared_error_forward", "absolute_error_forward", "argmax"),
    *("linear_forward", "linear_backward", "linear_relu_forward", "linear_relu_backward"),
)
NOT_REPEATED = ("synchronize", "to_numpy", "asarray")  # they compute nothing
HOST_IS_SLOW = ("dropout_forward", "random_words", "spiral")  # Philox in NumPy: an 8th is enough
DIVIDED_BY_ROWS = ("cross_entropy_backward", "softmax_cross_entropy_backward")
LARGE = (  # operation and classes, beyond 2^31 elements
    ("relu_forward", 64),
    ("softmax_forward", 3),
    ("softmax_backward", 3),
    ("softmax_backward", 1_000),
    ("softmax_cross_entropy_backward", 10),
    ("softmax_cross_entropy", 10),
    ("argmax", 10),
)


class Tiled:
    """A NumPy generator whose real numbers repeat after PERIOD: 8 million are quick to draw."""

    def __init__(self, *seed: int):
        self._rng = np.random.RandomState(seed)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._rng, name)

    def randn(self, *shape: int) -> np.ndarray:
        """Normally distributed, float64, repeated after PERIOD."""
        return np.resize(self._rng.randn(min(PERIOD, math.prod(shape))), shape)

    def rand(self, *shape: int) -> np.ndarray:
        """Uniform in 0..1, float64, repeated after PERIOD."""
        return np.resize(self._rng.rand(min(PERIOD, math.prod(shape))), shape)


def accuracy_step(notebook: Notebook, backend: Backend) -> None:
    """Accuracy, then what lies beyond 2^31 where the device has the memory."""
    accuracy(notebook, backend, ELEMENTS, CLASSES)
    free, _ = backend.xp.cuda.runtime.memGetInfo()
    if free < 20 * BEYOND:  # three arrays of float32, and as much again for the pool
        notebook.note(f"beyond 2^31 elements: {free / 2**30:.0f} GiB free, 40 needed")
    else:
        beyond(notebook, backend, BEYOND)


# ---- accuracy ----
def accuracy(notebook: Notebook, backend: Backend, elements: int, classes: Sequence[int]) -> None:
    """A line for every operation at every size."""
    for line in OPERATIONS:
        operation = line.name
        size = elements // 8 if operation in HOST_IS_SLOW else elements
        for c in classes if operation in BY_ROW else (min(1_000, max(classes)),):
            n, c = (5, 40) if operation == "softmax_jacobian" else (max(1, size // c), c)
            what = f"{line.label} {n}x{c}"
            if notebook.late(f"accuracy from {what} on"):
                return
            with notebook.attempt(what, backend):
                units, limit = error_of(backend, line, n, c)
                names = {"operation": operation, "variant": line.variant, "rows": n, "classes": c}
                notebook.add("accuracy", **names, units=units, limit=limit)
                if not units <= limit:
                    notebook.problem(f"{what}: {units:.3g} units, allowed {limit:.3g}")


def error_of(backend: Backend, line: Operation, n: int, c: int) -> tuple[float, float]:
    """(largest error in units, units allowed) of one line of crosscheck's table."""
    operation, kind, written = line.name, line.agree, line.writes
    arguments = line.arguments(np.float32, n, c, rng=Tiled(n, c), edges=False)
    exact = arguments
    if kind != "exact":  # comparisons and copies are exact in their own dtype
        exact = {name: _widened(value) for name, value in arguments.items()}
    oracle = NumpyBackend(np.float32 if kind == "exact" else np.float64)
    expected, actual = line.run(oracle, exact), line.run(backend, arguments)
    names = (*("",) * (len(expected) - len(written)), *written)
    worst = 0.0
    for name, got, want in zip(names, actual, expected, strict=True):
        if got.dtype not in (want.dtype, np.dtype(np.float32)):
            raise AssertionError(f"dtype {got.dtype}, not {want.dtype}")
        magnitude = _magnitude(operation, name, exact, np.asarray(want, np.float64))
        worst = larger(worst, units_of(got, want, magnitude))
    if kind in ("exact", "angle"):
        return worst, crosscheck.BOUNDS[kind]
    terms = n if "linear" in operation and "backward" in operation else c
    return worst, LIMIT + 2 * math.sqrt(terms if "linear" in operation else 0)


def units_of(actual: np.ndarray, expected: np.ndarray, magnitude: Any) -> float:
    """The largest error in units of eps(float32) * magnitude; NaN counts as infinitely wrong."""
    if actual.shape != expected.shape:
        raise AssertionError(f"shape {actual.shape}, not {expected.shape}")
    a, e = actual.astype(np.float64), expected.astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        error = np.abs(a - e) / (float(np.finfo(np.float32).eps) * magnitude)
    error = np.where(a == e, 0.0, error)
    return float(np.where(np.isnan(error), np.inf, error).max(initial=0.0))


def larger(a: float, b: float) -> float:
    """The larger of two errors."""
    return b if b > a else a


def _widened(value: Any) -> Any:
    is_real = isinstance(value, np.ndarray) and value.dtype.kind == "f"
    return value.astype(np.float64) if is_real else value


def _magnitude(operation: str, written: str, a: dict[str, Any], result: np.ndarray) -> Any:
    """What an element is made of, at least the element itself; a number where all have the same."""
    special: dict[str, Callable[[], Any]] = {
        "softmax_forward": lambda: result * (1 + a["x"].max(axis=1, keepdims=True) - a["x"]),
        "softmax_backward": lambda: (
            a["y"] * (np.abs(a["dy"]) + (a["y"] * np.abs(a["dy"])).sum(axis=1, keepdims=True))
        ),
        "softmax_jacobian": lambda: np.abs(result) + 2 * a["y"][:, :, None] * a["y"][:, None, :],
        "linear_forward": lambda: np.abs(a["x"]) @ np.abs(a["w"]) + np.abs(a["b"]),
        "linear_relu_forward": lambda: np.abs(a["x"]) @ np.abs(a["w"]) + np.abs(a["b"]),
        "linear_backward": lambda: _of_linear_backward(a, result.shape),
        "linear_relu_backward": lambda: _of_linear_backward(a, result.shape),
        "softmax_cross_entropy": lambda: _of_softmax_cross_entropy(a, result),
        "binary_cross_entropy_backward": lambda: (
            (a["t"] / a["p"].clip(1e-7, 1) + (1 - a["t"]) / (1 - a["p"]).clip(1e-7, 1))
            / a["p"].size
        ),
        "spiral": lambda: 10.0 * (a["classes"] + 1),  # the angle's last digit moves a point
        "mean": lambda: np.abs(a["a"]).mean(),
        "sum": lambda: np.abs(a["a"]).sum(),
    }
    if operation in special:
        return special[operation]()
    if written:  # a step: what was there, and what was added
        before = [np.abs(a[name]) for name in {written, "w", "dw"} & set(a)]
        return np.abs(result) + sum(before)
    return np.abs(result)


def _of_linear_backward(a: dict[str, Any], shape: tuple[int, ...]) -> np.ndarray:
    """Sums of absolute terms: of dx, dw or db, told apart by their shape."""
    dy, x, w = (np.abs(a[name]) for name in ("dy", "x", "w"))
    found: np.ndarray
    if shape == x.shape:
        found = dy @ w.T
    else:
        found = x.T @ dy if shape == w.shape else dy.sum(axis=0, keepdims=True)
    return found


def _of_softmax_cross_entropy(a: dict[str, Any], result: np.ndarray) -> np.ndarray:
    """The rounding of a score's distance to the largest goes into p, and from there into both
    results: a loss, and the gradient (p - t) / samples.
    """
    if result.ndim == 1:
        losses: np.ndarray = 2 + np.abs(result)
        return losses
    p, t = NumpyBackend(np.float64).softmax_forward(a["x"]), a["t"]
    size: np.ndarray = p * (1 + a["x"].max(axis=1, keepdims=True) - a["x"])
    if t.ndim == 1:
        size[np.arange(t.size), t] += 1
    else:
        size = size + t
    samples: int = a.get("samples", len(a["x"]))
    return size / samples


# ---- beyond 2^31 elements ----
def beyond(notebook: Notebook, backend: Backend, size: int) -> None:
    """More than `size` elements: `copies` of a small batch, one after the other."""
    copies = max(2, size >> 20)  # a power of two: gradients divided by it keep their bits
    lines = {line.name: line for line in reversed(OPERATIONS)}
    for operation, c in LARGE:
        what = f"{operation}, {c} classes, beyond {size} elements"
        if notebook.late(what):
            return
        with notebook.attempt(what, backend):
            rows = size // copies // c + 1
            arguments = lines[operation].arguments(np.float32, rows, c)
            if operation == "softmax_cross_entropy":
                arguments["samples"] = rows  # the same mean for all copies
            small = _moved(backend, arguments)
            large = {
                name: _repeated(backend.xp, v, copies) if hasattr(v, "shape") else v
                for name, v in small.items()
            }
            expected = _results(getattr(backend, operation)(**small))
            if operation in DIVIDED_BY_ROWS:
                expected = tuple(a / np.float32(copies) for a in expected)
            results = _results(getattr(backend, operation)(**large))
            pairs = [
                (result.reshape(copies, *want.shape), want)
                for result, want in zip(results, expected, strict=True)
            ]
            wrong = [k for k in range(copies) if not all(bool((a[k] == e).all()) for a, e in pairs)]
            notebook.add("beyond", operation=operation, rows=rows * copies, classes=c, ok=not wrong)
            if wrong:
                notebook.problem(f"{what}: wrong from row {wrong[0] * rows} on")
            del small, large, results, expected, pairs
            if hasattr(backend.xp, "get_default_memory_pool"):
                backend.xp.get_default_memory_pool().free_all_blocks()


def _moved(backend: Backend, arguments: dict[str, Any]) -> dict[str, Any]:
    """Arrays on the backend, in their own dtypes; what is no array as it is."""
    return {
        name: backend.asarray(value, value.dtype) if isinstance(value, np.ndarray) else value
        for name, value in arguments.items()
    }


def _results(result: Any) -> tuple[Any, ...]:
    """What an operation returns, as a tuple."""
    return () if result is None else result if isinstance(result, tuple) else (result,)


def _repeated(xp: Any, a: Any, copies: int) -> Any:
    large = xp.empty((copies, *a.shape), a.dtype)
    for k in range(copies):
        large[k] = a
    return large.reshape(copies * a.shape[0], *a.shape[1:])


# ---- determinism ----
def determinism_step(notebook: Notebook, backend: Backend) -> None:
    """Every operation at three shapes, and a training run, twice; then softmax in Numba."""
    determinism(notebook, backend, SHAPES)
    training.repeat(notebook, backend)
    for other in numba_cuda(notebook):
        determinism(notebook, other, SHAPES, only="softmax")


def determinism(
    notebook: Notebook, backend: Backend, shapes: Any, times: int = 20, only: str = ""
) -> None:
    """The same call `times` times; bits are compared, not values."""
    for line in OPERATIONS:
        if only not in line.name or line.name in NOT_REPEATED:
            continue
        for n, c in shapes:
            what = f"{backend.name}: {line.label} {n}x{c}"
            if notebook.late(f"determinism from {what} on"):
                return
            with notebook.attempt(what, backend):
                arguments = line.arguments(np.float32, n, c)
                moved = _moved(backend, arguments)
                first = _bits(backend, line, moved)
                same = all(_bits(backend, line, moved) == first for _ in range(times - 1))
                names = {"backend": backend.name, "operation": line.name}
                names["variant"] = line.variant
                notebook.add("determinism", **names, rows=n, classes=c, times=times, same=same)
                if not same:
                    notebook.problem(f"{what}: not the same bits in {times} calls")


def _bits(backend: Backend, line: Operation, moved: dict[str, Any]) -> list[bytes]:
    """Results, then what was written, as bytes; `moved` keeps its values."""
    arguments = {k: backend.copy(v) if k in line.writes else v for k, v in moved.items()}
    results = _results(getattr(backend, line.name)(**arguments))
    found = (*results, *(arguments[name] for name in line.writes))
    return [np.asarray(backend.to_numpy(a) if hasattr(a, "dtype") else a).tobytes() for a in found]
