"""Does a network train the same on the device as on the CPU? Steps of `make gpu-check`.

compare  the spiral, 2-64-64-3, on two backends from the same weights and points: the losses
         of the first steps, where rounding has not grown yet; the validation accuracy after
         many, where it has; samples a second
repeat   a run twice on one backend: the same bits
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from nnfs_gpu import (
    Model,
    Optimizer_Adam,
    Optimizer_SGD,
    spiral_bayes_limit,
    spiral_data,
    use_backend,
)
from nnfs_gpu.backend import Backend

from .. import trainers
from .notebook import Notebook

SIZES = (2, 64, 64, 3)
FIRST = 20  # steps whose losses are compared one by one
BOUND = 2e-5  # for them: SGD's rounding does not grow as Adam's does
BAND = 0.03  # between the accuracies, and below the best that any classifier can reach
SAMPLES = 1_000  # a class
EPOCHS = 400
REPEATED = 50  # steps of the run that is made twice
LARGE = {"cupy": (1_000_000, 20), "numba": (100_000, 2)}  # batch and steps that are timed


def network(backend: Backend, optimizer: Any) -> Model:
    """2-64-64-3, from the same weights on every backend."""
    return trainers.network(backend, trainers.parameters(SIZES), optimizer)


def points(backend: Backend, samples: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A spiral on the host, drawn by one backend for all."""
    with use_backend(backend):
        X, y = spiral_data(samples, SIZES[-1], seed=seed)
    return backend.to_numpy(X), backend.to_numpy(y)


def compare(notebook: Notebook, backend: Backend, against: Backend) -> None:
    """First losses, final accuracy and speed on both backends; `against` draws the points."""
    first_losses(notebook, backend, against)
    if not notebook.late("final accuracy"):
        with notebook.attempt("final accuracy", backend):
            final_accuracy(notebook, backend, against)
    for one in (backend, against):
        if notebook.late(f"samples a second on {one.name}"):
            return
        with notebook.attempt(f"samples a second on {one.name}", one):
            rows, steps = LARGE[one.name]
            notebook.add(
                "speed",
                backend=one.name,
                batch=rows,
                steps=steps,
                samples_a_second=speed(one, rows, steps),
            )


def first_losses(notebook: Notebook, backend: Backend, against: Backend) -> None:
    """SGD with momentum, step by step."""
    with notebook.attempt("first losses", backend):
        X, y = points(against, SAMPLES, 1)
        losses = []
        for one in (backend, against):
            model = network(one, Optimizer_SGD(learning_rate=0.1, momentum=0.9))
            losses.append(model.train(X, y, epochs=FIRST, print_every=None)["loss"])
        difference = float(np.abs(np.array(losses[0]) - losses[1]).max())
        notebook.add("losses", steps=FIRST, ours=losses[0], theirs=losses[1], difference=difference)
        if not difference <= BOUND:
            notebook.problem(
                f"losses of the first {FIRST} steps differ by {difference:.3g}, allowed {BOUND}"
            )


def final_accuracy(notebook: Notebook, backend: Backend, against: Backend) -> None:
    """Adam for many epochs; on points that were not trained on."""
    X, y = points(against, SAMPLES, 1)
    X_val, y_val = points(against, SAMPLES, 2)
    limit = spiral_bayes_limit(SIZES[-1])
    found, seconds = {}, {}
    for one in (backend, against):
        model = network(one, Optimizer_Adam(learning_rate=0.02, decay=1e-3))
        start = time.perf_counter()
        model.train(X, y, epochs=EPOCHS, print_every=None)
        seconds[one.name] = time.perf_counter() - start
        found[one.name] = model.evaluate(X_val, y_val, verbose=False)["accuracy"]
    notebook.add(
        "final accuracy",
        epochs=EPOCHS,
        samples=len(X),
        accuracy=found,
        seconds=seconds,
        best_possible=limit,
    )
    ours, theirs = found[backend.name], found[against.name]
    if not abs(ours - theirs) <= BAND:
        notebook.problem(f"validation accuracy {ours:.3f}, on {against.name} {theirs:.3f}")
    if not ours >= limit - BAND:
        notebook.problem(f"validation accuracy {ours:.3f}, possible {limit:.3f}")


def speed(backend: Backend, rows: int, steps: int) -> float:
    """Samples a second of whole training steps, layer by layer, after a first one."""
    with use_backend(backend):
        X, y = spiral_data(-(-rows // SIZES[-1]), SIZES[-1], seed=1)
    model = network(backend, Optimizer_Adam(learning_rate=1e-3))
    model.train(X, y, epochs=1, print_every=None)
    backend.synchronize()
    start = time.perf_counter()
    model.train(X, y, epochs=steps, print_every=None)
    backend.synchronize()
    return len(X) * steps / (time.perf_counter() - start)


def repeat(notebook: Notebook, backend: Backend) -> None:
    """A run twice from the same weights: the same bits in every parameter."""
    with notebook.attempt("training twice", backend):
        X, y = points(backend, SAMPLES, 1)
        runs = []
        for _ in range(2):
            model = network(backend, Optimizer_Adam(learning_rate=0.01))
            model.train(X, y, epochs=REPEATED, print_every=None)
            parameters = [a for pair in model.get_parameters() for a in pair]
            runs.append([backend.to_numpy(a).tobytes() for a in parameters])
        same = runs[0] == runs[1]
        notebook.add(
            "determinism",
            backend=backend.name,
            operation=f"training, {REPEATED} steps",
            variant="",
            rows=len(X),
            classes=SIZES[-1],
            times=2,
            same=same,
        )
        if not same:
            notebook.problem(f"training, {REPEATED} steps: not the same bits in two runs")
