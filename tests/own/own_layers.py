"""Layers and activations as readers of the book write them: see own/parts.py."""

import numpy as np

from nnfs_gpu import Activation_ReLU, Activation_Softmax, Layer_Dense


# ---- activations ----
class Activation_Tanh:  # noqa: N801
    def forward(self, inputs, training):
        self.inputs = inputs
        self.output = np.tanh(inputs)

    def backward(self, dvalues):
        self.dinputs = dvalues * (1 - self.output**2)

    def predictions(self, outputs):
        return outputs


class Activation_LeakyReLU:  # noqa: N801
    """Of an earlier chapter: no `training`, and a second argument of its own."""

    def __init__(self, slope=0.1):
        self.slope = slope

    def forward(self, inputs, slope=None):
        assert slope is None
        self.inputs = inputs
        self.output = np.where(inputs > 0, inputs, self.slope * inputs)

    def backward(self, dvalues):
        self.dinputs = dvalues.copy()
        self.dinputs[self.inputs <= 0] *= self.slope


class Activation_ELU(Activation_ReLU):  # noqa: N801
    """A subclass of ours whose __init__ does not call ours, as the book's has none."""

    def __init__(self, alpha):
        self.alpha = alpha

    def forward(self, inputs, training):
        self.inputs = inputs
        self.output = np.where(inputs > 0, inputs, self.alpha * (np.exp(np.minimum(inputs, 0)) - 1))

    def backward(self, dvalues):
        self.dinputs = dvalues * np.where(self.inputs > 0, 1.0, self.output + self.alpha)


class Activation_Softplus:  # noqa: N801
    def forward(self, inputs):
        self.inputs = inputs
        self.output = np.logaddexp(0, inputs)

    def backward(self, dvalues):
        self.dinputs = dvalues / (1 + np.exp(-self.inputs))


class Activation_Swish:  # noqa: N801
    """Returns what it computes and stores nothing under the book's names."""

    def forward(self, inputs, *, training):
        assert training in (True, False)
        self.gate = 1 / (1 + np.exp(-inputs))
        self.x = inputs
        return inputs * self.gate

    def backward(self, dvalues):
        return dvalues * (self.gate + self.x * self.gate * (1 - self.gate))


class Activation_ReLU6(Activation_ReLU):  # noqa: N801
    """Ours with one method overridden: what comes after it in forward."""

    def forward(self, inputs, training):
        super().forward(inputs, training)
        self.output = np.minimum(self.output, 6.0)

    def backward(self, dvalues):
        super().backward(dvalues)
        self.dinputs = np.where(self.output < 6.0, self.dinputs, 0.0)


class Activation_SoftmaxTemperature(Activation_Softmax):  # noqa: N801
    def forward(self, inputs, training):
        super().forward(inputs / 2.0, training)

    def backward(self, dvalues):
        super().backward(dvalues)
        self.dinputs = self.dinputs / 2.0


class Activation_OwnSoftmax:  # noqa: N801
    """The book's softmax, with its loop over samples."""

    def forward(self, inputs, training):
        exp_values = np.exp(inputs - np.max(inputs, axis=1, keepdims=True))
        self.output = exp_values / np.sum(exp_values, axis=1, keepdims=True)

    def backward(self, dvalues):
        self.dinputs = np.empty_like(dvalues)
        for index, (single_output, single_dvalues) in enumerate(zip(self.output, dvalues)):  # noqa: B905
            single_output = single_output.reshape(-1, 1)
            jacobian = np.diagflat(single_output) - np.dot(single_output, single_output.T)
            self.dinputs[index] = np.dot(jacobian, single_dvalues)

    def predictions(self, outputs):
        return np.argmax(outputs, axis=1)


class Activation_Scores(Activation_Softmax):  # noqa: N801
    """Ours, that predicts its outputs."""

    def predictions(self, outputs):
        return outputs


