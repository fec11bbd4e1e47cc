"""The fused step on the CPU with more threads than cores: the same bits, and nobody in the way.

Proves that a shared step gives what one thread gives, bit for bit, in whole steps, many steps in
a call and blocks of a batch; that threads which come late, too early or with an old turn change
nothing; and that the network is cut into pieces that cover it once.
"""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import threading
import time
import warnings
import weakref
from itertools import pairwise

import numpy as np
import pytest
from fused_networks import (
    Network,
    assert_gradients,
    backend_of,
    copy_state,
    gradients,
    parameters,
    state,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from nnfs_gpu.kernels import fused_tables as k
from nnfs_gpu.kernels.fused_step import train
from nnfs_gpu.kernels.waiting import APART, FOREVER

from nnfs_gpu import fused
from nnfs_gpu.backend import workers
from nnfs_gpu.fused import cpu, layout
from nnfs_gpu.fused.plan import Plan, Stage

PATIENCE = 20
ROLE, TURN = 2, 12  # places among the arguments of `train`
NETWORKS = {
    "narrow": Network((2, 64, 3), keep=0.5),
    "pieces": Network((40, 300, 3), optimizer="momentum", l2=0.001),
    "deep": Network((2, 64, 64, 3), optimizer="adagrad", l1=0.001, soft=True),
    "binary": Network((5, 20, 2), "sigmoid", "binary_cross_entropy", "rmsprop", keep=0.8),
    "values": Network((3, 17, 130, 2), "sigmoid", "squared_error", "sgd", 0.7, 0.001, 0.002),
    "one": Network((7, 1), "linear", "absolute_error", "adam", l2=0.01),
}
each_network = pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)


