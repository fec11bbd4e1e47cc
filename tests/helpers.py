"""What the tests share: the backends, the comparison of results, random arguments.

* `BACKENDS`: the names the suite runs over. A new backend is one more name.
* `assert_close`: the only comparison of floating-point results, and the only place where
  tolerances are computed.
* `philox_words`: Philox4x32-10 in Python integers, independent of the package.
"""

from __future__ import annotations

import copy
import functools
import math
import pickle
import shutil

import numpy as np

from nnfs_gpu import available_backends, use_backend
from nnfs_gpu.backend import BackendStatus

BACKENDS = ("numpy", "numba", "cupy", "numba-cuda")
MUST_WORK = {"numpy", "numba"}  # these fail where others are skipped
EMULATED = "cupy-emulated"  # the cupy backend on the CPU: emulation/backend.py
EMULATED_MODULES = ("test_contract", "test_operations", "test_gradients", "test_notes")  # begin so
DTYPES = ("float32", "float64")
WIDTHS = (1, 2, 3, 4, 5, 10, 31, 32, 33, 100, 1025)  # classes around what kernels are cut by


def usable_backends():
    """The names of those that work here."""
    return [name for name, status in available_backends().items() if status.usable]


@functools.cache
def status_of(name: str):
    """Whether a backend works here, also the emulated one."""
    if name == EMULATED:
        missing = shutil.which("g++") is None
        reason = "g++ is missing: it compiles the CUDA kernels for the CPU"
        return BackendStatus(name, not missing, reason, "install g++")
    return available_backends()[name]


# ---- comparison ----
def assert_close(actual, expected, dtype, *, ulps=4.0, magnitude=None, what=""):
    """`actual` is a NumPy result of `dtype` within the rounding of its computation.

    The error allowed for each element is
        ulps * eps(dtype) * magnitude  (+ two of the smallest denormal numbers)
    where `magnitude` bounds the terms that were added up to make the element (default: the
    expected value itself) and `ulps` counts the roundings that reach the result. `ulps=0`
    asks for equal values (0.0 equals -0.0). Shape and dtype must be equal. NaN is accepted
    only where `expected` has it, infinity only where it has the same one.
    """
    dtype = np.dtype(dtype)
    assert isinstance(actual, np.ndarray | np.generic), f"{what}: got a {type(actual)}"
    expected = np.asarray(expected)
    assert actual.shape == expected.shape, f"{what}: shape {actual.shape}, not {expected.shape}"
    assert actual.dtype == dtype, f"{what}: dtype {actual.dtype}, not {dtype}"
    actual = np.asarray(actual)
    if dtype.kind != "f":
        np.testing.assert_array_equal(actual, expected, err_msg=what)
        return
    np.testing.assert_array_equal(np.isnan(actual), np.isnan(expected), f"{what}: NaN places")
    finite = np.isfinite(expected)
    others = ~finite & ~np.isnan(expected)
    np.testing.assert_array_equal(actual[others], expected[others], f"{what}: infinities")
    unit = np.finfo(dtype)
    got, want = actual[finite].astype(np.float64), expected[finite].astype(np.float64)
    scale = np.abs(want) if magnitude is None else np.broadcast_to(magnitude, finite.shape)[finite]
    limit = np.zeros_like(want)
    if ulps:
        limit = ulps * float(unit.eps) * scale + 2 * float(unit.smallest_subnormal)
    with np.errstate(invalid="ignore"):
        error = np.abs(got - want)
    bad = ~(error <= limit)
    if bad.any():
        worst = int(np.argmax(np.where(bad, error - limit, -np.inf)))
        place = tuple(int(i) for i in np.argwhere(finite)[worst])
        raise AssertionError(
            f"{what}: {int(bad.sum())} of {bad.size} differ; at {place} got {got[worst]!r}, "
            f"expected {want[worst]!r}: error {error[worst]:.3g}, allowed {limit[worst]:.3g}"
        )


def summing(terms):
    """`ulps` for a sum of `terms` terms: roundings add up like a random walk.

    With the magnitude taken as the sum of the absolute terms, 4 + 2 sqrt(terms) units hold
    for a sum in any order; a wrong or missing term is far outside.
    """
    return 4 + 2 * math.sqrt(terms)


