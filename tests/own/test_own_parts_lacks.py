"""What a part of the user's own lacks is said by name, with the line to add; adding it helps."""

from __future__ import annotations

import numpy as np
import own_networks as networks
import own_parts as own
import pytest
from own_networks import Bare, regression, with_layer, works

from nnfs_gpu import (
    Model,
    use_backend,
)

X = networks.X


@pytest.fixture(autouse=True)
def _float32():
    use_backend("numpy", dtype="float32")


def test_a_layer_without_backward():
    class Layer_Bare(Bare):  # noqa: N801
        pass

    model = with_layer(Layer_Bare())
    with pytest.raises(
        ValueError, match=r"layer 1 \(Layer_Bare\) has no backward.*add: def backward"
    ):
        model.finalize()
    model.optimizer = None
    model.finalize()  # nothing is trained
    assert model.evaluate(X, networks.LABELS, verbose=False)["loss"] > 0

    def backward(self, dvalues):
        self.dinputs = dvalues * 1.0

    Layer_Bare.backward = backward
    works(with_layer(Layer_Bare()))


@pytest.mark.parametrize(
    "forward",
    [
        lambda self, inputs, training, extra: None,
        lambda self: None,
        lambda self, *, training: None,
    ],
)
def test_a_forward_that_wants_something_else(forward):
    layer = type("Layer_Odd", (own.Activation_Tanh,), {"forward": forward})()
    with pytest.raises(ValueError, match=r"layer 1 \(Layer_Odd\): forward takes \(.*expected for"):
        with_layer(layer).finalize()


@pytest.mark.parametrize(
    "forward",
    [
        lambda self, inputs, training: self.keep(inputs, training),
        lambda self, inputs, is_training=False: self.keep(inputs, is_training),
        lambda self, inputs, mode: self.keep(inputs, mode),
        lambda self, inputs, *, training=False: self.keep(inputs, training),
        lambda self, inputs, slope=0.1, training=False: self.keep(inputs, training),
        lambda self, inputs, **options: self.keep(inputs, options["training"]),
        lambda self, *arguments: self.keep(*arguments),
        lambda self, inputs: self.keep(inputs, None),
        lambda self, inputs, slope=0.1: self.keep(inputs, None if slope == 0.1 else slope),
    ],
)
def test_forwards_that_are_understood(forward):
    """`training` by place or by name, where it is taken at all."""
    seen = []

    class Layer_Any(own.Activation_Tanh):  # noqa: N801
        def keep(self, inputs, training):
            seen.append(training)
            self.output = np.tanh(inputs)

    Layer_Any.forward = forward
    model = with_layer(Layer_Any())
    works(model)
    model.predict(X)
    assert seen in ([True] * 5 + [False], [None] * 6)


def test_weights_without_biases():
    class Layer_Scale:  # noqa: N801
        def __init__(self):
            self.weights = np.ones((1, 8))

        def forward(self, inputs, training):
            self.inputs, self.output = inputs, inputs * self.weights

        def backward(self, dvalues):
            self.dweights = np.sum(dvalues * self.inputs, axis=0, keepdims=True)
            self.dinputs = dvalues * self.weights

    with pytest.raises(ValueError, match=r"\(Layer_Scale\) has weights and no biases.*np\.zeros"):
        with_layer(Layer_Scale()).finalize()

    class Layer_Whole(Layer_Scale):  # noqa: N801
        def __init__(self):
            super().__init__()
            self.biases = np.zeros((1, 1))

        def backward(self, dvalues):
            super().backward(dvalues)
            self.dbiases = np.zeros((1, 1))

    layer = Layer_Whole()
    works(with_layer(layer))
    assert (layer.weights != 1).any()
    assert (layer.biases == 0).all()


def test_a_last_layer_without_predictions():
    class Activation_Sine(own.Activation_Tanh):  # noqa: N801
        predictions = property()  # hides Tanh's

    model = regression(last=Activation_Sine())
    with pytest.raises(
        ValueError, match=r"Activation_Sine, which makes no pred.*def predictions\(self, outputs\)"
    ):
        model.finalize()
    Activation_Sine.predictions = lambda self, outputs: outputs
    works(model, networks.NUMBERS)


