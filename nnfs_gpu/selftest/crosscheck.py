"""Two backends against each other: every operation, and a short training run.

`nnfs-gpu crosscheck` prints what `crosscheck` returns. The same arguments go to both backends;
a result passes when its largest difference is within a stated number of units of
    eps(dtype) * the largest term that was added up to make the result,
so that a sum which cancels is not blamed for the digits that it cannot have. Where both backends
have kernels, an operation that promises the same bits (`Operation.bits`) passes with these alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from ..accuracy import Accuracy_Categorical
from ..activations import Activation_ReLU, Activation_Softmax
from ..backend import use_backend
from ..backend.numpy_backend import NumpyBackend
from ..layers import Layer_Dense
from ..losses import Loss_CategoricalCrossentropy
from ..model import Model
from ..optimizers import Optimizer_SGD
from ..training import divergence
from .draws import Arguments
from .operations import OPERATIONS, SAME, Operation

SHAPES = ((1, 1), (300, 3), (257, 10), (100, 33), (7, 1500))
MOST = 1 << 20  # elements: a Jacobian of long rows is not looked at
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
    same_bits: bool = False  # but for the bits of NaN
    promised: bool = False  # that they are


def crosscheck(first: NumpyBackend, second: NumpyBackend) -> list[Difference]:
    """A line for every operation in each dtype, then the training runs.

    The backends' own dtypes are not used: both are made anew in float32 and float64. Raises
    what `get_backend` raises for a backend that does not work here.
    """
    lines = (line for operation in OPERATIONS for line in compare(operation, first, second))
    return [*lines, *compare_training(first, second)]


def as_records(differences: list[Difference]) -> list[dict[str, Any]]:
    """For JSON."""
    return [asdict(difference) for difference in differences]


def compare(line: Operation, first: NumpyBackend, second: NumpyBackend) -> Iterator[Difference]:
    """The worst of all shapes, in each dtype. No result at all is no difference."""
    for dtype in ("float32", "float64"):
        a, b = type(first)(dtype), type(second)(dtype)
        nothing = np.zeros(0, dtype)
        found = [_compare(line.label, dtype, line.agree, nothing, nothing, {"classes": 0})]
        for n, c in SHAPES:
            if line.moved is not None and line.moved(n, c) > MOST:
                continue
            arguments = line.arguments(dtype, n, c)
            for x, y in zip(line.run(a, arguments), line.run(b, arguments), strict=True):
                found.append(_compare(line.label, dtype, line.agree, x, y, arguments))
        worst = max(found, key=lambda one: (not one.passed, one.units))
        promised = line.bits == SAME and first.one_answer and second.one_answer
        same = all(one.same_bits for one in found)
        passed = worst.passed and (same or not promised)
        yield replace(worst, same_bits=same, promised=promised, passed=passed)


def compare_training(first: NumpyBackend, second: NumpyBackend) -> Iterator[Difference]:
    """The parameters after a short run from the same weights, in each dtype."""
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
        with divergence.reported_by_caller():  # as a difference
            model.train(X, y, epochs=STEPS, print_every=None)
    values = [host.to_numpy(a).ravel() for pair in model.get_parameters() for a in pair]
    return np.concatenate(values)


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
        scale = max([largest, *(float(np.abs(v).max()) for v in reals)])
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
        same_bits=bits_of(a) == bits_of(b),
    )


def bits_of(a: np.ndarray) -> tuple[Any, ...]:
    """What two arrays with the same bits have in common. NaN is NaN: its sign and payload are the
    processor's.
    """
    if a.dtype.kind == "f":
        a = np.where(np.isnan(a), a.dtype.type(np.nan), a)
    return a.dtype, a.shape, np.ascontiguousarray(a).tobytes()
