"""Yes-or-no outputs and regression: sigmoid, linear, their losses and accuracies (ch. 16, 17)."""

import numpy as np
import operation_formulas as formulas
import pytest
from helpers import assert_close

from nnfs_gpu import (
    Accuracy_Categorical,
    Accuracy_Regression,
    Activation_Linear,
    Activation_Sigmoid,
    Labels,
    Loss_BinaryCrossentropy,
    Loss_MeanAbsoluteError,
    Loss_MeanSquaredError,
)

RNG = np.random.RandomState(5)
SCORES = RNG.randn(7, 3) * 3
(P,) = (found.value for found in formulas.sigmoid_forward(None, SCORES))
T = (RNG.rand(7, 3) > 0.5).astype(np.float64)
Y = RNG.randn(7, 3)


pytestmark = pytest.mark.default_backend


def close(backend, got, expected, ulps=16):
    expected = np.asarray(expected)
    magnitude = np.maximum(1, np.abs(expected))
    assert_close(backend.to_numpy(got), expected, backend.dtype, ulps=ulps, magnitude=magnitude)


# ---- activations ----
def test_sigmoid_forward_backward_and_predictions(backend):
    sigmoid = Activation_Sigmoid()
    close(backend, sigmoid.forward(SCORES), P)
    assert sigmoid.output is not None
    close(backend, sigmoid.inputs, SCORES.astype(backend.dtype))
    dvalues = RNG.randn(7, 3)
    assert sigmoid.backward(dvalues) is sigmoid.dinputs
    close(backend, sigmoid.dinputs, dvalues * P * (1 - P))
    predictions = backend.to_numpy(sigmoid.predictions(sigmoid.output))
    np.testing.assert_array_equal(predictions, (P > 0.5).astype(int))
    np.testing.assert_array_equal(backend.to_numpy(sigmoid.predictions(np.array([[0.5]]))), 0)


@pytest.mark.parametrize("size", [50, 1e4, 3e38])
def test_sigmoid_does_not_overflow(backend, size):
    """Defect B10: the book's exp(-x) overflows at large negative inputs. (Warnings are errors.)"""
    output = backend.to_numpy(Activation_Sigmoid().forward([[-size, size, 0.0]]))
    assert output[0, 0] < 1e-20
    np.testing.assert_array_equal(output[0, 1:], [1, 0.5])


def test_linear_is_the_identity(backend):
    linear = Activation_Linear()
    close(backend, linear.forward(Y), Y.astype(backend.dtype), ulps=0)
    close(backend, linear.backward(SCORES), SCORES.astype(backend.dtype), ulps=0)
    assert linear.predictions(linear.output) is linear.output


# ---- losses ----
def numeric_gradient(f, y, h=1e-6):
    gradient = np.zeros_like(y)
    for i in np.ndindex(y.shape):
        step = np.zeros_like(y)
        step[i] = h
        gradient[i] = (f(y + step) - f(y - step)) / (2 * h)
    return gradient


LOSSES = [
    (Loss_BinaryCrossentropy, P, T, formulas.binary_cross_entropy_forward),
    (Loss_MeanSquaredError, Y, SCORES, formulas.squared_error_forward),
    (Loss_MeanAbsoluteError, Y, SCORES, formulas.absolute_error_forward),
]
each_loss = pytest.mark.parametrize(
    ("kind", "y", "t", "formula"), LOSSES, ids=[case[0].__name__ for case in LOSSES]
)


@each_loss
def test_value_and_gradient(backend, kind, y, t, formula):
    """The gradient is the slope of the mean loss: descent goes down (B1 of the book goes up)."""
    loss = kind()
    y = y.astype(backend.dtype).astype(np.float64)  # log(1 - p) near 1 magnifies p's rounding
    expected = lambda y: formula(np.dtype("float64"), y, t)[0].value  # noqa: E731
    close(backend, loss.forward(y, t), expected(y))
    assert float(loss.calculate(y, t)) == pytest.approx(expected(y).mean(), rel=1e-5)
    gradient = loss.backward(y, t)
    assert gradient is loss.dinputs
    slope = numeric_gradient(lambda z: expected(z).mean(), y)
    np.testing.assert_allclose(backend.to_numpy(gradient), slope, rtol=2e-5, atol=1e-7)


@each_loss
def test_targets_of_one_output_may_have_shape_n(backend, kind, y, t, formula):
    loss = kind()
    flat, column = loss.forward(y[:, :1], t[:, 0]), loss.forward(y[:, :1], t[:, :1])
    np.testing.assert_array_equal(backend.to_numpy(flat), backend.to_numpy(column))
    np.testing.assert_array_equal(
        backend.to_numpy(loss.backward(y[:, :1], t[:, 0])),
        backend.to_numpy(loss.backward(y[:, :1], t[:, :1])),
    )


