"""The classes of the book's programs in plain NumPy: what `nnfs_gpu` is compared with.

Written from the formulas and signatures of the book, chapters 9 to 22, with nothing of
`nnfs_gpu` in it: float32 arithmetic in the book's order, matrix products summed in float64 and
rounded once (what the package `nnfs` makes of np.dot, here without patching it), random draws
in the book's order from NumPy's global stream. Its defects are left out of what the programs
do: labels are right, probabilities clipped, MeanAbsoluteError goes downhill, a dropout mask is
float32. A program runs over it by `from book_reference import *`; it checks no arguments.
"""

from __future__ import annotations

import pickle

import numpy as np
from book_optimizers import *  # noqa: F403
from book_parts import *  # noqa: F403 - a program takes all names from here
from book_parts import (
    Accumulator,
    Activation_Softmax,
    Activation_Softmax_Loss_CategoricalCrossentropy,
    Loss_CategoricalCrossentropy,
    randn,
)


def init():
    np.random.seed(0)


# ---- data sets ----
def spiral_data(samples, classes):
    X, y = np.zeros((samples * classes, 2), np.float32), np.zeros(samples * classes, np.int64)
    for c in range(classes):
        rows = range(samples * c, samples * (c + 1))
        r = np.linspace(0.0, 1, samples)
        t = np.linspace(c * 4, (c + 1) * 4, samples) + randn(samples) * 0.2
        X[rows] = np.c_[r * np.sin(t * 2.5), r * np.cos(t * 2.5)]
        y[rows] = c
    return X, y


def sine_data(samples=1000):
    X = np.arange(samples).reshape(-1, 1) / samples
    return X.astype(np.float32), np.sin(2 * np.pi * X).astype(np.float32)


# ---- accuracies ----
class Accuracy(Accumulator):
    def calculate(self, predictions, y):
        return self.add(self.compare(predictions, y))

    def calculate_accumulated(self):
        return self.accumulated()


class Accuracy_Categorical(Accuracy):  # noqa: N801
    def __init__(self, *, binary=False):
        super().__init__()
        self.binary = binary

    def init(self, y):
        pass

    def compare(self, predictions, y):
        return predictions == (np.argmax(y, axis=1) if y.ndim == 2 and not self.binary else y)


class Accuracy_Regression(Accuracy):  # noqa: N801
    precision = None

    def init(self, y, reinit=False):
        if self.precision is None or reinit:
            self.precision = np.std(y) / 250

    def compare(self, predictions, y):
        return np.absolute(predictions - y) < self.precision


# ---- model ----
class Model:
    loss = optimizer = accuracy = None

    def __init__(self):
        self.layers, self.softmax_classifier_output = [], None

    def add(self, layer):
        self.layers.append(layer)

    def set(self, *, loss=None, optimizer=None, accuracy=None):
        self.loss = loss if loss is not None else self.loss
        self.optimizer = optimizer if optimizer is not None else self.optimizer
        self.accuracy = accuracy if accuracy is not None else self.accuracy

    def finalize(self):
        self.trainable_layers = [layer for layer in self.layers if hasattr(layer, "weights")]
        self.output_layer_activation = self.layers[-1]
        self.loss.remember_trainable_layers(self.trainable_layers)
        if isinstance(self.layers[-1], Activation_Softmax) and isinstance(
            self.loss, Loss_CategoricalCrossentropy
        ):
            self.softmax_classifier_output = Activation_Softmax_Loss_CategoricalCrossentropy()

    def forward(self, X, training):
        for layer in self.layers:
            layer.forward(X, training)
            X = layer.output
        return X

    def backward(self, output, y):
        first = self.softmax_classifier_output or self.loss
        first.backward(output, y)
        dvalues = first.dinputs
        for layer in reversed(self.layers[:-1] if self.softmax_classifier_output else self.layers):
            layer.backward(dvalues)
            dvalues = layer.dinputs

    def train(self, X, y, *, epochs=1, batch_size=None, print_every=1, validation_data=None):
        self.accuracy.init(y)
        batches = split(len(X), batch_size)
        for epoch in range(1, epochs + 1):
            print(f"epoch: {epoch}")
            self.loss.new_pass()
            self.accuracy.new_pass()
            for step, rows in enumerate(batches):
                output = self.forward(X[rows], training=True)
                losses = self.loss.calculate(output, y[rows], include_regularization=True)
                predictions = self.output_layer_activation.predictions(output)
                accuracy = self.accuracy.calculate(predictions, y[rows])
                self.backward(output, y[rows])
                self.optimizer.pre_update_params()
                for layer in self.trainable_layers:
                    self.optimizer.update_params(layer)
                self.optimizer.post_update_params()
                if not step % print_every or step == len(batches) - 1:
                    self.report(f"step: {step}", accuracy, *losses)
            losses = self.loss.calculate_accumulated(include_regularization=True)
            self.report("training", self.accuracy.calculate_accumulated(), *losses)
            if validation_data is not None:
                self.evaluate(*validation_data, batch_size=batch_size)

    def report(self, what, accuracy, data_loss, penalty):
        print(
            f"{what}, acc: {accuracy:.3f}, loss: {data_loss + penalty:.3f} (data_loss: "
            f"{data_loss:.3f}, reg_loss: {penalty:.3f}), lr: {self.optimizer.current_learning_rate}"
        )

    def evaluate(self, X_val, y_val, *, batch_size=None):
        self.loss.new_pass()
        self.accuracy.new_pass()
        for rows in split(len(X_val), batch_size):
            output = self.forward(X_val[rows], training=False)
            self.loss.calculate(output, y_val[rows])
            self.accuracy.calculate(self.output_layer_activation.predictions(output), y_val[rows])
        loss, accuracy = self.loss.calculate_accumulated(), self.accuracy.calculate_accumulated()
        print(f"validation, acc: {accuracy:.3f}, loss: {loss:.3f}")

    def predict(self, X, *, batch_size=None):
        return np.vstack([self.forward(X[rows], False) for rows in split(len(X), batch_size)])

    def get_parameters(self):
        return [layer.get_parameters() for layer in self.trainable_layers]

    def set_parameters(self, parameters):
        for layer, values in zip(self.trainable_layers, parameters, strict=True):
            layer.set_parameters(*values)

    def save_parameters(self, path):
        with open(path, "wb") as file:
            pickle.dump(self.get_parameters(), file)

    def load_parameters(self, path):
        with open(path, "rb") as file:
            self.set_parameters(pickle.load(file))

    def save(self, path):
        with open(path, "wb") as file:
            pickle.dump(self, file)

    @staticmethod
    def load(path):
        with open(path, "rb") as file:
            return pickle.load(file)


def split(samples, batch_size):
    size = batch_size or samples
    return [slice(start, start + size) for start in range(0, samples, size)]
