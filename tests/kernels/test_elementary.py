"""exp, log, tanh, sine and cosine of our own: errors as stated, and the same bits in CUDA C++.

Proves, in float32 and float64: errors against more digits over the whole range, in units of the
last place; edges, denormal numbers, NaN; the text of kernels/cuda/elementary.cuh, run by g++, has
the bits of kernels/cpu/elementary.py; the simulator's fma rounds once. In float32 a few million
numbers here; all 2^32 were run by hand once, and gave the largest errors that are allowed below.
"""

from __future__ import annotations

import math
from decimal import Decimal, localcontext
from fractions import Fraction

import numpy as np
import pytest
from emulation.emulator import Emulator

from nnfs_gpu.kernels.cpu.common import jit
from nnfs_gpu.kernels.cpu.elementary import exp, log, log_near_one, tanh
from nnfs_gpu.kernels.cpu.turns import cospi, sinpi
from nnfs_gpu.kernels.cpu.vectors import HAS_FMA
from nnfs_gpu.kernels.numba_cuda.elementary import exact_fma

pytestmark = pytest.mark.skipif(
    not HAS_FMA, reason="no fused multiply-add here: the CPU has bits of its own"
)

NAMES = ("exp", "log", "log_near_one", "tanh", "sinpi", "cospi")
ERRORS = {  # units in the last place, of float32 and float64
    "exp": (1.02, 1.02),
    "log": (0.84, 0.84),
    "log_near_one": (0.84, 0.84),
    "tanh": (1.73, 2.0),
    "sinpi": (0.75, 0.75),
    "cospi": (1.03, 1.03),
}
SOURCE = "\n".join(
    f"""extern "C" __global__ void
of_{name}(const real* __restrict__ x, real* __restrict__ y, index_t n) {{
  for (index_t k = threadIdx.x; k < n; k += 256) y[k] = {name}_(x[k]);
}}"""
    for name in NAMES
)


@jit
def of_each(which, x, y):
    if which == 0:
        for k in range(x.shape[0]):
            y[k] = exp(x[k])
    elif which == 1:
        for k in range(x.shape[0]):
            y[k] = log(x[k])
    elif which == 2:
        for k in range(x.shape[0]):
            y[k] = log_near_one(x[k])
    elif which == 3:
        for k in range(x.shape[0]):
            y[k] = tanh(x[k])
    elif which == 4:
        for k in range(x.shape[0]):
            y[k] = sinpi(x[k])
    else:
        for k in range(x.shape[0]):
            y[k] = cospi(x[k])


def of_cpu(name, x):
    y = np.empty_like(x)
    of_each(NAMES.index(name), x, y)
    return y


# ---- arguments ----
def spread(dtype, count):
    """Numbers over the whole range of bits, every so many; then edges."""
    whole = {4: np.uint32, 8: np.uint64}[np.dtype(dtype).itemsize]
    step = (int(np.iinfo(whole).max) + 1) // count | 1
    numbers = (np.arange(count, dtype=np.uint64) * np.uint64(step)).astype(whole).view(dtype)
    limits = np.finfo(dtype)
    edges = [0.0, limits.smallest_subnormal, limits.tiny, limits.tiny / 3, limits.eps, 0.5, 1.0]
    edges += [limits.max, np.inf, np.nan, 22.0, 44.0, 88.7, 89.0, 103.9, 104.0, 709.7, 710.0, 745.2]
    edges = np.array(edges, dtype)
    return np.concatenate([numbers, edges, -edges])


