"""The GPU's fused steps on a batch that several ranks share, executed on the CPU.

Ranks are engines on equal models in this process, whose messages are added here. Proves: whoever
has which leaves, in whatever order, all ranks end with the bits of one that has them all, for
every loss, optimizer and activation, with penalties, dropout and soft labels, in one block of
threads and in many, in float32 and float64, on devices of any size; and these are the step over
all rows, to rounding.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from fused_cuda_networks import (
    BOUND,
    NETS,
    assert_near,
    emulated_model,
    gradients,
    net,
    oracle_model,
    state,
    steps_of,
    take_state,
)
from rank_steps import SHARES, everything, rows_of, step

from nnfs_gpu.fused import make_plan
from nnfs_gpu.fused.cuda import build as cuda_build, engine as cuda_engine
from nnfs_gpu.fused.tiles import TiledSteps
from nnfs_gpu.training.engines import LayerSteps

pytestmark = pytest.mark.usefixtures("compiler")

STEPS = 3
OTHERS = {
    "narrow, adamw": net(2, 20, 3, optimizer="adamw", narrow=True),
    "squared and rmsprop": net(5, 33, 17, 2, loss="squared_error", optimizer="rmsprop", l1=1e-2),
}
ALL = NETS | OTHERS
SOME = ("the book's", "dropout", "narrow, linear and absolute", "five layers")
TILED = {
    "wide": net(5, 140, 130, 4, rows=50, l1=1e-3),
    "wide, sigmoid and binary": net(
        *(5, 129, 9, 2), activation=("sigmoid", "none"), loss="binary_cross_entropy", rows=60
    ),
    "wide, soft labels": net(3, 150, 4, soft=True, optimizer="momentum", rows=40),
    "squared and rmsprop": OTHERS["squared and rmsprop"],
}
DEVICES = [
    cuda_build.Device(processors=3, shared=99 * 1024, dynamic=False),
    cuda_build.Device(processors=170, shared=227 * 1024, dynamic=False),
    cuda_build.Device(processors=20, shared=64 * 1024, dynamic=False),
]


@pytest.fixture
def leaves(monkeypatch):
    """Sets the rows of a leaf, whatever the batch."""
    return lambda rows: monkeypatch.setattr(cuda_engine, "leaf_of", lambda *_: rows)


def tiled(model):
    return TiledSteps(model, make_plan(model), tile=9)


def ranks_of(of, count, dtype, make):
    """Models and, for `step`, (engine, data) of each."""
    models = [emulated_model(of, dtype) for _ in range(count)]
    return models, [(make(model), of.data(model)) for model in models]


def bits_after(of, dtype, make, shares, leaf, steps=STEPS):
    """What all ranks have measured and hold in the end: the same on each."""
    models, ranks = ranks_of(of, len(shares(of.rows, leaf)), dtype, make)
    measured = [step(ranks, shares(of.rows, leaf), of.rows) for _ in range(steps)]
    assert all(len(set(one)) == 1 for one in measured)
    found = [everything(model) for model in models]
    assert all(one == found[0] for one in found)
    return [one[0] for one in measured], found[0]


def assert_the_same(of, dtype, make, leaf, names=SHARES, steps=STEPS):
    first, *others = (bits_after(of, dtype, make, SHARES[one], leaf, steps) for one in names)
    for name, (measured, found) in zip([*names][1:], others, strict=True):
        assert measured == first[0], name
        assert [key for key in found if found[key] != first[1][key]] == [], name
    return first


# ---- the same bits ----
@pytest.mark.parametrize("name", ALL)
def test_whoever_has_which_leaves(name, leaves):
    of = ALL[name]
    leaf = max(1, of.rows // 4 | 1)  # a last one that is short, at no multiple of anything
    leaves(leaf)
    assert_the_same(of, "float32", steps_of, leaf)


@pytest.mark.parametrize("name", SOME)
def test_in_float64(name, leaves):
    leaf = ALL[name].rows // 3
    leaves(leaf)
    assert_the_same(ALL[name], "float64", steps_of, leaf, ("one rank", "uneven", "by turns"))


@pytest.mark.parametrize("name", TILED)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_tiles_of_rows(name, dtype):
    assert_the_same(TILED[name], dtype, tiled, 9)


def test_many_blocks_and_groups_of_them(leaves, monkeypatch):
    """Leaves whose blocks are more than a group, and one that has fewer."""
    monkeypatch.setattr(cuda_build, "SMALL_WORK", 0)
    of = replace(NETS["dropout"], rows=2 * 16 * 18 + 50)
    leaves(16 * 18)
    found = assert_the_same(of, "float32", steps_of, 16 * 18, ("one rank", "uneven"), 2)
    assert steps_of(emulated_model(of))._build(0, 16 * 18, True).grid(16 * 18) == 18
    narrow = replace(NETS["the book's"], rows=2_100)
    leaves(1_024)
    names = ("one rank", "with an empty rank")
    assert_the_same(narrow, "float32", steps_of, 1_024, names, 1)
    assert found[0]


def test_unlike_devices_agree(leaves, monkeypatch):
    """What decides the bits follows from sizes; a step in one launch is the device's own."""
    monkeypatch.setattr(cuda_build, "SMALL_WORK", 0)
    of = replace(NETS["soft labels"], rows=600)
    leaves(200)
    found = []
    for device in DEVICES:
        made = bits_after(of, "float32", lambda m, d=device: steps_of(m, d), SHARES["uneven"], 200)
        found.append(made)
    assert found[0] == found[1] == found[2]
    mixed = []
    for device in DEVICES:
        model = emulated_model(of)
        mixed.append((steps_of(model, device), of.data(model)))
    assert len(set(step(mixed, SHARES["uneven"](600, 200), 600))) == 1