def until(condition, what):
    """Wait for it."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.0002)


def present(engine):
    """How many threads follow at the moment."""
    return int(engine.layout.cells[k.PRESENT * APART])


class Sharing:
    """Stands for `train` and `Workers.invite`: has a call wait for all that were invited to it.

    threads  how many there shall be
    led      the arguments of the calls that were led
    others   how many followed when each began
    """

    def __init__(self, crew):
        self.crew, self.threads, self.waits = crew, 1, True
        self.invited, self.led, self.others = 0, [], []

    def use(self, threads):
        self.threads = threads
        self.led.clear()
        self.others.clear()

    def invite(self, task, threads):
        self.invited = min(threads - 1, self.crew.count)
        workers.Workers.invite(self.crew, task, threads)

    def train(self, *given):
        if given[ROLE] == k.LEAD:
            cells = cells_of(given[0])
            invited, self.invited = self.invited, 0
            if self.waits:
                until(lambda: cells[k.PRESENT * APART] >= invited, "they do not come")
            self.led.append(given)
            self.others.append(int(cells[k.PRESENT * APART]))
        train(*given)

    def rest(self):
        """Nobody follows any more."""
        self.crew.rest()
        until(lambda: len(self.crew._wake._waiters) == len(self.crew._threads), "they stay")


def cells_of(tables):
    """The cells of an engine, by the address of its head."""
    head = np.ctypeslib.as_array((ctypes.c_int64 * k.HEAD_FIELDS).from_address(tables))
    count = k.CELLS_FIELDS * APART
    return np.ctypeslib.as_array((ctypes.c_int64 * count).from_address(int(head[k.CELLS])))


@pytest.fixture(scope="module")
def crew():
    return workers.Workers(4)


@pytest.fixture
def sharing(monkeypatch, crew):
    """One thread at first; steps are shared however small, in small groups, and guests stay."""
    sharing = Sharing(crew)
    for name, value in (
        ("SHARED_STEP", 0),
        ("INVITATION", 0),
        ("WATCH", 1 << 40),
        ("GROUP_FLOPS", 1),
        ("GROUP_SAMPLES", 1),
        ("train", sharing.train),
    ):
        monkeypatch.setattr(cpu, name, value)
    monkeypatch.setattr(crew, "invite", sharing.invite)
    monkeypatch.setattr(workers, "_workers", crew)
    monkeypatch.setattr("numba.get_num_threads", lambda: sharing.threads)
    yield sharing
    sharing.rest()


def made(network, n, dtype="float32"):
    """(model, engine, X, y)."""
    model = network.model(backend_of(dtype))
    X, y = network.data(model, n)
    engine = fused.engine(model)
    engine.compile()
    return model, engine, X, y


def everything(model):
    """The bits of all that a step writes for others to see."""
    arrays = parameters(model) + gradients(model) + list(state(model).values())
    sums = model.loss.accumulated_sum, model.accuracy.accumulated_sum
    return [a.tobytes() for a in arrays], sums, model.optimizer.iterations


def blocks(engine, X, y, cuts):
    """A step in blocks that end at `cuts`."""
    n = X.shape[0]
    for start, stop in zip((0, *cuts), (*cuts, n), strict=True):
        engine.accumulate(X[start:stop], y[start:stop], n)
    return engine.finish()


def history(network, n, dtype):
    """What a model and its engine say after steps of every kind."""
    return acts(*made(network, n, dtype))


def acts(model, engine, X, y):
    n, told = X.shape[0], []
    for act in (
        lambda: engine.step(X, y),
        lambda: engine.run(X, y, 6),
        lambda: blocks(engine, X, y, (1, n // 2 + 3, n - 5)),
        lambda: engine.step(X, y),
        lambda: engine.run(X, y, 2),
    ):
        measured = act()
        told.append([np.asarray(value).tobytes() for value in measured])
        told.append(everything(model))
    return told


# ---- the same bits ----
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@each_network
def test_same_bits_with_any_number_of_threads(sharing, network, dtype):
    expected = history(network, 700, dtype)
    assert sharing.led == []
    for count in (2, 3, 5):
        sharing.use(count)
        assert history(network, 700, dtype) == expected, count
        assert len(sharing.led) >= 6
        assert max(sharing.others) == count - 1


def test_same_bits_in_a_batch_of_many_waves(sharing, monkeypatch):
    """More groups than there is room for: a step is many calls, and so is each of a run."""
    monkeypatch.setattr(cpu, "MOST_GROUPS", 4)
    monkeypatch.setattr(cpu, "MOST_GROUP", 1)
    network, n = NETWORKS["narrow"], 2_000
    assert made(network, n)[1]._wave(n) < n // 2
    expected = history(network, n, "float32")
    for count in (2, 5):
        sharing.use(count)
        assert history(network, n, "float32") == expected
        assert len(sharing.led) > 40


def test_same_bits_of_two_engines_at_the_same_time(sharing):
    """Only one caller can have the workers; both get the bits of a thread alone."""
    networks = NETWORKS["narrow"], NETWORKS["values"]
    expected = [history(network, 500, "float32") for network in networks]
    found = [[], []]
    sharing.use(3)
    sharing.waits = False

    def work(place):
        for _ in range(4):
            found[place].append(history(networks[place], 500, "float32"))

    at_the_same_time(work, 2)
    assert found == [[one] * 4 for one in expected]


def at_the_same_time(work, count):
    both = [threading.Thread(target=work, args=(place,)) for place in range(count)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()


def test_what_an_earlier_batch_left_in_workspaces_does_not_count(sharing):
    """NaN in all of a batch, then good parameters and data again."""
    network = NETWORKS["values"]
    sharing.use(3)
    expected = history(network, 333, "float32")
    model, engine, X, y = made(network, 333)
    fresh = network.model(backend_of("float32"))
    engine.run(np.full_like(X, np.nan), y, 3)
    assert np.isnan(model.layers[0].weights).all()
    copy_state(fresh, model)
    model.loss.new_pass()
    model.accuracy.new_pass()
    measured = engine.step(X, y)
    assert [np.asarray(value).tobytes() for value in measured] == expected[0]
    assert everything(model)[0] == expected[1][0]


def test_the_others_do_some_of_the_work(sharing):
    """They have had samples in their workspaces, in the end."""
    sharing.use(3)
    _, engine, X, y = made(NETWORKS["pieces"], 700)

    def helped():
        engine.run(X, y, 5)
        others = [space for number, space in engine._workspaces.items() if number]
        return any(has_held_samples(engine, space) for space in others)

    until(helped, "nobody helped")


def has_held_samples(engine, space):
    """Whether a thread has worked in this workspace."""
    room, address = space
    at, pitch = int(engine.layout.table[0, k.X_AT]), int(engine.layout.head[k.PITCH])
    begin = (address - room.ctypes.data) // room.itemsize + at
    return room[begin : begin + pitch].any()


# ---- the same numbers as layer by layer ----
@each_network
def test_the_last_of_many_shared_steps_is_the_layers_step(sharing, network):
    """From the state after 4 steps, a step of the layers has the gradients of the fifth."""
    sharing.use(5)
    before, engine, X, y = made(network, 700, "float64")
    engine.run(X, y, 4)
    model, engine, X, y = made(network, 700, "float64")
    losses, penalties, _, _ = engine.run(X, y, 5)
    exact, slow = network.layer_steps(backend_of("float64"))
    network.data_of(exact, X, y)
    copy_state(before, exact)
    exact.optimizer.iterations = 4
    want = slow.step(X, y)
    assert len(sharing.led) == 2
    assert min(sharing.others) > 0
    assert_gradients(model, gradients(exact), "float64")
    np.testing.assert_allclose((losses[4], penalties[4]), np.float64(want[:2]), rtol=1e-12)


# ---- threads that nobody expects ----
def memory(sharing, engine, model):
    """The bits of everything that `train` could write, when nobody follows any more."""
    sharing.rest()
    assert present(engine) == 0
    shared = engine._sums, engine._totals, engine._gradient, engine._measured
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
        patch.setattr(cpu, "train", interrupted)
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
    for looks in (1, 10, 100, 1_000):
        monkeypatch.setattr(cpu, "WATCH", looks)
        for _ in range(5):
            assert history(network, 300, "float32") == expected


def test_following_ends_after_its_looks_or_at_the_signal(sharing):
    model, engine, X, y = made(NETWORKS["narrow"], 300)
    engine.step(X, y)
    space, wanted = engine.layout.make_workspace(), np.zeros(1, np.int64)
    before = memory(sharing, engine, model), space[0].tobytes()
    for seen, most in ((0, 0), (0, 1), (0, 2_000), (1, FOREVER)):
        watch = wanted.ctypes.data, seen, most
        train(engine._tables, space[1], k.FOLLOW, *cpu.NO_CALL, *watch, engine._like)
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
    sharing.rest()
    sharing.led.clear()
    del engine, model
    gc.collect()
    until(lambda: alive() is None, "kept alive")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_gets_help(sharing):
    """Those that followed in the parent do not follow in the child: it invites its own."""
    sharing.use(3)
    _, engine, X, y = made(NETWORKS["pieces"], 300)
    engine.step(X, y)
    assert present(engine) == 2
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # a fork with threads, from 3.12 on
        child = os.fork()
    if child == 0:
        status = 1
        try:
            signal.alarm(10)
            sharing.waits = False
            engine._workspaces = {0: engine._workspaces[0]}
            until(lambda: len(engine.run(X, y, 5)) and len(engine._workspaces) > 1, "nobody")
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0


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