def test_a_loss_without_backward():
    class Loss_Forward:  # noqa: N801
        def forward(self, y_pred, y_true):
            return np.mean((y_pred - y_true) ** 2, axis=-1)

    model = regression(Loss_Forward())
    with pytest.raises(ValueError, match=r"the loss Loss_Forward has no backward.*add: def backwa"):
        model.finalize()

    def backward(self, dvalues, y_true):
        self.dinputs = 2 * (dvalues - y_true) / len(dvalues)

    Loss_Forward.backward = backward
    works(model, networks.NUMBERS)


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ({"loss": own.Activation_Tanh()}, None),  # forward and backward are all that is asked for
        ({"loss": object()}, r"loss: got <object.*of your own with def forward\(self, y_pred"),
        ({"accuracy": object()}, r"accuracy: got <object.*own with def compare\(self, predictions"),
        ({"loss": own.Accuracy_R2()}, r"loss: got .*Accuracy_R2.*expected an object such as Loss"),
        ({"accuracy": own.Loss_Huber()}, r"accuracy: got .*Huber.*expected an object such as Acc"),
    ],
)
def test_what_is_no_loss_or_accuracy(part, message):
    model = regression()
    model.set(**part)
    if message is None:
        with pytest.raises(ValueError, match=r"the loss Activation_Tanh: backward takes"):
            model.finalize()
        return
    with pytest.raises(TypeError, match=message):
        model.finalize()


@pytest.mark.parametrize(
    ("method", "body", "message"),
    [
        ("forward", lambda self, y_pred: 0, r"Loss_Odd: forward takes \(y_pred\) beside self"),
        ("backward", lambda self, dvalues: 0, r"Loss_Odd: backward takes \(dvalues\) beside self"),
    ],
)
def test_a_loss_that_is_called_otherwise(method, body, message):
    loss = type("Loss_Odd", (own.Loss_Huber,), {method: body})()
    with pytest.raises(ValueError, match=message):
        regression(loss).finalize()


def test_an_accuracy_that_is_called_otherwise():
    accuracy = type("Accuracy_Odd", (), {"compare": lambda self, predictions: 0})()
    with pytest.raises(ValueError, match=r"Accuracy_Odd: compare takes \(predictions\) beside"):
        regression(accuracy=accuracy).finalize()


def test_an_optimizer_without_a_rate():
    class Optimizer_Sign:  # noqa: N801
        def update_params(self, layer):
            layer.weights -= 0.01 * np.sign(layer.dweights)

    model = regression(optimizer=Optimizer_Sign())
    with pytest.raises(ValueError, match=r"Optimizer_Sign has no current_learning_rate.*add to it"):
        model.finalize()
    model.optimizer.current_learning_rate = 0.01
    works(model, networks.NUMBERS)


def test_an_optimizer_that_is_called_otherwise():
    optimizer = type("Optimizer_Odd", (), {"update_params": lambda self: 0, "learning_rate": 1})()
    with pytest.raises(ValueError, match=r"Optimizer_Odd: update_params takes \(\) beside self"):
        regression(optimizer=optimizer).finalize()


def test_nothing_of_a_class_can_be_added():
    for wrong in (own.Activation_Tanh, own.Optimizer_Plain(), None):
        with pytest.raises(TypeError, match=r"one of your own needs the methods forward\(self, in"):
            Model().add(wrong)
    with pytest.raises(TypeError, match=r"of your own with the method update_params\(self, layer"):
        Model().set(optimizer=own.Loss_Huber())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda model: vars(model.layers[1]).update(predictions=lambda: 0), "predictions takes"),
        (lambda model: vars(model.loss).update(calculate=lambda y: 0), "calculate takes"),
        (lambda model: vars(model.accuracy).update(init=lambda: 0), "init takes"),
        (lambda model: vars(model.optimizer).update(pre_update_params=lambda n: 0), "pre_update_p"),
    ],
)
def test_other_methods_that_are_called_otherwise(change, words):
    model = with_layer(own.Activation_Tanh())
    model.set(loss=own.Loss_Hinge(), accuracy=own.Accuracy_R2(), optimizer=own.Optimizer_Plain(1.0))
    change(model)
    with pytest.raises(ValueError, match=rf"{words}.* beside self, expected"):
        model.finalize()


def test_slots_leave_no_room():
    class Layer_Slots(Bare):  # noqa: N801
        __slots__ = ()

    class Layer_Tight:  # noqa: N801
        __slots__ = ("dinputs", "output")
        forward = Bare.forward

        def backward(self, dvalues):
            self.dinputs = dvalues

    with pytest.raises(ValueError, match=r"Layer_Tight has __slots__ .*leave __slots__ out"):
        with_layer(Layer_Tight()).finalize()
    Layer_Slots.backward = Layer_Tight.backward
    works(with_layer(Layer_Slots()))
