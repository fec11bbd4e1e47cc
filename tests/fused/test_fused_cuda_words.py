"""The words that a shared batch becomes on the GPU's engines, executed on the CPU.

Proves against Python's whole numbers: the words of a batch are those of its leaves, added up and
carried, for gradients, losses of every size, right answers and rows; of one leaf the gradient is
the leaf's own, on the grid. Poison, such as NaN, survives being added to others'.
"""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import chain

import exact_numbers
import numpy as np
import pytest
from fused_cuda_networks import NETS, emulated_model, gradients, net, state
from rank_steps import LEAF, SHARES, accumulated, each_engine, leaves_of, step

from nnfs_gpu.fused.cuda import engine as cuda_engine
from nnfs_gpu.network.engine import Message

pytestmark = pytest.mark.usefixtures("compiler")


@pytest.fixture(autouse=True)
def leaves(monkeypatch):
    monkeypatch.setattr(cuda_engine, "leaf_of", lambda *_: LEAF)


def parts(message, numbers):
    """Words (3, P) of the gradient and (4, 3) of losses, right answers, rows."""
    at = Message(numbers)
    three = message[: 3 * numbers].reshape(3, numbers)
    losses = message[3 * numbers : at.right].reshape(4, 3)
    return three, losses, message[at.right], message[at.rows]


def summed(engine, dw):
    """What the words are of, from the gradient of LEAF rows, a power of 2: the kernel's are of sums
    over samples, those of array code of their share of the mean."""
    return dw * LEAF if isinstance(engine, cuda_engine.KernelSteps) else dw


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
        assert message.shape == (Message(numbers).size,)
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
        assert tuple(words) == exact_numbers.words_of(exact_numbers.units_of(summed(engine, dw)))


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
    assert summed(engine, flat).tolist() == [
        exact_numbers.value_of(exact_numbers.words_of(total)) for total in expected
    ]
