"""Networks for the tests, each made in one place, and data for them.

* `model_of`: from layers. A loss, an optimizer and an accuracy that are not given fit the last one.
* `dense_model`: from widths, with what stands behind each hidden layer.
* `Network`: from widths and names, as a fused plan has them; parameters and data come from seeds
  of its own, so that models of it on two backends begin alike.

All are made on the default backend, or on one that is given. float32 networks of `Network` with
ReLU have whole numbers times powers of two as data and parameters, so that every sum of a forward
pass is exact in any order: a rounding error at the kink would switch a unit on or off, which is
no error of a gradient but another gradient.
"""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from nnfs_gpu import (
    Accuracy_Categorical,
    Accuracy_Regression,
    Activation_Linear,
    Activation_ReLU,
    Activation_Sigmoid,
    Activation_Softmax,
    Layer_Dense,
    Layer_Dropout,
    Loss_BinaryCrossentropy,
    Loss_CategoricalCrossentropy,
    Loss_MeanAbsoluteError,
    Loss_MeanSquaredError,
    Model,
    Optimizer_Adagrad,
    Optimizer_Adam,
    Optimizer_AdamW,
    Optimizer_RMSprop,
    Optimizer_SGD,
    use_backend,
)
from nnfs_gpu.fused import vocabulary


def binary_accuracy():
    return Accuracy_Categorical(binary=True)


ACTIVATIONS = {name: known.make for name, known in vocabulary.ACTIVATIONS.items()}
ENDS = {  # loss: (class, last layer, accuracy)
    "softmax_cross_entropy": (
        Loss_CategoricalCrossentropy,
        Activation_Softmax,
        Accuracy_Categorical,
    ),
    "binary_cross_entropy": (Loss_BinaryCrossentropy, Activation_Sigmoid, binary_accuracy),
    "squared_error": (Loss_MeanSquaredError, Activation_Linear, Accuracy_Regression),
    "absolute_error": (Loss_MeanAbsoluteError, Activation_Linear, Accuracy_Regression),
}
FITTING = {last: (loss, accuracy) for loss, last, accuracy in reversed(ENDS.values())}
OPTIMIZERS = {
    "sgd": lambda: Optimizer_SGD(0.1, decay=0.01),
    "momentum": lambda: Optimizer_SGD(0.1, momentum=0.9),
    "adagrad": lambda: Optimizer_Adagrad(0.1, decay=0.001),
    "rmsprop": lambda: Optimizer_RMSprop(0.01, rho=0.8),
    "adam": lambda: Optimizer_Adam(0.01, decay=0.001),
    "adamw": lambda: Optimizer_AdamW(0.01, decay=0.001, weight_decay=0.1),
}


def model_of(*layers, loss=None, optimizer=None, accuracy=None):
    """The finalized model of these layers.

    Without a loss or an accuracy: those that go with the last layer; without an optimizer: Adam.
    """
    model = Model()
    for layer in layers:
        model.add(layer)
    fitting = FITTING.get(type(layers[-1]))
    model.set(
        loss=loss or fitting[0](),
        optimizer=optimizer or Optimizer_Adam(),
        accuracy=accuracy or fitting[1](),
    )
    model.finalize()
    return model


def dense_model(
    *widths,
    hidden=(Activation_ReLU,),
    last=Activation_Softmax,
    dense=Layer_Dense,
    seed=1,
    backend=None,
    loss=None,
    optimizer=None,
    accuracy=None,
    **regularizers,
):
    """A finalized network of these widths, its weights drawn after np.random.seed(seed).

    seed          None: drawn from where NumPy's stream stands
    hidden        what makes the layers that stand behind each dense layer but the last
    dense         makes a dense layer of its inputs and outputs
    regularizers  factors of the first dense layer
    """
    if seed is not None:
        np.random.seed(seed)
    with on(backend):
        layers = []
        for n_inputs, n_outputs in pairwise(widths):
            layers += [make() for make in hidden] if layers else []
            layers.append(dense(n_inputs, n_outputs, **({} if layers else regularizers)))
        layers.append(last())
        return model_of(*layers, loss=loss, optimizer=optimizer, accuracy=accuracy)


def dropout(rate, seed=None):
    """For `hidden`: makes a dropout layer."""
    return lambda: Layer_Dropout(rate, seed=seed)


MAKING = threading.Lock()  # layers are made on the default backend, which threads share


def on(backend):
    """For a `with` block: what it makes is made on `backend`; None: on the default one."""
    return contextlib.nullcontext() if backend is None else use_backend(backend)


@dataclass(frozen=True)
class Network:
    """What to build: widths from the data to the outputs, and everything beside them.

    An activation or a fraction to keep is one for all hidden layers, or one for each; "none"
    puts no activation there.
    """

    widths: tuple[int, ...]
    activation: str | tuple[str, ...] = "relu"
    loss: str = "softmax_cross_entropy"
    optimizer: str = "adam"
    keep: float | tuple[float, ...] = 1.0
    l1: float = 0.0
    l2: float = 0.0
    soft: bool = False
    seed: int = 0
    dropout_seeds: tuple[int, ...] = tuple(range(7, 20))

    def model(self, backend):
        """The finalized model on `backend`; the same parameters at every call."""
        loss, last, accuracy = ENDS[self.loss]
        with MAKING, use_backend(backend):
            made = model_of(
                *self.layers(),
                last(),
                loss=loss(),
                optimizer=OPTIMIZERS[self.optimizer](),
                accuracy=accuracy(),
            )
        self.set_parameters(made, self.seed)
        return made

    def layers(self):
        """All but the last activation."""
        hidden, layers = len(self.widths) - 2, []
        activations, keeps = each(self.activation, hidden), each(self.keep, hidden)
        for k, (n_inputs, n_outputs) in enumerate(pairwise(self.widths)):
            layers.append(Layer_Dense(n_inputs, n_outputs, *self.regularizers()))
            if k < hidden and activations[k] != "none":
                layers.append(ACTIVATIONS[activations[k]]())
            if k < hidden and keeps[k] < 1:
                layers.append(Layer_Dropout(1 - keeps[k], seed=self.dropout_seeds[k]))
        return layers

    def regularizers(self):
        """L1 and L2 of the weights, L1 and L2 of the biases."""
        return self.l1, self.l2, self.l1, self.l2

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
        return self.activation in ("relu", "leaky_relu") and backend.dtype == np.float32

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
        X, y = model.checked_data(X, getattr(y, "values", y), "test", False)
        if hasattr(model.accuracy, "precision"):
            model.accuracy.precision = 0.5  # so that some are right
        return X, y


def each(value, count):
    """One for each hidden layer."""
    return value if isinstance(value, tuple) else (value,) * count
