"""The fused step on the CPU with more threads than cores: the same bits.

A shared step gives what one thread gives, bit for bit, in whole steps, many steps in a call and
blocks of a batch, and the numbers of the layers.
"""

from __future__ import annotations

import numpy as np
import pytest
from fused_sharing import (
    NETWORKS,
    at_the_same_time,
    each_network,
    everything,
    history,
    made,
)
from fused_state import assert_gradients, backend_of, copy_state, gradients, layer_steps
from networks import Network
from worker_meetings import until

from nnfs_gpu import fused
from nnfs_gpu.fused.cpu import calls as cpu_calls, groups
from nnfs_gpu.kernels.fused_cpu import tables as k


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
    monkeypatch.setattr(groups, "MOST_GROUPS", 4)
    monkeypatch.setattr(groups, "MORE_GROUPS", 1)
    monkeypatch.setattr(groups, "MOST_GROUP", 1)
    network, n = NETWORKS["narrow"], 2_000
    assert made(network, n)[1].groups.in_a_call(n) < n // 2
    expected = history(network, n, "float32")
    for count in (2, 5):
        sharing.use(count)
        assert history(network, n, "float32") == expected
        assert len(sharing.led) > 40


@pytest.mark.parametrize("limits", [{"CALL": 1}, {"LONG_CALL": 1}, {"LONG_CALL": 900_000}])
def test_same_bits_however_steps_are_cut_into_calls(sharing, monkeypatch, limits):
    """So that Ctrl-C is heard: few steps in a call, and few groups of a long one."""
    network, n = NETWORKS["deep"], 700
    expected = history(network, n, "float32")
    for name, value in limits.items():
        monkeypatch.setattr(groups, name, value)
    for count in (1, 2, 5):
        sharing.use(count)
        assert history(network, n, "float32") == expected
        assert count == 1 or len(sharing.led) > 10


@pytest.mark.parametrize(("network", "n"), [("narrow", 300), ("narrow", 500_000), ("wide", 9_000)])
def test_no_call_is_long(monkeypatch, network, n):
    """Operations in one call, of many steps or a part of one: what Ctrl-C has to wait for."""
    network = {"wide": Network((2, 1024, 1024, 3)), **NETWORKS}[network]
    model = network.model(backend_of("float32"))
    X, y = network.data(model, n)
    engine, calls = fused.engine(model), []

    def counted(tables, space, role, *call):
        if call[8] & k.GROUPS:
            calls.append((call[2], call[5]))

    monkeypatch.setattr(cpu_calls, "train", counted)
    monkeypatch.setattr("numba.get_num_threads", lambda: 1)
    engine.run(X, y, 3 if n > 300 else 2_000)
    work = [engine.groups.work(rows) * steps for rows, steps in calls]
    one_group = engine.groups.work(engine.groups.samples(n))
    assert max(work) <= max(groups.LONG_CALL, groups.CALL) + one_group
    assert len(calls) > 1
    assert sum(steps * rows for rows, steps in calls) == n * (3 if n > 300 else 2_000)


def test_a_step_over_a_million_narrow_samples_is_one_call():
    """Between calls the threads wait; more samples are cut, so that Ctrl-C is heard."""
    cut = made(Network((2, 64, 3)), 30)[1].groups
    assert cut.in_a_call(1_000_000) >= 1_000_000
    assert cut.work(cut.in_a_call(10_000_000)) <= 1.01 * groups.SHORT_CALL


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
    exact, slow = layer_steps(network, backend_of("float64"))
    network.data_of(exact, X, y)
    copy_state(before, exact)
    exact.optimizer.iterations = 4
    want = slow.step(X, y)
    assert len(sharing.led) == 2
    assert min(sharing.others) > 0
    assert_gradients(model, gradients(exact), "float64")
    np.testing.assert_allclose((losses[4], penalties[4]), np.float64(want[:2]), rtol=1e-12)
