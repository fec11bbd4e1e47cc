"""Compiles every kernel of the numba-cuda backend to PTX, with the types it is launched with.

A program of its own like run.py, without the simulator: numba-cuda and its NVVM are needed, a
GPU and a driver are not. The backend runs on NumPy arrays with a launch that only records, so
the types are those that `kernel_arguments` makes. Writes JSON: "kernels", one entry a kernel and
signature with what test_numba_cuda.py asks about its instructions, or "skip", why there is none.
"""

import contextlib
import functools
import json
import re
import sys
from pathlib import Path

import numba
import numpy as np
from numba import cuda
from numba.cuda import dispatcher
from numba.cuda.cudadrv import nvvm

from nnfs_gpu.backend import numba_cuda_backend
from nnfs_gpu.backend.numba_cuda import launch as cuda_numba_launch

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = map(str, (TESTS, TESTS / "backend"))

from nnfs_gpu.selftest.operations import OPERATIONS  # noqa: E402

CC = (7, 5)  # the oldest that CUDA 13 compiles for


class Device:
    """Stands for the GPU that is not here: Numba asks it what to compile device functions for."""

    compute_capability = CC


def record_signatures():
    """(kernel, types of its arguments) of every launch that the backend would make."""
    found = {}

    def record(kernel, blocks, threads, inputs, outputs, scalars=(), *, shared=0):
        arguments = cuda_numba_launch.kernel_arguments(inputs, outputs, scalars)
        found[kernel, tuple(numba.typeof(a) for a in arguments)] = None

    cuda_numba_launch.launch_cuda = record
    numba_cuda_backend.array_module = lambda: np
    for dtype in ("float32", "float64"):
        backend = numba_cuda_backend.NumbaCudaBackend(dtype)
        for operation in OPERATIONS:
            for c in (3, 65):
                if operation.name != "synchronize":  # that asks CuPy
                    getattr(backend, operation.name)(**operation.arguments(dtype, 300, c))
    return list(found)


@contextlib.contextmanager
def nothing_contracted():
    """NVVM told to leave products and sums apart, which numba-cuda has no option for."""
    compile_ir = nvvm.compile_ir
    nvvm.compile_ir = functools.partial(compile_ir, fma=False)
    try:
        yield
    finally:
        nvvm.compile_ir = compile_ir


def fused(text):
    """How many products and sums are one instruction."""
    return len(re.findall(r"^\s*fma\.rn\.f", text, re.M))


def compile_kernel(kernel, types):
    """What the instructions of one kernel are made of."""
    signature = numba.types.void(*types)
    text, _ = cuda.compile_ptx(kernel.py_func, signature, cc=CC)
    with nothing_contracted():
        apart, _ = cuda.compile_ptx(kernel.py_func, signature, cc=CC)
    body = "\n".join(line for line in text.splitlines() if ".param" not in line)
    return {
        "name": kernel.py_func.__name__,
        "types": [str(t) for t in types],
        "float64": len(re.findall(r"\.f64", body)),
        "atomics": len(re.findall(r"^\s*(atom|red)\.", body, re.M)),
        "contracted": fused(text) - fused(apart),
        "lose NaN": len(re.findall(r"^\s*(min|max)(\.ftz)?\.f(32|64)", body, re.M)),
        "approximate": len(re.findall(r"\.(approx|full)\b", body)),
        "flushed denormals": len(re.findall(r"\.ftz\b", body)),
    }


def missing():
    """Why nothing can be compiled here; None where a kernel that does nothing can."""
    if getattr(cuda, "implementation", "") != "NVIDIA":
        return "numba-cuda is not installed: pip install 'numba-cuda[cu13]'"
    try:
        cuda.compile_ptx(lambda: None, numba.types.void(), cc=CC)
    except Exception as error:  # what a missing library raises differs with the version
        return f"no CUDA compiler: pip install 'numba-cuda[cu13]' ({error})"
    return None


def main():
    if reason := missing():
        return {"skip": reason}
    dispatcher.get_current_device = Device
    return {"kernels": [compile_kernel(*launch) for launch in record_signatures()]}


if __name__ == "__main__":
    print(json.dumps(main()))
