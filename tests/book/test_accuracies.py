"""Accuracies count what is right, also over an epoch, and broadcast nothing (defect B9)."""

import numpy as np
import pytest

from nnfs_gpu import (
    Accuracy,
    Accuracy_Categorical,
    Labels,
)

pytestmark = pytest.mark.default_backend


@pytest.mark.parametrize("kind", ["int8", "uint8", "int32", "int64"])
def test_accuracy_is_the_share_of_right_predictions(backend, kind):
    accuracy = Accuracy_Categorical()
    predictions = backend.asarray([0, 1, 2, 2], "int32")
    y = np.array([0, 1, 2, 1], kind)
    assert float(accuracy.calculate(predictions, y)) == 0.75
    assert float(accuracy.calculate(predictions, np.eye(3)[y])) == 0.75
    assert float(accuracy.calculate(predictions, Labels(y, 3, backend))) == 0.75
    assert float(accuracy.calculate(predictions, Labels(np.eye(3)[y], 3, backend))) == 0.75
    compared = backend.to_numpy(accuracy.compare(predictions, y))
    assert compared.tolist() == [True, True, True, False]


def test_accuracy_accumulates_by_samples(backend):
    accuracy = Accuracy_Categorical()
    with pytest.raises(RuntimeError, match=r"no accuracy has been calculated since new_pass\(\)"):
        accuracy.calculate_accumulated()
    accuracy.calculate(np.array([0, 1, 2]), np.array([0, 1, 1]))
    accuracy.calculate(np.array([0]), np.array([0]))
    assert float(accuracy.calculate_accumulated()) == 0.75
    assert (float(accuracy.accumulated_sum), accuracy.accumulated_count) == (3, 4)
    accuracy.new_pass()
    accuracy.calculate(np.array([0]), np.array([1]))
    assert float(accuracy.calculate_accumulated()) == 0


def test_accuracy_of_300_classes(backend):
    y = np.arange(300)
    assert float(Accuracy_Categorical().calculate(y, y)) == 1
    assert float(Accuracy_Categorical().calculate((y + 256) % 300, y)) == 0


def test_binary_accuracy_compares_element_by_element(backend):
    accuracy = Accuracy_Categorical(binary=True)
    assert float(accuracy.calculate(np.array([[1], [0], [1]]), np.array([[1], [1], [1]]))) == 2 / 3
    with pytest.raises(ValueError, match=r"shape \(3,\) and targets of shape \(3, 1\), expected"):
        accuracy.calculate(np.array([1, 0, 1]), np.array([[1], [1], [1]]))  # the book: 3 x 3


@pytest.mark.parametrize("shape", [(2,), (4,), (3, 3, 1)])
def test_accuracy_of_shapes_that_do_not_fit(backend, shape):
    with pytest.raises(ValueError, match=r"accuracy: got predictions of shape \(3,\) and targets"):
        Accuracy_Categorical().calculate(np.array([0, 1, 2]), np.zeros(shape, int))


@pytest.mark.parametrize(
    "y",
    [
        pytest.param(np.array([[0], [1], [1]]), id="column"),  # argmax of a column: all class 0
        pytest.param(np.array([0.9, 1.9, 2.9]), id="float"),  # truncated to 0, 1, 2
        pytest.param(np.array([0.0, 1.0, np.nan]), id="nan"),
    ],
)
def test_accuracy_of_targets_of_a_wrong_kind(backend, y):
    with pytest.raises((TypeError, ValueError), match=r"got .*expected"):
        Accuracy_Categorical().calculate(np.array([0, 1, 2]), y)


def test_accuracy_takes_lists(backend):
    assert float(Accuracy_Categorical().calculate([0, 1, 2], [0, 1, 1])) == pytest.approx(2 / 3)


def test_base_accuracy_has_no_comparison(backend):
    with pytest.raises(NotImplementedError):
        Accuracy().calculate(np.array([0]), np.array([0]))
