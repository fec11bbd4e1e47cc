"""The one table of the backend protocol's operations: `OPERATIONS`.

A line says of an operation how its arguments are drawn, how closely results of two backends agree
and whether their bits do, which dtypes come out, what it writes, and how many elements it has to
move. `crosscheck.py` and `warmup.py`, the tests in tests/backend/, and bench/ all read it: an
operation that has its line is checked and timed everywhere.

What arguments are drawn from stands in `draws.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..backend.protocol import Backend, DTypeLike
from . import draws
from .draws import Arguments, Draw

Elements = Callable[[int, int], float]

SAME, PRODUCT = "same", "product"


@dataclass(frozen=True)
class Operation:
    """An operation, with a kind of arguments.

    make     from a `Draw` to keyword arguments: arrays are NumPy's, floats become the dtype
    agree    how closely two backends do: a key of `crosscheck.BOUNDS`
    bits     SAME: a promise of all backends with kernels (docs/decisions/one-answer.md);
             PRODUCT of what a BLAS computes
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


# ---- elements that are moved ----
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
_THREE = ("same", "same", "same")
_ADAGRAD = {"rate": 0.05, "epsilon": 1e-7}

OPERATIONS: tuple[Operation, ...] = (
    Operation("asarray", draws.given, "exact", SAME, ("own",)),
    Operation("to_numpy", draws.normal("a"), "exact"),
    Operation("zeros", lambda d: {"shape": (d.n, d.c)}, "exact", SAME, ("own",)),
    Operation("copy", draws.normal("a"), "exact"),
    Operation("synchronize", lambda _: {}, "exact", SAME, ()),
    Operation("all_finite", draws.normal("a"), "exact", SAME, ("python bool",)),
    Operation("linear_forward", draws.linear, moved=dense(1, 1), **_DENSE),
    Operation(
        *("linear_backward", draws.linear_backward),
        result=_THREE,
        moved=dense(2, 1),
        whole=True,
        **_DENSE,
    ),
    Operation("linear_relu_forward", draws.linear, moved=dense(1, 1), **_DENSE),
    Operation(
        *("linear_relu_backward", draws.linear_relu_backward),
        **{"result": _THREE, "moved": dense(2, 2), "whole": True, **_DENSE},
    ),
    Operation("relu_forward", lambda d: {"x": draws.kink(d)["x"]}, "exact", moved=matrices(2)),
    Operation("relu_backward", draws.kink, "exact", moved=matrices(3)),
    Operation(
        *("leaky_relu_forward", lambda d: {"x": draws.kink(d)["x"], "slope": 0.01}),
        moved=matrices(2),
    ),
    Operation("leaky_relu_backward", lambda d: draws.kink(d) | {"slope": 0.01}, moved=matrices(3)),
    Operation("sigmoid_forward", draws.normal("x", spread=9.0), moved=matrices(2)),
    Operation(
        "sigmoid_backward", lambda d: {"dy": d.normal(), "y": d.uniform()}, moved=matrices(3)
    ),
    Operation("tanh_forward", draws.normal("x", spread=4.0), moved=matrices(2)),
    Operation(
        *("tanh_backward", lambda d: {"dy": d.normal(), "y": 2 * d.uniform() - 1}),
        moved=matrices(3),
    ),
    Operation("softmax_forward", draws.normal("x", spread=5.0), moved=matrices(2), at=None),
    Operation("softmax_backward", draws.softmax, "sum", moved=matrices(3), at=None),
    Operation(
        *("softmax_jacobian", lambda d: {"y": d.probabilities()}),
        moved=lambda n, c: n * c * c + n * c,
        at=(3, 100),
        rows=lambda elements, c: max(1, elements // c**2),
    ),
    *(
        Operation(
            *(name, draws.classes(kind), "element" if divided or kind == "sparse" else "sum"),
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
            *("softmax_cross_entropy", draws.scores(kind), "sum", SAME, ("same", "same")),
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
            ("binary_cross_entropy", draws.binary),
            ("squared_error", draws.regression),
            ("absolute_error", draws.regression),
        )
        for operation in (
            Operation(f"{name}_forward", make, "sum", moved=matrices(2, 1), at=None),
            Operation(f"{name}_backward", make, moved=matrices(3), divided=(0,)),
        )
    ),
    Operation(
        *("dropout_forward", draws.normal("x", keep=0.8, seed=12345, call=6), "element"),
        result=("same", "same"),
        moved=matrices(3),
        positional=True,
    ),
    Operation("multiply", draws.normal("a", "b"), "exact", moved=matrices(3)),
    Operation(
        *("regularization_loss", lambda d: {"w": draws.weights(d)["w"], "l1": 0.01, "l2": 0.3}),
        agree="sum",
        moved=matrices(1),
        whole=True,
    ),
    Operation(
        *("regularization_step", draws.step(l1=0.0625, l2=0.3), "element", SAME, (), ("dw",)),
        moved=matrices(3),
    ),
    Operation("sgd_step", draws.step(rate=0.05), "element", SAME, (), ("w",), moved=matrices(3)),
    Operation(
        *(
            "momentum_step",
            draws.step("m", rate=0.05, momentum=0.9),
            "element",
            SAME,
            (),
            ("w", "m"),
        ),
        moved=matrices(5),
    ),
    Operation(
        *("adagrad_step", draws.step("cache", **_ADAGRAD), "element", SAME, (), ("w", "cache")),
        moved=matrices(5),
    ),
    Operation(
        *(
            "rmsprop_step",
            draws.step("cache", rho=0.9, **_ADAGRAD),
            "element",
            SAME,
            (),
            ("w", "cache"),
        ),
        moved=matrices(5),
    ),
    Operation(
        *(
            "adam_step",
            draws.step("m cache", step=3, **ADAM),
            "element",
            SAME,
            (),
            ("w", "m", "cache"),
        ),
        moved=matrices(7),
    ),
    Operation(
        *(
            "adamw_step",
            draws.step("m cache", step=3, weight_decay=0.01, **ADAM),
            "element",
            SAME,
            (),
        ),
        writes=("w", "m", "cache"),
        moved=matrices(7),
    ),
    Operation(
        "argmax", draws.eighths("x"), "exact", SAME, ("int32",), moved=matrices(1, 1), at=None
    ),
    Operation(
        "threshold", draws.eighths("x", limit=0.25), "exact", SAME, ("int32",), moved=matrices(2)
    ),
    Operation("equal", draws.eighths("a", "b"), "exact", SAME, ("bool",), moved=matrices(2.25)),
    Operation(
        *("close", draws.eighths("a", "b", tolerance=0.25), "exact", SAME, ("bool",)),
        moved=matrices(2.25),
    ),
    Operation("mean", draws.summed, "sum", variant="floats", moved=matrices(1), whole=True),
    Operation("mean", draws.whole("bool", 0, 2), "exact", SAME, ("float64",), variant="bools"),
    Operation(
        "mean", draws.whole("int32", -1000, 1000), "exact", SAME, ("float64",), variant="int32"
    ),
    Operation(
        *("sum", draws.summed, "sum", SAME, ("float64",)),
        variant="floats",
        moved=matrices(1),
        whole=True,
    ),
    Operation("sum", draws.whole("bool", 0, 2), "exact", SAME, ("float64",), variant="bools"),
    Operation(
        "sum", draws.whole("int32", -1000, 1000), "exact", SAME, ("float64",), variant="int32"
    ),
    Operation("exact_add", draws.exact, "exact", SAME, (), ("w0", "w1", "w2"), moved=matrices(13)),
    Operation("exact_value", draws.exact_words, "exact", SAME, ("float64",), moved=matrices(8)),
    Operation(
        "random_words",
        draws.random_words,
        "exact",
        SAME,
        ("uint32",),
        moved=matrices(1),
        positional=True,
    ),
    Operation(
        *("spiral", draws.spiral, "angle", SAME, ("own", "int32")),
        moved=lambda n, _: 3 * n,
        at=(1,),
        rows=lambda elements, _: elements // 3,
        positional=True,
    ),
    Operation("spiral", draws.spread, "angle", SAME, ("own", "int32"), variant="every third row"),
)
