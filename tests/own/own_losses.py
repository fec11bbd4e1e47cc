"""Losses and accuracies as readers of the book write them: see own/parts.py."""

import numpy as np

from nnfs_gpu import (
    Accuracy,
    Accuracy_Categorical,
    Activation_Softmax,
    Loss,
    Loss_CategoricalCrossentropy,
    Loss_MeanSquaredError,
)


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
