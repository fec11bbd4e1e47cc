"""`nnfs-gpu bench`: how fast this installation is beside NumPy alone, in half a minute.

Softmax backward against the bandwidth of memory, and whole training steps, each against the
`numpy` backend. Results are checked against float64 before they are timed, and timed as
`selftest/timing.py` says. All else (peers, pictures, scaling) is `python -m bench` in the sources.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from rich.table import Table

from ..accuracy import Accuracy_Categorical
from ..activations import Activation_ReLU, Activation_Softmax
from ..backend import Backend, get_backend, use_backend
from ..layers import Layer_Dense
from ..losses import Loss_CategoricalCrossentropy
from ..model import Model
from ..optimizers import Optimizer_Adam, Optimizer_SGD
from ..selftest.timing import (
    Contender,
    Stream,
    clock_of,
    environment,
    ratio,
    threads,
    time_in_turns,
)
from .common import check_target, choose_backend, console_for, to_json, write
from .errors import CommandError

SIZES = ((1_000_000, 3), (300_000, 10), (3_000, 1_000))
BATCHES = (300, 30_000)
HIDDEN = 64
ROUNDS = 5
TOLERANCE = {"softmax": 2e-6, "gradient": 2e-4}  # relative to the largest
STEPS = {300: 50, 30_000: 2}  # of a timed call

Row = dict[str, Any]


def run(backend_name: str, json_target: str | None) -> int:
    """Measure, print tables, write JSON; 0. CommandError for a result that is wrong."""
    console = console_for(json_target)
    check_target(json_target, "--json")
    backend: Backend = choose_backend(backend_name, "float32")
    found = environment([backend])
    console.print(f"{found['processor']}, {found['cores']} cores; {backend.version()}")
    softmax = [_softmax(backend, *size) for size in SIZES]
    console.print(_table("softmax backward", softmax, "GB/s"))
    training = [_training(backend, batch) for batch in BATCHES]
    console.print(_table(f"training step, 2-{HIDDEN}-3", training, "M samples/s"))
    console.print("Medians; in brackets how many times longer than the first contender.")
    if json_target is not None:
        write(to_json({"environment": found, "rows": softmax + training}), json_target)
    return 0


def _softmax(backend: Backend, rows: int, classes: int) -> Row:
    rng = np.random.default_rng(0)
    oracle, plain = get_backend("numpy", dtype="float64"), get_backend("numpy", dtype="float32")
    y = plain.softmax_forward(rng.standard_normal((rows, classes), dtype=np.float32))
    dy = rng.standard_normal((rows, classes), dtype=np.float32)
    exact = oracle.softmax_backward(dy.astype(np.float64), y.astype(np.float64))
    a, b = backend.asarray(dy), backend.asarray(y)
    case = f"{rows:,} x {classes:,}"
    _check(case, backend.to_numpy(backend.softmax_backward(a, b)), exact, TOLERANCE["softmax"])
    contenders = {
        backend.name: Contender(lambda: backend.softmax_backward(a, b), clock=clock_of(backend))
    }
    if backend != plain:
        contenders["numpy"] = Contender(lambda: plain.softmax_backward(dy, y), "book")
    contenders |= Stream(backend.xp, dy.size, threads()).contenders(clock_of(backend))
    return _row(case, contenders, 12e-9 * dy.size)


def _training(backend: Backend, batch: int) -> Row:
    """Steps of Adam on the whole batch, by every engine that there is."""
    case = f"batch {batch:,}"
    X, y = get_backend("numpy", dtype="float32").spiral(batch // 3, 3, 0)
    exact = _gradient(get_backend("numpy", dtype="float64"), X, y, "layers")
    contenders: dict[str, Contender] = {}
    for engine in ("fused", "layers"):
        name = f"{backend.name} {engine}"
        try:
            gradient = _gradient(backend, X, y, engine)
        except ValueError:  # this network has no fused step on this backend
            continue
        _check(f"{case}, {name}", gradient, exact, TOLERANCE["gradient"])
        contenders[name] = _steps(backend, X, y, engine, STEPS[batch])
    if backend.name != "numpy":
        plain = get_backend("numpy", dtype="float32")
        contenders["numpy layers"] = _steps(plain, X, y, "layers", STEPS[batch], "book")
    return _row(case, contenders, 1e-6 * batch)


def _steps(
    backend: Backend, X: Any, y: Any, engine: str, steps: int, role: str = "ours"
) -> Contender:
    model = _model(backend, Optimizer_Adam(0.01))
    data = backend.asarray(X), backend.asarray(y, np.int32)

    def call() -> None:
        model.train(*data, epochs=steps, print_every=None, engine=engine)
        backend.synchronize()

    call()
    return Contender(call, role, 1 / steps)


def _gradient(backend: Backend, X: Any, y: Any, engine: str) -> np.ndarray:
    """Of all parameters, as the change that one step of SGD with rate 1 makes."""
    model = _model(backend, Optimizer_SGD(1.0))
    before = _parameters(model)
    model.train(X, y, epochs=1, print_every=None, engine=engine)
    change: np.ndarray = before - _parameters(model)
    return change


def _model(backend: Backend, optimizer: Any) -> Model:
    """2-64-3 with the same weights on every backend."""
    rng = np.random.default_rng(0)
    with use_backend(backend):
        model = Model()
        for inputs, outputs, activation in (
            (2, HIDDEN, Activation_ReLU()),
            (HIDDEN, 3, Activation_Softmax()),
        ):
            layer = Layer_Dense(inputs, outputs)
            layer.weights = rng.standard_normal((inputs, outputs)) / inputs**0.5
            model.add(layer)
            model.add(activation)
        model.set(
            loss=Loss_CategoricalCrossentropy(),
            optimizer=optimizer,
            accuracy=Accuracy_Categorical(),
        )
        model.finalize()
    return model


def _parameters(model: Model) -> np.ndarray:
    arrays = [a for pair in model.get_parameters() for a in pair]
    flat = [np.asarray(model.backend.to_numpy(a), np.float64).ravel() for a in arrays]
    return np.concatenate(flat)


def _check(what: str, found: np.ndarray, exact: np.ndarray, tolerance: float) -> None:
    error = np.abs(found - exact).max() / np.abs(exact).max()
    if not error <= tolerance:
        raise CommandError(
            f"{what}: relative error {error:.1e}, allowed {tolerance:.0e}: not timed; "
            "see nnfs-gpu crosscheck"
        )


def _row(case: str, contenders: dict[str, Contender], amount: float) -> Row:
    """Seconds of the contenders, and `amount` a second: gigabytes, or millions of samples."""
    seconds = time_in_turns(contenders, rounds=ROUNDS)
    first = next(iter(contenders))
    return {
        "case": case,
        "contenders": {
            name: {
                "role": contenders[name].role,
                "seconds": sorted(values)[len(values) // 2],
                "low": min(values),
                "high": max(values),
                "rate": amount / sorted(values)[len(values) // 2],
                "times_first": ratio(values, seconds[first]),
            }
            for name, values in seconds.items()
        },
    }


def _table(title: str, rows: list[Row], unit: str) -> Table:
    table = Table(title=f"{title}: {unit}", title_justify="left")
    table.add_column("")
    names = list(dict.fromkeys(name for row in rows for name in row["contenders"]))
    for name in names:
        table.add_column(name, justify="right")
    for row in rows:
        cells = []
        for name in names:
            contender = row["contenders"].get(name)
            cells.append(
                "-"
                if contender is None
                else f"{contender['rate']:,.3g} ({contender['times_first']:.2f})"
            )
        table.add_row(row["case"], *cells)
    return table
