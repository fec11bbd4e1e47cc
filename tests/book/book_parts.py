"""Layers, activations, losses and optimizers of the book in plain NumPy: see book_reference.py.

Written from the formulas and signatures of the book, chapters 9 to 17. The parts of chapter 18
(`training`, sums over an epoch) are in from the start, so that one set serves all chapters.
"""

from __future__ import annotations

import numpy as np

CLIP = 1e-7


def randn(*shape):
    """As NumPy's, in float32."""
    return np.random.randn(*shape).astype(np.float32)


def dot(a, b):
    """As NumPy's, summed in float64 and rounded to float32."""
    return np.dot(a.astype(np.float64), b.astype(np.float64)).astype(np.float32)


def column_sum(a):
    """Sums of the columns, (1, columns), in the dtype of `a`."""
    return np.sum(a, axis=0, keepdims=True)


# ---- layers ----
class Layer_Dense:  # noqa: N801
    def __init__(
        self,
        n_inputs,
        n_neurons,
        weight_regularizer_l1=0,
        weight_regularizer_l2=0,
        bias_regularizer_l1=0,
        bias_regularizer_l2=0,
    ):
        self.weights = 0.01 * randn(n_inputs, n_neurons)
        self.biases = np.zeros((1, n_neurons), np.float32)
        self.weight_regularizer_l1 = weight_regularizer_l1
        self.weight_regularizer_l2 = weight_regularizer_l2
        self.bias_regularizer_l1 = bias_regularizer_l1
        self.bias_regularizer_l2 = bias_regularizer_l2

    def forward(self, inputs, training=True):
        self.inputs = inputs
        self.output = dot(inputs, self.weights) + self.biases

    def backward(self, dvalues):
        self.dweights = dot(self.inputs.T, dvalues)
        self.dbiases = column_sum(dvalues)
        for name in ("weight", "bias"):
            p, dp = (getattr(self, prefix + plural(name)) for prefix in ("", "d"))
            l1, l2 = (getattr(self, f"{name}_regularizer_{kind}") for kind in ("l1", "l2"))
            if l1 > 0:
                dp += l1 * np.where(p >= 0, np.float32(1), np.float32(-1))
            if l2 > 0:
                dp += 2 * l2 * p
        self.dinputs = dot(dvalues, self.weights.T)

    def get_parameters(self):
        return self.weights, self.biases

    def set_parameters(self, weights, biases):
        self.weights, self.biases = weights, biases


def plural(name):
    return {"weight": "weights", "bias": "biases"}[name]


class Layer_Dropout:  # noqa: N801
    mask_dtype = np.float32  # the book's is float64, and all that follows it: defect B8

    def __init__(self, rate):
        self.rate = 1 - rate

    def forward(self, inputs, training=True):
        self.output = inputs
        if training:
            mask = np.random.binomial(1, self.rate, size=inputs.shape) / self.rate
            self.binary_mask = mask.astype(self.mask_dtype)
            self.output = inputs * self.binary_mask

    def backward(self, dvalues):
        self.dinputs = dvalues * self.binary_mask


# ---- activations ----
class Activation_ReLU:  # noqa: N801
    def forward(self, inputs, training=True):
        self.inputs, self.output = inputs, np.maximum(0, inputs)

    def backward(self, dvalues):
        self.dinputs = dvalues.copy()
        self.dinputs[self.inputs <= 0] = 0

    def predictions(self, outputs):
        return outputs


class Activation_Softmax:  # noqa: N801
    def forward(self, inputs, training=True):
        powers = np.exp(inputs - np.max(inputs, axis=1, keepdims=True))
        self.output = powers / np.sum(powers, axis=1, keepdims=True)

    def backward(self, dvalues):
        """The Jacobian of every sample, one at a time."""
        self.dinputs = np.empty_like(dvalues)
        for row, (s, d) in enumerate(zip(self.output, dvalues, strict=True)):
            self.dinputs[row] = dot(np.diag(s) - np.outer(s, s), d)

    def predictions(self, outputs):
        return np.argmax(outputs, axis=1)


class Activation_Sigmoid:  # noqa: N801
    def forward(self, inputs, training=True):
        self.output = 1 / (1 + np.exp(-inputs))

    def backward(self, dvalues):
        self.dinputs = dvalues * (1 - self.output) * self.output

    def predictions(self, outputs):
        return (outputs > 0.5) * 1


