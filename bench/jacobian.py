"""Softmax backward five ways: what the batched Jacobian-vector product is worth.

    loop        the book's chapter 9: one Jacobian a sample, in a Python loop
    matrices    all Jacobians at once (N, C, C), then a batched product
    closed form dx = y (dy - sum(y dy)) in NumPy: the `numpy` backend
    numba       the same in one jitted pass, on all threads: the `numba` backend
    torch       PyTorch's own, where it is installed

Beside them the floor: multiplying two arrays into a third moves the same 12 bytes an element.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np

from nnfs_gpu import get_backend

from .timing import Timing, ratio, time_in_turns

SIZES = ((1_000_000, 3), (300_000, 10), (30_000, 100), (3_000, 1_000), (300, 10_000), (30, 100_000))
LOOP_ELEMENTS = 5 * 10**9  # of Jacobians that the loop may build: more would take minutes
MATRIX_BYTES = 1 << 30  # of Jacobians at once
TOLERANCE = 2e-6  # largest error allowed against float64, relative to the largest result


def per_sample_loop(dy: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The book's `Activation_Softmax.backward`, as the notes have it."""
    dinputs = np.empty_like(dy)
    for index, (single_output, single_dvalues) in enumerate(zip(y, dy, strict=True)):
        single_output = single_output.reshape(-1, 1)
        jacobian_matrix = np.diagflat(single_output) - np.dot(single_output, single_output.T)
        dinputs[index] = np.dot(jacobian_matrix, single_dvalues)
    return dinputs


def matrices(dy: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Every Jacobian of the batch, built and multiplied."""
    return (get_backend("numpy").softmax_jacobian(y) @ dy[:, :, None])[:, :, 0]


def candidates(dy: np.ndarray, y: np.ndarray) -> tuple[dict[str, Callable[[], Any]], list[str]]:
    """The ways that make sense at this size, and a line for each that was left out."""
    rows, classes = y.shape
    ways: dict[str, Callable[[], Any]] = {}
    left_out = []
    if rows * classes**2 <= LOOP_ELEMENTS:
        ways["loop"] = lambda: per_sample_loop(dy, y)
    else:
        left_out.append(f"loop: {rows * classes**2:.1e} matrix elements would take minutes")
    if 3 * rows * classes**2 * y.itemsize <= MATRIX_BYTES:
        ways["matrices"] = lambda: matrices(dy, y)
    else:
        left_out.append(f"matrices: {rows * classes**2 * y.itemsize / 2**30:.1f} GiB")
    ways["closed form"] = lambda: get_backend("numpy").softmax_backward(dy, y)
    ways["numba"] = lambda: get_backend("numba").softmax_backward(dy, y)
    if importlib.util.find_spec("torch") is None:
        left_out.append("torch: not installed")
    else:
        import torch

        ty, tdy = torch.from_numpy(y), torch.from_numpy(dy)
        ways["torch"] = lambda: torch._softmax_backward_data(tdy, ty, 1, torch.float32).numpy()
    return ways, left_out


def check(ways: dict[str, Callable[[], Any]], dy: np.ndarray, y: np.ndarray) -> None:
    """AssertionError for a way whose result is not the float64 one."""
    y64, dy64 = y.astype(np.float64), dy.astype(np.float64)
    oracle = y64 * (dy64 - (y64 * dy64).sum(axis=1, keepdims=True))
    for name, way in ways.items():
        if name != "loop":  # timed once, so it is checked on its first rows alone
            error = np.abs(way() - oracle).max() / np.abs(oracle).max()
            assert error <= TOLERANCE, f"{name}: relative error {error:.2e} at {y.shape}"
    if "loop" not in ways:
        return
    few = slice(0, 100)
    error = np.abs(per_sample_loop(dy64[few], y64[few]) - oracle[few]).max()
    assert error <= 1e-12, f"loop: error {error:.2e} at {y.shape}"


def run(sizes: tuple[tuple[int, int], ...] = SIZES, rounds: int = 7) -> list[dict[str, Any]]:
    """One record a size: seconds of each way, and ratios to the numba backend."""
    records = []
    for rows, classes in sizes:
        rng = np.random.default_rng(0)
        y = get_backend("numpy").softmax_forward(
            rng.standard_normal((rows, classes), dtype=np.float32)
        )
        dy = rng.standard_normal((rows, classes), dtype=np.float32)
        ways, left_out = candidates(dy, y)
        check(ways, dy, y)
        ways["floor"] = _floor(dy, y)
        timings = time_in_turns(ways, rounds=rounds)
        records.append(_record(rows, classes, timings, left_out))
    return records


def _floor(dy: np.ndarray, y: np.ndarray) -> Callable[[], Any]:
    """a times b into a new array on all threads: the same traffic, next to no arithmetic."""
    multiply = get_backend("numba").multiply
    return lambda: multiply(dy, y)


def _record(
    rows: int, classes: int, timings: dict[str, Timing], left_out: list[str]
) -> dict[str, Any]:
    ours = timings["numba"]
    return {
        "rows": rows,
        "classes": classes,
        "seconds": {
            name: {"median": t.median, "low": t.low, "high": t.high} for name, t in timings.items()
        },
        "times_numba": {name: ratio(t, ours) for name, t in timings.items()},
        "left_out": left_out,
    }
