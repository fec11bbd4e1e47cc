"""Own parts in programs of chapters 9 to 17, without `Model`; and optimizers that take over."""

from __future__ import annotations

import inspect

import numpy as np
import own_networks as networks
import own_parts as own
import pytest

import nnfs_gpu as nnfs
from nnfs_gpu import (
    Activation_Linear,
    Activation_ReLU,
    Activation_Softmax_Loss_CategoricalCrossentropy,
    Layer_Dense,
    Loss_CategoricalCrossentropy,
    Optimizer_Adagrad,
    Optimizer_Adam,
    Optimizer_RMSprop,
    Optimizer_SGD,
    use_backend,
)

X, Y = networks.X, networks.LABELS


@pytest.fixture(params=["numpy", "numba"])
def cpu(request):
    return use_backend(request.param, dtype="float32")


def forward(layer, inputs):
    """As the chapter has it: with `training` or without."""
    wants = "training" in inspect.signature(layer.forward).parameters
    layer.forward(inputs, *([True] if wants else []))
    return layer.output


CLASSES = {
    "activation": (Layer_Dense, own.Activation_Tanh, lambda: Optimizer_Adam(0.05)),
    "subclass": (Layer_Dense, own.Activation_ReLU6, lambda: Optimizer_SGD(1.0, momentum=0.5)),
    "optimizer": (Layer_Dense, Activation_ReLU, lambda: own.Optimizer_Nadam(0.05)),
    "plain": (Layer_Dense, own.Activation_LeakyReLU, lambda: own.Optimizer_Plain(1.0)),
    "dense": (own.Layer_OwnDense, Activation_ReLU, lambda: Optimizer_Adam(0.05)),
    "momentum": (own.Layer_OwnDense, Activation_ReLU, lambda: Optimizer_SGD(1.0, momentum=0.5)),
    "sgd": (own.Layer_OwnDense, own.Activation_Softplus, lambda: Optimizer_SGD(1.0)),
    "rmsprop": (own.Layer_OwnDense, Activation_ReLU, lambda: Optimizer_RMSprop(0.02)),
    "adagrad": (own.Layer_OwnDense, Activation_ReLU, lambda: Optimizer_Adagrad(0.5)),
}


@pytest.mark.parametrize("name", CLASSES)
def test_a_classifier_of_chapter_10(cpu, name):
    dense, activation, optimizer = CLASSES[name]
    np.random.seed(0)
    dense1, activation1, dense2 = dense(2, 16), activation(), dense(16, 3)
    loss_activation = Activation_Softmax_Loss_CategoricalCrossentropy()
    optimizer, losses, dtype = optimizer(), [], dense1.weights.dtype
    for _ in range(60):
        output = forward(dense2, forward(activation1, forward(dense1, X)))
        data_loss = loss_activation.forward(output, Y)
        penalty = loss_activation.loss.regularization_loss(dense1)
        losses.append(float(data_loss + penalty))
        loss_activation.backward(loss_activation.output, Y)
        dense2.backward(loss_activation.dinputs)
        activation1.backward(dense2.dinputs)
        dense1.backward(activation1.dinputs)
        for method in ("pre_update_params", "post_update_params"):
            if method[:3] == "pos":
                optimizer.update_params(dense1)
                optimizer.update_params(dense2)
            getattr(optimizer, method, lambda: None)()
    assert losses[-1] < 0.5 * losses[0]
    assert dense1.weights.dtype == dtype  # a layer without a model keeps what it was made with


