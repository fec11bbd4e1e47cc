"""Threads of the fused CPU step that nobody expects: nobody is in the way.

Threads that come late, too early or with an old turn change nothing; they leave when they are
wanted elsewhere; and the network is cut into pieces that cover it once.
"""

from __future__ import annotations

import gc
import os
import threading
import weakref
from itertools import pairwise

import numpy as np
import pytest
from fused_sharing import (
    NETWORKS,
    ROLE,
    TURN,
    acts,
    at_the_same_time,
    blocks,
    everything,
    history,
    made,
    present,
)
from fused_state import parameters
from hypothesis import given, settings, strategies as st
from worker_meetings import passes_in_child, until

from nnfs_gpu.fused.cpu import calls as cpu_calls, layout
from nnfs_gpu.fused.plan import Plan, Stage
from nnfs_gpu.kernels.cpu.waiting import FOREVER
from nnfs_gpu.kernels.fused_cpu import tables as k
from nnfs_gpu.kernels.fused_cpu.step import train


# ---- threads that nobody expects ----
def memory(sharing, engine, model):
    """The bits of everything that `train` could write, when nobody follows any more."""
    sharing.sleep()
    assert present(engine) == 0
    shared = *engine.groups.arrays, engine._words, engine._measured
    tables = engine.layout.cells, engine.layout.call, engine.layout.penalties
    spaces = [room for room, _ in engine._workspaces.values()]
    return [a.tobytes() for a in (*shared, *tables, *spaces)], everything(model)


def come_late(call, space, turn=None):
    """`train` to help in a leader's call, in a workspace of its own."""
    given = list(call)
    given[1], given[ROLE] = space[1], k.JOIN
    if turn is not None:
        given[TURN] = turn
    train(*given)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("network", [NETWORKS["narrow"], NETWORKS["pieces"]])
def test_a_worker_that_comes_when_the_call_has_ended_changes_nothing(sharing, network, dtype):
    """After every call so far, for every call so far: steps, runs, blocks and updates."""
    sharing.use(2)
    model, engine, X, y = made(network, 700, dtype)
    space = engine.layout.make_workspace()
    for act in (
        lambda: engine.step(X, y),
        lambda: engine.run(X, y, 3),
        lambda: blocks(engine, X, y, (200, 650)),
        lambda: engine.step(X, y),
    ):
        act()
        before = memory(sharing, engine, model), space[0].tobytes()
        for call in sharing.led:
            come_late(call, space)
        assert (memory(sharing, engine, model), space[0].tobytes()) == before
    assert [call[TURN] for call in sharing.led] == [1, 2, 5, 6, 7, 8, 9]


def test_a_follower_without_a_leader_gives_up(sharing):
    sharing.use(2)
    model, engine, X, y = made(NETWORKS["narrow"], 700)
    engine.step(X, y)
    space = engine.layout.make_workspace()
    before = memory(sharing, engine, model), space[0].tobytes()
    for turn in (engine._turn, engine._turn + 1, 1 << 30):
        come_late(sharing.led[0], space, turn)
        assert (memory(sharing, engine, model), space[0].tobytes()) == before


def test_late_workers_do_not_disturb_steps_under_way(sharing):
    """Two threads that follow calls long ended, all the time, in the middle of others."""
    network = NETWORKS["deep"]
    expected = history(network, 700, "float32")
    over, rounds = threading.Event(), [0, 0]
    sharing.use(2)
    model, engine, X, y = made(network, 700)

    def work(place):
        if place == 2:
            for _ in range(3):
                found.append(acts(model, engine, X, y))
            over.set()
            return
        space = engine.layout.make_workspace()
        while not over.is_set() or not rounds[place]:
            for call in sharing.led[:-1]:
                come_late(call, space)
                rounds[place] += 1

    found = []
    at_the_same_time(work, 3)
    assert found[0] == expected
    assert min(rounds) > 0


def test_a_caller_that_never_leads_leaves_the_engine_usable(sharing, monkeypatch):
    """Interrupted before its call of `train`: nobody steps alone, and the next step is whole."""
    network = NETWORKS["pieces"]
    sharing.use(3)
    expected = history(network, 400, "float32")
    model, engine, X, y = made(network, 400)

    def interrupted(*given):
        if given[ROLE] == k.LEAD:
            raise KeyboardInterrupt
        train(*given)

    before = parameters(model)
    with monkeypatch.context() as patch:
        patch.setattr(cpu_calls, "train", interrupted)
        with pytest.raises(KeyboardInterrupt):
            engine.step(X, y)
    for a, b in zip(parameters(model), before, strict=True):
        np.testing.assert_array_equal(a, b)
    assert acts(model, engine, X, y) == expected


