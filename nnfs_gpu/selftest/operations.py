"""Every operation of the backend protocol with arguments for a cross-check: `TABLE`.

Used by `crosscheck.py`, by `warmup.py` and by the device checks in bench/gpu_check/. Arguments
are drawn from a generator seeded by the shape alone, so that both sides, and every run, get the
same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..backend.numpy_backend import NumpyBackend

Arguments = dict[str, Any]
Make = Callable[[np.random.Generator, np.dtype, int, int], Arguments]


@dataclass(frozen=True)
class Line:
    """An operation as it is compared.

    kind     of its bound, in BOUNDS
    make     (generator, dtype, n, c) -> keyword arguments; arrays are NumPy's
    variant  tells two lines of one operation apart
    written  arguments that it writes
    """

    operation: str
    kind: str
    make: Make
    variant: str = ""
    written: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.operation} ({self.variant})" if self.variant else self.operation

    def arguments(self, dtype: Any, n: int, c: int) -> Arguments:
        """For n rows and c columns, always the same ones."""
        return self.make(np.random.default_rng([n, c]), np.dtype(dtype), n, c)

    def run(self, backend: NumpyBackend, arguments: Arguments) -> list[np.ndarray]:
        """Results, then what the operation has written, on the host."""
        moved = {
            name: backend.copy(backend.asarray(value, value.dtype))
            if isinstance(value, np.ndarray) and self.operation != "asarray"
            else value
            for name, value in arguments.items()
        }
        result = getattr(backend, self.operation)(**moved)
        results = () if result is None else result if isinstance(result, tuple) else (result,)
        found = (*results, *(moved[name] for name in self.written))
        return [np.asarray(backend.to_numpy(a) if hasattr(a, "dtype") else a) for a in found]


# ---- the arguments of every operation ----


def _normal(*names: str, **scalars: Any) -> Make:
    return lambda rng, dtype, n, c: (
        {name: rng.standard_normal((n, c)).astype(dtype) for name in names} | scalars
    )


def _probabilities(rng: np.random.Generator, n: int, c: int) -> np.ndarray:
    e = np.exp(rng.standard_normal((n, c)))
    return e / e.sum(axis=1, keepdims=True)


def _softmax(rng: np.random.Generator, dtype: np.dtype, n: int, c: int) -> Arguments:
    dy = rng.standard_normal((n, c)).astype(dtype)
    return {"dy": dy, "y": _probabilities(rng, n, c).astype(dtype)}


def _labels(soft: bool) -> Make:
    def make(rng: np.random.Generator, dtype: np.dtype, n: int, c: int) -> Arguments:
        p = _probabilities(rng, n, c).astype(dtype)
        if soft:
            return {"p": p, "t": _probabilities(rng, n, c).astype(dtype)}
        return {"p": p, "t": rng.integers(0, c, n).astype(np.int32)}

    return make


def _uniform(*names: str) -> Make:
    return lambda rng, dtype, n, c: {name: rng.random((n, c)).astype(dtype) for name in names}


def _linear(rng: np.random.Generator, dtype: np.dtype, n: int, c: int) -> Arguments:
    shapes = {"x": (n, c), "w": (c, 4), "b": (1, 4)}
    return {k: rng.standard_normal(shape).astype(dtype) for k, shape in shapes.items()}


def _linear_backward(rng: np.random.Generator, dtype: np.dtype, n: int, c: int) -> Arguments:
    shapes = {"dy": (n, 4), "x": (n, c), "w": (c, 4)}
    return {k: rng.standard_normal(shape).astype(dtype) for k, shape in shapes.items()}


def _step(*state: str, **scalars: Any) -> Make:
    def make(rng: np.random.Generator, dtype: np.dtype, n: int, c: int) -> Arguments:
        arrays = {k: rng.standard_normal((n, c)).astype(dtype) for k in ("w", "dw", *state)}
        if "cache" in arrays:
            arrays["cache"] = arrays["cache"] ** 2
        return arrays | scalars

    return make


_ADAM = {"rate": 0.05, "epsilon": 1e-7, "beta_1": 0.9, "beta_2": 0.999, "step": 3}
_L = {"l1": 0.01, "l2": 0.02}


def _given(rng: np.random.Generator, dtype: np.dtype, n: int, c: int) -> Arguments:
    return {"x": rng.standard_normal((c, n)).T}  # float64, in another order: to be converted


def _relu_linear(rng: np.random.Generator, dtype: np.dtype, n: int, c: int) -> Arguments:
    y = np.maximum(rng.standard_normal((n, 4)), 0).astype(dtype)
    return _linear_backward(rng, dtype, n, c) | {"y": y}


def _scores(soft: bool) -> Make:
    def make(rng: np.random.Generator, dtype: np.dtype, n: int, c: int) -> Arguments:
        targets = _labels(soft)(rng, dtype, n, c)["t"]
        return {"x": rng.standard_normal((n, c)).astype(dtype), "t": targets, "samples": 2 * n}

    return make


def _bools(rng: np.random.Generator, dtype: np.dtype, n: int, c: int) -> Arguments:
    return {"a": rng.random((n, c)) < 0.4}


def _nothing(rng: np.random.Generator, dtype: np.dtype, n: int, c: int) -> Arguments:
    return {}


TABLE: tuple[Line, ...] = (
    Line("asarray", "exact", _given),
    Line("to_numpy", "exact", _normal("a")),
    Line("zeros", "exact", lambda rng, dtype, n, c: {"shape": (n, c)}),
    Line("copy", "exact", _normal("a")),
    Line("synchronize", "exact", _nothing),
    Line("all_finite", "exact", _normal("a")),
    Line("linear_forward", "sum", _linear),
    Line("linear_backward", "sum", _linear_backward),
    Line("linear_relu_forward", "sum", _linear),
    Line("linear_relu_backward", "sum", _relu_linear),
    Line("relu_forward", "exact", _normal("x")),
    Line("relu_backward", "exact", _normal("dy", "x")),
    Line("leaky_relu_forward", "element", _normal("x", slope=0.01)),
    Line("leaky_relu_backward", "element", _normal("dy", "x", slope=0.01)),
    Line("sigmoid_forward", "element", _normal("x")),
    Line("sigmoid_backward", "element", lambda *a: _normal("dy")(*a) | _uniform("y")(*a)),
    Line("tanh_forward", "element", _normal("x")),
    Line("tanh_backward", "element", lambda *a: _normal("dy")(*a) | _uniform("y")(*a)),
    Line("softmax_forward", "element", _normal("x")),
    Line("softmax_backward", "sum", _softmax),
    Line("softmax_jacobian", "element", lambda r, d, n, c: _uniform("y")(r, d, 5, min(c, 40))),
    Line("cross_entropy_forward", "element", _labels(False), variant="indices"),
    Line("cross_entropy_forward", "sum", _labels(True), variant="soft"),
    Line("cross_entropy_backward", "element", _labels(False), variant="indices"),
    Line("cross_entropy_backward", "element", _labels(True), variant="soft"),
    Line("softmax_cross_entropy_backward", "element", _labels(False), variant="indices"),
    Line("softmax_cross_entropy_backward", "element", _labels(True), variant="soft"),
    Line("softmax_cross_entropy", "sum", _scores(False), variant="indices"),
    Line("softmax_cross_entropy", "sum", _scores(True), variant="soft"),
    Line("binary_cross_entropy_forward", "sum", _uniform("p", "t")),
    Line("binary_cross_entropy_backward", "element", _uniform("p", "t")),
    Line("squared_error_forward", "sum", _normal("y", "t")),
    Line("squared_error_backward", "element", _normal("y", "t")),
    Line("absolute_error_forward", "sum", _normal("y", "t")),
    Line("absolute_error_backward", "element", _normal("y", "t")),
    Line("dropout_forward", "element", _normal("x", keep=0.8, seed=3, call=1)),
    Line("multiply", "exact", _normal("a", "b")),
    Line("regularization_loss", "sum", _normal("w", **_L)),
    Line("regularization_step", "element", _step(**_L), written=("dw",)),
    Line("sgd_step", "element", _step(rate=0.1), written=("w",)),
    Line("momentum_step", "element", _step("m", rate=0.1, momentum=0.9), written=("w", "m")),
    Line("adagrad_step", "element", _step("cache", rate=0.1, epsilon=1e-7), written=("w", "cache")),
    Line(
        "rmsprop_step",
        "element",
        _step("cache", rate=0.1, epsilon=1e-7, rho=0.9),
        written=("w", "cache"),
    ),
    Line("adam_step", "element", _step("m", "cache", **_ADAM), written=("w", "m", "cache")),
    Line(
        "adamw_step",
        "element",
        _step("m", "cache", **_ADAM, weight_decay=0.1),
        written=("w", "m", "cache"),
    ),
    Line("argmax", "exact", _normal("x")),
    Line("threshold", "exact", _normal("x", limit=0.5)),
    Line("equal", "exact", _normal("a", "b")),
    Line("close", "exact", _normal("a", "b", tolerance=0.5)),
    Line("mean", "sum", _normal("a")),
    Line("mean", "exact", _bools, variant="bools"),
    Line("sum", "sum", _normal("a")),
    Line("sum", "exact", _bools, variant="bools"),
    Line("random_words", "exact", lambda r, d, n, c: _words(n, c)),
    Line("spiral", "angle", lambda r, d, n, c: {"samples": n, "classes": c, "seed": 5}),
)


def _words(n: int, c: int) -> Arguments:
    return {"count": n * c, "seed": 2**40 + 1, "stream": 0, "call": 7}