def test_a_process_alone_has_the_same_bits(leaves):
    """A batch in blocks that nobody shares: where they are whole leaves, it is the same."""
    of = NETS["dropout"]
    leaves(20)
    measured, expected = bits_after(of, "float32", steps_of, SHARES["two ranks"], 20)
    for cuts in ((0, of.rows), (0, 20, of.rows)):
        model = emulated_model(of)
        engine, data = steps_of(model), of.data(model)
        for number in range(STEPS):
            for first, last in pairwise(cuts):
                engine.accumulate(*rows_of(data, first, last), of.rows)
            assert tuple(map(float, engine.finish())) == measured[number]
        assert everything(model) == expected


# ---- the right numbers ----
@pytest.mark.parametrize("name", [*SOME, "soft labels", *OTHERS])
def test_it_is_the_step_over_all_rows(name, leaves):
    """From the same state, against the step layer by layer in float64."""
    of = ALL[name]
    leaves(max(1, of.rows // 3))
    shares = SHARES["uneven"](of.rows, max(1, of.rows // 3))
    models, ranks = ranks_of(of, len(shares), "float64", steps_of)
    assert_agree(of, models, ranks, shares)


@pytest.mark.parametrize("name", TILED)
def test_tiles_are_the_step_over_all_rows(name):
    of = TILED[name]
    shares = SHARES["with an empty rank"](of.rows, 9)
    models, ranks = ranks_of(of, len(shares), "float64", tiled)
    assert_agree(of, models, ranks, shares)


def assert_agree(of, models, ranks, shares):
    theirs = oracle_model(of)
    layers, data = LayerSteps(theirs), of.data(theirs)
    for number in range(2):
        measured = step(ranks, shares, of.rows)[0]
        expected = [float(value) for value in layers.step(*data)]
        np.testing.assert_allclose(measured, expected, rtol=BOUND["float64"], atol=1e-12)
        assert_near(gradients(models[0]), gradients(theirs), BOUND["float64"])
        if number:
            assert_near(state(models[0]), state(theirs), 20 * BOUND["float64"])
        take_state(theirs, state(models[0]))
    for a, b in ((models[0].loss, theirs.loss), (models[0].accuracy, theirs.accuracy)):
        assert a.accumulated_count == b.accumulated_count
        np.testing.assert_allclose(float(a.accumulated_sum), float(b.accumulated_sum), rtol=1e-12)
    assert models[0].optimizer.iterations == 2
