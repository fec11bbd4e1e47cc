"""A chain that is no network is refused before training, with both sides named."""

import pytest

import nnfs_gpu as nnfs
from nnfs_gpu import Layer_Dense as Dense, get_backend, use_backend
from nnfs_gpu.network import checks as network_checks

RELU, SOFTMAX = nnfs.Activation_ReLU, nnfs.Activation_Softmax
SIGMOID, LINEAR = nnfs.Activation_Sigmoid, nnfs.Activation_Linear
CROSS, BINARY = nnfs.Loss_CategoricalCrossentropy, nnfs.Loss_BinaryCrossentropy
SQUARED, ABSOLUTE = nnfs.Loss_MeanSquaredError, nnfs.Loss_MeanAbsoluteError


def check(layers, loss=None, accuracy=None):
    network_checks.check(layers, loss, accuracy, get_backend())


@pytest.mark.parametrize(
    ("layers", "loss", "accuracy"),
    [
        (lambda: [Dense(2, 3), SOFTMAX()], CROSS, nnfs.Accuracy_Categorical),
        (lambda: [SOFTMAX()], CROSS, nnfs.Accuracy_Categorical),
        (
            lambda: [Dense(2, 8), RELU(), nnfs.Layer_Dropout(0.1), Dense(8, 1), SIGMOID()],
            BINARY,
            lambda: nnfs.Accuracy_Categorical(binary=True),
        ),
        (lambda: [Dense(4, 2), LINEAR()], SQUARED, nnfs.Accuracy_Regression),
        (lambda: [Dense(4, 2), RELU()], ABSOLUTE, nnfs.Accuracy_Regression),
        (lambda: [Dense(4, 2), SIGMOID()], SQUARED, nnfs.Accuracy_Regression),
    ],
)
def test_networks_of_the_book_pass(layers, loss, accuracy):
    check(layers(), loss(), accuracy())
    check(layers(), loss(), None)
    check(layers(), None, None)


def test_widths_that_do_not_meet():
    with pytest.raises(ValueError, match=r"layer 3 is Dense\(5, 3\).*give 4 outputs.*Dense\(4,"):
        check([Dense(2, 4), RELU(), nnfs.Layer_Dropout(0.5), Dense(5, 3), SOFTMAX()])


@pytest.mark.parametrize(
    ("last", "loss", "remedy"),
    [
        (RELU, CROSS, r"Activation_Softmax\(\)"),
        (SIGMOID, CROSS, r"Activation_Softmax\(\)"),
        (SOFTMAX, BINARY, r"Activation_Sigmoid\(\)"),
        (LINEAR, BINARY, r"Activation_Sigmoid\(\)"),
        (lambda: Dense(3, 3), SQUARED, r"Activation_Linear\(\)"),
        (lambda: nnfs.Layer_Dropout(0.5), ABSOLUTE, r"Activation_Linear\(\)"),
    ],
)
def test_an_output_that_does_not_fit_the_loss(last, loss, remedy):
    last = last()
    with pytest.raises(ValueError, match=f"{type(last).__name__}.*add .*{remedy}"):
        check([Dense(2, 3), last], loss())


@pytest.mark.parametrize(
    ("last", "loss", "accuracy", "wanted"),
    [
        (SOFTMAX, CROSS, nnfs.Accuracy_Regression, r"Accuracy_Categorical\(\)"),
        (SOFTMAX, CROSS, lambda: nnfs.Accuracy_Categorical(binary=True), r"Accuracy_Categ.*\(\)"),
        (SIGMOID, BINARY, nnfs.Accuracy_Categorical, r"Accuracy_Categ.*binary=True\)"),
        (SIGMOID, BINARY, nnfs.Accuracy_Regression, r"Accuracy_Categ.*binary=True\)"),
        (LINEAR, SQUARED, nnfs.Accuracy_Categorical, r"Accuracy_Regression\(\)"),
        (LINEAR, ABSOLUTE, nnfs.Accuracy_Categorical, r"Accuracy_Regression\(\)"),
    ],
)
def test_an_accuracy_that_does_not_fit_the_loss(last, loss, accuracy, wanted):
    with pytest.raises(ValueError, match=f"{loss.__name__} goes with {wanted}.*, got Accuracy_"):
        check([Dense(2, 3), last()], loss(), accuracy())


def test_an_accuracy_of_one_s_own_fits_every_loss():
    class Mine(nnfs.Accuracy):
        def compare(self, predictions, y):
            return predictions == predictions

    check([Dense(2, 3), SOFTMAX()], CROSS(), Mine())
    check([Dense(2, 3), LINEAR()], SQUARED(), Mine())


def test_parts_of_two_backends():
    with use_backend("numpy", dtype="float64"):
        other = Dense(3, 3)
    for wrong in ([Dense(2, 3), other, LINEAR()], [other, LINEAR()]):
        with pytest.raises(ValueError, match=r"layer \d \(Layer_Dense\) was made for .*float64"):
            check(wrong)


def test_finalize_reports_what_check_finds():
    model = nnfs.Model()
    model.add(Dense(2, 4))
    model.add(Dense(3, 1))
    model.add(LINEAR())
    with pytest.raises(ValueError, match=r"Dense\(3, 1\).*4 outputs"):
        model.finalize()


@pytest.mark.parametrize("make", [RELU, lambda: Dense(4, 4), lambda: nnfs.Layer_Dropout(0.1)])
def test_one_object_in_two_places(make):
    """It would keep the inputs of the second place and give a wrong gradient at the first."""
    twice = make()
    with pytest.raises(ValueError, match=rf"layers 1 and 3 are the same {type(twice).__name__}"):
        check([Dense(2, 4), twice, Dense(4, 4), twice, Dense(4, 3), SOFTMAX()])


@pytest.mark.parametrize("loss", [CROSS, nnfs.Optimizer_SGD(), "mse"])
def test_what_is_no_loss(loss):
    with pytest.raises(TypeError, match=r"loss: got .*, expected an object such as Loss_"):
        check([Dense(2, 3), SOFTMAX()], loss)


@pytest.mark.parametrize("accuracy", [nnfs.Accuracy_Categorical, CROSS(), 0.5])
def test_what_is_no_accuracy(accuracy):
    with pytest.raises(TypeError, match=r"accuracy: got .*, expected an object such as Accuracy_"):
        check([Dense(2, 3), SOFTMAX()], CROSS(), accuracy)


def test_classes_are_no_numbers_for_a_regression():
    with pytest.raises(ValueError, match="Activation_Softmax, which predicts classes"):
        check([Dense(2, 3), SOFTMAX()], SQUARED(), nnfs.Accuracy_Regression())
    check([Dense(2, 3), SOFTMAX()], SQUARED())
