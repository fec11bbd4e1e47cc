"""Networks with parts of the user's own in them, one a kind: see own/parts.py."""

from __future__ import annotations

import numpy as np
import own_parts as own
from networks import dense_model, model_of

from nnfs_gpu import (
    Accuracy_Categorical,
    Accuracy_Regression,
    Activation_Linear,
    Activation_ReLU,
    Activation_Sigmoid,
    Activation_Softmax,
    Layer_Dense,
    Loss_BinaryCrossentropy,
    Loss_CategoricalCrossentropy,
    Loss_MeanSquaredError,
    Optimizer_Adam,
    Optimizer_SGD,
)

RNG = np.random.RandomState(0)
X = RNG.randn(60, 2)
LABELS = np.arctan2(X[:, 1], X[:, 0]).clip(-1.1, 1.1).round().astype(int) + 1
YES = (X[:, :1] * X[:, 1:] > 0).astype(int)
NUMBERS = np.sin(3 * X[:, :1]) + 0.5


class OnScores(own.Accuracy_Own):
    """Categorical accuracy of a network that ends in scores."""

    def compare(self, predictions, y):
        return super().compare(np.argmax(predictions, axis=1), y)


def classifier(*inside, last=Activation_Softmax, loss=None, accuracy=None, optimizer=None):
    """2-12-3 with these layers in the middle; targets are class indices."""

    def make():
        layers = [Layer_Dense(2, 12), *(one() for one in inside), Layer_Dense(12, 3), last()]
        measures = (loss or Loss_CategoricalCrossentropy)(), (accuracy or Accuracy_Categorical)()
        return layers, *measures, (optimizer or adam)(), LABELS

    return make


def values(*inside, last=Activation_Linear, loss=None, accuracy=None):
    def make():
        inner = [one() for one in inside or [Activation_ReLU]]
        layers = [Layer_Dense(2, 12), *inner, Layer_Dense(12, 1), last()]
        measures = (loss or Loss_MeanSquaredError)(), (accuracy or Accuracy_Regression)()
        return layers, *measures, adam(), NUMBERS

    return make


def binary(accuracy):
    def make():
        layers = [Layer_Dense(2, 12), Activation_ReLU(), Layer_Dense(12, 1), Activation_Sigmoid()]
        return layers, Loss_BinaryCrossentropy(), accuracy(), adam(), YES

    return make


def own_first():
    layers = [own.Layer_Squares(), own.Layer_OwnDense(4, 12), own.Activation_Tanh()]
    layers += [own.Layer_OwnDense(12, 3), Activation_Softmax()]
    return layers, Loss_CategoricalCrossentropy(), Accuracy_Categorical(), adam(), LABELS


def adam():
    return Optimizer_Adam(0.05)


def with_(make, *arguments):
    return lambda: make(*arguments)


RELU = Activation_ReLU
LAYERS = {
    "tanh": classifier(own.Activation_Tanh),
    "leaky": classifier(own.Activation_LeakyReLU),
    "elu": classifier(with_(own.Activation_ELU, 1.0)),
    "softplus": classifier(own.Activation_Softplus),
    "swish": classifier(own.Activation_Swish),
    "relu6": classifier(own.Activation_ReLU6),
    "temperature": classifier(RELU, last=own.Activation_SoftmaxTemperature),
    "softmax": classifier(RELU, last=own.Activation_OwnSoftmax),
    "tanh last": values(last=own.Activation_Tanh),
    "print": classifier(RELU, own.Layer_Print),
    "reshape": classifier(
        with_(own.Layer_Reshape, 3, 4), own.Activation_Tanh, with_(own.Layer_Reshape, 12)
    ),
    "dense": classifier(with_(own.Layer_OwnDense, 12, 12), RELU),
    "batch norm": classifier(with_(own.Layer_BatchNorm, 12), RELU),
    "prelu": classifier(with_(own.Layer_PReLU, 12)),
    "scaled": classifier(RELU, with_(own.Layer_DenseScaled, 12, 12)),
    "first": own_first,
}
LOSSES = {
    "huber": values(loss=own.Loss_Huber),
    "log cosh": values(loss=own.Loss_LogCosh),
    "tallied": values(loss=own.Loss_Tallied),
    "hinge": classifier(RELU, last=Activation_Linear, loss=own.Loss_Hinge, accuracy=OnScores),
    "focal": classifier(RELU, loss=own.Loss_Focal),
    "combined": classifier(
        RELU, last=Activation_Linear, loss=own.SoftmaxAndLoss, accuracy=OnScores
    ),
}
ACCURACIES = {
    "r2": values(accuracy=own.Accuracy_R2),
    "within": values(accuracy=with_(own.Accuracy_Within, 0.1)),
    "f1": binary(own.Accuracy_F1),
    "book": classifier(RELU, accuracy=own.Accuracy_Own),
    "top 2": classifier(RELU, last=own.Activation_Scores, accuracy=own.Accuracy_Top2),
    "percent": classifier(RELU, accuracy=own.Accuracy_Percent),
}
OPTIMIZERS = {
    "adamw": classifier(RELU, optimizer=with_(own.Optimizer_AdamW, 0.05)),
    "nadam": classifier(RELU, optimizer=with_(own.Optimizer_Nadam, 0.05)),
    "plain": classifier(RELU, optimizer=with_(own.Optimizer_Plain, 1.0)),
    "cosine": classifier(RELU, optimizer=with_(own.Optimizer_Cosine, 1.0)),
    "wrapped": classifier(RELU, optimizer=lambda: own.Optimizer_Wrapped(adam())),
}
NOISE = {"noise": classifier(with_(own.Layer_GaussianNoise, 0.1), RELU)}
ALL = LAYERS | LOSSES | ACCURACIES | OPTIMIZERS | NOISE


def build(name, seed=1):
    """The finalized model called `name`, and its targets."""
    np.random.seed(seed)
    layers, loss, accuracy, optimizer, y = ALL[name]()
    return model_of(*layers, loss=loss, optimizer=optimizer, accuracy=accuracy), y


def ours():
    """A network that is fused as it stands."""
    return dense_model(2, 8, 3, optimizer=Optimizer_SGD(), seed=0)


def with_layer(layer):
    """2-8-3 with the layer in the middle, not finalized."""
    model = ours()
    model.layers[1] = layer
    return model


def regression(loss=None, accuracy=None, optimizer=None, last=None):
    model, _ = build("huber")
    if last is not None:
        model.layers[-1] = last
    model.set(
        loss=loss or Loss_MeanSquaredError(), accuracy=accuracy or Accuracy_Regression(),
        optimizer=optimizer,
    )  # fmt: skip
    return model


def works(model, y=LABELS):
    """With the line added: the very same class trains."""
    model.finalize()
    history = model.train(X, y, epochs=5, print_every=None)
    assert np.isfinite(history["loss"]).all()


class Bare:
    """A layer that only hands on; tests add what it lacks."""

    def forward(self, inputs, training):
        self.output = inputs
