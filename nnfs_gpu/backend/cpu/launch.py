"""The one place where kernels are started: checks the arguments, converts them, shares rows out.

A CPU kernel is a function kernel(start, stop, *inputs, *scalars, *outputs) over a range of
rows (kernels/cpu/common.py). `launch` gives every thread a range; small work stays on the calling
thread. As many threads run as `numba.get_num_threads()` says (NUMBA_NUM_THREADS sets it from
outside, `numba.set_num_threads` from inside), and where nobody has set it, no more than
the process's quota allows, shared with the ranks on the same cores. Kernels hold no lock and share
no output row, so results do not depend on the number of threads.
"""

from __future__ import annotations

import functools
import os
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import numba
import numpy as np

from ..arrays import common_dtype
from . import quota
from .workers import Workers, of_this_process

# Until a worker has begun takes 25 microseconds and more: it must have that to do. Measured on
# two cores: a ReLU gains from the second one above 2^20 elements.
WORK_PER_THREAD = 1 << 19
FIRST = np.uint64(0)  # row
LEAST_PART = 1 << 16  # work, some 15 microseconds: threads end within about that of each other


def launch(
    kernel: Callable[..., None],
    rows: int,
    inputs: Sequence[np.ndarray],
    outputs: Sequence[np.ndarray],
    scalars: Sequence[Any] = (),
    *,
    work: int,
) -> bool:
    """Run `kernel` over 0..rows-1; whether in parts, so that no call had all rows.

    inputs   arrays that are read; made contiguous where they are not
    outputs  contiguous arrays that are written
    scalars  Python floats become the dtype of the inputs (without real inputs, float64), whole
             numbers uint64; NumPy scalars stay as they are
    work     elements touched, times what one costs against a sum: decides on threads

    Raises TypeError where real inputs differ in dtype or are neither float32 nor float64, and
    ValueError for an output that is not contiguous.
    """
    dtype = common_dtype(*inputs) or np.dtype(np.float64)
    arguments: list[Any] = list(map(np.ascontiguousarray, inputs))
    if scalars:
        arguments += _scalars(scalars, dtype)
    for a in outputs:
        if not a.flags.c_contiguous:
            raise ValueError(
                f"output of shape {a.shape} is not contiguous: make it with np.empty(shape)"
            )
        arguments.append(a)
    if work >= 2 * WORK_PER_THREAD:
        threads = min(threads_allowed(), work // WORK_PER_THREAD, rows)
        if threads > 1:
            cuts = _cuts(rows, work, threads)
            _share(kernel, cuts, arguments, threads)
            return len(cuts) > 2
    kernel(FIRST, np.uint64(rows), *arguments)
    return False


def _cuts(rows: int, work: int, threads: int) -> list[np.uint64]:
    """Where rows are cut into parts: large ones first, each half of a fair share of what is left.

    The last ones are small, so that threads end together, whenever they began.
    """
    least = max(1, rows * LEAST_PART // work)
    cuts = [0]
    while cuts[-1] < rows:
        left = rows - cuts[-1]
        size = max(least, left // (2 * threads))
        cuts.append(rows if left < size + least else cuts[-1] + size)
    return [np.uint64(cut) for cut in cuts]


def _share(
    kernel: Callable[..., None], cuts: list[np.uint64], arguments: list[Any], threads: int
) -> None:
    """Run `kernel` in parts that threads take one by one, the calling thread among them.

    A thread that wakes late, or that the system keeps off its core, takes fewer parts, and one
    that has not begun when all are taken is not waited for.
    """
    left = deque(range(len(cuts) - 1))

    def work(_number: int) -> None:
        while True:
            try:
                k = left.popleft()
            except IndexError:
                return
            kernel(cuts[k], cuts[k + 1], *arguments)

    workers().fork_join(work, threads)


def workers() -> Workers:
    """The threads beside the caller's: one less than `max_threads()`, and at least one."""
    return of_this_process(max(1, max_threads() - 1))


def max_threads() -> int:
    """The most threads that Numba may use here: NUMBA_NUM_THREADS, else all cores."""
    return int(numba.config.NUMBA_NUM_THREADS)  # type: ignore[attr-defined]


def threads_allowed() -> int:
    """Threads to share work among, now and on this thread: see the module docstring."""
    threads = numba.get_num_threads()
    return threads if threads != max_threads() else default_threads()


def default_threads() -> int:
    """Threads that work is shared among where `numba.set_num_threads` was not called."""
    threads, chosen = _alone()
    return threads if chosen else max(1, threads // quota.sharing())


@functools.cache
def _alone() -> tuple[int, bool]:
    """Threads of a process that has its cores to itself, and whether the user has said so."""
    default = numba.config.NUMBA_DEFAULT_NUM_THREADS  # type: ignore[attr-defined]
    if "NUMBA_NUM_THREADS" in os.environ or max_threads() != default:
        return max_threads(), True
    return min(max_threads(), quota.cores() or max_threads()), False


def _scalars(values: Sequence[Any], dtype: np.dtype) -> list[Any]:
    if len(values) > 3 and set(map(type, values)) == {float}:
        return [*np.array(values, dtype)]  # all at once: as slow as three one by one
    return [_scalar(value, dtype) for value in values]


def _scalar(value: Any, dtype: np.dtype) -> Any:
    if type(value) is float:
        return dtype.type(value)
    if isinstance(value, np.generic):
        return value
    return np.uint64(value) if isinstance(value, int) else dtype.type(value)
