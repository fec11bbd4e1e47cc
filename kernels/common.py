"""What the Numba kernels share: how they are compiled, and exp and log that vectorize.

A kernel here is two things:
* a row function `<op>_row(i, ...)`: the arithmetic of one sample, written once, which
  a CPU loop or one CUDA thread can run;
* a range function `<op>(start, stop, ...)`: the CPU loop over rows start..stop-1 on one
  thread. The launch gives every thread a range of its own.

`start` and `stop` come in as unsigned integers: Numba then knows that no index is negative,
drops the wrap-around of Python's negative indices, and the loop vectorizes (measured: 7 times
faster for an addition). Keep index arithmetic unsigned, or Numba turns it into float64.
"""

import contextlib
import math

import numpy as np
from numba import types
from numba.extending import intrinsic, overload

from .cache import KernelCache
from .once import Kernel

# Sums may be reordered and products fused, so that loops over a row vectorize; NaN and
# infinity keep their meaning (no "nnan", no "ninf").
FASTMATH = set()

# An update is what IEEE says, operation by operation: the same bits in every caller, on every
# machine. It waits for memory, not for arithmetic.
EXACT = set()

CHUNK = np.uint64(4096)  # elements that a reduction adds up at a time, whatever the threads


def jit(function=None, *, fastmath=FASTMATH, forceinline=False, pointer=False):
    """Compile for the CPU when first called, without the GIL, and keep the code on disk.

    Where no folder for the cache can be written, the code is kept in memory alone.
    """
    if function is None:
        return lambda f: jit(f, fastmath=fastmath, forceinline=forceinline, pointer=pointer)
    options = {
        "no_cfunc_wrapper": not pointer,
        "no_cpython_wrapper": pointer,
        "fastmath": fastmath,
        "forceinline": forceinline,
        "error_model": "numpy",
    }
    kernel = Kernel(function, targetoptions={"nopython": True, "nogil": True, **options})
    with contextlib.suppress(RuntimeError):  # Numba: no locator available
        kernel._cache = KernelCache(function)  # as njit(cache=True) does, with ours: see cache.py
    return kernel


def row(function):
    """`jit` for row functions: always inlined into the loop over the rows.

    Left to itself the compiler calls them, and a call passes each array as seven arguments:
    measured for softmax backward at 5 to 200 classes, rows take half the time inlined.
    """
    return jit(function, forceinline=True)


# exp and log below must not be reordered: they subtract what was just added.
ORDERED = set()


@intrinsic
def fma(typing, a, b, c):
    """a b + c, rounded once."""

    def generate(context, builder, signature, arguments):
        return builder.fma(*arguments)

    return a(a, a, a), generate


@jit(fastmath=ORDERED)
def exp_float32(x):
    """exp(x) in float32, branch-free, error below 1 ulp (0.5 ulp more where denormal).

    x = k ln 2 + r with |r| <= ln 2 / 2: exp(x) = 2^k exp(r), exp(r) a polynomial of degree 6
    (Cephes, Moshier). Adding 1.5 2^23 rounds to a whole number that stands in the low bits.
    2^k is applied in two factors, so that denormal results round once.
    """
    x = min(max(x, np.float32(-104.0)), np.float32(89.0))
    shifted = fma(x, np.float32(1.44269504), np.float32(12582912.0))
    k = shifted - np.float32(12582912.0)
    r = fma(k, np.float32(2.12194440e-4), fma(k, np.float32(-0.693359375), x))
    p = np.float32(1.9875691500e-4)
    p = fma(p, r, np.float32(1.3981999507e-3))
    p = fma(p, r, np.float32(8.3334519073e-3))
    p = fma(p, r, np.float32(4.1665795894e-2))
    p = fma(p, r, np.float32(1.6666665459e-1))
    p = fma(p, r, np.float32(5.0000001201e-1))
    y = fma(p, r * r, r) + np.float32(1)
    exponent = np.int32(np.float32(shifted).view(np.int32) - np.int32(0x4B400000))
    half = np.int32(exponent >> np.int32(1))
    rest = np.int32(exponent - half)
    low = np.int32((half + np.int32(127)) << np.int32(23)).view(np.float32)
    high = np.int32((rest + np.int32(127)) << np.int32(23)).view(np.float32)
    return (y * low) * high


@jit(fastmath=ORDERED)
def log_float32(x):
    """log(x) in float32 for normal x > 0, branch-free, error below 1 ulp; NaN stays NaN.

    x = 2^e m with m in [sqrt(1/2), sqrt 2): log(x) = e ln 2 + log(m), log(m) a polynomial of
    degree 9 in m - 1 (Cephes, Moshier).
    """
    bits = np.float32(x).view(np.int32)
    # Counting exponents from sqrt(1/2) = 0x3f3504f3 puts m on both sides of 1.
    exponent = np.int32((bits - np.int32(0x3F3504F3)) >> np.int32(23))
    m = np.int32(bits - np.int32(exponent << np.int32(23))).view(np.float32) - np.float32(1)
    e = np.float32(exponent)
    z = m * m
    p = np.float32(7.0376836292e-2)
    p = fma(p, m, np.float32(-1.1514610310e-1))
    p = fma(p, m, np.float32(1.1676998740e-1))
    p = fma(p, m, np.float32(-1.2420140846e-1))
    p = fma(p, m, np.float32(1.4249322787e-1))
    p = fma(p, m, np.float32(-1.6668057665e-1))
    p = fma(p, m, np.float32(2.0000714765e-1))
    p = fma(p, m, np.float32(-2.4999993993e-1))
    p = fma(p, m, np.float32(3.3333331174e-1))
    y = fma(np.float32(-0.5), z, fma(e, np.float32(-2.12194440e-4), p * m * z))
    result = fma(e, np.float32(0.693359375), m + y)
    return x if x != x else result


def exp(x):
    """exp of one number; in float32 kernels the vectorizing polynomial."""
    return math.exp(x)


def log(x):
    """log of one number; in float32 kernels the vectorizing polynomial (normal x > 0)."""
    return math.log(x)


@overload(exp)
def _exp(x):
    if x is types.float32:
        return lambda x: exp_float32(x)
    return lambda x: math.exp(x)


@overload(log)
def _log(x):
    if x is types.float32:
        return lambda x: log_float32(x)
    return lambda x: math.log(x)


@jit
def exp_in_place(a):
    """a = exp(a) for a flat array, in one vectorized loop."""
    for k in range(a.shape[0]):
        a[k] = exp(a[k])


@jit
def log_in_place(a):
    """a = log(a) for a flat array, in one vectorized loop."""
    for k in range(a.shape[0]):
        a[k] = log(a[k])
