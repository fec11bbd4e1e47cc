"""Two backends against each other: every operation, and a short training run.

`nnfs-gpu crosscheck` prints what `crosscheck` returns. The same arguments go to both backends;
a result passes when its largest difference is within a stated number of units of
    eps(dtype) * the largest term that was added up to make the result,
so that a sum which cancels is not blamed for the digits that it cannot have.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from .accuracy import Accuracy_Categorical
from .activations import Activation_ReLU, Activation_Softmax
from .backend import use_backend
from .backend.numpy_backend import NumpyBackend
from .layers import Layer_Dense
from .losses import Loss_CategoricalCrossentropy
from .model import Model
from .optimizers import Optimizer_SGD

SHAPES = ((1, 1), (300, 3), (257, 10), (100, 33), (7, 1500))
STEPS = 20  # of the training run: SGD, whose rounding does not grow as Adam's does
BOUNDS = {
    "element": 16.0,
    "sum": 64.0,
    "angle": 4.0,
    "exact": 0.0,
    "training": 4096.0,
}  # units, see above


@dataclass(frozen=True)
class Difference:
    """The largest differences between two backends in one operation."""

    operation: str
    dtype: str
    absolute: float
    relative: float  # of the elements that are not 0
    ulps: float  # units in the last place of the largest element
    units: float  # what decides: see the file's docstring
    bound: float
    passed: bool


Arguments = dict[str, Any]
Make = Callable[[np.random.Generator, np.dtype, int, int], Arguments]


def crosscheck(first: NumpyBackend, second: NumpyBackend) -> list[Difference]:
    """A line for every operation in each dtype, then the training runs.

    The backends' own dtypes are not used: both are made anew in float32 and float64. Raises
    what `get_backend` raises for a backend that does not work here.
    """
    return [*_operations(first, second), *_training(first, second)]


def as_records(differences: list[Difference]) -> list[dict[str, Any]]:
    """For JSON."""
    return [asdict(difference) for difference in differences]


def _operations(first: NumpyBackend, second: NumpyBackend) -> Iterator[Difference]:
    for dtype in ("float32", "float64"):
        a = type(first)(dtype)
        b = type(second)(dtype)
        for operation, variant, kind, make, written in _TABLE:
            worst: Difference | None = None
            for n, c in SHAPES:
                arguments = make(np.random.default_rng([n, c]), np.dtype(dtype), n, c)
                name = f"{operation} ({variant})" if variant else operation
                for x, y in zip(
                    _run(a, operation, arguments, written),
                    _run(b, operation, arguments, written),
                    strict=True,
                ):
                    found = _compare(name, dtype, kind, x, y, arguments)
                    if worst is None or not worst.units >= found.units:
                        worst = found
            assert worst is not None
            yield worst


def _training(first: NumpyBackend, second: NumpyBackend) -> Iterator[Difference]:
    for dtype in ("float32", "float64"):
        ours, theirs = _train(first, dtype), _train(second, dtype)
        yield _compare(f"training, {STEPS} steps", dtype, "training", ours, theirs, {})


def _train(backend: NumpyBackend, dtype: str) -> np.ndarray:
    """All parameters after STEPS steps on the spiral, from the same weights and data."""
    host = type(backend)(dtype)
    rng = np.random.default_rng(0)
    with use_backend(host):
        X, y = host.spiral(100, 3, 0)
        model = Model()
        for inputs, outputs, activation in (
            (2, 64, Activation_ReLU()),
            (64, 3, Activation_Softmax()),
        ):
            layer = Layer_Dense(inputs, outputs)
            layer.weights = 0.1 * rng.standard_normal((inputs, outputs))
            model.add(layer)
            model.add(activation)
        model.set(
            loss=Loss_CategoricalCrossentropy(),
            optimizer=Optimizer_SGD(learning_rate=0.5, momentum=0.9),
            accuracy=Accuracy_Categorical(),
        )
        model.finalize()
        model.train(X, y, epochs=STEPS, print_every=None)
    values = [host.to_numpy(a).ravel() for pair in model.get_parameters() for a in pair]
    return np.concatenate(values)


def _run(backend: NumpyBackend, operation: str, arguments: Arguments, written: tuple) -> list[Any]:
    """Results, then what the operation has written, on the host."""
    moved = {
        name: backend.copy(backend.asarray(value, value.dtype))
        if isinstance(value, np.ndarray)
        else value
        for name, value in arguments.items()
    }
    result = getattr(backend, operation)(**moved)
    results = () if result is None else result if isinstance(result, tuple) else (result,)
    return [np.asarray(backend.to_numpy(a)) for a in (*results, *(moved[w] for w in written))]


def _compare(
    name: str, dtype: str, kind: str, a: np.ndarray, b: np.ndarray, arguments: Arguments
) -> Difference:
    """NaN in one place alone is an infinite difference."""
    x, y = np.asarray(a, np.float64), np.asarray(b, np.float64)
    same = (x == y) | (np.isnan(x) & np.isnan(y))
    with np.errstate(invalid="ignore", divide="ignore"):
        error = np.where(same, 0.0, np.abs(x - y))
        error = np.where(np.isnan(error), np.inf, error)
        relative = np.where(y != 0, error / np.abs(y), 0.0)
    absolute = float(error.max(initial=0.0))
    eps = float(np.finfo(dtype).eps)
    largest = float(np.nanmax(np.abs(y), initial=0.0))
    scale = largest
    if kind == "angle":  # of a point on the spiral: its last digit moves the point
        scale = 10.0 * (arguments["classes"] + 1)
    elif kind == "sum":  # terms may be larger than the sum that they cancel to
        reals = [v for v in arguments.values() if isinstance(v, np.ndarray) and v.dtype.kind == "f"]
        scale = max(largest, *(float(np.abs(v).max()) for v in reals))
    units = absolute / (eps * scale) if scale else (np.inf if absolute else 0.0)
    last_place = float(np.spacing(np.dtype(dtype).type(largest)))
    bound = BOUNDS[kind]
    return Difference(
        operation=name,
        dtype=dtype,
        absolute=absolute,
        relative=float(relative.max(initial=0.0)),
        ulps=absolute / last_place,
        units=float(units),
        bound=bound,
        passed=bool(a.shape == b.shape and a.dtype == b.dtype and units <= bound),
    )


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

# operation, variant, kind of bound, arguments, what it writes
_TABLE: tuple[tuple[str, str, str, Make, tuple[str, ...]], ...] = (
    ("linear_forward", "", "sum", _linear, ()),
    ("linear_backward", "", "sum", _linear_backward, ()),
    ("relu_forward", "", "exact", _normal("x"), ()),
    ("relu_backward", "", "exact", _normal("dy", "x"), ()),
    ("sigmoid_forward", "", "element", _normal("x"), ()),
    ("sigmoid_backward", "", "element", lambda *a: _normal("dy")(*a) | _uniform("y")(*a), ()),
    ("softmax_forward", "", "element", _normal("x"), ()),
    ("softmax_backward", "", "sum", _softmax, ()),
    ("softmax_jacobian", "", "element", lambda r, d, n, c: _uniform("y")(r, d, 5, min(c, 40)), ()),
    ("cross_entropy_forward", "indices", "element", _labels(False), ()),
    ("cross_entropy_forward", "soft", "sum", _labels(True), ()),
    ("cross_entropy_backward", "indices", "element", _labels(False), ()),
    ("cross_entropy_backward", "soft", "element", _labels(True), ()),
    ("softmax_cross_entropy_backward", "indices", "element", _labels(False), ()),
    ("softmax_cross_entropy_backward", "soft", "element", _labels(True), ()),
    ("binary_cross_entropy_forward", "", "sum", _uniform("p", "t"), ()),
    ("binary_cross_entropy_backward", "", "element", _uniform("p", "t"), ()),
    ("squared_error_forward", "", "sum", _normal("y", "t"), ()),
    ("squared_error_backward", "", "element", _normal("y", "t"), ()),
    ("absolute_error_forward", "", "sum", _normal("y", "t"), ()),
    ("absolute_error_backward", "", "element", _normal("y", "t"), ()),
    ("dropout_forward", "", "element", _normal("x", keep=0.8, seed=3, call=1), ()),
    ("multiply", "", "exact", _normal("a", "b"), ()),
    ("regularization_loss", "", "sum", _normal("w", **_L), ()),
    ("regularization_step", "", "element", _step(**_L), ("dw",)),
    ("sgd_step", "", "element", _step(rate=0.1), ("w",)),
    ("momentum_step", "", "element", _step("m", rate=0.1, momentum=0.9), ("w", "m")),
    ("adagrad_step", "", "element", _step("cache", rate=0.1, epsilon=1e-7), ("w", "cache")),
    (
        "rmsprop_step",
        "",
        "element",
        _step("cache", rate=0.1, epsilon=1e-7, rho=0.9),
        ("w", "cache"),
    ),
    ("adam_step", "", "element", _step("m", "cache", **_ADAM), ("w", "m", "cache")),
    ("argmax", "", "exact", _normal("x"), ()),
    ("threshold", "", "exact", _normal("x", limit=0.5), ()),
    ("equal", "", "exact", _normal("a", "b"), ()),
    ("close", "", "exact", _normal("a", "b", tolerance=0.5), ()),
    ("mean", "", "sum", _normal("a"), ()),
    ("sum", "", "sum", _normal("a"), ()),
    ("random_words", "", "exact", lambda r, d, n, c: _words(n, c), ()),
    ("spiral", "", "angle", lambda r, d, n, c: {"samples": n, "classes": c, "seed": 5}, ()),
)


def _words(n: int, c: int) -> Arguments:
    return {"count": n * c, "seed": 2**40 + 1, "stream": 0, "call": 7}
