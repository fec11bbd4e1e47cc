"""The GPU's fused step on a GPU: the networks of test_fused_cuda.py once more, where there is one.

Proves on the device: steps equal those layer by layer in float64, in one block of threads and in
many, for every loss, activation and optimizer, with dropout, penalties and soft labels; wide
layers by tiles of rows; blocks of a step give the step; the same bits from the same call, and
from ranks that share a batch, however they share it.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from fused_cuda_networks import (
    FLOAT32,
    NETS,
    assert_near,
    assert_steps_agree,
    gradients,
    net,
    state,
)
from rank_steps import SHARES, everything, step

from nnfs_gpu import available_backends, get_backend
from nnfs_gpu.fused import make_plan
from nnfs_gpu.fused.cuda import build as cuda_build, engine as cuda_engine
from nnfs_gpu.fused.cuda.choose import FusedSteps
from nnfs_gpu.fused.tiles import TiledSteps

status = available_backends()["cupy"]
pytestmark = [
    pytest.mark.device,
    pytest.mark.skipif(not status.usable, reason=f"cupy: {status.reason}"),
]


def on_device(dtype):
    return get_backend("cupy", dtype=dtype, precise_dot=False, book_random=False)


def engine(model):
    return FusedSteps(model, make_plan(model))


@pytest.mark.parametrize("name", NETS)
def test_a_step_equals_the_step_layer_by_layer(name):
    assert_steps_agree(NETS[name], "float64", engine, backend=on_device("float64"))


@pytest.mark.parametrize("name", FLOAT32)
def test_a_step_in_float32(name):
    assert_steps_agree(NETS[name], "float32", engine, backend=on_device("float32"))


@pytest.mark.parametrize("name", NETS)
def test_many_blocks(name, monkeypatch):
    monkeypatch.setattr(cuda_build, "SMALL_WORK", 0)
    of = replace(NETS[name], rows=5_003)
    assert_steps_agree(of, "float64", engine, backend=on_device("float64"))


def test_wide_layers():
    of = net(5, 140, 130, 4, rows=3_001, l1=1e-3)

    def make(model):
        return TiledSteps(model, make_plan(model), tile=1_024)

    assert_steps_agree(of, "float64", make, backend=on_device("float64"))


@pytest.mark.parametrize("rows", [70, 9_001])
def test_blocks_and_steps_together_are_the_same_steps(rows):
    of = replace(NETS["dropout"], rows=rows)
    whole, blocks, together = (of.model(on_device("float64")) for _ in range(3))
    X, y = of.data(whole)
    steps, parts = engine(whole), engine(blocks)
    for _ in range(40):
        steps.step(X, y)
        for first, last in pairwise((0, 1, rows // 2 | 1, rows)):
            parts.accumulate(X[first:last], y[first:last], rows)
        parts.finish()
    assert_near(state(blocks), state(whole), 1e-9)
    engine(together).run(X, y, 40)
    for key, value in state(whole).items():
        assert np.array_equal(state(together)[key], value), key
    assert_near(gradients(together), gradients(whole), 0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["the book's", "dropout", "wide"])
def test_ranks_that_share_a_batch(name, dtype, monkeypatch):
    """All on this device: a leaf is the same whoever has it, and the rest is whole numbers."""
    of = net(5, 140, 130, 4) if name == "wide" else NETS[name]
    of, leaf = replace(of, rows=9_001), 1_024
    monkeypatch.setattr(cuda_engine, "leaf_of", lambda *_: leaf)

    def make(model):
        return TiledSteps(model, make_plan(model), tile=leaf) if name == "wide" else engine(model)

    found = []
    for share in SHARES.values():
        shares = share(of.rows, leaf)
        models = [of.model(on_device(dtype)) for _ in shares]
        ranks = [(make(model), of.data(model)) for model in models]
        measured = [step(ranks, shares, of.rows) for _ in range(5)]
        found += [
            (one, everything(model))
            for one, model in zip(zip(*measured, strict=True), models, strict=True)
        ]
    assert all(one == found[0] for one in found)