def test_threads_that_come_and_go_while_calls_are_written(sharing, monkeypatch):
    """They stay for a moment only, and nobody waits for them: they meet calls at any point."""
    network = NETWORKS["narrow"]
    expected = history(network, 300, "float32")
    sharing.use(5)
    sharing.waits = False
    for most in (1, 400, 4_000, 40_000):
        monkeypatch.setattr(cpu_calls, "WATCH", most)
        for _ in range(5):
            assert history(network, 300, "float32") == expected


def test_following_ends_after_its_time_or_at_the_signal(sharing):
    model, engine, X, y = made(NETWORKS["narrow"], 300)
    engine.step(X, y)
    space, wanted = engine.layout.make_workspace(), np.zeros(1, np.int64)
    before = memory(sharing, engine, model), space[0].tobytes()
    for seen, most in ((0, 0), (0, 1), (0, 100_000), (1, FOREVER)):
        watch = wanted.ctypes.data, seen, most
        train(engine._tables, space[1], k.FOLLOW, *cpu_calls.NO_CALL, *watch, engine._like)
        assert (memory(sharing, engine, model), space[0].tobytes()) == before


def test_no_two_calls_have_the_same_turn(sharing):
    """Or who reads what a call is could take half of one for half of another."""
    sharing.use(3)
    _, engine, X, y = made(NETWORKS["narrow"], 300)
    for _ in range(3):
        engine.run(X, y, 4)
        engine.compile()
        engine.step(X, y)
    turns = [call[TURN] for call in sharing.led]
    assert turns == [1, 5, 6, 10, 11, 15]


def test_threads_leave_when_fewer_are_allowed(sharing):
    """No more take part than Numba may use by now, after some calls at the latest."""
    sharing.use(5)
    _, engine, X, y = made(NETWORKS["pieces"], 700)
    engine.run(X, y, 4)
    assert sharing.others == [4]
    sharing.threads = 3
    for _ in range(20):
        engine.run(X, y, 4)
    assert sharing.others[-1] == 2


def test_an_engine_does_not_outlive_its_followers(sharing):
    sharing.use(3)
    model, engine, X, y = made(NETWORKS["narrow"], 300)
    engine.run(X, y, 4)
    alive = weakref.ref(engine)
    sharing.sleep()
    sharing.led.clear()
    del engine, model
    gc.collect()
    until(lambda: alive() is None, "kept alive")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_gets_help(sharing):
    """Those that followed in the parent do not follow in the child: it calls its own."""
    sharing.use(3)
    _, engine, X, y = made(NETWORKS["pieces"], 300)
    engine.step(X, y)
    assert present(engine) == 2

    def gets_help():
        sharing.waits = False
        engine._workspaces = {0: engine._workspaces[0]}
        until(lambda: len(engine.run(X, y, 5)) and len(engine._workspaces) > 1, "nobody")

    assert passes_in_child(gets_help)


# ---- pieces ----
@settings(derandomize=True, database=None, deadline=None, max_examples=60)
@given(
    st.lists(st.integers(1, 5_000), min_size=2, max_size=4), st.sampled_from(("float32", "float64"))
)
def test_pieces_cover_each_row_of_weights_and_the_biases_once(widths, dtype):
    """In order, each of one stage, none larger than `PIECE` unless it is a single row."""
    stages = tuple(Stage(i, o, "relu") for i, o in pairwise(widths))
    table = layout.Layout(Plan(dtype, stages, "squared_error", "sgd", "none"))
    assert table.head[k.PIECE_COUNT] == len(table.pieces) == len(table.penalties)
    rows = [(s, row) for s, first, stop in table.pieces.tolist() for row in range(first, stop)]
    assert rows == [(s, row) for s, stage in enumerate(stages) for row in range(stage.n_inputs + 1)]
    for s, first, stop in table.pieces.tolist():
        weights = min(stop, stages[s].n_inputs) - first
        assert weights >= 1
        assert weights == 1 or weights * table.table[s, k.PADDED] <= layout.PIECE
