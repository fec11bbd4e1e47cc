"""A program as readers of the book have it: its own classes, trained and pickled.

Run by test_book_files.py as `__main__`, with FOLDER, PROTOCOL and KIND given. The classes have
the book's names and attributes; the code is written for this test, but for the formulas that
book_parts.py and book_optimizers.py have. Leaves program.model and
program.parms, and `expected.npz` with what the model computes.
"""

import copy
import pickle

import book_optimizers
import book_parts
import numpy as np


class Layer_Dense:  # noqa: N801
    def __init__(self, n_inputs, n_neurons, weight_regularizer_l2=0):
        self.weights = (0.01 * np.random.randn(n_inputs, n_neurons)).astype(DTYPE)
        self.biases = np.zeros((1, n_neurons), DTYPE)
        self.weight_regularizer_l1 = self.bias_regularizer_l1 = self.bias_regularizer_l2 = 0
        self.weight_regularizer_l2 = weight_regularizer_l2

    def forward(self, inputs, training):
        self.inputs = inputs
        self.output = inputs @ self.weights + self.biases

    def backward(self, dvalues):
        self.dweights = self.inputs.T @ dvalues + 2 * self.weight_regularizer_l2 * self.weights
        self.dbiases = dvalues.sum(axis=0, keepdims=True)
        self.dinputs = dvalues @ self.weights.T


class Layer_Dropout:  # noqa: N801
    def __init__(self, rate):
        self.rate = 1 - rate

    def forward(self, inputs, training):
        self.inputs = inputs
        mask = np.random.binomial(1, self.rate, inputs.shape) / self.rate  # float64: defect B8
        self.binary_mask = mask if training else np.ones_like(mask)
        self.output = inputs * self.binary_mask

    def backward(self, dvalues):
        self.dinputs = dvalues * self.binary_mask


class Activation_ReLU:  # noqa: N801
    def forward(self, inputs, training):
        self.inputs, self.output = inputs, np.maximum(0, inputs)

    def backward(self, dvalues):
        self.dinputs = dvalues * (self.inputs > 0)


class Activation_Softmax(book_parts.Activation_Softmax):  # noqa: N801
    def backward(self, dvalues):
        self.dinputs = dvalues


class Activation_Linear:  # noqa: N801
    def forward(self, inputs, training):
        self.inputs = self.output = inputs

    def backward(self, dvalues):
        self.dinputs = dvalues


class Layer_Input:  # noqa: N801
    pass


class Loss_CategoricalCrossentropy:  # noqa: N801
    def backward(self, output, y):
        return (output - np.eye(output.shape[1])[y]) / len(y)


class Loss_MeanSquaredError:  # noqa: N801
    def backward(self, output, y):
        return 2 * (output - y) / y.size


class Accuracy_Categorical:  # noqa: N801
    def __init__(self):
        self.binary = False


class Accuracy_Regression:  # noqa: N801
    def __init__(self, y):
        self.precision = np.std(y) / 250


class Optimizer_Adam(book_optimizers.Optimizer_Adam):  # noqa: N801
    def update(self, layers):
        self.pre_update_params()
        for layer in layers:
            self.update_params(layer)
        self.post_update_params()


class Model:
    def __init__(self, layers, loss, optimizer, accuracy):
        self.layers, self.loss, self.optimizer, self.accuracy = layers, loss, optimizer, accuracy
        self.input_layer = Layer_Input()
        chain = [self.input_layer, *layers, loss]
        for before, layer, after in zip(chain, chain[1:], chain[2:], strict=False):
            layer.prev, layer.next = before, after
        self.trainable_layers = [layer for layer in layers if hasattr(layer, "weights")]
        self.loss.trainable_layers = self.trainable_layers
        self.output_layer_activation = layers[-1]
        self.softmax_classifier_output = None

    def forward(self, X, training):
        for layer in self.layers:
            layer.forward(X, training)
            X = layer.output
        return X

    def train(self, X, y, epochs):
        for _ in range(epochs):
            output = self.forward(X, True)
            self.loss.accumulated_sum = self.accuracy.accumulated_sum = np.sum(output)
            self.loss.accumulated_count = self.accuracy.accumulated_count = len(X)
            dvalues = self.loss.backward(output, y)
            for layer in reversed(self.layers):
                layer.backward(dvalues)
                dvalues = layer.dinputs
            self.optimizer.update(self.trainable_layers)

    def save(self, path):
        model = copy.deepcopy(self)
        for layer in model.layers:
            for name in ("input", "output", "dinputs", "dweights", "dbiases"):
                layer.__dict__.pop(name, None)
        with open(path, "wb") as file:
            pickle.dump(model, file, protocol=PROTOCOL)


if __name__ == "__main__":
    DTYPE = np.float64 if KIND == "float64" else np.float32  # noqa: F821 - given
    PROTOCOL = PROTOCOL  # noqa: F821 - given
    for one in [value for value in globals().values() if isinstance(value, type)]:
        if one.__module__ == "__main__":  # what another program calls the same classes
            one.__name__ = one.__qualname__ = SPELLING(one.__name__)  # noqa: F821
            globals()[one.__name__] = one
    np.random.seed(0)
    X = np.random.randn(30, 2).astype(DTYPE)
    if KIND == "regression":  # noqa: F821
        y = np.sin(X[:, :1])
        made = Model(
            [Layer_Dense(2, 6), Activation_ReLU(), Layer_Dense(6, 1), Activation_Linear()],
            Loss_MeanSquaredError(),
            Optimizer_Adam(0.01, 1e-3),
            Accuracy_Regression(y),
        )
    else:
        y = np.arange(30) % 3
        made = Model(
            [
                Layer_Dense(2, 6, weight_regularizer_l2=5e-4),
                Activation_ReLU(),
                Layer_Dropout(0.1),
                Layer_Dense(6, 3),
                Activation_Softmax(),
            ],
            Loss_CategoricalCrossentropy(),
            Optimizer_Adam(0.05, 5e-5),
            Accuracy_Categorical(),
        )
    made.train(X, y, epochs=20)
    made.save(FOLDER / "program.model")  # noqa: F821
    with open(FOLDER / "program.parms", "wb") as file:  # noqa: F821
        parameters = [(layer.weights, layer.biases) for layer in made.trainable_layers]
        pickle.dump(parameters, file, protocol=PROTOCOL)
    np.savez(FOLDER / "expected.npz", X=X, output=made.forward(X, False))  # noqa: F821
