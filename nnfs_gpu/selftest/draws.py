"""What the arguments of operations are drawn from: for the table in `operations.py`.

They have what goes wrong easily: exact zeros of both signs, ties, probabilities of exactly 0 and 1,
gradients that differ from column to column. Without `edges` they are the plain numbers that times
are taken with. Each function here makes keyword arguments of a `Draw`, or what makes them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Arguments = dict[str, Any]


@dataclass(frozen=True)
class Draw:
    """Random numbers for `rows` of n rows and c columns, and `outputs` of a dense layer."""

    rng: np.random.RandomState  # or what draws as one
    dtype: np.dtype
    n: int
    c: int
    rows: int
    outputs: int
    edges: bool

    def normal(self, rows: int | None = None, columns: int | None = None) -> np.ndarray:
        """Normally distributed, (rows, c) unless told otherwise."""
        return self.rng.randn(rows or self.rows, columns or self.c)

    def uniform(self) -> np.ndarray:
        """Uniform in 0..1, (rows, c)."""
        return self.rng.rand(self.rows, self.c)

    def probabilities(self, spread: float = 2.0) -> np.ndarray:
        """Rows whose sums are 1, some of them nearly 0 and nearly 1."""
        e = np.exp(spread * self.normal())
        rows: np.ndarray = e / e.sum(axis=1, keepdims=True)
        return rows

    def put(self, a: np.ndarray, share: float, value: Any) -> np.ndarray:
        """`a` with a share of its elements, or rows, replaced where edges are asked for."""
        if self.edges:
            shape = a.shape[:1] if np.ndim(value) else a.shape
            a[self.rng.rand(*shape) < share] = value
        return a


def normal(*names: str, spread: float = 1.0, **scalars: Any) -> Callable[[Draw], Arguments]:
    """Such arrays by these names, of deviation `spread`; and `scalars`."""
    return lambda d: {name: spread * d.normal() for name in names} | scalars


def given(d: Draw) -> Arguments:
    """float64 in another order: to be converted, without loss."""
    return {"x": np.ascontiguousarray(d.normal().astype(d.dtype).astype(float).T).T}


def kink(d: Draw) -> Arguments:
    """Inputs with zeros of both signs, where the derivative is one-sided."""
    x = d.put(d.put(d.normal(), 0.2, 0.0), 0.1, -0.0)
    return {"dy": d.normal(), "x": x}


def softmax(d: Draw) -> Arguments:
    """Columns of different signs and sizes: a transposed Jacobian or grad[i] for grad[j] shows."""
    return {"dy": d.normal() * (1 + np.arange(d.c)) / d.c, "y": d.probabilities()}


def classes(kind: str) -> Callable[[Draw], Arguments]:
    """Probabilities and labels: "sparse", "one_hot", or else rows that sum to 1."""

    def make(d: Draw) -> Arguments:
        p = d.put(d.probabilities(), 0.1, np.eye(d.c)[0])  # exactly 1, and exactly 0 elsewhere
        t = d.rng.randint(0, d.c, d.rows)
        if kind == "sparse":
            return {"p": p, "t": t.astype(np.int32)}
        return {"p": p, "t": np.eye(d.c)[t] if kind == "one_hot" else d.probabilities(0.5)}

    return make


def scores(kind: str) -> Callable[[Draw], Arguments]:
    """Scores with some that leave no doubt; `samples` as for a tile of a larger batch."""

    def make(d: Draw) -> Arguments:
        x = 3 * d.normal()
        x *= d.put(np.ones((d.rows, 1)), 0.1, 100.0)
        samples = {"samples": 2 * d.n + 1} if d.edges and kind != "sparse" else {}
        return {"x": x, "t": classes(kind)(d)["t"]} | samples

    return make


def binary(d: Draw) -> Arguments:
    """Probabilities with exact 0 and 1, and targets."""
    p, t = d.put(d.put(d.uniform(), 0.1, 0.0), 0.1, 1.0), d.uniform()
    return {"p": p, "t": np.where(d.put(np.zeros(t.shape), 0.8, 1.0), t < 0.5, t)}


def regression(d: Draw) -> Arguments:
    """Outputs and targets, some of them equal."""
    y, t = d.normal(), d.normal()
    same = d.put(np.zeros(y.shape, bool), 0.2, True)
    return {"y": np.where(same, t, y), "t": t}


def linear(d: Draw) -> Arguments:
    """Inputs, weights and biases of a dense layer."""
    w, b = d.normal(d.c, d.outputs), d.normal(1, d.outputs)
    return {"x": d.normal(), "w": w, "b": b}


def linear_backward(d: Draw) -> Arguments:
    """The gradient at the outputs, inputs and weights."""
    return {"dy": d.normal(None, d.outputs), "x": d.normal(), "w": d.normal(d.c, d.outputs)}


def linear_relu_backward(d: Draw) -> Arguments:
    """The same with the outputs."""
    y = np.maximum(d.normal(None, d.outputs), 0)  # a half of exact zeros
    return linear_backward(d) | {"y": y}


def weights(d: Draw) -> Arguments:
    """Weights and their gradient, with exact zeros in both."""
    w = d.put(d.put(d.normal(), 0.1, 0.0), 0.1, -0.0)
    return {"w": w, "dw": d.put(d.normal(), 0.1, 0.0)}


def step(state: str = "", **scalars: Any) -> Callable[[Draw], Arguments]:
    """Weights, their gradient, an optimizer's state by names, and its numbers."""

    def make(d: Draw) -> Arguments:
        states = {name: d.normal() ** (2 if name == "cache" else 1) for name in state.split()}
        return weights(d) | states | scalars

    return make


def eighths(*names: str, **scalars: Any) -> Callable[[Draw], Arguments]:
    """Multiples of 1/8, so that ties and differences at the limit are exact."""
    return lambda d: {k: d.rng.randint(-8, 9, (d.rows, d.c)) / 8 for k in names} | scalars


def whole(dtype: str, low: int, high: int) -> Callable[[Draw], Arguments]:
    """Whole numbers low..high-1."""
    return lambda d: {"a": d.rng.randint(low, high, (d.rows, d.c)).astype(dtype)}


def summed(d: Draw) -> Arguments:
    """Where times are taken, numbers whose sum is far from 0: it is compared relative to itself."""
    return {"a": d.normal() if d.edges else d.uniform()}


def exact(d: Draw) -> Arguments:
    """Numbers of every size, some of them poison, as are some of the words."""
    x = d.put(d.normal() * 2.0 ** d.rng.randint(-90, 63, (d.rows, d.c)), 0.1, 0.0)
    x = d.put(x, 0.02, np.nan)
    words = exact_words(d)
    return words | {"w2": d.put(words["w2"], 0.05, 2**52), "x": x}


def exact_words(d: Draw) -> Arguments:
    """As they are when others' have been added: not carried."""
    sizes = (("w0", 2**59), ("w1", 2**59), ("w2", 2**48))
    return {name: d.rng.randint(-most, most, (d.rows, d.c)) for name, most in sizes}


def random_words(d: Draw) -> Arguments:
    """What a counter-based generator is asked for."""
    return {"count": d.n * d.c, "seed": 2**40 + 7, "stream": 2, "call": 5}


def spiral(d: Draw) -> Arguments:
    """A whole spiral."""
    return {"samples": d.n, "classes": d.c, "seed": 7}


def spread(d: Draw) -> Arguments:
    """Every third row of its last two thirds."""
    return spiral(d) | {"start": d.n * d.c // 3, "step": 3}
