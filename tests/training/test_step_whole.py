"""A step is done or not done, wherever Ctrl-C comes: at every instruction, in every engine.

What is interrupted has the bits of as many whole steps as the optimizer has counted, and goes
on to the bits of a run that nobody interrupted.
"""

from __future__ import annotations

import os

import numpy as np
import pytest
from emulation.backend import EmulatedCupyBackend
from interruptions import cut_off, instructions
from networks import Network

import nnfs_gpu as ng
from nnfs_gpu import fused
from nnfs_gpu.backend.interrupts import new_pass
from nnfs_gpu.fused.cpu import groups
from nnfs_gpu.fused.cuda.engine import KernelSteps
from nnfs_gpu.fused.plan import make_plan
from nnfs_gpu.fused.tiles import TiledSteps
from nnfs_gpu.parameters import STATE_ARRAYS
from nnfs_gpu.training.engines import LayerSteps, steps_for

SAMPLES, STEPS = 70, 3
MANY = int(os.environ.get("NNFS_GPU_INTERRUPTS", "12"))  # places in each case, of thousands


def backend_named(name):
    if name == "emulated":
        return EmulatedCupyBackend(np.float32)
    return ng.get_backend(name, dtype="float32", precise_dot=False, book_random=False)


def visible(model):
    """All that a user can see of the steps done. State that is zeros is as good as none."""
    arrays = {
        f"{place}.{name}": getattr(layer, name).tobytes()
        for place, layer in enumerate(model.trainable_layers)
        for name in ("weights", "biases", *STATE_ARRAYS)
        if np.any(getattr(layer, name, 0))
    }
    sums = {
        f"{kind}.{name}": float(getattr(getattr(model, kind), name))
        for kind in ("loss", "accuracy")
        for name in ("accumulated_sum", "accumulated_count")
    }
    calls = [layer.calls for layer in model.layers if hasattr(layer, "calls")]
    optimizer = model.optimizer
    return arrays, sums, optimizer.iterations, optimizer.current_learning_rate, calls


def kernel(model):
    """The CUDA kernel, which the emulator runs on the CPU."""
    return KernelSteps(model, make_plan(model))


def tiled(model):
    """The steps of wide networks on a GPU, which run on every backend."""
    return TiledSteps(model, make_plan(model), tile=20)


# ---- acts: from step `first` on to step `last` ----
def steps(engine, X, y, first, last):
    for _ in range(first, last):
        engine.step(X, y)


def pieces(engine, X, y, first, last):
    """The second step is one of a batch in pieces."""
    for step in range(first, last):
        if step == 1:
            for rows in (slice(0, 30), slice(30, 60), slice(60, SAMPLES)):
                engine.accumulate(X[rows], y[rows], SAMPLES)
            engine.finish()
        else:
            engine.step(X, y)


def run(engine, X, y, first, last):
    if last > first:
        engine.run(X, y, last - first)


CASES = {
    "numpy layers": ("numpy", LayerSteps, steps),
    "numpy pieces": ("numpy", LayerSteps, pieces),
    "numba layers": ("numba", LayerSteps, steps),
    "numba pieces": ("numba", LayerSteps, pieces),
    "fused": ("numba", fused.engine, steps),
    "fused pieces": ("numba", fused.engine, pieces),
    "fused run": ("numba", fused.engine, run),
    "fused calls": ("numba", fused.engine, run),
    "fused cut": ("numba", fused.engine, steps),
    "kernel": ("emulated", kernel, steps),
    "kernel pieces": ("emulated", kernel, pieces),
    "kernel run": ("emulated", kernel, run),
    "tiles": ("numpy", tiled, steps),
    "tiles pieces": ("numpy", tiled, pieces),
}
SETTINGS = {  # of what is cut into calls, so that a small batch is
    "fused calls": {"CALL": 1},
    "fused cut": {
        "MOST_GROUPS": 4,
        "MORE_GROUPS": 1,
        "MOST_GROUP": 1,
        "GROUP_SAMPLES": 1,
        "GROUP_FLOPS": 1,
    },
}


