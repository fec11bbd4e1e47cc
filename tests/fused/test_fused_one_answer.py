"""Fused steps on a CPU and on a GPU: the same bits, but for sums over samples that come together.

Samples that come one by one, with weights or without, are leaves of one sample each, and leaves
are added up without rounding. Then nothing of a step is left whose order differs: the CPU's engine
and the GPU's, executed from its own text by g++ with nothing contracted, have to agree to the last
bit in losses, gradients, new parameters and the optimizer's state. (A penalty's value is a sum over
parameters, and agrees to rounding.) A network whose gradients the CPU has from masked sums is
compared where these do not reach: scores, losses and gradients at the scores, in sums of two
samples, which have one order.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from exact_numbers import loss_of
from fused_cuda_networks import Net, emulated_model, gradients, net, state, steps_of
from fused_state import backend_of
from helpers import DTYPES
from networks import OPTIMIZERS, each

from nnfs_gpu import fused
from nnfs_gpu.backend.numba_backend import NumbaBackend
from nnfs_gpu.fused import vocabulary
from nnfs_gpu.network.engine import Message

pytestmark = [
    pytest.mark.usefixtures("compiler"),
    pytest.mark.skipif(
        not NumbaBackend.one_answer,
        reason="no fused multiply-add here: the CPU has bits of its own",
    ),
]

NETS = {
    "tanh, narrow on a GPU": net(2, 21, 3, activation=("tanh",), optimizer="adamw"),
    "sigmoid, narrow on a GPU": net(
        *(3, 7, 2), activation=("sigmoid",), loss="binary_cross_entropy", optimizer="adagrad"
    ),
    "soft labels, narrow on a GPU": net(
        *(2, 9, 5), activation=("leaky_relu",), soft=True, optimizer="rmsprop"
    ),
    "wide, many classes": net(5, 128, 70, 37, l1=1e-3, optimizer="momentum"),
    "many soft labels": net(4, 9, 12, 35, soft=True, activation=("tanh", "relu")),
    "squared, more outputs": net(
        *(4, 17, 13, 6), activation=("tanh", "leaky_relu"), loss="squared_error", optimizer="sgd"
    ),
    "absolute": net(
        *(4, 6, 5, 3), activation=("sigmoid", "linear"), loss="absolute_error", keep=(1.0, 0.9)
    ),
    "dropout after all": net(
        *(4, 9, 12, 33, 8, 3),
        activation=("tanh", "leaky_relu", "sigmoid", "relu"),
        keep=(0.6, 0.7, 0.8, 0.5),
        dropout_seeds=(17, 2**62 + 5, 3, 4),
    ),
}
IN_FLOAT64 = "wide, many classes", "absolute", "dropout after all"


def test_all_names_are_compared():
    """What somebody adds to the vocabulary has the same bits on both, or a test that fails."""
    activations = {name for of in NETS.values() for name in each(of.activation, 1)}
    assert activations >= vocabulary.ACTIVATIONS.keys()
    assert {of.loss for of in NETS.values()} == vocabulary.LOSSES.keys()
    assert {of.optimizer for of in NETS.values()} == vocabulary.OPTIMIZERS.keys()


def engines(of: Net, dtype: str):
    """(model, engine) on the CPU, and on the emulated GPU."""
    ours, theirs = of.model(backend_of(dtype)), emulated_model(of, dtype)
    return (ours, fused.engine(ours)), (theirs, steps_of(theirs))


def assert_same_bits(found: dict, expected: dict) -> None:
    assert found.keys() == expected.keys()
    for key, value in found.items():
        assert value.dtype == expected[key].dtype
        bits = f"u{value.itemsize}"
        differ = value.view(bits) != expected[key].view(bits)
        assert not differ.any(), f"{key}: {differ.sum()} of {differ.size} differ"


def losses_in(engine) -> tuple[float, float]:
    """The sums of losses and of weights in the engine's message, without rounding."""
    at = engine._message
    both = slice(at.right - Message.LOSS_WORDS, at.right), at.weights
    losses, weights = (loss_of([int(word) for word in engine.message()[one]]) for one in both)
    return losses, weights


@pytest.mark.parametrize("weights", [None, (0.3, 1.9, 0.7), (1.1, 0.0, 1.3)], ids=str)
@pytest.mark.parametrize(
    ("name", "dtype"), [(n, "float32") for n in NETS] + [(n, "float64") for n in IN_FLOAT64]
)
def test_samples_one_by_one(name, dtype, weights):
    of, found = replace(NETS[name], rows=3), []
    for model, engine in engines(of, dtype):
        X, y = of.data(model)
        if weights:
            y.weights = model.backend.asarray(np.array(weights))
        losses, measured = [], []
        for _ in range(2):
            for row in range(of.rows):
                engine.accumulate(X[row : row + 1], y[row : row + 1], of.rows)
            losses.append(losses_in(engine))
            measured.append([float(value) for value in engine.finish()])
        found.append((gradients(model) | state(model), losses, measured))
    ours, theirs = found
    assert_same_bits(ours[0], theirs[0])
    assert ours[1] == theirs[1]
    np.testing.assert_allclose(ours[2], theirs[2], rtol=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_same_sums_give_the_same_parameters(optimizer, dtype):
    """Sums of all sizes in, words as they are in a message; steps of each optimizer, penalties."""
    of = net(5, 8, activation=(), optimizer=optimizer, rows=7, l1=0.01)
    pairs, rng = engines(of, dtype), np.random.default_rng(4)
    for _ in range(3):
        size, message = pairs[0][1].plan.parameters, pairs[0][1]._message
        words = np.zeros(message.size, np.int64)
        words[:size] = rng.integers(-(2**50), 2**50, size)
        words[size : 2 * size] = (
            rng.standard_normal(size) * 2.0 ** rng.uniform(0, 24, size)
        ).astype(np.int64)
        words[message.rows] = of.rows
        for _, engine in pairs:
            engine.begin(of.rows)
            engine.message()[:] = words
            engine.finish()
    found, expected = (gradients(model) | state(model) for model, _ in pairs)
    assert_same_bits(found, expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "of",
    [
        net(2, 24, 3, optimizer="sgd", rows=2),
        net(2, 10, 2, optimizer="sgd", rows=2, loss="squared_error"),
    ],
    ids=["classes", "squared"],
)
def test_two_samples_of_masked_sums(of, dtype):
    """Samples on both sides of 0: the CPU has nothing to centre."""
    found = []
    for model, engine in engines(of, dtype):
        X, y = of.data(model)
        X[1] = -X[0]
        assert engine.plan.narrow
        engine.accumulate(X, y, of.rows)
        losses, _ = losses_in(engine)
        engine.finish()
        last = model.trainable_layers[-1]
        found.append((np.array(model.backend.to_numpy(last.dbiases)), np.dtype(dtype).type(losses)))
    (ours, loss), (theirs, other) = found
    assert_same_bits({"dbiases": ours}, {"dbiases": theirs})
    assert loss == other
