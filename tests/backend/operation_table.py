"""One table of every operation of `protocol.Backend` with sample arguments: `OPERATIONS`.

test_contract*.py check the common rules over it, test_operations*.py the numbers,
simulator/run.py both in Numba's simulator. Arguments have what goes wrong easily: exact zeros
of both signs, ties, probabilities of exactly 0 and 1, gradients that differ from column to column.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from helpers import parameters, probabilities


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


def _scores(kind):
    """Scores with some that leave no doubt; `samples` as for a tile of a larger batch."""

    def make(rng, dtype, n, c):
        x = 3 * rng.randn(n, c)
        x[rng.rand(n) < 0.1] *= 100
        targets = _classes(kind)(rng, dtype, n, c)["t"]
        samples = {} if kind == "sparse" else {"samples": 2 * n + 1}
        return {"x": x.astype(dtype), "t": targets} | samples

    return make


def _linear_relu_backward(rng, dtype, n, c):
    y = np.maximum(rng.randn(n, 3), 0)  # a half of exact zeros
    return _linear_backward(rng, dtype, n, c) | {"y": y.astype(dtype)}


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
    Operation("linear_relu_forward", _linear),
    Operation("linear_relu_backward", _linear_relu_backward, ("same", "same", "same")),
    Operation("relu_forward", lambda *a: {"x": _with_kink(*a)["x"]}),
    Operation("relu_backward", _with_kink),
    Operation("leaky_relu_forward", lambda *a: {"x": _with_kink(*a)["x"], "slope": 0.01}),
    Operation("leaky_relu_backward", lambda *a: _with_kink(*a) | {"slope": 0.25}),
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
    Operation("tanh_forward", lambda rng, dtype, n, c: {"x": (4 * rng.randn(n, c)).astype(dtype)}),
    Operation(
        "tanh_backward",
        lambda rng, dtype, n, c: {
            "dy": rng.randn(n, c).astype(dtype),
            "y": (2 * rng.rand(n, c) - 1).astype(dtype),
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
    *(
        Operation("softmax_cross_entropy", _scores(kind), ("same", "same"), variant=kind)
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
    Operation(
        "adamw_step",
        _step(("m", "cache"), step=3, weight_decay=0.1, **ADAM),
        (),
        ("w", "m", "cache"),
    ),
    Operation("argmax", _eighths("x"), ("int32",)),
    Operation("threshold", _eighths("x", limit=0.25), ("int32",)),
    Operation("equal", _eighths("a", "b"), ("bool",)),
    Operation("close", _eighths("a", "b", tolerance=0.25), ("bool",)),
    Operation("mean", _normal("a"), variant="floats"),
    Operation("mean", _whole("bool"), ("float64",), variant="bools"),
    Operation("mean", _whole("int32"), ("float64",), variant="int32"),
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
