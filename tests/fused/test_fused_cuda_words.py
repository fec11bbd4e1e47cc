"""The words that a shared batch becomes on the GPU's engines, executed on the CPU.

Proves against Python's whole numbers: the words of a batch are those of its leaves, added up and
carried, for gradients, losses of every size, right answers and rows; of one leaf the gradient is
the leaf's own, on the grid. Poison, such as NaN, survives being added to others'. What does not
belong to a batch is refused; where rows are missing, nothing is updated and the loss says so.
Extras stay untouched; a step waits for nothing and allocates nothing.
"""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import chain

import exact_numbers
import numpy as np
import pytest
from device_arrays import no_waiting
from fake_cupy import DeviceBackend
from fused_cuda_networks import NETS, emulated_model, gradients, net, state, steps_of
from rank_steps import SHARES, accumulated, leaves_of, rows_of, step

from nnfs_gpu.backend.cuda.errors import device_of
from nnfs_gpu.fused import make_plan
from nnfs_gpu.fused.cuda import build as cuda_build, engine as cuda_engine
from nnfs_gpu.fused.cuda.engine import KernelSteps
from nnfs_gpu.fused.tiles import TiledSteps
from nnfs_gpu.network.engine import Message

pytestmark = pytest.mark.usefixtures("compiler")

LEAF = 16
WIDE = net(5, 140, 3, rows=50)
SMALL = cuda_build.Device(processors=3, shared=99 * 1024, dynamic=False)


@pytest.fixture(autouse=True)
def leaves(monkeypatch):
    monkeypatch.setattr(cuda_engine, "leaf_of", lambda *_: LEAF)


def kernel(model):
    return KernelSteps(model, make_plan(model), SMALL)


def tiled(model):
    return TiledSteps(model, make_plan(model), tile=LEAF)


MAKE = {"kernel": kernel, "tiles": tiled}
each_engine = pytest.mark.parametrize("make", MAKE.values(), ids=MAKE)


def parts(message, numbers):
    """Words (3, P) of the gradient and (4, 3) of losses, right answers, rows."""
    at = Message(numbers)
    three = message[: 3 * numbers].reshape(3, numbers)
    losses = message[3 * numbers : at.right].reshape(4, 3)
    return three, losses, message[at.right], message[at.rows]


def carried(*words):
    """The carried sum of several of (w0, w1, w2)."""
    return exact_numbers.words_of(sum(map(exact_numbers.total_of, words)))


# ---- the words are right ----
@each_engine
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_batch_is_its_leaves_added_up(make, dtype):
    of = replace(NETS["soft labels"], l1=0.0)
    model = emulated_model(of, dtype)
    engine, data = make(model), of.data(model)
    found, numbers = [], engine.plan.parameters
    cuts = leaves_of(of.rows, LEAF)
    for blocks in ([(0, of.rows)], *([one] for one in cuts)):
        message = accumulated(engine, data, blocks, of.rows)
        assert message.dtype == np.int64
        assert message.shape == (3 * numbers + 20,)
        found.append(parts(message.copy(), numbers))
        engine._batch.forget()
    (three, losses, right, _), *single = found
    for p in range(numbers):
        assert tuple(three[:, p]) == carried(*(one[0][:, p] for one in single)), p
    for window in range(4):
        assert tuple(losses[window]) == carried(*(one[1][window] for one in single))
    assert right == sum(one[2] for one in single)
    assert [one[3] for one in (found[0], *single)] == [of.rows, *(b - a for a, b in cuts)]
    model.accuracy.init(data[1])
    layers = model.forward(data[0], training=False)
    predictions = model.output_layer_activation.predictions(layers)
    assert right == model.accuracy.compare(predictions, data[1]).sum()
    losses_then = model.loss.forward(layers, data[1]).astype(float)
    np.testing.assert_allclose(
        exact_numbers.loss_of(losses.ravel()), math.fsum(losses_then), rtol=1e-6
    )


@each_engine
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_of_one_leaf_the_gradient_is_its_own(make, dtype):
    """Words to value and back: nothing but the grid of 2^-70 comes in between."""
    of = net(3, 9, 4, optimizer="sgd", rows=LEAF)
    model = emulated_model(of, dtype)
    engine = make(model)
    message = accumulated(engine, of.data(model), [(0, LEAF)], LEAF).copy()
    engine.finish()
    pairs = [(dw, db) for dw, db in zip(*[iter(gradients(model).values())] * 2, strict=True)]
    flat = np.concatenate([a.ravel() for a in chain(*pairs)]).astype(float)
    three, *_ = parts(message, flat.size)
    for words, dw in zip(three.T, flat, strict=True):
        assert tuple(words) == exact_numbers.words_of(exact_numbers.units_of(dw))


