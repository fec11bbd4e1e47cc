"""The one table of the backend protocol's operations: `OPERATIONS`.

A line says of an operation how its arguments are drawn, how closely results of two backends agree
and whether their bits do, which dtypes come out, what it writes, and how many elements it has to
move. `crosscheck.py` and `warmup.py`, the tests in tests/backend/, and bench/ all read it: an
operation that has its line is checked and timed everywhere.

Arguments have what goes wrong easily: exact zeros of both signs, ties, probabilities of exactly 0
and 1, gradients that differ from column to column. Without `edges` they are the plain numbers that
times are taken with.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..backend.protocol import Backend, DTypeLike

Arguments = dict[str, Any]
Elements = Callable[[int, int], float]


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


SAME, NOT_YET, PRODUCT = "same", "not yet", "product"


@dataclass(frozen=True)
class Operation:
    """An operation, with a kind of arguments.

    make     from a `Draw` to keyword arguments: arrays are NumPy's, floats become the dtype
    agree    how closely two backends do: a key of `crosscheck.BOUNDS`
    bits     SAME: a promise of all backends with kernels (docs/decisions/one-answer.md); NOT_YET of
             what adds up in an order that they do not share yet; PRODUCT of what a BLAS computes
    result   dtypes of the results: "same" is the dtype of the floating-point arguments, "own" the
             backend's
    writes   the arguments that its docstring says it writes
    variant  tells lines of one operation apart

    Of its timing, in bench/:
    moved       elements of 4 bytes moved by definition, of (n, c): each input read once, each
                output written once; a bool is a quarter of one. None: not timed
    at          columns at which it is timed; None: all that are asked for
    rows        n of (elements, c)
    divided     results, by number, that are divided by the number of rows
    whole       results are sums over all rows: all of them are compared, not the ends
    positional  results depend on their place in the array: the beginning is compared
    """

    name: str
    make: Callable[[Draw], Arguments]
    agree: str = "element"
    bits: str = SAME
    result: tuple[str, ...] = ("same",)
    writes: tuple[str, ...] = ()
    variant: str = ""
    moved: Elements | None = None
    at: tuple[int, ...] | None = (1_000,)
    rows: Callable[[int, int], int] = lambda elements, c: max(1, elements // c)
    divided: tuple[int, ...] = ()
    whole: bool = False
    positional: bool = False

    @property
    def id(self) -> str:
        """As one word, for names of tests."""
        return f"{self.name}-{self.variant}" if self.variant else self.name

    @property
    def label(self) -> str:
        """For reports."""
        return f"{self.name} ({self.variant})" if self.variant else self.name

    def arguments(self, dtype: DTypeLike, n: int, c: int, seed: int = 0, **plain: Any) -> Arguments:
        """Sample arguments for n rows and c columns, always the same ones.

        plain  other values of `Draw`: fewer `rows`, no `edges`, more `outputs`, another `rng`
        """
        dtype, rng = np.dtype(dtype), np.random.RandomState([n, c, seed])
        settings: dict[str, Any] = {"rng": rng, "rows": n, "outputs": 3, "edges": True} | plain
        made = self.make(Draw(dtype=dtype, n=n, c=c, **settings))
        return {
            name: value.astype(dtype)
            if isinstance(value, np.ndarray) and value.dtype == float and self.name != "asarray"
            else value
            for name, value in made.items()
        }

    def run(self, backend: Backend, arguments: Arguments) -> list[np.ndarray]:
        """Results, then what the operation has written, on the host."""
        moved = {
            name: backend.copy(backend.asarray(value, value.dtype))
            if isinstance(value, np.ndarray) and self.name != "asarray"
            else value
            for name, value in arguments.items()
        }
        result = getattr(backend, self.name)(**moved)
        results = () if result is None else result if isinstance(result, tuple) else (result,)
        found = (*results, *(moved[name] for name in self.writes))
        return [np.asarray(backend.to_numpy(a) if hasattr(a, "dtype") else a) for a in found]


# ---- the arguments of every operation ----
def _normal(*names: str, spread: float = 1.0, **scalars: Any) -> Callable[[Draw], Arguments]:
    return lambda d: {name: spread * d.normal() for name in names} | scalars


def _given(d: Draw) -> Arguments:
    """float64 in another order: to be converted, without loss."""
    return {"x": np.ascontiguousarray(d.normal().astype(d.dtype).astype(float).T).T}


def _kink(d: Draw) -> Arguments:
    x = d.put(d.put(d.normal(), 0.2, 0.0), 0.1, -0.0)
    return {"dy": d.normal(), "x": x}


def _softmax(d: Draw) -> Arguments:
    """Columns of different signs and sizes: a transposed Jacobian or grad[i] for grad[j] shows."""
    return {"dy": d.normal() * (1 + np.arange(d.c)) / d.c, "y": d.probabilities()}


def _classes(kind: str) -> Callable[[Draw], Arguments]:
    def make(d: Draw) -> Arguments:
        p = d.put(d.probabilities(), 0.1, np.eye(d.c)[0])  # exactly 1, and exactly 0 elsewhere
        t = d.rng.randint(0, d.c, d.rows)
        if kind == "sparse":
            return {"p": p, "t": t.astype(np.int32)}
        return {"p": p, "t": np.eye(d.c)[t] if kind == "one_hot" else d.probabilities(0.5)}

    return make


def _scores(kind: str) -> Callable[[Draw], Arguments]:
    """Scores with some that leave no doubt; `samples` as for a tile of a larger batch."""

    def make(d: Draw) -> Arguments:
        x = 3 * d.normal()
        x *= d.put(np.ones((d.rows, 1)), 0.1, 100.0)
        samples = {"samples": 2 * d.n + 1} if d.edges and kind != "sparse" else {}
        return {"x": x, "t": _classes(kind)(d)["t"]} | samples

    return make


def _binary(d: Draw) -> Arguments:
    p, t = d.put(d.put(d.uniform(), 0.1, 0.0), 0.1, 1.0), d.uniform()
    return {"p": p, "t": np.where(d.put(np.zeros(t.shape), 0.8, 1.0), t < 0.5, t)}


def _regression(d: Draw) -> Arguments:
    y, t = d.normal(), d.normal()
    same = d.put(np.zeros(y.shape, bool), 0.2, True)
    return {"y": np.where(same, t, y), "t": t}


def _linear(d: Draw) -> Arguments:
    w, b = d.normal(d.c, d.outputs), d.normal(1, d.outputs)
    return {"x": d.normal(), "w": w, "b": b}


def _linear_backward(d: Draw) -> Arguments:
    return {"dy": d.normal(None, d.outputs), "x": d.normal(), "w": d.normal(d.c, d.outputs)}


def _linear_relu_backward(d: Draw) -> Arguments:
    y = np.maximum(d.normal(None, d.outputs), 0)  # a half of exact zeros
    return _linear_backward(d) | {"y": y}


def _weights(d: Draw) -> Arguments:
    """Weights and their gradient, with exact zeros in both."""
    w = d.put(d.put(d.normal(), 0.1, 0.0), 0.1, -0.0)
    return {"w": w, "dw": d.put(d.normal(), 0.1, 0.0)}


def _step(state: str = "", **scalars: Any) -> Callable[[Draw], Arguments]:
    def make(d: Draw) -> Arguments:
        states = {name: d.normal() ** (2 if name == "cache" else 1) for name in state.split()}
        return _weights(d) | states | scalars

    return make


def _eighths(*names: str, **scalars: Any) -> Callable[[Draw], Arguments]:
    """Multiples of 1/8, so that ties and differences at the limit are exact."""
    return lambda d: {k: d.rng.randint(-8, 9, (d.rows, d.c)) / 8 for k in names} | scalars


def _whole(dtype: str, low: int, high: int) -> Callable[[Draw], Arguments]:
    return lambda d: {"a": d.rng.randint(low, high, (d.rows, d.c)).astype(dtype)}


def _summed(d: Draw) -> Arguments:
    """Where times are taken, numbers whose sum is far from 0: it is compared relative to itself."""
    return {"a": d.normal() if d.edges else d.uniform()}


def _exact(d: Draw) -> Arguments:
    """Numbers of every size, some of them poison, as are some of the words."""
    x = d.put(d.normal() * 2.0 ** d.rng.randint(-90, 63, (d.rows, d.c)), 0.1, 0.0)
    x = d.put(x, 0.02, np.nan)
    words = _exact_words(d)
    return words | {"w2": d.put(words["w2"], 0.05, 2**52), "x": x}


def _exact_words(d: Draw) -> Arguments:
    """As they are when others' have been added: not carried."""
    sizes = (("w0", 2**59), ("w1", 2**59), ("w2", 2**48))
    return {name: d.rng.randint(-most, most, (d.rows, d.c)) for name, most in sizes}


