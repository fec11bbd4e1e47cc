"""Fused steps on a CPU and on a GPU: the same bits, but for sums over samples that come together.

Samples that come one by one are leaves of one sample each, which are added up without rounding.
Then nothing of a step is left whose order differs: the CPU's engine and the GPU's, executed from its
own text by g++ with nothing contracted, have to agree to the last bit in losses, gradients,
parameters and the optimizer's state. (A penalty's value is a sum over parameters, and agrees to
rounding.) Networks whose gradients the CPU has from masked sums share scores, losses and gradients
at the scores: as far as one loss and the biases of the outputs show them.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from fused_cuda_networks import Net, emulated_model, gradients, net, state, steps_of, take_state
from fused_state import backend_of

from nnfs_gpu import fused
from nnfs_gpu.backend.numba_backend import NumbaBackend

pytestmark = [
    pytest.mark.usefixtures("compiler"),
    pytest.mark.skipif(
        not NumbaBackend.one_answer,
        reason="no fused multiply-add here: the CPU has bits of its own",
    ),
]

ROWS = 3  # samples of a step
NETS = {
    "tanh, narrow on a GPU": net(2, 21, 3, activation=("tanh",), optimizer="adamw"),
    "sigmoid, narrow on a GPU": net(
        *(3, 7, 2), activation=("sigmoid",), loss="binary_cross_entropy", optimizer="adagrad"
    ),
    "leaky, soft labels": net(2, 9, 5, activation=("leaky_relu",), soft=True, optimizer="rmsprop"),
    "relu, many classes": net(3, 20, 66, 37, optimizer="momentum"),
    "relu, wide": net(5, 128, 70, 7, l1=1e-3, optimizer="adam"),
    "soft labels, many": net(4, 9, 12, 35, soft=True, activation=("tanh", "relu")),
    "squared, many outputs": net(
        *(4, 17, 13, 6),
        activation=("tanh", "leaky_relu"),
        loss="squared_error",
        optimizer="sgd",
        l1=1e-3,
    ),
    "absolute": net(4, 6, 5, 3, activation=("sigmoid", "linear"), loss="absolute_error"),
    "dropout after sigmoid and relu": net(
        *(7, 12, 33, 2), activation=("sigmoid", "relu"), keep=(0.8, 0.5), optimizer="rmsprop"
    ),
    "dropout after tanh, leaky, linear": net(
        *(4, 9, 12, 8, 3), activation=("tanh", "leaky_relu", "linear"), keep=(0.6, 0.7, 0.9)
    ),
}


def cpu_model(of: Net, dtype: str):
    model = of.model(backend_of(dtype))
    return model, fused.engine(model)


def cuda_model(of: Net, dtype: str):
    model = emulated_model(of, dtype)
    return model, steps_of(model)


def one_by_one(of: Net, model, engine, steps):
    """Steps whose samples come one by one: losses and penalties of each."""
    X, y = of.data(model)
    measured = []
    for _ in range(steps):
        for row in range(len(X)):
            engine.accumulate(X[row : row + 1], y[row : row + 1], len(X))
        measured.append([float(value) for value in engine.finish()])
    return np.array(measured)


def assert_same(ours, theirs):
    for one, other in ((gradients, gradients), (state, state)):
        found, expected = one(ours), other(theirs)
        assert found.keys() == expected.keys()
        for key, value in found.items():
            same = value.view(f"u{value.itemsize}") == expected[key].view(f"u{value.itemsize}")
            assert same.all(), f"{one.__name__} {key}: {np.count_nonzero(~same)} of {same.size}"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", NETS)
def test_samples_one_by_one(name, dtype):
    of = replace(NETS[name], rows=ROWS)
    ours, theirs = cpu_model(of, dtype), cuda_model(of, dtype)
    found, expected = (one_by_one(of, *each, 2) for each in (ours, theirs))
    assert_same(ours[0], theirs[0])
    real = np.dtype(dtype).type
    np.testing.assert_array_equal(real(found[:, 0]), real(expected[:, 0]))
    np.testing.assert_allclose(found[:, 1], expected[:, 1], rtol=1e-6)
    np.testing.assert_allclose(found[:, 2], expected[:, 2], rtol=1e-6)
