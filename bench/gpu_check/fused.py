"""The fused training step on the device: is it right, is it repeatable?

Steps of `make gpu-check`; each takes a notebook and a backend with CuPy arrays. How fast it is:
fused_speed.py.

fused_right   one step from equal parameters against the step layer by layer in float64: loss,
              accuracy, gradients, at once and in blocks; steps one by one twice, and many in a
              launch or in a CUDA graph: the same bits
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from nnfs_gpu import (
    Loss_CategoricalCrossentropy,
    Model,
    Optimizer_Adam,
    get_backend,
    spiral_data,
    use_backend,
)
from nnfs_gpu.backend import Backend
from nnfs_gpu.fused import make_plan
from nnfs_gpu.fused.cuda.choose import FusedSteps
from nnfs_gpu.training.engines import LayerSteps

from .. import trainers
from ..trainers import name_of
from .notebook import Notebook

NETS = ((2, 64, 3), (2, 128, 3), (2, 64, 64, 3), (2, 128, 128, 3))
RIGHT = (300, 30_001)  # rows whose gradients are compared
BOUND = 1e-5  # of the largest gradient of a layer
REPEATED = 70  # steps of a run that is made three times: graphs of GRAPH_STEPS, and a rest
WATCHED = ((2, 64, 3), (2, 20, 33, 3))  # nets under the sanitizer: a kernel of each kind
WATCHED_ROWS = (70, 6_001)  # one block of threads, and many


def network(backend: Backend, widths: tuple[int, ...], rate: float = 0.05) -> Model:
    """From the same weights on every backend, with the book's optimizer."""
    optimizer = Optimizer_Adam(learning_rate=rate, decay=5e-7)
    return trainers.network(backend, trainers.parameters(widths), optimizer)


def data(backend: Backend, rows: int, classes: int = 3) -> tuple[Any, Any]:
    """A spiral of `rows` rows: points and checked labels."""
    with use_backend(backend):
        X, y = spiral_data(-(-rows // classes), classes, seed=1)
        labels = Loss_CategoricalCrossentropy().targets(y[:rows], classes, rows)
    return X[:rows], labels


def gradients(model: Model) -> list[np.ndarray]:
    """Of the last step, on the host: dweights and dbiases of every dense layer in turn."""
    to_numpy = model.backend.to_numpy
    layers = model.trainable_layers
    return [to_numpy(a) for layer in layers for a in (layer.dweights, layer.dbiases)]


# ---- right? ----
def fused_right(notebook: Notebook, backend: Backend) -> None:
    """Against float64, twice, and from a graph."""
    for widths in NETS:
        for rows in RIGHT:
            what = f"fused {name_of(widths)}, {rows:,} rows"
            if notebook.late(what):
                return
            with notebook.attempt(what, backend):
                compare(notebook, backend, widths, rows, what)
                repeat(notebook, backend, widths, rows, what)


def compare(
    notebook: Notebook, backend: Backend, widths: tuple[int, ...], rows: int, what: str
) -> None:
    """One step against the same step layer by layer in float64 on the CPU."""
    oracle = get_backend("numpy", dtype="float64", precise_dot=False, book_random=False)
    X, y = data(backend, rows)
    reference = network(oracle, widths)
    wide = oracle.asarray(backend.to_numpy(X))
    labels = reference.loss.targets(backend.to_numpy(y.values), widths[-1], rows)
    expected = [float(v) for v in LayerSteps(reference).step(wide, labels)]
    for how, step in (("at once", at_once), ("in blocks", in_blocks)):
        model = network(backend, widths)
        measured = [float(v) for v in step(FusedSteps(model, make_plan(model)), X, y)]
        error = largest_error(gradients(model), gradients(reference))
        notebook.add(
            "fused right",
            net=name_of(widths),
            rows=rows,
            how=how,
            gradient_error=error,
            loss=measured[0],
            expected_loss=expected[0],
        )
        if not error <= BOUND:
            notebook.problem(f"{what}, {how}: gradients differ by {error:.3g}, allowed {BOUND}")
        # A sample whose two largest scores are equal but for rounding may count on one side only.
        if not np.allclose(measured, expected, rtol=BOUND, atol=2 / rows):
            notebook.problem(
                f"{what}, {how}: loss, penalty, accuracy {measured}, expected {expected}"
            )


def at_once(steps: Any, X: Any, y: Any) -> Any:
    """A step of the whole batch."""
    return steps.step(X, y)


def in_blocks(steps: Any, X: Any, y: Any) -> Any:
    """Three blocks that begin at odd rows, so at no multiple of 16 bytes."""
    rows, values = len(X), y.values
    cuts = (0, 1, rows // 2 | 1, rows)
    for first, last in pairwise(cuts):
        steps.accumulate(X[first:last], values[first:last], rows)
    return steps.finish()


def largest_error(found: list[np.ndarray], expected: list[np.ndarray]) -> float:
    """Largest difference, as a share of the largest gradient of an array."""
    errors = [np.abs(a - b).max() / np.abs(b).max() for a, b in zip(found, expected, strict=True)]
    return float(np.max(errors))  # NaN stays NaN


def repeat(
    notebook: Notebook, backend: Backend, widths: tuple[int, ...], rows: int, what: str
) -> None:
    """The same steps twice one by one, and once together: many in a launch, or as CUDA graphs."""
    X, y = data(backend, rows)
    found = []
    for together in (False, False, True):
        model = network(backend, widths)
        steps = FusedSteps(model, make_plan(model))
        if together:
            steps.run(X, y, REPEATED)
        else:
            for _ in range(REPEATED):
                steps.step(X, y)
        arrays = [a for pair in model.get_parameters() for a in pair]
        found.append(b"".join(backend.to_numpy(a).tobytes() for a in arrays))
    same = all(bits == found[0] for bits in found)
    notebook.add("fused repeated", net=name_of(widths), rows=rows, times=len(found), same=same)
    if not same:
        notebook.problem(f"{what}: not the same bits in {len(found)} runs")


# ---- under the sanitizer ----
def exercise(notebook: Notebook, backend: Backend) -> None:
    """Steps at once, many in a launch and in blocks, in one block of threads and in many."""
    for widths in WATCHED:
        for rows in WATCHED_ROWS:
            what = f"fused {backend.dtype} {name_of(widths)}, {rows:,} rows"
            if notebook.late(f"the sanitizer from {what} on"):
                return
            with notebook.attempt(what, backend):
                X, y = data(backend, rows)
                model = network(backend, widths)
                steps = FusedSteps(model, make_plan(model))
                steps.step(X, y)
                steps.run(X, y, 3)
                in_blocks(steps, X, y)
                # Rows whose address is a multiple of nothing, and fewer than a tile.
                steps.step(X[1:38], y.values[1:38])