@pytest.mark.parametrize("loss", [own.Loss_LogCosh, own.Loss_Tallied])
def test_a_regression_of_chapter_17(cpu, loss):
    np.random.seed(0)
    dense1, activation1 = Layer_Dense(2, 16, weight_regularizer_l2=1e-4), Activation_ReLU()
    dense2, activation2 = Layer_Dense(16, 1), Activation_Linear()
    loss_function, optimizer, losses = loss(), Optimizer_Adam(0.02), []
    accuracy, y = own.Accuracy_Within(0.2), networks.NUMBERS
    for _ in range(80):
        output = forward(dense2, forward(activation1, forward(dense1, X)))
        output = forward(activation2, output)
        data_loss = loss_function.calculate(output, y)
        losses.append(float(data_loss + loss_function.regularization_loss(dense1)))
        loss_function.backward(output, y)
        activation2.backward(loss_function.dinputs)
        dense2.backward(activation2.dinputs)
        activation1.backward(dense2.dinputs)
        dense1.backward(activation1.dinputs)
        optimizer.pre_update_params()
        optimizer.update_params(dense1)
        optimizer.update_params(dense2)
        optimizer.post_update_params()
    assert losses[-1] < 0.5 * losses[0]
    expected = np.mean(loss_function.forward(output, y.astype(output.dtype)))
    assert float(loss_function.calculate(output, y)) == pytest.approx(float(expected), rel=1e-5)
    hits = np.mean(np.abs(output - y) < 0.2)
    assert accuracy.calculate(output, y) == pytest.approx(hits)
    assert accuracy.calculate_accumulated() == pytest.approx(hits)


def test_penalties_of_layers_without_factors_are_none(cpu):
    loss = Loss_CategoricalCrossentropy()
    assert loss.regularization_loss(own.Layer_OwnDense(2, 3)) == 0
    layer = own.Layer_OwnDense(2, 3)
    layer.weight_regularizer_l2 = 0.5
    assert loss.regularization_loss(layer) == pytest.approx(0.5 * np.sum(layer.weights**2))


def test_an_own_layer_may_have_penalties_and_none(cpu):
    """In a model: the factors that it has count, those that it lacks are 0."""
    model, y = networks.build("dense")
    layer = model.layers[1]
    layer.weight_regularizer_l2 = 0.25
    expected = 0.25 * np.sum(layer.weights.astype(np.float64) ** 2)
    assert model.loss.regularization_loss() == pytest.approx(expected, rel=1e-5)
    for loss in (own.Loss_Hinge(), nnfs.Loss_CategoricalCrossentropy()):
        model.set(loss=loss)
        model.finalize()
        history = model.train(X, y, print_every=None)
        assert history["reg_loss"][0] > 0


# ---- optimizers that take over ----
def test_an_own_optimizer_begins_anew(cpu):
    """Momentums that ours has left point the other way: the book's programs mix them up."""
    model, y = networks.build("tanh")
    model.set(optimizer=Optimizer_SGD(0.5, momentum=0.9))
    model.finalize()
    model.train(X, y, epochs=3, print_every=None)
    twin = networks.build("tanh")[0]
    twin.set_parameters(model.get_parameters())
    assert hasattr(model.layers[0], "weight_momentums")
    for one in (model, twin):
        one.set(optimizer=own.Optimizer_Nadam(0.01))
        one.finalize()
        one.train(X, y, epochs=3, print_every=None)
    np.testing.assert_array_equal(model.predict(X), twin.predict(X))
    model.set(optimizer=Optimizer_Adam(0.01))  # and back again
    model.finalize()
    twin.set(optimizer=Optimizer_Adam(0.01))
    twin.finalize()
    runs = [one.train(X, y, epochs=3, print_every=None) for one in (model, twin)]
    assert runs[0].history == runs[1].history


def test_an_optimizer_that_hands_the_work_to_ours_keeps_its_state(cpu):
    model, y = networks.build("wrapped")
    twin = networks.build("wrapped")[0]
    twin.set(optimizer=Optimizer_Adam(0.05))
    twin.finalize()
    for _ in range(3):
        for one in (model, twin):
            one.train(X, y, epochs=2, print_every=None, engine="layers")
    np.testing.assert_array_equal(model.predict(X), twin.predict(X))


def test_parts_can_be_changed_between_two_trainings(cpu):
    """As the book's readers do it, without `set`: the next call works with the new ones."""
    model, y = networks.build("tanh")
    model.optimizer, model.accuracy = own.Optimizer_Plain(0.5), own.Accuracy_Own()
    history = model.train(X, y, epochs=2, print_every=None)
    assert history["learning_rate"] == [0.5, 0.5]
    model.softmax_classifier_output = own.SoftmaxAndLoss()  # of the book's chapter 18
    model.softmax_classifier_output.activation.forward = lambda inputs, training: None
    model.softmax_classifier_output.activation.output = np.zeros((60, 3), np.float32)
    model.train(X, y, print_every=None)
    assert model.softmax_classifier_output.dinputs.shape == (60, 3)
