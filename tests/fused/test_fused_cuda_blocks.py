"""A step of the GPU's engines whose rows come in blocks: `accumulate`, then `finish`.

Proves, in the emulator: blocks of any sizes give the step over all rows at once, in one block of
threads and in many, with dropout masks that go on from block to block, penalties, soft labels and
every loss; a block may begin at any address; the same blocks give the same bits, whatever runs
first; sums over many blocks lose nothing; blocks in the wrong number are refused; what the
engines of CPU and GPU can be asked is the same.
"""

from __future__ import annotations

import inspect
from itertools import pairwise

import numpy as np
import pytest
from emulation import backend as emulated
from fused_cuda_networks import (
    BOUND,
    NETS,
    assert_near,
    emulated_model,
    gradients,
    net,
    on,
    oracle_model,
    state,
    steps_of,
    take_state,
)

from nnfs_gpu.fused import make_plan
from nnfs_gpu.fused.cpu import engine as cpu
from nnfs_gpu.fused.cuda import build as cuda_build
from nnfs_gpu.fused.cuda.engine import KernelSteps
from nnfs_gpu.fused.tiles import TiledSteps
from nnfs_gpu.training.engines import LayerSteps

MANY = cuda_build.Device(processors=20, shared=99 * 1024, dynamic=False)
CUTS = (0, 1, 18, 43, None)  # blocks that begin at no multiple of anything


pytestmark = pytest.mark.usefixtures("compiler")


def in_blocks(steps, X, y, cuts=CUTS):
    """One step; views into X and y, so that blocks begin anywhere in memory."""
    n = len(X)
    cuts = [n if cut is None else cut for cut in cuts]
    for first, last in pairwise(cuts):
        steps.accumulate(X[first:last], y[first:last], n)
    return [float(value) for value in steps.finish()]


def assert_blocks_agree(of, dtype, make, steps=2):
    """Each step in blocks, from our state, against the whole step layer by layer in float64."""
    ours, theirs = emulated_model(of, dtype), oracle_model(of)
    fused, layers = make(ours), LayerSteps(theirs)
    data, wide_data = of.data(ours), of.data(theirs)
    for number in range(steps):
        measured = in_blocks(fused, *data)
        expected = [float(value) for value in layers.step(*wide_data)]
        np.testing.assert_allclose(measured, expected, rtol=BOUND[dtype], atol=1e-7)
        assert_near(gradients(ours), gradients(theirs), BOUND[dtype])
        if number:
            assert_near(state(ours), state(theirs), 20 * BOUND[dtype])
        take_state(theirs, state(ours))
    for a, b in ((ours.loss, theirs.loss), (ours.accuracy, theirs.accuracy)):
        assert a.accumulated_count == b.accumulated_count
        np.testing.assert_allclose(float(a.accumulated_sum), float(b.accumulated_sum), rtol=1e-5)
    assert ours.optimizer.iterations == steps
    for one, other in zip(ours.layers, theirs.layers, strict=True):
        assert getattr(one, "calls", 0) == getattr(other, "calls", 0)


@pytest.mark.parametrize("name", [name for name in NETS if NETS[name].rows > 50])
def test_blocks_are_the_step_over_all_rows(name):
    assert_blocks_agree(NETS[name], "float64", steps_of)


@pytest.mark.parametrize("name", ["the book's", "dropout"])
def test_blocks_in_float32_and_many_thread_blocks(name, monkeypatch):
    monkeypatch.setattr(cuda_build, "SMALL_WORK", 0)
    assert_blocks_agree(NETS[name], "float32", on(MANY))


@pytest.mark.parametrize("loss", ["softmax_cross_entropy", "binary_cross_entropy"])
def test_blocks_of_wide_layers(loss):
    of = net(5, 140, 130, 4, rows=50, l1=1e-3, loss=loss)
    assert_blocks_agree(of, "float64", lambda model: TiledSteps(model, make_plan(model), tile=7))


