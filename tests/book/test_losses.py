"""Losses and accuracies: values, gradients, sums over an epoch, and what they refuse.

Proves the loss classes against numbers worked out here in float64: the book's attributes, the
accumulators before and after `new_pass` (the book's raise, defect B5), soft labels in the
combined class (B3), the clip at probability 0 (B2), the penalty beside the mean; and that an
accuracy counts what is right and does not broadcast what does not fit (B9).
"""

import numpy as np
import pytest
from helpers import assert_close
from operation_formulas import softmax_forward

from nnfs_gpu import (
    Activation_Softmax,
    Activation_Softmax_Loss_CategoricalCrossentropy,
    Layer_Dense,
    Loss,
    Loss_CategoricalCrossentropy,
    use_backend,
)

P = np.array([[0.7, 0.1, 0.2], [0.1, 0.5, 0.4], [0.02, 0.9, 0.08]])
Y = [0, 1, 1]
SOFT = np.array([[0.8, 0.15, 0.05], [0.3, 0.6, 0.1], [0.25, 0.25, 0.5]])
SCORES = np.array([[2.0, -1.0, 0.5], [0.1, 0.2, 0.3], [-3.0, 4.0, 1.0]])


def softmax(x):
    return softmax_forward(None, x)[0].value


def close(backend, got, expected):
    """Equal to a few roundings, and of the backend's dtype."""
    expected = np.asarray(expected)
    magnitude = np.maximum(1, np.abs(expected))
    assert_close(backend.to_numpy(got), expected, backend.dtype, ulps=8, magnitude=magnitude)


pytestmark = pytest.mark.default_backend


# ---- categorical cross-entropy ----


def test_losses_of_the_samples_and_their_mean(backend):
    loss = Loss_CategoricalCrossentropy()
    close(backend, loss.forward(P, Y), -np.log([0.7, 0.5, 0.9]))
    close(backend, loss.forward(P, SOFT), -(SOFT * np.log(P)).sum(axis=1))
    assert float(loss.calculate(P, Y)) == pytest.approx(-np.log([0.7, 0.5, 0.9]).mean(), rel=1e-6)


def test_gradient_is_returned_and_stored(backend):
    loss = Loss_CategoricalCrossentropy()
    dinputs = loss.backward(P, Y)
    assert dinputs is loss.dinputs
    close(backend, dinputs, -np.eye(3)[Y] / P / 3)
    close(backend, loss.backward(P, SOFT), -SOFT / P / 3)


def test_probability_0_and_1_stay_finite(backend):
    loss = Loss_CategoricalCrossentropy()
    p = np.array([[0.0, 1.0], [1.0, 0.0]])
    for y in ([0, 0], [[1, 0], [1, 0]]):
        losses = backend.to_numpy(loss.forward(p, y))
        assert losses[0] == pytest.approx(-np.log(1e-7), rel=1e-5)  # 16.118, the largest
        assert 0 <= losses[1] < 2e-7
        gradient = backend.to_numpy(loss.backward(p, y))
        assert np.isfinite(gradient).all()
        assert gradient[0, 0] == pytest.approx(-1e7 / 2, rel=1e-5)
        assert gradient[1, 0] == pytest.approx(-0.5, rel=1e-5)


def test_a_nan_prediction_is_a_nan_loss(backend):
    loss = Loss_CategoricalCrossentropy()
    p = np.array([[np.nan, 0.5], [0.5, 0.5]])
    assert np.isnan(float(loss.calculate(p, [0, 0])))
    assert np.isnan(float(loss.calculate(p, [[1, 0], [1, 0]])))


@pytest.mark.parametrize("shape", [(3,), (0, 3), (3, 3, 1)])
def test_predictions_of_a_wrong_shape(backend, shape):
    loss = Loss_CategoricalCrossentropy()
    for call in (loss.forward, loss.calculate, loss.backward):
        with pytest.raises(ValueError, match=r"^Loss_CategoricalCrossentropy: got .*expected"):
            call(np.ones(shape), Y)
    combined = Activation_Softmax_Loss_CategoricalCrossentropy()
    with pytest.raises(ValueError, match=r"got .*expected"):
        combined.forward(np.ones(shape), Y)
    with pytest.raises(ValueError, match=rf"^{type(combined).__name__}: got .*expected"):
        combined.backward(np.ones(shape), Y)


def test_base_class_has_no_formula(backend):
    with pytest.raises(NotImplementedError):
        Loss().calculate(P, Y)


# ---- sums over an epoch ----


def test_a_new_loss_accumulates_at_once(backend):
    loss = Loss_CategoricalCrossentropy()  # the book: AttributeError before new_pass()
    first, second = loss.calculate(P, Y), loss.calculate(P[:1], Y[:1])
    assert loss.accumulated_count == 4
    assert float(loss.accumulated_sum) == pytest.approx(3 * float(first) + float(second), rel=1e-6)
    expected = -np.log([0.7, 0.5, 0.9, 0.7]).mean()
    assert float(loss.calculate_accumulated()) == pytest.approx(expected, rel=1e-6)


def test_new_pass_forgets(backend):
    loss = Loss_CategoricalCrossentropy()
    with pytest.raises(RuntimeError, match=r"no loss .* since new_pass\(\); calculate one first"):
        loss.calculate_accumulated()
    loss.calculate(P, Y)
    loss.new_pass()
    assert (loss.accumulated_sum, loss.accumulated_count) == (0, 0)
    with pytest.raises(RuntimeError, match="calculate one first"):
        loss.calculate_accumulated(include_regularization=True)
    loss.calculate(P[1:], Y[1:])
    assert float(loss.calculate_accumulated()) == pytest.approx(-np.log([0.5, 0.9]).mean(), 1e-6)


