"""Softmax, loss and the full model of the notes, with the notes' numbers: N11 to N16."""

from __future__ import annotations

import numpy as np
import pytest

import nnfs_gpu
from nnfs_gpu import (
    Activation_ReLU,
    Activation_Softmax,
    Activation_Softmax_Loss_CategoricalCrossentropy,
    Layer_Dense,
    Loss,
    Loss_CategoricalCrossentropy,
    get_backend,
    use_backend,
)

pytestmark = pytest.mark.default_backend


# ---- softmax (note 004) ----
def test_n11_jacobian_of_one_sample(backend, same):
    jacobian = backend.softmax_jacobian(backend.asarray([[0.7, 0.1, 0.2]]))
    same(jacobian, [[[0.21, -0.07, -0.14], [-0.07, 0.09, -0.02], [-0.14, -0.02, 0.16]]])


def notes_backward(output, dvalues):
    """Activation_Softmax.backward as note 002 has it: a Python loop over samples."""
    dinputs = np.empty_like(dvalues)
    for index, (single_output, single_dvalues) in enumerate(zip(output, dvalues, strict=True)):
        single_output = single_output.reshape(-1, 1)
        jacobian_matrix = np.diagflat(single_output) - np.dot(single_output, single_output.T)
        dinputs[index] = np.dot(jacobian_matrix, single_dvalues)
    return dinputs


@pytest.mark.parametrize("shape", [(1, 3), (300, 3), (64, 10), (5, 2)], ids=str)
def test_n12_softmax_backward_equals_the_notes_loop(backend, same, shape):
    rng = np.random.RandomState(12)
    softmax = Activation_Softmax()
    softmax.forward(2 * rng.randn(*shape))
    dvalues = rng.randn(*shape).astype(backend.dtype)
    output = np.array(backend.to_numpy(softmax.output), np.float64)
    expected = notes_backward(output, dvalues.astype(np.float64))
    size = output * (np.abs(dvalues) + (output * np.abs(dvalues)).sum(axis=1, keepdims=True))
    same(softmax.backward(dvalues), expected, ulps=8, magnitude=size)


# ---- loss (notes 002, 004) ----
SOFTMAX_OUTPUTS = np.array([[0.7, 0.1, 0.2], [0.1, 0.5, 0.4], [0.02, 0.9, 0.08]])
CLASS_TARGETS = np.array([0, 1, 1])


@pytest.mark.parametrize("kind", ["sparse", "one-hot"])
def test_n13_cross_entropy(backend, same, kind):
    targets = CLASS_TARGETS if kind == "sparse" else np.eye(3)[CLASS_TARGETS]
    loss = Loss_CategoricalCrossentropy()
    assert isinstance(loss, Loss)
    losses = -np.log([0.7, 0.5, 0.9])
    same(loss.forward(SOFTMAX_OUTPUTS, targets), losses)
    same(np.asarray(loss.calculate(SOFTMAX_OUTPUTS, targets)), losses.mean())
    dinputs = loss.backward(SOFTMAX_OUTPUTS, targets)
    assert dinputs is loss.dinputs
    same(dinputs, [[-1 / 0.7 / 3, 0, 0], [0, -2 / 3, 0], [0, -1 / 0.9 / 3, 0]])


COMBINED = [[-0.3, 0.1, 0.2], [0.1, -0.5, 0.4], [0.02, -0.1, 0.08]]  # times 1/3


@pytest.mark.parametrize("kind", ["sparse", "one-hot"])
def test_n14_combined_equals_separate(same, kind):
    targets = CLASS_TARGETS if kind == "sparse" else np.eye(3)[CLASS_TARGETS]
    expected = np.array(COMBINED) / 3
    np.testing.assert_allclose(expected[0], [-0.1, 0.0333, 0.0667], atol=5e-5)
    softmax_loss = Activation_Softmax_Loss_CategoricalCrossentropy()
    softmax_loss.backward(SOFTMAX_OUTPUTS, targets)
    same(softmax_loss.dinputs, expected, ulps=1)
    activation = Activation_Softmax()
    activation.output = SOFTMAX_OUTPUTS  # as the note does, in whatever dtype
    loss = Loss_CategoricalCrossentropy()
    loss.backward(SOFTMAX_OUTPUTS, targets)
    activation.backward(loss.dinputs)
    same(activation.dinputs, expected, ulps=2)
    assert SOFTMAX_OUTPUTS[0].tolist() == [0.7, 0.1, 0.2]


# ---- the full model of chapter 9 (note 004) ----
def test_n16_full_model(backend_name):
    """The numbers that the book prints, with `init()` and float32."""
    use_backend(get_backend(backend_name, dtype="float32"))
    nnfs_gpu.init()
    X, y = nnfs_gpu.spiral_data(samples=100, classes=3)
    dense1, activation1, dense2 = Layer_Dense(2, 3), Activation_ReLU(), Layer_Dense(3, 3)
    loss_activation = Activation_Softmax_Loss_CategoricalCrossentropy()
    assert dense1.backend.name == backend_name
    dense1.forward(X)
    activation1.forward(dense1.output)
    dense2.forward(activation1.output)
    loss = loss_activation.forward(dense2.output, y)
    numpy = dense1.backend.to_numpy
    output = numpy(loss_activation.output)
    np.testing.assert_allclose(output[1], [0.3333332, 0.3333332, 0.33333364], rtol=0, atol=6e-8)
    assert abs(float(loss) - 1.0986104) < 2e-7
    assert np.mean(np.argmax(output, axis=1) == numpy(y)) == 0.34
    loss_activation.backward(loss_activation.output, y)
    dense2.backward(loss_activation.dinputs)
    activation1.backward(dense2.dinputs)
    dense1.backward(activation1.dinputs)
    expected = [
        [1.5766357e-04, 7.8368583e-05, 4.7324400e-05],
        [1.8161038e-04, 1.1045573e-05, -3.3096312e-05],
    ]
    np.testing.assert_allclose(numpy(dense1.dweights), expected, rtol=2e-6)
    expected = [[-3.60553473e-04, 9.66117223e-05, -1.03671395e-04]]
    # 300 terms of up to 2e-5 are added: their order moves the sum by some 1e-9.
    np.testing.assert_allclose(numpy(dense1.dbiases), expected, rtol=2e-6, atol=2e-9)
    for part in (dense1.dweights, dense1.dbiases, dense2.dweights, dense2.dbiases, output):
        assert part.dtype == np.float32