def spiral_error(dtype, classes):
    """`ulps` of 1 for a point of the spiral against the specification.

    float32: 1e-6, from the noise, which is float32; float64: the specification's own rounding, of
    an angle of 10 c + 10 r.
    """
    return 1e-6 / 2**-23 if np.dtype(dtype) == np.float32 else 4 + 20 * classes


# ---- calling operations ----
def to_backend(backend, arguments):
    """New arrays on `backend`, of the same dtypes; what is no array stays as it is."""
    return {
        name: backend.copy(backend.asarray(value, value.dtype))
        if isinstance(value, np.ndarray)
        else value
        for name, value in arguments.items()
    }


def as_tuple(result):
    """The results of an operation as a tuple."""
    if result is None:
        return ()
    return result if isinstance(result, tuple) else (result,)


def run(backend, operation, arguments):
    """Results of `operation`, then the arguments that it writes: all as NumPy values."""
    moved = to_backend(backend, arguments)
    results = as_tuple(getattr(backend, operation.name)(**moved))
    results += tuple(moved[name] for name in operation.writes)
    return [backend.to_numpy(a) if hasattr(a, "dtype") else a for a in results]


def call(backend, name, *arguments):
    """One operation with NumPy arguments, its result as a NumPy array."""
    moved = [backend.asarray(a, a.dtype) if isinstance(a, np.ndarray) else a for a in arguments]
    return backend.to_numpy(getattr(backend, name)(*moved))


def array(backend, *rows):
    return np.array(rows, backend.dtype)


# ---- random arguments ----
def probabilities(rng, n, c, spread=2.0):
    """Rows of probabilities in float64, some of them nearly 0 and nearly 1."""
    e = np.exp(spread * rng.randn(n, c))
    return e / e.sum(axis=1, keepdims=True)


def parameters(rng, dtype, n, c):
    """Weights and their gradient, with exact zeros in both."""
    w, dw = rng.randn(n, c), rng.randn(n, c)
    w[rng.rand(n, c) < 0.1] = 0.0
    w[rng.rand(n, c) < 0.1] = -0.0
    dw[rng.rand(n, c) < 0.1] = 0.0
    return {"w": w.astype(dtype), "dw": dw.astype(dtype)}


# ---- Philox in Python integers ----
def philox_block(counter, key):
    """Four 32-bit words: Philox4x32-10 as Salmon et al. (SC 2011) define it."""
    c, k = list(counter), list(key)
    for _ in range(10):
        first, second = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [
            (second >> 32) ^ c[1] ^ k[0],
            second & 0xFFFFFFFF,
            (first >> 32) ^ c[3] ^ k[1],
            first & 0xFFFFFFFF,
        ]
        k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return c


def philox_words(first, count, seed, stream, call=0):
    """Words first..first+count-1 as the backend protocol's `random_words` lays them out."""
    words = []
    for block in range(first // 4, -(-(first + count) // 4)):
        counter = (block & 0xFFFFFFFF, block >> 32, call, stream)
        words += philox_block(counter, (seed & 0xFFFFFFFF, seed >> 32))
    skip = first % 4
    return np.array(words[skip : skip + count], np.uint32)


# ---- bits ----
def bits(value):
    """What distinguishes two values bit by bit: dtype, shape, bytes."""
    if isinstance(value, np.ndarray | np.generic):
        return value.dtype.str, value.shape, value.tobytes()
    return value


def host(backend, value):
    """An array or a scalar of the backend as NumPy's; anything else as it is."""
    return np.array(backend.to_numpy(value)) if hasattr(value, "dtype") else value


# ---- copies ----
COPIES = {
    "pickle": lambda one: pickle.loads(pickle.dumps(one)),
    "old pickle": lambda one: pickle.loads(pickle.dumps(one, protocol=2)),
    "deepcopy": copy.deepcopy,
}


def plain(name="numpy", **settings):
    """The default backend from here on, with settings that no other test has left."""
    usual = {"dtype": "float32", "precise_dot": False, "book_random": False}
    return use_backend(name, **usual | settings)