def test_batches_weigh_by_their_samples(backend):
    rng = np.random.RandomState(0)
    p, y = softmax(rng.randn(103, 4)), rng.randint(0, 4, 103)
    loss = Loss_CategoricalCrossentropy()
    whole = float(loss.calculate(p, y))
    loss.new_pass()
    for start in range(0, 103, 10):
        loss.calculate(p[start : start + 10], y[start : start + 10])
    assert loss.accumulated_count == 103
    assert float(loss.calculate_accumulated()) == pytest.approx(whole, rel=1e-6)


def test_many_small_batches_lose_no_digits(backend_name):
    with use_backend(backend_name, dtype="float32"):
        loss = Loss_CategoricalCrossentropy()
    loss.accumulated_sum, loss.accumulated_count = np.float64(2e8), 10**8
    before = float(loss.accumulated_sum)
    loss.calculate([[0.5, 0.5]], [0])  # 0.69 of 2e8: a float32 sum would not move
    assert float(loss.accumulated_sum) - before == pytest.approx(np.log(2), rel=1e-5)


# ---- the penalty ----


def test_regularization_is_returned_beside_the_mean(backend):
    layer = Layer_Dense(2, 2, weight_regularizer_l2=0.5)
    layer.weights = [[1.0, 2.0], [-3.0, 0.0]]
    loss = Loss_CategoricalCrossentropy()
    loss.remember_trainable_layers([layer])
    data, penalty = loss.calculate(P, Y, include_regularization=True)
    assert float(data) == pytest.approx(-np.log([0.7, 0.5, 0.9]).mean(), rel=1e-6)
    assert float(penalty) == pytest.approx(7.0, rel=1e-6)
    assert np.ndim(loss.calculate(P, Y)) == 0  # without it: the mean alone
    data, penalty = loss.calculate_accumulated(include_regularization=True)
    assert float(data) == pytest.approx(-np.log([0.7, 0.5, 0.9]).mean(), rel=1e-6)
    assert float(penalty) == pytest.approx(7.0, rel=1e-6)


def test_without_layers_the_penalty_is_0(backend):
    loss = Loss_CategoricalCrossentropy()
    assert float(loss.calculate(P, Y, include_regularization=True)[1]) == 0


# ---- softmax and cross-entropy as one ----


def test_combined_forward_keeps_the_books_attributes(backend):
    combined = Activation_Softmax_Loss_CategoricalCrossentropy()
    value = combined.forward(SCORES, Y)
    probabilities = softmax(SCORES)
    close(backend, combined.output, probabilities)
    assert combined.output is combined.activation.output
    assert isinstance(combined.activation, Activation_Softmax)
    assert isinstance(combined.loss, Loss_CategoricalCrossentropy)
    assert float(value) == pytest.approx(-np.log(probabilities[range(3), Y]).mean(), rel=1e-6)


@pytest.mark.parametrize("y", [Y, np.eye(3)[Y].astype(int), SOFT], ids=["sparse", "hot", "soft"])
def test_combined_gradient_equals_the_separate_route(backend, y):
    combined = Activation_Softmax_Loss_CategoricalCrossentropy()
    combined.forward(SCORES, y)
    dinputs = combined.backward(combined.output, y)
    assert dinputs is combined.dinputs
    t = np.eye(3)[y] if np.ndim(y) == 1 else y
    close(backend, dinputs, (softmax(SCORES) - t) / 3)
    activation, loss = Activation_Softmax(), Loss_CategoricalCrossentropy()
    activation.forward(SCORES)
    loss.backward(activation.output, y)
    close(backend, activation.backward(loss.dinputs), backend.to_numpy(dinputs))


def test_combined_gradient_does_not_change_the_probabilities(backend):
    combined = Activation_Softmax_Loss_CategoricalCrossentropy()
    combined.forward(SCORES, Y)
    before = backend.to_numpy(combined.output).copy()
    combined.backward(combined.output, Y)
    np.testing.assert_array_equal(backend.to_numpy(combined.output), before)


def test_combined_gradient_is_that_of_the_loss(backend_name):
    """Central differences in float64 at asymmetric scores and soft targets."""
    with use_backend(backend_name, dtype="float64"):
        combined = Activation_Softmax_Loss_CategoricalCrossentropy()
    direction = np.random.RandomState(3).randn(3, 3)
    combined.forward(SCORES, SOFT)
    gradient = combined.backend.to_numpy(combined.backward(combined.output, SOFT))
    slope = float((gradient * direction).sum())
    h = 1e-6
    up, down = (float(combined.forward(SCORES + s * h * direction, SOFT)) for s in (1, -1))
    assert slope == pytest.approx((up - down) / (2 * h), rel=1e-7)


def test_extreme_scores(backend):
    combined = Activation_Softmax_Loss_CategoricalCrossentropy()
    value = float(combined.forward([[1e4, -1e4], [-1e4, 1e4]], [1, 1]))
    assert value == pytest.approx(-np.log(1e-7) / 2, rel=1e-5)
    close(backend, combined.backward(combined.output, [1, 1]), [[0.5, -0.5], [0, 0]])


def test_predictions_without_classes(backend):
    with pytest.raises(ValueError, match=r"got .*\(3, 0\).*expected \(samples, "):
        Loss_CategoricalCrossentropy().forward(np.zeros((3, 0)), [0, 0, 0])


def test_float64_predictions_in_a_float32_loss(backend_name):
    with use_backend(backend_name, dtype="float32"):
        loss = Loss_CategoricalCrossentropy()
    assert loss.forward(P, Y).dtype == np.float32
    assert loss.backward(P, SOFT).dtype == np.float32