def made(name, optimizer):
    backend, engine, _ = CASES[name]
    keep = 1.0 if engine is tiled else 0.8
    network = Network((2, 8, 8, 3), keep=keep, l2=0.001, optimizer=optimizer)
    model = network.model(backend_named(backend))
    X, y = network.data(model, SAMPLES)
    return model, engine(model), X, y


@pytest.fixture(params=CASES)
def case(request, monkeypatch):
    for name, value in SETTINGS.get(request.param, {}).items():
        monkeypatch.setattr(groups, name, value)
    return request.param


def places(total, many=MANY):
    """Instructions to be cut off at: all, or as many as are asked for."""
    if total <= many:
        return range(1, total + 1)
    return sorted(np.random.default_rng(1).choice(total, many, replace=False) + 1)


@pytest.mark.parametrize("optimizer", ["adam", "momentum"])
def test_a_step_is_done_or_not_done_at_every_instruction(case, optimizer):
    act = CASES[case][2]
    whole = []
    for last in range(STEPS + 1):
        model, engine, X, y = made(case, optimizer)
        act(engine, X, y, 0, last)
        whole.append(visible(model))
    _, engine, X, y = made(case, optimizer)
    total = instructions(lambda: act(engine, X, y, 0, STEPS))
    assert total > 1_000
    counts = set()
    for at in places(total, MANY // 2 if case.startswith("kernel") else MANY):
        model, engine, X, y = made(case, optimizer)
        where = cut_off(lambda: act(engine, X, y, 0, STEPS), at)  # noqa: B023
        assert where, at
        done = model.optimizer.iterations
        counts.add(done)
        assert visible(model) == whole[done], (at, where)
        if at % 2 or act is pieces:  # another call of `train` has an engine of its own
            engine = CASES[case][1](model)
        act(engine, X, y, done, STEPS)
        assert visible(model) == whole[STEPS], (at, where)
    assert len(counts) > 1


@pytest.mark.parametrize("engine", ["layers", "fused"])
@pytest.mark.parametrize("batch_size", [None, 30])
def test_training_that_is_cut_off_leaves_whole_steps_and_goes_on(engine, batch_size):
    """From the first instruction of `train` to its last; sums may be those of a new epoch."""

    def build():
        model = Network((2, 8, 8, 3), keep=0.8).model(backend_named("numba"))
        X, y = Network((2, 8, 8, 3)).data(model, SAMPLES)
        return model, X, np.asarray(y.values)

    def train(model, X, y, epochs):
        options = {"batch_size": batch_size, "engine": engine, "print_every": None}
        model.train(X, y, epochs=epochs, **options)

    whole, steps_of_epoch = {}, 1 if batch_size is None else 3
    model, X, y = build()
    reference = steps_for(model, engine)
    data = model.checked_data(X, y, "test", False)
    whole[0] = visible(model)
    for step in range(2 * steps_of_epoch):
        first = (batch_size or 0) * (step % steps_of_epoch)
        if first == 0:
            new_pass(model.loss, model.accuracy)
        rows = slice(first, first + (batch_size or SAMPLES))
        reference.step(data[0][rows], data[1][rows])
        whole[step + 1] = visible(model)
    counted = build()
    for at in places(instructions(lambda: train(*counted, 2))):
        model, X, y = build()
        where = cut_off(lambda: train(model, X, y, 2), at)  # noqa: B023
        found, done = visible(model), model.optimizer.iterations
        assert found[0] == whole[done][0], (at, where)
        assert found[2:] == whole[done][2:], (at, where)
        assert found[1] == whole[done][1] or not any(found[1].values()), (at, where)
        if done == 0:
            train(model, X, y, 2)
            assert visible(model) == whole[2 * steps_of_epoch], (at, where)