@pytest.mark.parametrize("name", ["the book's", "dropout"])
def test_the_same_blocks_give_the_same_bits(name, monkeypatch):
    """Also where blocks, warps and lanes come in the opposite order."""
    found = []
    for backwards in (False, False, True):
        monkeypatch.setattr(emulated._emulator, "backwards", backwards)
        model = emulated_model(NETS[name])
        fused = steps_of(model, MANY)
        measured = [in_blocks(fused, *NETS[name].data(model)) for _ in range(2)]
        values = [*state(model).values(), *gradients(model).values(), np.array(measured)]
        found.append(b"".join(value.tobytes() for value in values))
    assert found[0] == found[1] == found[2]


def test_sums_over_many_blocks_lose_nothing():
    """1,000 equal blocks in float32, where adding one by one would lose digits."""
    n = 1_000
    of = net(1, 1, activation=(), loss="absolute_error", optimizer="sgd", rows=n)
    model = emulated_model(of)
    model.trainable_layers[0].weights = np.zeros((1, 1))
    model.trainable_layers[0].biases = np.zeros((1, 1))
    X, y = np.full((1, 1), 0.3, np.float32), np.full((1, 1), 0.1, np.float32)
    model.accuracy.init(np.array([0.0, 1.0]))
    steps = steps_of(model)
    for _ in range(n):
        steps.accumulate(X, y, n)
    loss, _, _ = steps.finish()
    one_by_one = np.cumsum(np.full(n, y[0, 0]))[-1] / np.float32(n)
    assert abs(one_by_one / y[0, 0] - 1) > 1e-6
    assert abs(loss / y[0, 0] - 1) < 2e-7
    assert abs(gradients(model)["0 dweights"][0, 0] / -X[0, 0] - 1) < 2e-7


def test_blocks_and_whole_steps_may_follow_each_other():
    of = NETS["dropout"]
    one, other = emulated_model(of, "float64"), emulated_model(of, "float64")
    steps, blocks = steps_of(one), steps_of(other)
    for _ in range(2):
        steps.step(*of.data(one))
        steps.step(*of.data(one))
        blocks.step(*of.data(other))
        in_blocks(blocks, *of.data(other))
    assert_near(state(one), state(other), 1e-11)
    assert one.loss.accumulated_count == other.loss.accumulated_count
    np.testing.assert_allclose(one.loss.accumulated_sum, other.loss.accumulated_sum, rtol=1e-12)


@pytest.mark.parametrize("kind", [KernelSteps, TiledSteps])
def test_blocks_in_the_wrong_number_are_refused(kind):
    of = net(2, 8, 3)
    model = emulated_model(of)
    steps = kind(model, make_plan(model))
    X, y = of.data(model)
    with pytest.raises(RuntimeError, match="finish: got 0 of 0 samples"):
        steps.finish()
    with pytest.raises(ValueError, match="got rows 0 to 70 of a batch of 69, expected at most 69"):
        steps.accumulate(X, y, 69)
    steps.accumulate(X[:30], y[:30], 70)
    with pytest.raises(ValueError, match="got rows 30 to 60 of a batch of 71, expected at most 70"):
        steps.accumulate(X[:30], y[:30], 71)
    with pytest.raises(RuntimeError, match="finish: got 30 of 70 samples"):
        steps.finish()
    with pytest.raises(RuntimeError, match="step: a batch is under way"):
        steps.step(X, y)
    steps.accumulate(X[30:], y[30:], 70)
    assert np.isfinite(float(steps.finish()[0]))
    steps.step(X, y)
    assert model.optimizer.iterations == 2


def test_the_engines_can_be_asked_the_same():
    """What works on one works on the other: `run` of the GPU takes batches besides."""
    for kind in (KernelSteps, TiledSteps):
        for name in ("step", "run", "accumulate", "finish", "describe"):
            wanted = list(inspect.signature(getattr(cpu.FusedSteps, name)).parameters)
            found = inspect.signature(getattr(kind, name)).parameters
            assert list(found)[: len(wanted)] == wanted, f"{kind.__name__}.{name}"
            more = list(found.values())[len(wanted) :]
            assert all(p.default is not p.empty for p in more), f"{kind.__name__}.{name}"
