"""Parts as readers of the book write them, for the tests of own parts.

In the book's style: forward stores `self.output` and returns nothing, backward stores
`self.dinputs`; `training` from chapter 15 on; no base classes but where the book has them. The
arithmetic is NumPy's functions on whatever arrays come, as CuPy lets them work, too.
"""

import numpy as np

from nnfs_gpu import (
    Accuracy,
    Accuracy_Categorical,
    Activation_ReLU,
    Activation_Softmax,
    Layer_Dense,
    Loss,
    Loss_CategoricalCrossentropy,
    Loss_MeanSquaredError,
    Optimizer_Adam,
    Optimizer_SGD,
)


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


# ---- losses ----
class Loss_Huber:  # noqa: N801
    """No base class; its arguments are plain arrays."""

    def __init__(self, delta=0.5):
        self.delta = delta

    def forward(self, y_pred, y_true):
        error = y_true - y_pred
        small = np.abs(error) <= self.delta
        losses = np.where(small, error**2 / 2, self.delta * (np.abs(error) - self.delta / 2))
        return np.mean(losses, axis=-1)

    def backward(self, dvalues, y_true):
        error = np.clip(dvalues - y_true, -self.delta, self.delta)
        self.dinputs = error / len(dvalues[0]) / len(dvalues)


class Loss_LogCosh(Loss):  # noqa: N801
    """On our base class, with an __init__ that does not call ours."""

    def __init__(self, sharpness=1.0):
        self.sharpness = sharpness

    def forward(self, y_pred, y_true):
        return np.mean(np.log(np.cosh(self.sharpness * (y_pred - y_true))), axis=-1)

    def backward(self, dvalues, y_true):
        samples, outputs = dvalues.shape
        self.dinputs = self.sharpness * np.tanh(self.sharpness * (dvalues - y_true))
        self.dinputs = self.dinputs / outputs / samples


class Loss_Own:  # noqa: N801
    """The book's base class, chapter 18."""

    def regularization_loss(self):
        regularization_loss = 0
        for layer in self.trainable_layers:
            if layer.weight_regularizer_l1 > 0:
                regularization_loss += layer.weight_regularizer_l1 * np.sum(np.abs(layer.weights))
            if layer.weight_regularizer_l2 > 0:
                regularization_loss += layer.weight_regularizer_l2 * np.sum(layer.weights**2)
            if layer.bias_regularizer_l2 > 0:
                regularization_loss += layer.bias_regularizer_l2 * np.sum(layer.biases**2)
        return regularization_loss

    def remember_trainable_layers(self, trainable_layers):
        self.trainable_layers = trainable_layers

    def calculate(self, output, y, *, include_regularization=False):
        sample_losses = self.forward(output, y)
        data_loss = np.mean(sample_losses)
        self.accumulated_sum += np.sum(sample_losses)
        self.accumulated_count += len(sample_losses)
        if not include_regularization:
            return data_loss
        return data_loss, self.regularization_loss()

    def calculate_accumulated(self, *, include_regularization=False):
        data_loss = self.accumulated_sum / self.accumulated_count
        if not include_regularization:
            return data_loss
        return data_loss, self.regularization_loss()

    def new_pass(self):
        self.accumulated_sum = 0
        self.accumulated_count = 0


class Loss_Hinge(Loss_Own):  # noqa: N801
    """Crammer and Singer's, on scores and class indices or one-hot rows."""

    def forward(self, y_pred, y_true):
        if len(y_true.shape) == 2:
            y_true = np.argmax(y_true, axis=1)
        rows = np.arange(len(y_pred))
        margins = 1 + y_pred - y_pred[rows, y_true][:, None]
        margins[rows, y_true] = 0
        self.margins = np.maximum(margins, 0)
        return np.sum(self.margins, axis=1)

    def backward(self, dvalues, y_true):
        if len(y_true.shape) == 2:
            y_true = np.argmax(y_true, axis=1)
        rows = np.arange(len(dvalues))
        self.forward(dvalues, y_true)
        self.dinputs = (self.margins > 0).astype(dvalues.dtype)
        self.dinputs[rows, y_true] = -np.sum(self.margins > 0, axis=1)
        self.dinputs = self.dinputs / len(dvalues)


class Loss_Focal(Loss_CategoricalCrossentropy):  # noqa: N801
    """Ours with forward and backward overridden: label smoothing by hand."""

    def forward(self, y_pred, y_true):
        return super().forward(y_pred, self.smooth(y_pred, y_true))

    def backward(self, dvalues, y_true):
        super().backward(dvalues, self.smooth(dvalues, y_true))

    def smooth(self, y_pred, y_true):
        if len(y_true.shape) == 1:
            y_true = np.eye(y_pred.shape[1])[self.backend.to_numpy(y_true)]
            y_true = self.backend.asarray(y_true)
        return 0.9 * y_true + 0.1 / y_pred.shape[1]


class Loss_Tallied(Loss_MeanSquaredError):  # noqa: N801, N818
    """Ours with `calculate` alone overridden."""

    calls = 0

    def calculate(self, output, y, *, include_regularization=False):
        self.calls += 1
        return super().calculate(output, y, include_regularization=include_regularization)