def _words(d: Draw) -> Arguments:
    return {"count": d.n * d.c, "seed": 2**40 + 7, "stream": 2, "call": 5}


def _spiral(d: Draw) -> Arguments:
    return {"samples": d.n, "classes": d.c, "seed": 7}


def _spread(d: Draw) -> Arguments:
    return _spiral(d) | {"start": d.n * d.c // 3, "step": 3}


def matrices(count: float, vectors: float = 0) -> Elements:
    """`count` arrays (n, c), and `vectors` of n."""
    return lambda n, c: count * n * c + vectors * n


def dense(inputs: int, outputs: int) -> Elements:
    """Arrays (n, c) and (n, outputs of the layer), which has as many as inputs where it is timed;
    its weights are nothing beside them.
    """
    return lambda n, c: (inputs + outputs) * n * c


ADAM = {"rate": 0.05, "epsilon": 1e-7, "beta_1": 0.9, "beta_2": 0.999}
WIDTH = 64  # inputs and outputs of the dense layer that is timed
_DENSE: dict[str, Any] = {"agree": "sum", "bits": PRODUCT, "at": (WIDTH,)}
_SUM: dict[str, Any] = {"agree": "sum", "bits": NOT_YET}
_THREE = ("same", "same", "same")
_ADAGRAD = {"rate": 0.05, "epsilon": 1e-7}

OPERATIONS: tuple[Operation, ...] = (
    Operation("asarray", _given, "exact", SAME, ("own",)),
    Operation("to_numpy", _normal("a"), "exact"),
    Operation("zeros", lambda d: {"shape": (d.n, d.c)}, "exact", SAME, ("own",)),
    Operation("copy", _normal("a"), "exact"),
    Operation("synchronize", lambda _: {}, "exact", SAME, ()),
    Operation("all_finite", _normal("a"), "exact", SAME, ("python bool",)),
    Operation("linear_forward", _linear, moved=dense(1, 1), **_DENSE),
    Operation(
        *("linear_backward", _linear_backward),
        result=_THREE,
        moved=dense(2, 1),
        whole=True,
        **_DENSE,
    ),
    Operation("linear_relu_forward", _linear, moved=dense(1, 1), **_DENSE),
    Operation(
        *("linear_relu_backward", _linear_relu_backward),
        **{"result": _THREE, "moved": dense(2, 2), "whole": True, **_DENSE},
    ),
    Operation("relu_forward", lambda d: {"x": _kink(d)["x"]}, "exact", moved=matrices(2)),
    Operation("relu_backward", _kink, "exact", moved=matrices(3)),
    Operation(
        *("leaky_relu_forward", lambda d: {"x": _kink(d)["x"], "slope": 0.01}),
        moved=matrices(2),
    ),
    Operation("leaky_relu_backward", lambda d: _kink(d) | {"slope": 0.01}, moved=matrices(3)),
    Operation("sigmoid_forward", _normal("x", spread=9.0), moved=matrices(2)),
    Operation(
        "sigmoid_backward", lambda d: {"dy": d.normal(), "y": d.uniform()}, moved=matrices(3)
    ),
    Operation("tanh_forward", _normal("x", spread=4.0), moved=matrices(2)),
    Operation(
        *("tanh_backward", lambda d: {"dy": d.normal(), "y": 2 * d.uniform() - 1}),
        moved=matrices(3),
    ),
    Operation(
        *("softmax_forward", _normal("x", spread=5.0)), bits=NOT_YET, moved=matrices(2), at=None
    ),
    Operation("softmax_backward", _softmax, moved=matrices(3), at=None, **_SUM),
    Operation(
        *("softmax_jacobian", lambda d: {"y": d.probabilities()}),
        moved=lambda n, c: n * c * c + n * c,
        at=(3, 100),
        rows=lambda elements, c: max(1, elements // c**2),
    ),
    *(
        Operation(
            *(name, _classes(kind), "element" if divided or kind == "sparse" else "sum"),
            NOT_YET if kind == "soft" and not divided else SAME,  # one-hot: a single term
            variant=kind,
            moved=moved,
            at=at,
            divided=divided,
        )
        for name, divided, timed in (
            ("cross_entropy_forward", (), {"sparse": (0, 3), "soft": (2, 1)}),
            ("cross_entropy_backward", (0,), {"sparse": (1, 2), "soft": (3, 0)}),
            ("softmax_cross_entropy_backward", (0,), {"sparse": (2, 1), "soft": (3, 0)}),
        )
        for kind in ("sparse", "one_hot", "soft")
        for moved in [matrices(*timed[kind]) if kind in timed else None]
        for at in [(1_000,) if divided and kind == "soft" else None]
    ),
    *(
        Operation(
            *("softmax_cross_entropy", _scores(kind), "sum", NOT_YET, ("same", "same")),
            variant=kind,
            moved=moved,
            at=None if kind == "sparse" else (1_000,),
            divided=(1,),
        )
        for kind, moved in (
            ("sparse", matrices(2, 2)),
            ("one_hot", None),
            ("soft", matrices(3, 1)),
        )
    ),
    *(
        operation
        for name, make in (
            ("binary_cross_entropy", _binary),
            ("squared_error", _regression),
            ("absolute_error", _regression),
        )
        for operation in (
            Operation(f"{name}_forward", make, moved=matrices(2, 1), at=None, **_SUM),
            Operation(f"{name}_backward", make, moved=matrices(3), divided=(0,)),
        )
    ),
    Operation(
        *("dropout_forward", _normal("x", keep=0.8, seed=12345, call=6), "element"),
        result=("same", "same"),
        moved=matrices(3),
        positional=True,
    ),
    Operation("multiply", _normal("a", "b"), "exact", moved=matrices(3)),
    Operation(
        *("regularization_loss", lambda d: {"w": _weights(d)["w"], "l1": 0.01, "l2": 0.3}),
        moved=matrices(1),
        whole=True,
        **_SUM,
    ),
    Operation(
        *("regularization_step", _step(l1=0.0625, l2=0.3), "element", SAME, (), ("dw",)),
        moved=matrices(3),
    ),
    Operation("sgd_step", _step(rate=0.05), "element", SAME, (), ("w",), moved=matrices(3)),
    Operation(
        *("momentum_step", _step("m", rate=0.05, momentum=0.9), "element", SAME, (), ("w", "m")),
        moved=matrices(5),
    ),
    Operation(
        *("adagrad_step", _step("cache", **_ADAGRAD), "element", SAME, (), ("w", "cache")),
        moved=matrices(5),
    ),
    Operation(
        *("rmsprop_step", _step("cache", rho=0.9, **_ADAGRAD), "element", SAME, (), ("w", "cache")),
        moved=matrices(5),
    ),
    Operation(
        *("adam_step", _step("m cache", step=3, **ADAM), "element", SAME, (), ("w", "m", "cache")),
        moved=matrices(7),
    ),
    Operation(
        *("adamw_step", _step("m cache", step=3, weight_decay=0.01, **ADAM), "element", SAME, ()),
        writes=("w", "m", "cache"),
        moved=matrices(7),
    ),
    Operation("argmax", _eighths("x"), "exact", SAME, ("int32",), moved=matrices(1, 1), at=None),
    Operation("threshold", _eighths("x", limit=0.25), "exact", SAME, ("int32",), moved=matrices(2)),
    Operation("equal", _eighths("a", "b"), "exact", SAME, ("bool",), moved=matrices(2.25)),
    Operation(
        *("close", _eighths("a", "b", tolerance=0.25), "exact", SAME, ("bool",)),
        moved=matrices(2.25),
    ),
    Operation("mean", _summed, variant="floats", moved=matrices(1), whole=True, **_SUM),
    Operation("mean", _whole("bool", 0, 2), "exact", SAME, ("float64",), variant="bools"),
    Operation("mean", _whole("int32", -1000, 1000), "exact", SAME, ("float64",), variant="int32"),
    Operation(
        *("sum", _summed, "sum", NOT_YET, ("float64",)),
        variant="floats",
        moved=matrices(1),
        whole=True,
    ),
    Operation("sum", _whole("bool", 0, 2), "exact", SAME, ("float64",), variant="bools"),
    Operation("sum", _whole("int32", -1000, 1000), "exact", SAME, ("float64",), variant="int32"),
    Operation("exact_add", _exact, "exact", SAME, (), ("w0", "w1", "w2"), moved=matrices(13)),
    Operation("exact_value", _exact_words, "exact", SAME, ("float64",), moved=matrices(8)),
    Operation(
        "random_words", _words, "exact", SAME, ("uint32",), moved=matrices(1), positional=True
    ),
    Operation(
        *("spiral", _spiral, "angle", SAME, ("own", "int32")),
        moved=lambda n, _: 3 * n,
        at=(1,),
        rows=lambda elements, _: elements // 3,
        positional=True,
    ),
    Operation("spiral", _spread, "angle", SAME, ("own", "int32"), variant="every third row"),
)
