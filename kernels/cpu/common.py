"""What the Numba kernels share: how they are compiled, and exp and log over flat arrays.

A kernel here is two things:
* a row function `<op>_row(i, ...)`: the arithmetic of one sample, written once, which
  a CPU loop or one CUDA thread can run;
* a range function `<op>(start, stop, ...)`: the CPU loop over rows start..stop-1 on one
  thread. The launch gives every thread a range of its own.

`start` and `stop` come in as unsigned integers: Numba then knows that no index is negative,
drops the wrap-around of Python's negative indices, and the loop vectorizes (measured: 7 times
faster for an addition). Keep index arithmetic unsigned, or Numba turns it into float64.

No kernel has fast-math flags: its result is what IEEE 754 says of the operations as they are
written, in every caller and on every processor. Where a sum has to be reordered to be fast, its
lanes are written down (`lane_sums.py`); where a product and a sum are to be rounded once, it is an
`fma`.
"""

import numpy as np

from .cache import KernelCache
from .compiler import OPTIONS, Kernel
from .elementary import exp_below_0, log

TILE = np.uint64(2048)  # elements that stay in the first-level cache between passes
CHUNK = np.uint64(1024)  # elements that a reduction adds up at a time, whatever the threads


def jit(function, **options):
    """Compile for the CPU when first called, without the GIL, and keep the code on disk.

    Where no folder for the cache can be written, the code is kept in memory alone: see cache.py.
    """
    kernel = Kernel(function, targetoptions=OPTIONS | options)
    kernel._cache = KernelCache(function)  # as njit(cache=True) does
    return kernel


def row(function):
    """`jit` for row functions: always inlined into the loop over the rows.

    Left to itself the compiler calls them, and a call passes each array as seven arguments:
    measured for softmax backward at 5 to 200 classes, rows take half the time inlined.
    """
    return jit(function, forceinline=True)


def pointer(function):
    """`jit` for kernels that other kernels call through a pointer: see `Kernel.address`."""
    return jit(function, no_cpython_wrapper=True, no_cfunc_wrapper=False)


@jit
def exp_below_0_in_place(a):
    """a = exp(a) for a flat array of numbers up to 0, or NaN, in one vectorized loop."""
    for k in range(a.shape[0]):
        a[k] = exp_below_0(a[k])


@jit
def log_in_place(a):
    """a = log(a) for a flat array, in one vectorized loop."""
    for k in range(a.shape[0]):
        a[k] = log(a[k])