def losses_of(sizes):
    """A network without weights' influence on its losses, which are `sizes`, a leaf each."""
    of = net(1, 1, activation=(), loss="absolute_error", optimizer="sgd", rows=LEAF * len(sizes))
    model = emulated_model(of, "float64")
    layer = model.trainable_layers[0]
    layer.weights, layer.biases = np.zeros((1, 1)), np.zeros((1, 1))
    y = np.repeat(np.array(sizes, float), LEAF).reshape(-1, 1)
    model.accuracy.init(np.array([0.0, 1.0]))
    return model, (np.full((len(y), 1), 0.25), y)


@each_engine
def test_losses_of_every_size(make):
    pairs = [(3, 33), (1, -10), (5, 100), (-7, 165), (3, 232), (9, 298), (1, 58), (1, 150), (3, 0)]
    sizes = [number * 2.0**power for number, power in pairs]  # 16 of them add up exactly
    model, data = losses_of(sizes)
    engine, total = make(model), len(data[0])
    words = parts(accumulated(engine, data, [(0, total)], total).copy(), 2)[1]
    assert words.ravel().tolist() == exact_numbers.windows_of([LEAF * abs(one) for one in sizes])
    loss, _, _ = engine.finish()
    assert float(loss) * total == pytest.approx(exact_numbers.loss_of(words.ravel()), rel=1e-15)
    assert float(loss) * total == pytest.approx(math.fsum(LEAF * abs(s) for s in sizes), rel=1e-9)


@each_engine
@pytest.mark.parametrize("loss", [1e110, np.inf, np.nan])
def test_losses_beyond_all_windows_are_nan(make, loss):
    model, data = losses_of([1.0, loss])
    engine = make(model)
    with np.errstate(invalid="ignore"):
        accumulated(engine, data, [(0, 2 * LEAF)], 2 * LEAF)
        measured = engine.finish()
    assert np.isnan(float(measured[0]))
    assert np.isfinite(state(model)["0 biases"]).all() == (not np.isnan(loss))


# ---- poison ----
@each_engine
@pytest.mark.parametrize("bad", [np.nan, np.inf, 2.0**100])
@pytest.mark.parametrize("ranks", [(0,), (1,), (0, 1)])
def test_poison_survives_the_sums_of_ranks(make, bad, ranks):
    """Also where a good leaf follows, and where two poisons are added: to NaN on all."""
    of = net(1, 1, activation=(), loss="absolute_error", optimizer="sgd", rows=6 * LEAF)
    models = [emulated_model(of) for _ in range(2)]
    all_data = [of.data(model) for model in models]
    for (X, _), rank in zip(all_data, range(2), strict=True):
        if rank in ranks:
            X[(4 * rank + 1) * LEAF] = bad
    both = [(make(m), data) for m, data in zip(models, all_data, strict=True)]
    with np.errstate(all="ignore"):
        step(both, SHARES["two ranks"](of.rows, 2 * LEAF), of.rows)
    for model in models:
        assert np.isnan(state(model)["0 weights"]).all()


@each_engine
def test_poison_of_a_thousand_ranks(make):
    of = net(2, 3, rows=LEAF)
    model = emulated_model(of)
    engine, data = make(model), of.data(model)
    data[0][0, 0] = np.nan
    with np.errstate(all="ignore"):
        message = accumulated(engine, data, [(0, LEAF)], LEAF)
        message *= 1024  # as many messages alike, but for the rows
        message[Message(engine.plan.parameters).rows] = LEAF
        engine.finish()
    assert np.isnan(state(model)["0 weights"]).all()


@each_engine
def test_messages_of_a_thousand_ranks_overflow_nothing(make):
    of = net(2, 3, rows=LEAF, optimizer="sgd")
    model = emulated_model(of, "float64")
    engine = make(model)
    message = accumulated(engine, of.data(model), [(0, LEAF)], LEAF)
    expected = [1024 * exact_numbers.total_of(w) for w in parts(message, 9)[0].T]
    message *= 1024
    message[Message(9).rows] = LEAF
    engine.finish()
    flat = np.concatenate([a.ravel() for a in gradients(model).values()])
    assert flat.tolist() == [
        exact_numbers.value_of(exact_numbers.words_of(total)) for total in expected
    ]


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