@each_loss
def test_targets_that_do_not_fit_are_refused(kind, y, t, formula):
    loss = kind()
    for wrong in (t[:, :2], t[:5], t[:, 0], t.reshape(-1)):
        with pytest.raises(ValueError, match=r"targets: got shape .*expected \(7, 3\)"):
            loss.forward(y, wrong)
        with pytest.raises(ValueError, match="targets: got shape"):
            loss.backward(y, wrong)
    bad = t.copy()
    bad[3, 1] = np.nan
    with pytest.raises(ValueError, match=r"targets: got NaN or infinity.*\(3, 1\)"):
        loss.forward(y, bad)
    with pytest.raises(TypeError, match="array of real numbers"):
        loss.forward(y, [["yes"] * 3] * 7)


@each_loss
def test_checked_targets_are_taken_as_they_are_and_can_be_sliced(backend, kind, y, t, formula):
    loss = kind()
    targets = loss.targets(t, 3, 7)
    assert len(targets) == 7
    assert loss.targets(targets, 3, 7) is targets
    np.testing.assert_array_equal(
        backend.to_numpy(loss.forward(y[2:5], targets[2:5])),
        backend.to_numpy(loss.forward(y, t))[2:5],
    )
    with pytest.raises(ValueError, match=r"\(3, 3\), expected \(7, 3\)"):
        loss.forward(y, targets[2:5])


def test_binary_targets_outside_0_to_1_are_refused():
    with pytest.raises(ValueError, match=r"from 0 to 2, expected 0 or 1.*softmax"):
        Loss_BinaryCrossentropy().forward([[0.5], [0.5], [0.5]], [0, 1, 2])


def test_binary_losses_at_probability_0_and_1_stay_finite(backend):
    loss = Loss_BinaryCrossentropy()
    p, t = [[0.0], [1.0], [0.0], [1.0]], [1, 0, 0, 1]
    losses, gradient = (backend.to_numpy(a) for a in (loss.forward(p, t), loss.backward(p, t)))
    assert np.isfinite(losses).all()
    assert np.isfinite(gradient).all()
    assert (losses[:2] > 15.9).all()
    assert (np.sign(gradient[:2, 0]) == [-1, 1]).all()


# ---- accuracies ----
def test_binary_accuracy_compares_one_by_one(backend):
    accuracy = Accuracy_Categorical(binary=True)
    predictions = np.array([[1], [0], [1], [1]])
    for targets in ([1, 1, 1, 0], [[1], [1], [1], [0]]):  # (N,) does not become (N, N): B9
        comparisons = backend.to_numpy(accuracy.compare(predictions, targets))
        np.testing.assert_array_equal(comparisons, [[True], [False], [True], [False]])
    targets = Loss_BinaryCrossentropy().targets([1, 1, 1, 0], 1, 4)
    assert float(accuracy.calculate(predictions, targets)) == 0.5


def test_regression_accuracy(backend):
    accuracy = Accuracy_Regression()
    with pytest.raises(RuntimeError, match="call init"):
        accuracy.compare([[0.0]], [[0.0]])
    y = np.array([[-250.0], [250.0]])
    accuracy.init(y)
    assert accuracy.precision == pytest.approx(1)
    accuracy.init(y * 10)
    assert accuracy.precision == pytest.approx(1)
    accuracy.init(y * 10, reinit=True)
    assert accuracy.precision == pytest.approx(10)
    predictions = [[0.0], [9.0], [11.0], [-9.9]]
    for targets in (np.zeros((4, 1)), np.zeros(4)):
        found = backend.to_numpy(accuracy.compare(predictions, targets))
        np.testing.assert_array_equal(found, [[True], [True], [False], [True]])
    checked = Loss_MeanSquaredError().targets(np.zeros(4), 1, 4)
    assert float(accuracy.calculate(predictions, checked)) == 0.75


def test_predictions_and_targets_must_have_one_shape():
    for accuracy in (Accuracy_Categorical(binary=True), Accuracy_Regression()):
        accuracy.init(np.array([0.0, 1.0]))
        with pytest.raises(ValueError, match=r"predictions of shape \(3, 1\).*\(2, 1\)"):
            accuracy.compare(np.zeros((3, 1)), np.zeros(2))


def test_labels_serve_the_accuracy_too(backend):
    labels = Labels([0, 2, 1], 3, backend)
    assert float(Accuracy_Categorical().calculate(np.array([0, 2, 2]), labels)) == pytest.approx(
        2 / 3
    )


@pytest.mark.parametrize("bad", [[], [1.0, np.nan], [np.inf, 0.0]], ids=repr)
def test_targets_that_give_no_precision(backend, bad):
    accuracy = Accuracy_Regression()
    with pytest.raises(ValueError, match=r"Accuracy_Regression\.init: got . targets, NaN"):
        accuracy.init(np.array(bad))
    assert accuracy.precision is None