def arguments(name, dtype, count):
    """Of the range that the function is for."""
    rng = np.random.default_rng(1)
    if name == "log":  # normal numbers, and many around 1
        x = np.abs(spread(dtype, count))
        x = x[(x >= np.finfo(dtype).tiny) & (x < np.inf)]
        return np.concatenate([x, rng.uniform(0.4, 2.2, count // 4).astype(dtype)])
    if name == "log_near_one":
        ends = [math.sqrt(0.5) - 1, math.sqrt(2) - 1, 0.0, -0.0, 1e-30]
        tiny = rng.uniform(-1, 1, count // 4) * 10.0 ** rng.uniform(-30, -1, count // 4)
        return np.concatenate([rng.uniform(*ends[:2], count), 0.1 * tiny, ends]).astype(dtype)
    if name in ("sinpi", "cospi"):
        return np.concatenate([rng.uniform(-0.25, 0.25, count), [0.0, 0.25, -0.25]]).astype(dtype)
    x = rng.uniform(-110 if dtype == "float32" else -750, 100, count // 2)
    small = rng.uniform(-2, 2, count // 2)
    return np.concatenate([spread(dtype, count), x.astype(dtype), small.astype(dtype)])


# ---- errors ----
def in_units(y, exact, dtype):
    """The largest |y - exact| in units of the last place of `exact`, of finite numbers."""
    limits = np.finfo(dtype)
    size = np.maximum(np.abs(exact), float(limits.tiny))
    unit = 2.0 ** (np.floor(np.log2(size)) - limits.nmant)
    return np.abs(y.astype(np.float64) - exact) / unit


FLOAT64 = {
    "exp": np.exp,
    "log": np.log,
    "log_near_one": np.log1p,
    "tanh": np.tanh,
    "sinpi": lambda x: np.sin(np.pi * x),
    "cospi": lambda x: np.cos(np.pi * x),
}


@pytest.mark.parametrize("name", NAMES)
def test_errors_in_float32(name):
    """Against float64, over a few million numbers."""
    x = arguments(name, "float32", 1 << 21)
    y = of_cpu(name, x)
    with np.errstate(all="ignore"):
        exact = FLOAT64[name](x.astype(np.float64))
        infinite = exact >= np.finfo(np.float32).max * (1 + 2**-25)
    assert (np.isnan(y) == np.isnan(exact)).all()
    assert np.isinf(y[infinite]).all()
    here = ~np.isnan(exact) & ~infinite
    error = in_units(y[here], exact[here], np.float32)
    worst = int(error.argmax())
    assert error[worst] <= ERRORS[name][0], (x[here][worst], error[worst])


def to_fifty_digits(name, x):
    """The exact value for a float64, but for the 50th digit."""
    with localcontext() as context:
        context.prec, context.Emin, context.Emax = 50, -(10**6), 10**6
        x = Decimal(float(x))
        if name == "exp":
            return x.exp()
        if name == "log":
            return x.ln()
        if name == "log_near_one":
            return (1 + x).ln() if abs(x) > Decimal("1e-12") else _series(x)
        if name == "tanh":
            if abs(x) < Decimal("1e-9"):
                return x - x**3 / 3
            e = (2 * x).exp()
            return (e - 1) / (e + 1)
        turned = x * Decimal("3.14159265358979323846264338327950288419716939937510582")
        total, term, k = Decimal(0), turned if name == "sinpi" else Decimal(1), int(name == "sinpi")
        while abs(term) > Decimal("1e-45") * abs(turned) and term:
            total, term, k = total + term, -term * turned * turned / ((k + 1) * (k + 2)), k + 2
        return total if turned else Decimal(int(name == "cospi"))


def _series(x):
    return x - x**2 / 2 + x**3 / 3 - x**4 / 4


@pytest.mark.parametrize("name", NAMES)
def test_errors_in_float64(name):
    """Against 50 digits."""
    x = arguments(name, "float64", 1200)
    with np.errstate(all="ignore"):
        x = x[np.isfinite(x) & (np.abs(x) < (745 if name == "exp" else np.inf))]
    x = x[x < 709.7] if name == "exp" else x[np.abs(x) < 1e6] if name == "tanh" else x
    worst = 0.0
    for number, y in zip(x, of_cpu(name, x), strict=True):
        exact = to_fifty_digits(name, number)
        unit = math.ulp(max(abs(float(exact)), float(np.finfo(np.float64).tiny)))
        error = float(abs(Decimal(float(y)) - exact) / Decimal(unit))
        worst = max(worst, error)
        assert error <= ERRORS[name][1], (number, y, exact, error)
    assert worst > 0.3, "the reference is not what is tested"


def test_edges(dtype):
    limits, kind = np.finfo(dtype), np.dtype(dtype).type
    x = np.array(
        [0.0, -0.0, np.inf, -np.inf, np.nan, limits.smallest_subnormal, -limits.max], dtype
    )
    one = kind(1)
    assert of_cpu("exp", x).astype(str).tolist() == [
        *("1.0", "1.0", "inf", "0.0", "nan", "1.0", "0.0"),
    ]
    found = of_cpu("tanh", x)
    expected = np.array([0.0, -0.0, 1, -1, np.nan, x[5], -1], dtype)
    assert (
        np.where(np.isnan(found), kind(0), found).tobytes()
        == np.where(np.isnan(expected), kind(0), expected).tobytes()
    )
    large = np.linspace(5, 60, 100_001).astype(dtype)
    assert (of_cpu("tanh", large) <= one).all()
    assert (of_cpu("tanh", large[large > 22]) == one).all()
    assert of_cpu("log", np.array([1.0, np.nan], dtype)).astype(str).tolist() == ["0.0", "nan"]


# ---- the same in CUDA C++ ----
@pytest.mark.parametrize("name", NAMES)
def test_cuda_cpp_has_the_same_bits(compiler, name, dtype):
    """Also outside of the range that a function is for: the text is the same."""
    x = np.concatenate([arguments(name, dtype, 1 << 18), spread(dtype, 1 << 16)])
    y, expected = np.empty_like(x), of_cpu(name, x)
    arguments_of_kernel = [x, y, x.size]
    Emulator({"functions": SOURCE}).launch(
        "functions", f"of_{name}", 1, 256, arguments_of_kernel, dtype
    )
    assert (np.isnan(y) == np.isnan(expected)).all()
    numbers = ~np.isnan(y)
    assert y[numbers].tobytes() == expected[numbers].tobytes()


# ---- the simulator's fma ----
def test_the_simulators_fma_rounds_once(dtype):
    rng, kind = np.random.default_rng(2), np.dtype(dtype).type
    limits = np.finfo(dtype)
    for k in range(20_000):
        scale = 10.0 ** rng.uniform(-30, 10, 2)
        a, b = (kind(v) for v in rng.standard_normal(2) * scale)
        with np.errstate(all="ignore"):
            c = kind(-a * b * kind(1 + rng.integers(-3, 4) * limits.eps)) if k % 2 else kind(1)
            found = exact_fma(a, b, c)
        exact = Fraction(float(a)) * Fraction(float(b)) + Fraction(float(c))
        neighbours = (np.nextafter(found, kind(-np.inf)), np.nextafter(found, kind(np.inf)))
        nearest = abs(Fraction(float(found)) - exact)
        assert all(nearest <= abs(Fraction(float(other)) - exact) for other in neighbours)
    zero, one, huge = kind(0), kind(1), limits.max
    with np.errstate(all="ignore"):
        assert str(exact_fma(-zero, one, -zero)) == "-0.0"
        assert exact_fma(huge, kind(2), zero) == np.inf
        assert exact_fma(huge, kind(-2), zero) == -np.inf
        assert np.isnan(exact_fma(kind(np.inf), zero, one))
