"""Networks and data for the tests of fused steps.

float32 networks with ReLU have whole numbers times powers of two as data and parameters, so
that every sum of a forward pass is exact in any order: a rounding error at the kink would
switch a unit on or off, which is no error of a gradient but another gradient.
"""

from dataclasses import dataclass

import numpy as np

import nnfs_gpu as ng
from nnfs_gpu import fused
from nnfs_gpu.training.engines import LayerSteps

ACTIVATIONS = {
    "relu": ng.Activation_ReLU,
    "sigmoid": ng.Activation_Sigmoid,
    "linear": ng.Activation_Linear,
}
ENDS = {  # loss: (class, last layer, accuracy)
    "softmax_cross_entropy": (
        ng.Loss_CategoricalCrossentropy,
        ng.Activation_Softmax,
        ng.Accuracy_Categorical,
    ),
    "binary_cross_entropy": (
        ng.Loss_BinaryCrossentropy,
        ng.Activation_Sigmoid,
        lambda: ng.Accuracy_Categorical(binary=True),
    ),
    "squared_error": (ng.Loss_MeanSquaredError, ng.Activation_Linear, ng.Accuracy_Regression),
    "absolute_error": (ng.Loss_MeanAbsoluteError, ng.Activation_Linear, ng.Accuracy_Regression),
}
OPTIMIZERS = {
    "sgd": lambda: ng.Optimizer_SGD(0.1, decay=0.01),
    "momentum": lambda: ng.Optimizer_SGD(0.1, momentum=0.9),
    "adagrad": lambda: ng.Optimizer_Adagrad(0.1, decay=0.001),
    "rmsprop": lambda: ng.Optimizer_RMSprop(0.01, rho=0.8),
    "adam": lambda: ng.Optimizer_Adam(0.01, decay=0.001),
}
STATE = ("weight_momentums", "weight_cache", "bias_momentums", "bias_cache")


@dataclass(frozen=True)
class Network:
    """What to build: widths from the data to the outputs, and everything beside them."""

    widths: tuple[int, ...]
    activation: str = "relu"
    loss: str = "softmax_cross_entropy"
    optimizer: str = "adam"
    keep: float = 1.0
    l1: float = 0.0
    l2: float = 0.0
    soft: bool = False
    seed: int = 0

    def model(self, backend):
        """The finalized model on `backend`; the same parameters at every call."""
        with ng.use_backend(backend):
            model = ng.Model()
            last = len(self.widths) - 2
            for k, (i, o) in enumerate(zip(self.widths, self.widths[1:], strict=False)):
                dense = ng.Layer_Dense(i, o, self.l1, self.l2, self.l1, self.l2)
                model.add(dense)
                if k < last:
                    model.add(ACTIVATIONS[self.activation]())
                    if self.keep < 1:
                        model.add(ng.Layer_Dropout(1 - self.keep, seed=7 + k))
            loss, output, accuracy = ENDS[self.loss]
            model.add(output())
            model.set(loss=loss(), optimizer=OPTIMIZERS[self.optimizer](), accuracy=accuracy())
            model.finalize()
        self.set_parameters(model, self.seed)
        return model

    def set_parameters(self, model, seed):
        """Parameters of the layers, the same for the same seed."""
        rng = np.random.RandomState(seed)
        for dense in model.trainable_layers:
            i, o = dense.n_inputs, dense.n_neurons
            if self.exact(model.backend):
                scale = 2.0 ** -np.ceil(np.log2(2 * np.sqrt(i)))
                dense.weights = rng.randint(-2, 3, (i, o)) * scale
                dense.biases = rng.randint(-2, 3, (1, o)) * scale
            else:
                dense.weights = rng.randn(i, o) / np.sqrt(i)
                dense.biases = 0.1 * rng.randn(1, o)

    def exact(self, backend):
        return self.activation == "relu" and backend.dtype == np.float32

    def data(self, model, n, seed=1):
        """X and the targets, as a training loop gives them to a step."""
        rng = np.random.RandomState(seed)
        X = rng.randint(-8, 9, (n, self.widths[0])) / 4.0
        if not self.exact(model.backend):
            X = rng.randn(n, self.widths[0])
        outputs = self.widths[-1]
        if self.loss == "binary_cross_entropy":
            y = (rng.rand(n, outputs) < 0.5).astype(float)
            y[rng.rand(n, outputs) < 0.1] = 0.3
        elif self.loss != "softmax_cross_entropy":
            y = rng.randn(n, outputs)
        elif self.soft:
            y = rng.rand(n, outputs) + 0.01
            y /= y.sum(axis=1, keepdims=True)
        else:
            y = rng.randint(0, outputs, n)
        return self.data_of(model, X, y)

    def data_of(self, model, X, y):
        """The same data for another model, in its dtype."""
        X, y = model._data(X, getattr(y, "values", y), "test", False)
        if hasattr(model.accuracy, "precision"):
            model.accuracy.precision = 0.5  # so that some are right
        return X, y

    def layer_steps(self, backend):
        """(model, its steps layer by layer)."""
        model = self.model(backend)
        return model, LayerSteps(model)


def parameters(model):
    """Copies of all weights and biases."""
    return [a.copy() for layer in model.trainable_layers for a in (layer.weights, layer.biases)]


def state(model):
    """Copies of the optimizer's state, by layer and name."""
    return {
        (k, name): getattr(layer, name).copy()
        for k, layer in enumerate(model.trainable_layers)
        for name in STATE
        if hasattr(layer, name)
    }


def gradients(model):
    """Copies of all dweights and dbiases."""
    return [a.copy() for layer in model.trainable_layers for a in (layer.dweights, layer.dbiases)]


def copy_state(source, target):
    """`target` continues where `source` stands."""
    for a, b in zip(source.layers, target.layers, strict=True):
        for name in ("weights", "biases", *STATE):
            if hasattr(a, name):
                setattr(b, name, getattr(a, name).copy())
        if hasattr(a, "calls"):
            b.calls, b.seed = a.calls, a.seed
    for name in ("iterations", "current_learning_rate"):
        setattr(target.optimizer, name, getattr(source.optimizer, name))


TOLERANCE = {"float32": 1e-5, "float64": 1e-12}


def backend_of(dtype):
    return ng.get_backend("numba", dtype=dtype, precise_dot=False, book_random=False)


def assert_gradients(model, expected, dtype):
    """Every gradient within the tolerance of the largest number of its layer's gradients."""
    found = gradients(model)
    for first in range(0, len(found), 2):
        layer = slice(first, first + 2)
        scale = max(np.abs(a).max() for a in expected[layer])
        for got, want in zip(found[layer], expected[layer], strict=True):
            assert got.dtype == np.dtype(dtype)
            error = np.abs(got - want).max()
            assert error <= TOLERANCE[dtype] * scale, f"layer {first // 2}: {error / scale}"


def trained(network, n, steps=3, dtype="float32"):
    model = network.model(backend_of(dtype))
    X, y = network.data(model, n)
    engine = fused.engine(model)
    measured = [engine.step(X, y) for _ in range(steps)]
    return measured, parameters(model) + list(state(model).values())