class Activation_Linear:  # noqa: N801
    def forward(self, inputs, training=True):
        self.output = inputs

    def backward(self, dvalues):
        self.dinputs = dvalues.copy()

    def predictions(self, outputs):
        return outputs


# ---- losses ----
class Accumulator:
    """Sums over an epoch, of losses as of comparisons."""

    def __init__(self):
        self.new_pass()

    def new_pass(self):
        self.accumulated_sum, self.accumulated_count = 0, 0

    def add(self, values):
        self.accumulated_sum += np.sum(values)
        self.accumulated_count += np.size(values)
        return np.mean(values)

    def accumulated(self):
        return self.accumulated_sum / self.accumulated_count


class Loss(Accumulator):
    def remember_trainable_layers(self, trainable_layers):
        self.trainable_layers = trainable_layers

    def regularization_loss(self, layer=None):
        total = 0
        for one in self.trainable_layers if layer is None else [layer]:
            for name in ("weight", "bias"):
                p = getattr(one, plural(name))
                l1, l2 = (getattr(one, f"{name}_regularizer_{kind}") for kind in ("l1", "l2"))
                if l1 > 0:
                    total += l1 * np.sum(np.abs(p))
                if l2 > 0:
                    total += l2 * np.sum(p * p)
        return total

    def calculate(self, output, y, *, include_regularization=False):
        data_loss = self.add(self.forward(output, y))
        return (data_loss, self.regularization_loss()) if include_regularization else data_loss

    def calculate_accumulated(self, *, include_regularization=False):
        data_loss = self.accumulated()
        return (data_loss, self.regularization_loss()) if include_regularization else data_loss


class Loss_CategoricalCrossentropy(Loss):  # noqa: N801
    def forward(self, y_pred, y_true):
        clipped = np.clip(y_pred, CLIP, 1 - CLIP)
        if y_true.ndim == 1:
            return -np.log(clipped[range(len(y_pred)), y_true])
        return -np.log(np.sum(clipped * y_true, axis=1))

    def backward(self, dvalues, y_true):
        y_true = np.eye(dvalues.shape[1], dtype=np.float32)[y_true] if y_true.ndim == 1 else y_true
        self.dinputs = -y_true / dvalues / len(dvalues)


class Loss_BinaryCrossentropy(Loss):  # noqa: N801
    def forward(self, y_pred, y_true):
        p = np.clip(y_pred, CLIP, 1 - CLIP)
        return np.mean(-(y_true * np.log(p) + (1 - y_true) * np.log(1 - p)), axis=-1)

    def backward(self, dvalues, y_true):
        p = np.clip(dvalues, CLIP, 1 - CLIP)
        self.dinputs = -(y_true / p - (1 - y_true) / (1 - p)) / p.shape[1] / len(p)


class Loss_MeanSquaredError(Loss):  # noqa: N801
    def forward(self, y_pred, y_true):
        return np.mean((y_true - y_pred) ** 2, axis=-1)

    def backward(self, dvalues, y_true):
        self.dinputs = -2 * (y_true - dvalues) / dvalues.shape[1] / len(dvalues)


class Loss_MeanAbsoluteError(Loss):  # noqa: N801
    def forward(self, y_pred, y_true):
        return np.mean(np.abs(y_true - y_pred), axis=-1)

    def backward(self, dvalues, y_true):
        self.dinputs = np.sign(dvalues - y_true) / dvalues.shape[1] / len(dvalues)


class Activation_Softmax_Loss_CategoricalCrossentropy:  # noqa: N801
    def __init__(self):
        self.activation, self.loss = Activation_Softmax(), Loss_CategoricalCrossentropy()

    def forward(self, inputs, y_true):
        self.activation.forward(inputs)
        self.output = self.activation.output
        return self.loss.calculate(self.output, y_true)

    def backward(self, dvalues, y_true):
        y_true = np.argmax(y_true, axis=1) if y_true.ndim == 2 else y_true
        self.dinputs = dvalues.copy()
        self.dinputs[range(len(dvalues)), y_true] -= 1
        self.dinputs = self.dinputs / len(dvalues)
