"""Runs every operation of the numba-cuda backend in Numba's CUDA simulator: no GPU is needed.

A program of its own, because the simulator must be chosen before Numba is imported;
test_numba_cuda.py starts it, once, and asserts what it writes to its standard output: one JSON
object with the error of each check (null where it passed), the kernels that ran, and digests of the
results that test_one_answer.py compares.

    NUMBA_ENABLE_CUDASIM=1 python tests/simulator/run.py

Every thread of a grid is a Python thread here, so the arrays and the blocks are small: 8
threads a block, which rows of 33 and 65 classes go around several times.
"""

import json
import sys
import time
import traceback
from pathlib import Path

import numpy as np

from nnfs_gpu.backend import numba_cuda_backend
from nnfs_gpu.backend.numba_cuda import launch as cuda_numba_launch
from nnfs_gpu.kernels.numba_cuda import (
    blocks as cuda_blocks,
    elements as cuda_elements,
    grids as cuda_grids,
    rows as cuda_rows,
)

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = map(str, (TESTS, TESTS / "backend"))

import exact_products  # noqa: E402
from awkward import SIMULATED, digests  # noqa: E402
from checks import CHECKS, THREADS, same_bits  # noqa: E402
from helpers import as_tuple, assert_close, to_backend  # noqa: E402
from operation_oracles import ORACLES, in_float64  # noqa: E402

from nnfs_gpu.selftest.operations import OPERATIONS  # noqa: E402

# One row and one class, C = 3, then more columns than threads, then rows that have a block.
SHAPES = ((1, 1), (3, 3), (5, 33), (3, 65))


def check_operation(operation, dtype):
    """The formula in float64, to its rounding; arguments as they were; dtypes as stated."""
    backend = numba_cuda_backend.NumbaCudaBackend(dtype, threads=THREADS)
    for n, c in SHAPES:
        arguments = operation.arguments(dtype, n, c)
        moved = to_backend(backend, arguments)
        results = as_tuple(getattr(backend, operation.name)(**moved))
        results += tuple(moved[name] for name in operation.writes)
        for name, value in arguments.items():
            if isinstance(value, np.ndarray) and name not in operation.writes:
                assert same_bits(moved[name], value), f"{name} was changed"
        expected = ORACLES[operation.name](np.dtype(dtype), **in_float64(arguments))
        stated = (*operation.result, *("same" for _ in operation.writes))
        for k, (result, want, kind) in enumerate(zip(results, expected, stated, strict=True)):
            if kind == "python bool":
                assert result is bool(want.value)
                continue
            if kind in ("same", "own"):  # words stay words
                kind = result.dtype.name if result.dtype.kind == "i" else dtype
            what = f"{n}x{c}, result {k}"
            assert_close(
                result, want.value, kind, ulps=want.ulps, magnitude=want.magnitude, what=what
            )


def record_launches():
    """The names of all kernels that are launched from now on, in a set."""
    names, launch = set(), cuda_numba_launch.launch_cuda

    def recording(kernel, *arguments, **settings):
        names.add(kernel.__name__)
        launch(kernel, *arguments, **settings)

    cuda_numba_launch.launch_cuda = recording
    return names


def kernels():
    """The names of all kernels in the grids' files."""
    return sorted(
        name
        for module in (cuda_blocks, cuda_elements, cuda_grids, cuda_rows)
        for name, value in vars(module).items()
        if hasattr(value, "py_func") and not name.startswith("_")
    )


def main():
    launched = record_launches()
    todo = {
        f"{operation.id} {dtype}": (check_operation, operation, dtype)
        for operation in OPERATIONS
        for dtype in ("float32", "float64")
    }
    todo |= {check.__name__: (check,) for check in CHECKS}
    errors, seconds = {}, {}
    for name, (check, *arguments) in todo.items():
        started = time.perf_counter()
        try:
            check(*arguments)
            errors[name] = None
        except Exception:  # reported by the test of this name
            errors[name] = traceback.format_exc(limit=-4)
        seconds[name] = round(time.perf_counter() - started, 3)
    report = {"errors": errors, "seconds": seconds, "launched": sorted(launched)}
    report["digests"] = {
        dtype: digests(numba_cuda_backend.NumbaCudaBackend(dtype, threads=THREADS), SIMULATED)
        for dtype in ("float32", "float64")
    }
    backend = numba_cuda_backend.NumbaCudaBackend("float32", threads=THREADS)
    report["trained"] = exact_products.train(backend, "two layers")
    report |= {"kernels": kernels(), "version": numba_cuda_backend.NumbaCudaBackend.version()}
    print(json.dumps(report))


if __name__ == "__main__":
    main()