class SoftmaxAndLoss:
    """The book's combined class, given to `Model.set` as a loss on scores: a mean, no rows."""

    def __init__(self):
        self.activation = Activation_Softmax()
        self.loss = Loss_CategoricalCrossentropy()

    def forward(self, inputs, y_true):
        self.activation.forward(inputs, True)
        self.output = self.activation.output
        return self.loss.calculate(self.output, y_true)

    def backward(self, dvalues, y_true):
        samples = len(dvalues)
        self.activation.forward(dvalues, True)
        if len(y_true.shape) == 2:
            y_true = np.argmax(y_true, axis=1)
        self.dinputs = self.activation.output.copy()
        self.dinputs[np.arange(samples), y_true] -= 1
        self.dinputs = self.dinputs / samples


# ---- accuracies ----
class Accuracy_R2:  # noqa: N801
    """No base class; one number for the batch."""

    def init(self, y):
        self.mean = float(np.mean(y))

    def compare(self, predictions, y):
        return 1 - np.sum((y - predictions) ** 2) / np.sum((y - self.mean) ** 2)


class Accuracy_Within(Accuracy):  # noqa: N801
    """On our base class, with an __init__ that does not call ours."""

    def __init__(self, tolerance):
        self.tolerance = tolerance

    def compare(self, predictions, y):
        return np.abs(predictions - y) < self.tolerance


class Accuracy_F1:  # noqa: N801
    """Bits of whole numbers: as the user gave them."""

    def compare(self, predictions, y):
        hit = np.sum(predictions & y)
        return 2 * hit / (np.sum(predictions) + np.sum(y))


class Accuracy_Own:  # noqa: N801
    """The book's base class, chapter 18, and the categorical accuracy on it."""

    def calculate(self, predictions, y):
        comparisons = self.compare(predictions, y)
        accuracy = np.mean(comparisons)
        self.accumulated_sum += np.sum(comparisons)
        self.accumulated_count += len(comparisons)
        return accuracy

    def calculate_accumulated(self):
        return self.accumulated_sum / self.accumulated_count

    def new_pass(self):
        self.accumulated_sum = 0
        self.accumulated_count = 0

    def init(self, y):
        pass

    def compare(self, predictions, y):
        if len(y.shape) == 2:
            y = np.argmax(y, axis=1)
        return predictions == y


class Accuracy_Top2(Accuracy_Own):  # noqa: N801
    """On scores: the output activation's `predictions` are the outputs."""

    def compare(self, predictions, y):
        best = np.argsort(predictions, axis=1)[:, -2:]
        return np.any(best == y[:, None], axis=1)


class Accuracy_Percent(Accuracy_Categorical):  # noqa: N801
    """Ours with `calculate` alone overridden."""

    def calculate(self, predictions, y):
        return 100 * super().calculate(predictions, y)


class Activation_Scores(Activation_Softmax):  # noqa: N801
    """Ours, that predicts its outputs."""

    def predictions(self, outputs):
        return outputs


# ---- optimizers ----
class Optimizer_AdamW(Optimizer_Adam):  # noqa: N801
    def update_params(self, layer):
        layer.weights = layer.weights * (1 - 0.01 * self.current_learning_rate)
        super().update_params(layer)


class Optimizer_Nadam:  # noqa: N801
    """No base class; the book's names of its state."""

    def __init__(self, learning_rate=0.01):
        self.learning_rate = learning_rate
        self.current_learning_rate = learning_rate
        self.iterations = 0

    def pre_update_params(self):
        self.current_learning_rate = self.learning_rate / (1 + 1e-3 * self.iterations)

    def update_params(self, layer):
        if not hasattr(layer, "weight_cache"):
            layer.weight_momentums = np.zeros_like(layer.weights)
            layer.weight_cache = np.zeros_like(layer.weights)
            layer.bias_momentums = np.zeros_like(layer.biases)
            layer.bias_cache = np.zeros_like(layer.biases)
        step = self.iterations + 1
        for kind, name in (("weight", "weights"), ("bias", "biases")):
            gradient = getattr(layer, "d" + name)
            momentums = 0.9 * getattr(layer, kind + "_momentums") + 0.1 * gradient
            cache = 0.999 * getattr(layer, kind + "_cache") + 0.001 * gradient**2
            setattr(layer, kind + "_momentums", momentums)
            setattr(layer, kind + "_cache", cache)
            ahead = (0.9 * momentums + 0.1 * gradient) / (1 - 0.9 ** (step + 1))
            rate = self.current_learning_rate
            change = -rate * ahead / (np.sqrt(cache / (1 - 0.999**step)) + 1e-7)
            setattr(layer, name, getattr(layer, name) + change)

    def post_update_params(self):
        self.iterations += 1


class Optimizer_Plain:  # noqa: N801
    """Chapter 10's first: update_params alone, in float64."""

    def __init__(self, learning_rate=1.0):
        self.learning_rate = learning_rate

    def update_params(self, layer):
        layer.weights += -self.learning_rate * np.clip(layer.dweights, -1, 1)
        layer.biases += -self.learning_rate * np.clip(layer.dbiases, -1, 1)


class Optimizer_Cosine(Optimizer_SGD):  # noqa: N801
    """A schedule: ours with `pre_update_params` overridden."""

    def pre_update_params(self):
        turn = min(self.iterations / 100, 1.0)
        self.current_learning_rate = self.learning_rate * 0.5 * (1 + np.cos(np.pi * turn))


class Optimizer_Wrapped:  # noqa: N801
    """Hands the work to one of ours."""

    def __init__(self, inner):
        self.inner = inner
        self.current_learning_rate = inner.learning_rate

    def pre_update_params(self):
        self.inner.pre_update_params()
        self.current_learning_rate = self.inner.current_learning_rate

    def update_params(self, layer):
        self.inner.update_params(layer)

    def post_update_params(self):
        self.inner.post_update_params()