# ---- layers ----
class Layer_GaussianNoise:  # noqa: N801
    """Draws in float64, from NumPy's global stream."""

    def __init__(self, deviation):
        self.deviation = deviation

    def forward(self, inputs, training):
        noise = np.random.normal(0, self.deviation, inputs.shape) if training else 0.0
        self.output = inputs + noise

    def backward(self, dvalues):
        self.dinputs = dvalues


class Layer_Print:  # noqa: N801
    def forward(self, inputs, training):
        print("shape", inputs.shape)
        self.output = inputs

    def backward(self, dvalues):
        self.dinputs = dvalues


class Layer_Reshape:  # noqa: N801
    """(N, ...) -> (N, *shape)."""

    def __init__(self, *shape):
        self.shape = shape

    def forward(self, inputs, training):
        self.inputs_shape = inputs.shape
        self.output = inputs.reshape(len(inputs), *self.shape)

    def backward(self, dvalues):
        self.dinputs = dvalues.reshape(self.inputs_shape)


class Layer_Squares:  # noqa: N801
    """Twice as many features: x and x^2."""

    def forward(self, inputs, training):
        self.inputs = inputs
        self.output = np.concatenate([inputs, inputs**2], axis=1)

    def backward(self, dvalues):
        n = self.inputs.shape[1]
        self.dinputs = dvalues[:, :n] + 2 * self.inputs * dvalues[:, n:]


class Layer_OwnDense:  # noqa: N801
    """Chapter 9's dense layer: float64 weights, no regularizers, no `training`."""

    def __init__(self, n_inputs, n_neurons):
        self.weights = 0.1 * np.random.randn(n_inputs, n_neurons)
        self.biases = np.zeros((1, n_neurons))

    def forward(self, inputs):
        self.inputs = inputs
        self.output = np.dot(inputs, self.weights) + self.biases

    def backward(self, dvalues):
        self.dweights = np.dot(self.inputs.T, dvalues)
        self.dbiases = np.sum(dvalues, axis=0, keepdims=True)
        self.dinputs = np.dot(dvalues, self.weights.T)


class Layer_BatchNorm:  # noqa: N801
    """Normalizes each feature; gamma and beta under the names that optimizers know."""

    def __init__(self, n):
        self.weights, self.biases = np.ones((1, n)), np.zeros((1, n))
        self.mean, self.variance = 0.0, 1.0

    def forward(self, inputs, training):
        if training:
            mean, variance = inputs.mean(axis=0), inputs.var(axis=0)
            self.mean = 0.9 * self.mean + 0.1 * mean
            self.variance = 0.9 * self.variance + 0.1 * variance
        else:
            mean, variance = self.mean, self.variance
        self.scale = 1 / np.sqrt(variance + 1e-5)
        self.x = (inputs - mean) * self.scale
        self.output = self.weights * self.x + self.biases

    def backward(self, dvalues):
        self.dweights = np.sum(dvalues * self.x, axis=0, keepdims=True)
        self.dbiases = np.sum(dvalues, axis=0, keepdims=True)
        d = dvalues * self.weights
        self.dinputs = self.scale * (d - d.mean(axis=0) - self.x * (d * self.x).mean(axis=0))


class Layer_PReLU:  # noqa: N801
    def __init__(self, n):
        self.weights, self.biases = np.full((1, n), 0.25), np.zeros((1, n))

    def forward(self, inputs, training):
        self.inputs = inputs
        self.output = np.where(inputs > 0, inputs, self.weights * inputs)

    def backward(self, dvalues):
        negative = self.inputs <= 0
        self.dweights = np.sum(dvalues * self.inputs * negative, axis=0, keepdims=True)
        self.dbiases = np.zeros_like(self.biases)
        self.dinputs = np.where(negative, self.weights * dvalues, dvalues)


class Layer_DenseScaled(Layer_Dense):  # noqa: N801
    """Ours with forward and backward wrapped; returns, as ours do."""

    def forward(self, inputs, training=True):
        return 2 * super().forward(inputs, training)

    def backward(self, dvalues):
        return super().backward(2 * dvalues)
