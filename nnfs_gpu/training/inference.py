"""Evaluation and prediction: forward passes over data of any size, without a step.

Called by `Model.evaluate` and `Model.predict`, and after each epoch of a training that has
validation data.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .. import checks
from ..data.blockwise import block_rows
from ..data.sources import is_source, targets_inside
from ..network.network import Network, accuracy_of, loss_of
from ..ranks.errors import on_all
from ..ranks.failures import together
from ..ranks.world import World, everybody
from ..targets import per_weight, weights_of
from . import blas

Array = Any

MOST = 1 << 17  # samples that are evaluated at a time where nobody says how many


def evaluate(
    model: Network, data: Any, batch_size: int | None, verbose: bool, ranks: World | None
) -> dict[str, float]:
    """Mean loss and accuracy of `model` on `data` (see `data/held.py`).

    Each of the `ranks` has some of the batches; all get the same numbers, for any number of ranks:
    a batch is multiplied on one BLAS thread, and the batches' sums are added without rounding.
    """
    world = ranks or World()
    rows = MOST if batch_size is None else batch_size
    size = together(world, lambda: checks.positive_int(rows, "batch_size"))
    _the_same(world, "evaluate", data.samples, size)
    loss, accuracy = blas.for_model(
        model, lambda: _measured(model, data, size, world), ranks=ranks is not None
    )
    if verbose and world.rank == 0:
        print(f"validation, acc: {accuracy:.3f}, loss: {loss:.3f}")
    return {"loss": loss, "accuracy": accuracy}


def _measured(model: Network, data: Any, size: int, world: World) -> tuple[float, float]:
    """Mean loss and accuracy, `size` samples at a time."""
    # Sums of its own: an epoch that is under way keeps the accumulated ones.
    backend = model.backend
    loss_part, accuracy_part = loss_of(model), accuracy_of(model)
    sums: list[Any] = []  # of losses, of right answers and of weights, block after block
    count = np.zeros(1, np.int64)

    def measure() -> list[float]:
        for X, y in _blocks(data, size, world):
            output = model.forward(X, training=False)
            losses, weights = loss_part.forward(output, y), weights_of(y)
            sums.append(backend.sum(losses if weights is None else losses * weights))
            predictions = model.output_layer_activation.predictions(output)
            comparisons = accuracy_part.compare(predictions, y)
            sums.append(backend.sum(comparisons))
            sums.append(len(losses) if weights is None else backend.sum(weights))
            count[0] += comparisons.size
        return [float(value) for value in sums]  # waits for the device once, behind all blocks

    found = together(world, measure)
    losses, right, weight = (_of_all(world, found[part::3]) for part in range(3))
    world.sum(count)
    return per_weight(losses, weight), right / float(count[0])


def _the_same(world: World, what: str, samples: int, size: int = 0) -> None:
    """Raises ValueError, on all, where ranks have other numbers of samples, or of a batch."""
    if world.size == 1:
        return
    table = everybody(world, (samples, size))
    if (table != table[0]).any():
        found = ", ".join(f"{rows:,}" for rows in table[:, 0])
        batches = ", ".join(f"{rows:,}" for rows in table[:, 1])
        problem = (
            f"{what}: got {found} samples on the ranks"
            + (f", in batches of {batches}" if size else "")
            + "; give every rank all of them, of which each takes its share"
        )
        raise on_all(ValueError(problem), world.rank)


def _blocks(data: Any, size: int, world: World) -> Iterator[tuple[Array, Any]]:
    """Data and targets of this rank's batches."""
    if world.size == 1:
        yield from ((X, y) for _, X, y in data.blocks(size))
        return
    batches = -(-data.samples // size)
    first, stop = (batches * number // world.size for number in (world.rank, world.rank + 1))
    if first == stop:
        return
    number = first
    rows = 0
    for total, X, y in data.blocks(size, None, first):
        yield X, y
        rows += X.shape[0]
        if total is None or rows == total:
            number, rows = number + 1, 0
        if number == stop:
            return


def _of_all(world: World, values: list[float]) -> float:
    """The sum of the values of all ranks, rounded once: the same for any number of ranks."""
    counts = np.zeros(world.size, np.int64)
    counts[world.rank] = len(values)
    world.sum(counts)
    found, first = np.zeros(int(counts.sum())), int(counts[: world.rank].sum())
    found[first : first + len(values)] = values
    bits = found.view(np.int64)
    world.sum(bits)  # where one rank has a number, the others have 0
    return math.fsum(found) if np.isfinite(found).all() else float(found.sum())


def predict(
    model: Network, X: Any, batch_size: int | None, check_finite: bool, world: World, gather: bool
) -> Array:
    """Outputs for X (N, features), (N, O): where X lay. A memory map is read in blocks.

    Each rank of `world` has some of the rows; with `gather` all get all outputs.
    """
    read, samples, size = together(world, lambda: _readable(model, X, batch_size, check_finite))
    _the_same(world, "predict", samples)
    first, stop = (samples * number // world.size for number in (world.rank, world.rank + 1))
    mine = together(
        world,
        lambda: blas.for_model(model, lambda: _outputs(model, X, read, first, stop, size), size),
    )
    return _gathered(world, model, mine, first, samples) if gather and world.size > 1 else mine


def _readable(
    model: Network, X: Any, batch_size: int | None, check_finite: bool
) -> tuple[Callable[[slice], Array], int, int]:
    """What gives rows of X on the backend, how many there are, and how many go at a time."""
    if is_source(X) or targets_inside(X, "X"):
        raise TypeError(
            f"predict: got a {type(X).__name__}, expected an array X; predict its blocks one by "
            "one: use np.concatenate([np.asarray(model.predict(x)) for x, _ in X])"
        )
    mapped = isinstance(X, np.memmap) and X.size > 0
    x = X if mapped else model.checked_inputs(X, "predict", check_finite)
    samples = x.shape[0]
    size = samples if batch_size is None else checks.positive_int(batch_size, "batch_size")
    size = min(size, block_rows(model)) if mapped else size

    def read(rows: slice) -> Array:
        if not mapped:
            return x[rows]
        where = f"predict, rows {rows.start} to {min(rows.stop, samples) - 1}"
        return model.checked_inputs(x[rows], where, check_finite)

    return read, samples, size


def _outputs(
    model: Network, X: Any, read: Callable[[slice], Array], first: int, stop: int, size: int
) -> Array:
    """The outputs of samples first..stop-1, `size` at a time: where X lay."""
    result = None
    for start in range(first, stop, size):
        rows = slice(start, min(start + size, stop))
        output = checks.like(X, model.backend, model.forward(read(rows), False))
        if output.shape[0] == stop - first:
            return output
        if result is None:
            on_host = isinstance(output, np.ndarray)
            shape = (stop - first, *output.shape[1:])
            result = np.empty(shape, output.dtype) if on_host else model.backend.zeros(shape)
        result[rows.start - first : rows.stop - first] = output
    if result is None:  # a rank without rows
        return checks.like(X, model.backend, model.forward(read(slice(0, 1)), False))[:0]
    return result


def _gathered(world: World, model: Network, mine: Array, first: int, samples: int) -> Array:
    """The outputs of all ranks: where one has some, the others add zeros, bit by bit."""
    here = model.backend.to_numpy(mine)
    shape = (samples, *here.shape[1:])
    size = math.prod(shape) * here.itemsize
    memory = np.zeros(-(-size // 8), np.int64)
    whole = memory.view(np.uint8)[:size].view(here.dtype).reshape(shape)
    whole[first : first + len(here)] = here
    world.sum(memory)
    return whole if isinstance(mine, np.ndarray) else model.backend.asarray(whole)
