"""Steps of ranks in one process: each has an engine on a model of its own, messages are added here.

`SHARES` are ways to share out the leaves of a batch; `step` makes one step of all ranks. `ENGINES`
are both engines of a GPU, for leaves of LEAF rows.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from fused_cuda_networks import gradients, state

from nnfs_gpu.fused import make_plan
from nnfs_gpu.fused.cuda.build import Device
from nnfs_gpu.fused.cuda.engine import KernelSteps
from nnfs_gpu.fused.tiles import TiledSteps

LEAF = 16
SMALL = Device(processors=3, shared=99 * 1024, dynamic=False)


def kernel(model):
    return KernelSteps(model, make_plan(model), SMALL)


def tiled(model):
    return TiledSteps(model, make_plan(model), tile=LEAF)


ENGINES = {"kernel": kernel, "tiles": tiled}
each_engine = pytest.mark.parametrize("make", ENGINES.values(), ids=ENGINES)


def leaves_of(total, leaf):
    """(first, last) of each leaf."""
    return [(first, min(first + leaf, total)) for first in range(0, total, leaf)]


def _together(total, leaf, *counts):
    """So many leaves for each rank, those before the last as given; all in one block."""
    ends = [0]
    for count in counts:
        ends.append(min(ends[-1] + count * leaf, total))
    ends.append(total)
    return [[(a, b)] if b > a else [] for a, b in pairwise(ends)]


SHARES = {  # of (total, leaf): the blocks that each rank gives, in their order
    "one rank": lambda total, leaf: _together(total, leaf),
    "leaf by leaf, the last first": lambda total, leaf: [leaves_of(total, leaf)[::-1]],
    "two ranks": lambda total, leaf: _together(total, leaf, 2),
    "uneven": lambda total, leaf: _together(total, leaf, 1, 2)[::-1],
    "with an empty rank": lambda total, leaf: [_together(total, leaf, 1)[1], [], [(0, leaf)]],
    "by turns": lambda total, leaf: [leaves_of(total, leaf)[k::2] for k in range(2)],
}


def rows_of(data, first, last):
    X, y = data
    return X[first:last], y[first:last]


def accumulated(engine, data, blocks, total):
    """What a rank has added up; the engine goes on from it."""
    engine.begin(total)
    for first, last in blocks:
        if last > first:
            engine.accumulate(*rows_of(data, first, last), total, first)
    return engine.message()


def step(ranks, shares, total):
    """(engine, data) of each rank makes a step; what each has measured."""
    messages = [
        accumulated(engine, data, blocks, total)
        for (engine, data), blocks in zip(ranks, shares, strict=True)
    ]
    added = sum(messages[1:], messages[0].copy())
    for message in messages:
        message[...] = added
    return [tuple(float(value) for value in engine.finish()) for engine, _ in ranks]


def everything(model):
    """All that a step leaves behind, as bytes by name."""
    found = state(model) | gradients(model)
    for name in ("loss", "accuracy"):
        one = getattr(model, name)
        found[f"sum of {name}"] = np.array(float(one.accumulated_sum))
        # A number: on the device on a rank without rows, which others may have weighted.
        found[f"count of {name}"] = np.array(float(one.accumulated_count))
    found["iterations"] = np.array(model.optimizer.iterations)
    found["calls"] = np.array([getattr(layer, "calls", 0) for layer in model.layers])
    return {name: value.tobytes() for name, value in found.items()}
