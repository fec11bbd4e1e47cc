"""Batches that several engines share, on the CPU: messages added by hand, as ranks add them.

Proves: whoever has which leaves, and however many calls they come in, the update has the bits of
the step over all rows; what does not belong to a batch is refused, and the engine goes on.
"""

from __future__ import annotations

import numpy as np
import pytest
from fused_state import backend_of, gradients, parameters, state
from networks import Network

from nnfs_gpu import fused
from nnfs_gpu.network.engine import Message

DTYPES = ["float32", "float64"]
NETWORKS = {
    "narrow": Network((2, 64, 3)),
    "deep": Network((5, 33, 17, 2), activation="sigmoid", l1=1e-3, l2=1e-3, keep=0.8),
    "regression": Network((3, 20, 2), loss="squared_error", optimizer="rmsprop"),
}


def made(network, dtype, n):
    model = network.model(backend_of(dtype))
    return model, fused.engine(model), *network.data(model, n)


def result(model, measured):
    """Everything that a step has made."""
    sums = model.loss.accumulated_sum, model.accuracy.accumulated_sum
    arrays = parameters(model) + gradients(model) + list(state(model).values())
    return [measured, sums, model.optimizer.iterations, *(a.tobytes() for a in arrays)]


def shared_step(engines, X, y, shares):
    """A step of each engine, of which each has some of the rows: (first, stop) of blocks."""
    n, messages = len(X), []
    for engine, mine in zip(engines, shares, strict=True):
        engine.begin(n)
        for first, stop in mine:
            engine.accumulate(X[first:stop], y[first:stop], n, first)
        messages.append(engine.message())
    total = np.sum(messages, axis=0)
    for message in messages:
        message[...] = total
    return [engine.finish() for engine in engines]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NETWORKS)
def test_any_leaves_on_any_engine_give_the_bits_of_one_step(name, dtype):
    network, n = NETWORKS[name], 9001
    model, engine, X, y = made(network, dtype, n)
    leaf = engine.leaf(n)
    assert 2 < n / leaf < 100
    wanted = [result(model, engine.step(X, y)) for _ in range(3)]
    last = n // leaf * leaf
    for shares in (
        [[(0, n)]],
        [[(last, n), (0, last)]],  # in any order
        [[(0, leaf)], [], [(leaf, last)], [(last, n)]],
        [[(leaf, last)], [(0, leaf), (last, n)]],
    ):
        all_made = [made(network, dtype, 1)[:2] for _ in shares]
        engines = [engine for _, engine in all_made]
        for step in wanted:
            measured = shared_step(engines, X, y, shares)
            for (one, _), found in zip(all_made, measured, strict=True):
                assert result(one, found) == step


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_batch_in_blocks_of_whole_leaves_has_the_bits_of_one_step(dtype):
    network, n = NETWORKS["narrow"], 20_001
    model, engine, X, y = made(network, dtype, n)
    wanted = result(model, engine.step(X, y))
    leaf = engine.leaf(n)
    model, engine, _, _ = made(network, dtype, 1)
    for first in range(0, n, 3 * leaf):
        engine.accumulate(X[first : first + 3 * leaf], y[first : first + 3 * leaf], n)
    assert result(model, engine.finish()) == wanted


def test_what_does_not_belong_to_a_batch_is_refused():
    model, engine, X, y = made(NETWORKS["narrow"], "float32", 2000)
    leaf = engine.leaf(2000)
    before = parameters(model)
    with pytest.raises(RuntimeError, match="message: no batch is under way"):
        engine.message()
    with pytest.raises(ValueError, match="begin: got a batch of 0 rows"):
        engine.begin(0)
    with pytest.raises(ValueError, match="that `begin` has begun"):
        engine.accumulate(X[:leaf], y[:leaf], 2000, 0)
    engine.begin(2000)
    with pytest.raises(RuntimeError, match="begin: a batch is under way"):
        engine.begin(2000)
    with pytest.raises(RuntimeError, match="step: a batch is under way"):
        engine.step(X, y)
    for first, total in ((1, 2000), (0, 1999), (-leaf, 2000), (leaf * (2000 // leaf), 2000)):
        with pytest.raises(ValueError, match=rf"accumulate: got rows {first} to .* a multiple of"):
            engine.accumulate(X[: 2 * leaf], y[: 2 * leaf], total, first)
    engine.accumulate(X[:leaf], y[:leaf], 2000, 0)
    with pytest.raises(RuntimeError, match=f"finish: got {leaf} of 2000 samples"):
        engine.finish()
    engine._batch.forget()
    assert all(a.tobytes() == b.tobytes() for a, b in zip(before, parameters(model), strict=True))
    engine.step(X, y)
    other, again, _, _ = made(NETWORKS["narrow"], "float32", 1)
    again.step(X, y)
    pairs = zip(parameters(model), parameters(other), strict=True)
    assert all(a.tobytes() == b.tobytes() for a, b in pairs)


def test_a_batch_that_cannot_begin_is_not_under_way():
    model, engine, X, y = made(NETWORKS["narrow"], "float32", 100)
    dense = model.trainable_layers[0]
    weights = dense.weights
    dense.weights = weights.copy()
    dense.weights.flags.writeable = False
    with pytest.raises(ValueError, match="weights: expected a writeable contiguous array"):
        engine.begin(100)
    with pytest.raises(RuntimeError, match="message: no batch is under way"):
        engine.message()
    dense.weights = weights
    engine.begin(100)
    engine.accumulate(X, y, 100, 0)
    engine.finish()


def test_a_message_counts_rows_and_right_answers():
    _, engine, X, y = made(NETWORKS["narrow"], "float32", 1500)
    form = Message(engine.layout.gradients)
    engine.begin(1500)
    assert engine.message().shape == (form.size,)
    assert not engine.message().any()
    leaf = engine.leaf(1500)
    engine.accumulate(X[leaf:], y[leaf:], 1500, leaf)
    assert engine.message()[form.rows] == 1500 - leaf
    right = engine.message()[form.right]
    assert 0 < right < 1500 - leaf
    assert not engine.message()[form.extras].any()
    engine.accumulate(X[:leaf], y[:leaf], 1500, 0)
    assert engine.message()[form.rows] == 1500
    _, _, accuracy = engine.finish()
    assert right <= accuracy * 1500 <= right + leaf


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_fingerprint_tells_every_parameter_apart(dtype):
    model, engine, X, y = made(Network((2, 5, 3)), dtype, 40)
    other, same, _, _ = made(Network((2, 5, 3)), dtype, 1)
    for one in (engine, same):
        one.step(X, y)
    first = engine.fingerprint()
    assert 0 <= first < 1 << 32
    assert same.fingerprint() == first
    found = {first}
    for a in (a for layer in other.trainable_layers for a in (layer.weights, layer.biases)):
        for place in np.ndindex(a.shape):
            kept = a[place]
            a[place] = np.nextafter(kept, a.dtype.type(9))
            found.add(same.fingerprint())
            a[place] = kept
    assert same.fingerprint() == first
    assert len(found) == 1 + 33
    assert (
        model.trainable_layers[0].weights.tobytes() == other.trainable_layers[0].weights.tobytes()
    )
