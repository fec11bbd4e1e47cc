"""What the tests share: the backends, the comparison, one table of every operation's arguments.

* `BACKENDS`: the names the suite runs over. A new backend is one more name.
* `assert_close`: the only comparison of floating-point results, and the only place where
  tolerances are computed.
* `OPERATIONS`: sample arguments for every operation of `protocol.Backend`. test_contract.py
  checks the common rules over it, test_operations.py the numbers.
* `philox_words`: Philox4x32-10 in Python integers, independent of the package.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from nnfs_gpu import available_backends

BACKENDS = ("numpy", "numba", "cupy", "numba-cuda")
MUST_WORK = {"numpy", "numba"}  # these fail where others are skipped
EMULATED = "cupy-emulated"  # the cupy backend on the CPU: emulation/backend.py
EMULATED_MODULES = {"test_contract", "test_operations", "test_gradients", "test_notes"}
DTYPES = ("float32", "float64")


def usable_backends():
    """The names of those that work here."""
    return [name for name, status in available_backends().items() if status.usable]


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


# ---- the table ----
@dataclass(frozen=True)
class Operation:
    """One operation with a kind of arguments.

    make    (rng, dtype, n, c) -> keyword arguments; arrays are NumPy's
    result  dtypes of the results: "same" is the dtype of the floating-point arguments, "own"
            the backend's
    writes  the arguments that its docstring says it writes
    """

    name: str
    make: Callable[[np.random.RandomState, np.dtype, int, int], dict[str, Any]]
    result: tuple[str, ...] = ("same",)
    writes: tuple[str, ...] = ()
    variant: str = ""

    @property
    def id(self):
        return f"{self.name}-{self.variant}" if self.variant else self.name

    def arguments(self, dtype, n, c, seed=0):
        """Sample arguments for n rows and c columns, always the same ones."""
        return self.make(np.random.RandomState([n, c, seed]), np.dtype(dtype), n, c)


def _normal(*names):
    def make(rng, dtype, n, c):
        return {name: rng.randn(n, c).astype(dtype) for name in names}

    return make


def _with_kink(rng, dtype, n, c):
    """Upstream gradient and inputs with exact zeros of both signs."""
    x = rng.randn(n, c)
    x[rng.rand(n, c) < 0.2] = 0.0
    x[rng.rand(n, c) < 0.1] = -0.0
    return {"dy": rng.randn(n, c).astype(dtype), "x": x.astype(dtype)}


def probabilities(rng, n, c, spread=2.0):
    """Rows of probabilities in float64, some of them nearly 0 and nearly 1."""
    e = np.exp(spread * rng.randn(n, c))
    return e / e.sum(axis=1, keepdims=True)


def _softmax_backward(rng, dtype, n, c):
    # Columns with different signs and sizes: a transposed Jacobian or grad[i] for grad[j] shows.
    dy = rng.randn(n, c) * (1 + np.arange(c)) / c
    return {"dy": dy.astype(dtype), "y": probabilities(rng, n, c).astype(dtype)}


def _classes(kind):
    def make(rng, dtype, n, c):
        p = probabilities(rng, n, c)
        p[rng.rand(n) < 0.1] = np.eye(c)[0]  # exactly 1, and exactly 0 elsewhere
        t = rng.randint(0, c, n)
        if kind == "sparse":
            return {"p": p.astype(dtype), "t": t.astype(np.int32)}
        if kind == "one_hot":
            return {"p": p.astype(dtype), "t": np.eye(c)[t].astype(dtype)}
        return {"p": p.astype(dtype), "t": probabilities(rng, n, c, 0.5).astype(dtype)}

    return make


def _binary(rng, dtype, n, c):
    p, t = rng.rand(n, c), rng.randint(0, 2, (n, c)).astype(np.float64)
    p[rng.rand(n, c) < 0.1] = 0.0
    p[rng.rand(n, c) < 0.1] = 1.0
    soft = rng.rand(n, c) < 0.2
    t[soft] = rng.rand(n, c)[soft]
    return {"p": p.astype(dtype), "t": t.astype(dtype)}


def _regression(rng, dtype, n, c):
    y, t = rng.randn(n, c), rng.randn(n, c)
    same = rng.rand(n, c) < 0.2
    y[same] = t[same]
    return {"y": y.astype(dtype), "t": t.astype(dtype)}


def _linear(rng, dtype, n, c):
    return {
        "x": rng.randn(n, c).astype(dtype),
        "w": rng.randn(c, 3).astype(dtype),
        "b": rng.randn(1, 3).astype(dtype),
    }


def _linear_backward(rng, dtype, n, c):
    return {
        "dy": rng.randn(n, 3).astype(dtype),
        "x": rng.randn(n, c).astype(dtype),
        "w": rng.randn(c, 3).astype(dtype),
    }


def parameters(rng, dtype, n, c):
    """Weights and their gradient, with exact zeros in both."""
    w, dw = rng.randn(n, c), rng.randn(n, c)
    w[rng.rand(n, c) < 0.1] = 0.0
    w[rng.rand(n, c) < 0.1] = -0.0
    dw[rng.rand(n, c) < 0.1] = 0.0
    return {"w": w.astype(dtype), "dw": dw.astype(dtype)}


def _step(state=(), **scalars):
    def make(rng, dtype, n, c):
        arguments = parameters(rng, dtype, n, c)
        for name in state:
            values = rng.randn(n, c)
            arguments[name] = (values if name == "m" else values**2).astype(dtype)
        return arguments | scalars

    return make


def _penalty(rng, dtype, n, c):
    arguments = parameters(rng, dtype, n, c)
    return {"dw": arguments["dw"], "w": arguments["w"], "l1": 0.0625, "l2": 0.3}


def _eighths(*names, **scalars):
    """Multiples of 1/8, so that ties and differences at the limit are exact."""

    def make(rng, dtype, n, c):
        values = {name: (rng.randint(-8, 9, (n, c)) / 8).astype(dtype) for name in names}
        return values | scalars

    return make


def _whole(dtype):
    def make(rng, _, n, c):
        low, high = (0, 2) if dtype == "bool" else (-1000, 1000)
        return {"a": rng.randint(low, high, (n, c)).astype(dtype)}

    return make


ADAM = {"rate": 0.05, "epsilon": 1e-7, "beta_1": 0.9, "beta_2": 0.999}

OPERATIONS = (
    Operation("asarray", lambda rng, dtype, n, c: {"x": rng.randn(n, c).astype(dtype)}, ("own",)),
    Operation("to_numpy", _normal("a")),
    Operation("zeros", lambda rng, dtype, n, c: {"shape": (n, c)}, ("own",)),
    Operation("copy", _normal("a")),
    Operation("synchronize", lambda rng, dtype, n, c: {}, ()),
    Operation("all_finite", _normal("a"), ("python bool",)),
    Operation("linear_forward", _linear),
    Operation("linear_backward", _linear_backward, ("same", "same", "same")),
    Operation("relu_forward", lambda *a: {"x": _with_kink(*a)["x"]}),
    Operation("relu_backward", _with_kink),
    Operation(
        "sigmoid_forward", lambda rng, dtype, n, c: {"x": (9 * rng.randn(n, c)).astype(dtype)}
    ),
    Operation(
        "sigmoid_backward",
        lambda rng, dtype, n, c: {
            "dy": rng.randn(n, c).astype(dtype),
            "y": rng.rand(n, c).astype(dtype),
        },
    ),
    Operation(
        "softmax_forward", lambda rng, dtype, n, c: {"x": (5 * rng.randn(n, c)).astype(dtype)}
    ),
    Operation("softmax_backward", _softmax_backward),
    Operation("softmax_jacobian", lambda *a: {"y": _softmax_backward(*a)["y"]}),
    *(
        Operation(name, _classes(kind), variant=kind)
        for name in (
            "cross_entropy_forward",
            "cross_entropy_backward",
            "softmax_cross_entropy_backward",
        )
        for kind in ("sparse", "one_hot", "soft")
    ),
    Operation("binary_cross_entropy_forward", _binary),
    Operation("binary_cross_entropy_backward", _binary),
    Operation("squared_error_forward", _regression),
    Operation("squared_error_backward", _regression),
    Operation("absolute_error_forward", _regression),
    Operation("absolute_error_backward", _regression),
    Operation(
        "dropout_forward",
        lambda rng, dtype, n, c: {
            "x": rng.randn(n, c).astype(dtype),
            "keep": 0.8,
            "seed": 12345,
            "call": 6,
        },
        ("same", "same"),
    ),
    Operation("multiply", _normal("a", "b")),
    Operation("regularization_loss", lambda *a: {"w": parameters(*a)["w"], "l1": 0.01, "l2": 0.3}),
    Operation("regularization_step", _penalty, (), ("dw",)),
    Operation("sgd_step", _step(rate=0.05), (), ("w",)),
    Operation("momentum_step", _step(("m",), rate=0.05, momentum=0.9), (), ("w", "m")),
    Operation("adagrad_step", _step(("cache",), rate=0.05, epsilon=1e-7), (), ("w", "cache")),
    Operation(
        "rmsprop_step", _step(("cache",), rate=0.05, epsilon=1e-7, rho=0.9), (), ("w", "cache")
    ),
    Operation("adam_step", _step(("m", "cache"), step=3, **ADAM), (), ("w", "m", "cache")),
    Operation("argmax", _eighths("x"), ("int32",)),
    Operation("threshold", _eighths("x", limit=0.25), ("int32",)),
    Operation("equal", _eighths("a", "b"), ("bool",)),
    Operation("close", _eighths("a", "b", tolerance=0.25), ("bool",)),
    Operation("mean", _normal("a")),
    Operation("sum", _normal("a"), ("float64",), variant="floats"),
    Operation("sum", _whole("bool"), ("float64",), variant="bools"),
    Operation("sum", _whole("int32"), ("float64",), variant="int32"),
    Operation(
        "random_words",
        lambda rng, dtype, n, c: {"count": n * c, "seed": 2**40 + 7, "stream": 2, "call": 5},
        ("uint32",),
    ),
    Operation(
        "spiral",
        lambda rng, dtype, n, c: {"samples": n, "classes": c, "seed": 7},
        ("own", "int32"),
    ),
)


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
