"""A shared batch on the GPU's engines: what belongs to it, and what a step may do.

What does not belong to a batch is refused; where rows are missing, nothing is updated and the loss
says so. Extras stay untouched; a step waits for nothing and allocates nothing.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from device_arrays import no_waiting
from fake_cupy import DeviceBackend
from fused_cuda_networks import NETS, emulated_model, net, state, steps_of
from rank_steps import (
    LEAF,
    SHARES,
    accumulated,
    each_engine,
    kernel,
    leaves_of,
    rows_of,
    tiled,
)

from nnfs_gpu.backend.cuda.errors import device_of
from nnfs_gpu.fused.cuda import engine as cuda_engine

pytestmark = pytest.mark.usefixtures("compiler")

WIDE = net(5, 140, 3, rows=50)


@pytest.fixture(autouse=True)
def leaves(monkeypatch):
    monkeypatch.setattr(cuda_engine, "leaf_of", lambda *_: LEAF)


# ---- what does not belong to a batch ----
@each_engine
def test_what_does_not_fit_is_refused(make):
    of = replace(WIDE, widths=(5, 12, 3)) if make is kernel else WIDE
    model = emulated_model(of)
    engine, data = make(model), of.data(model)
    n = of.rows
    with pytest.raises(RuntimeError, match=r"message: no .*batch is under way; call "):
        engine.message()
    with pytest.raises(ValueError, match="begin: got a batch of 0 rows, expected at least 1"):
        engine.begin(0)
    with pytest.raises(
        ValueError, match=r"got rows 16 to 32 .*a batch of 0 that `begin` has begun"
    ):
        engine.accumulate(*rows_of(data, 16, 32), n, 16)
    engine.begin(n)
    for call, name in (
        (lambda: engine.begin(n), "begin"),
        (lambda: engine.step(*data), "step"),
    ):
        with pytest.raises(RuntimeError, match=f"{name}: a batch is under way; call finish"):
            call()
    for first, last, total, at, text in (
        (0, 16, n + 1, 0, f"of a batch of {n + 1}, expected .*, in a batch of {n} that `begin`"),
        (0, 32, n, 32, f"got rows 32 to 64 of a batch of {n}"),
        (0, 16, n, -16, "got rows -16 to 0 of a batch"),
        (0, 16, n, 8, f"got rows 8 to 24 of .*, expected a multiple of {LEAF} first"),
        (0, 20, n, 16, f"16 to 36 of .* shared, expected whole leaves of {LEAF} rows; cut where"),
    ):
        with pytest.raises(ValueError, match=text):
            engine.accumulate(*rows_of(data, first, last), total, at)
    engine.accumulate(*rows_of(data, 32, n), n, 32)
    engine.accumulate(*rows_of(data, 0, 16), n, 0)
    engine.accumulate(*rows_of(data, 16, 32), n)  # after those given last
    assert np.isfinite(float(engine.finish()[0]))
    with pytest.raises(RuntimeError, match="finish: got 0 of 0 samples"):
        engine.finish()


@pytest.mark.parametrize("name", ["the book's", "dropout"])
@pytest.mark.parametrize("times", [0, 2])
def test_a_batch_with_other_rows_than_all_changes_nothing(name, times):
    """Only the device knows: the loss is NaN, parameters and state stay, and the step counts."""
    of = NETS[name]
    one, other = emulated_model(of), emulated_model(of)
    engine, data = steps_of(one), of.data(one)
    half = SHARES["two ranks"](of.rows, LEAF)[0]
    engine.step(*data)
    before = {key: value.copy() for key, value in state(one).items()}
    message = accumulated(engine, data, half, of.rows)
    message *= times
    measured = [float(value) for value in engine.finish()]
    assert np.isnan(measured).all()
    assert np.isnan(one.loss.accumulated_sum)
    for key, value in state(one).items():
        assert np.array_equal(value, before[key]), key
    assert one.optimizer.iterations == 2
    again, theirs = steps_of(other), of.data(other)
    again.step(*theirs)
    calls = [getattr(layer, "calls", 0) for layer in one.layers]
    assert [getattr(layer, "calls", 0) for layer in other.layers] == [max(0, c - 1) for c in calls]
    assert np.isfinite(float(engine.step(*data)[0]))


def test_tiles_with_other_rows_than_all_are_nan():
    model = emulated_model(WIDE)
    engine, data = tiled(model), WIDE.data(model)
    accumulated(engine, data, [(0, 2 * LEAF)], WIDE.rows)
    loss, _, accuracy = engine.finish()
    assert np.isnan([float(loss), float(accuracy)]).all()
    assert all(np.isnan(values).all() for values in state(model).values())


@each_engine
def test_extras_and_what_others_add_stay(make):
    """No kernel writes to the last six numbers; asking twice adds nothing twice."""
    of = replace(WIDE, widths=(5, 12, 3)) if make is kernel else WIDE
    model = emulated_model(of)
    engine, data = make(model), of.data(model)
    engine.begin(of.rows)
    engine.accumulate(*rows_of(data, 0, 32), of.rows, 0)
    message = engine.message()
    message[-6:] = [3, -1, 2**62, 4, 5, 6]
    engine.accumulate(*rows_of(data, 32, of.rows), of.rows, 32)
    kept = engine.message().copy()
    assert kept[-6:].tolist() == [3, -1, 2**62, 4, 5, 6]
    message += 0
    assert np.array_equal(engine.message(), kept)
    assert engine.message() is message
    engine.finish()
    assert np.array_equal(message[-6:], kept[-6:])
    engine.begin(of.rows)
    assert not engine.message().any()


# ---- no waiting, no memory ----
@each_engine
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_shared_step_waits_for_nothing(make, dtype):
    of = replace(NETS["soft labels"], rows=50)
    backend = DeviceBackend(dtype)
    model = of.model(backend)
    engine, data = make(model), of.data(model)
    shares = SHARES["with an empty rank"](of.rows, LEAF)
    for _ in range(2):
        accumulated(engine, data, shares[0] + shares[2], of.rows)
        engine.finish()
        backend.xp.reset()
    with no_waiting():
        message = accumulated(engine, data, shares[0] + shares[2], of.rows)
        message += 0  # on the device, as others are added
        engine.finish()
    assert (backend.xp.copied_in, backend.xp.copied_out) == ([], [])
    assert device_of(message) is not None


def test_a_shared_step_allocates_nothing(monkeypatch):
    of = NETS["dropout"]
    model = emulated_model(of)
    engine, data = steps_of(model), of.data(model)
    blocks = leaves_of(of.rows, LEAF)
    given = [(*rows_of(data, first, last), of.rows, first) for first, last in blocks]

    def shared_step():
        engine.begin(of.rows)
        for one in given:
            engine.accumulate(*one)
        engine.message()
        return engine.finish()

    shared_step()
    made = [len(engine.ready), engine._words]

    class Nothing:
        def __getattr__(self, name):
            raise AssertionError(f"{name} inside a step")

    for part, name in ((engine, "xp"), (engine._schedule, "_xp"), (engine._settings, "_xp")):
        monkeypatch.setattr(part, name, Nothing())
    monkeypatch.setattr(model.backend, "xp", Nothing())
    shared_step()
    assert made[0] == len(engine.ready) == 2, "one for whole leaves, one for the last"
    assert made[1] is engine._words
