"""The CPU's row functions for the GPU: the same text, compiled for the other target.

The arithmetic of a sample is written once, for Numba's CPU compiler (`jit` in common.py).
`device` compiles it once more as a CUDA device function, with everything that it calls. Numba
CUDA would do that by itself when a kernel calls a CPU function, but with the CPU's options.
Here there is no fast math, and a product that meets a sum is an `fma` in the text itself, so that
nothing is left to contract: the bits are the CPU's.

Two pairs of names mean something else on the GPU:

* `exp`, `log`, `tanh`, `fma` and their like are emitted for this target: see elementary.py here.
* `max`, `min` compare. CUDA's fmax(NaN, x) is x: a clip would turn a broken network's NaN into
  a probability, and only on the device, for in Python's `max` and the simulator's NaN stays.

Under the simulator (NUMBA_ENABLE_CUDASIM=1) the same functions run as plain Python.
"""

import types
import warnings

from ..cpu import elementary
from ..cpu.row_order import LANES

with warnings.catch_warnings():  # of numba-cuda's making: under `python -W error` it would not load
    warnings.simplefilter("ignore", DeprecationWarning)
    from numba import cuda

    from .elementary import FUNCTIONS


def larger(a, b):
    """max(a, b), and NaN where one is NaN."""
    return b if b > a or b != b else a


def smaller(a, b):
    """min(a, b), and NaN where one is NaN."""
    return b if b < a or b != b else a


_made = dict(FUNCTIONS)  # CPU function: what stands for it


def device(function):
    """A row or range function of the CPU kernels as a CUDA device function.

    Its code is kept. What it calls is looked up among its globals, so it gets other globals:
    a copy in which the CPU functions are replaced by their device functions.
    """
    if function not in _made:
        text = getattr(function, "py_func", function)  # as written, before any compiler
        names = {"max": larger, "min": smaller} | text.__globals__
        for name in text.__code__.co_names:
            if _is_ours(names.get(name)):
                names[name] = device(names[name])
        copy = types.FunctionType(text.__code__, names, text.__name__)
        copy.__doc__, copy.__module__ = text.__doc__, text.__module__
        _made[function] = cuda.jit(device=True)(copy)
    return _made[function]


def _is_ours(value):
    """Whether a global of a row function is a function of kernels/."""
    kernels = __name__.rsplit(".", 2)[0]
    return callable(value) and getattr(value, "__module__", "").startswith(kernels)


exp_below_0, log = device(elementary.exp_below_0), device(elementary.log)


@cuda.jit(device=True)
def fold(shared, first, last):
    """In each 32 of shared[first:last] partners join at distances 16, 8, 4, 2, 1."""
    k, B = cuda.threadIdx.x, cuda.blockDim.x
    distance = LANES // 2
    while distance > 0:
        for place in range(first + k, last, B):
            if place % LANES < distance:
                shared[place] += shared[place + distance]
        cuda.syncthreads()
        distance //= 2
