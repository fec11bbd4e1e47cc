"""A user's program, for type checkers: test_typing.py has it checked, nobody runs it.

`assert_type` says what a checker must know. The last lines are mistakes that it must find.
"""

# ruff: noqa: F403, F405

from typing import Any, assert_type

import nnfs_gpu as nnfs
from nnfs_gpu import *
from nnfs_gpu import NNFSClassifier, NNFSRegressor
from nnfs_gpu.backend import BackendStatus
from nnfs_gpu.datasets import spiral_data as data
from nnfs_gpu.kernels.cpu import softmax


class Tanh:
    """A layer of one's own, as the book writes them."""

    def forward(self, inputs: Any, training: bool) -> None:
        self.output = inputs

    def backward(self, dvalues: Any) -> None:
        self.dinputs = dvalues


class Huber(Loss):
    """A loss of one's own."""

    def forward(self, y_pred: Any, y_true: Any) -> Any:
        return abs(y_pred - y_true)

    def backward(self, dvalues: Any, y_true: Any) -> Any:
        return dvalues - y_true


class Watch(Callback):
    """A callback of one's own."""

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        print(epoch, logs["loss"], softmax)


def by_hand() -> float:
    """Chapter 10's loop."""
    nnfs.init()
    X, y = data(samples=100, classes=3)
    dense, activation = Layer_Dense(2, 64, weight_regularizer_l2=5e-4), Activation_ReLU()
    loss_activation = Activation_Softmax_Loss_CategoricalCrossentropy()
    optimizer = Optimizer_Adam(learning_rate=0.02, decay=5e-7)
    dense.forward(X)
    activation.forward(dense.output)
    loss: float = loss_activation.forward(activation.output, y)
    loss += loss_activation.loss.regularization_loss(dense)
    loss_activation.backward(loss_activation.output, y)
    activation.backward(loss_activation.dinputs)
    dense.backward(activation.dinputs)
    optimizer.pre_update_params()
    optimizer.update_params(dense)
    optimizer.post_update_params()
    assert_type(optimizer.iterations, int)
    print(dense.dweights[:5], optimizer.current_learning_rate)
    return loss


def by_model() -> Model:
    """Chapter 18's, with validation and callbacks."""
    X, y = spiral_data(samples=100, classes=3)
    model = Model()
    for layer in (Layer_Dense(2, 64), Tanh(), Layer_Dropout(0.1), Layer_Dense(64, 3)):
        model.add(layer)
    model.add(Activation_Softmax())
    model.set(loss=Huber(), optimizer=Optimizer_SGD(), accuracy=Accuracy_Categorical())
    model.finalize()
    history = model.train(X, y, epochs=10, validation_data=(X, y), callbacks=[Watch()])
    assert_type(history, History)
    print(history["val_accuracy"][-1], model.evaluate(X, y, verbose=False)["loss"])
    print(model.loss.calculate(model.predict(X), y), model.optimizer.learning_rate)
    model.save("model.safetensors")
    assert_type(Model.load("model.safetensors"), Model)
    return model


def estimators() -> None:
    """They are classes, and keep their own methods."""
    X, y = spiral_data(samples=100, classes=3)
    classifier = NNFSClassifier(hidden_layer_sizes=(64,), max_iter=3)
    assert_type(classifier, NNFSClassifier)
    assert_type(classifier.fit(X, y), NNFSClassifier)
    assert_type(nnfs.NNFSRegressor().fit(X, y), NNFSRegressor)
    print(isinstance(classifier, nnfs.NNFSClassifier), classifier.predict(X).shape)


def backends() -> None:
    """Choosing one."""
    with use_backend("numpy", dtype="float64") as backend:
        print(backend.softmax_backward(backend.zeros((2, 3)), backend.zeros((2, 3))))
    assert_type(available_backends(), dict[str, BackendStatus])
    assert_type(spiral_bayes_limit(3), float)


def mistakes() -> None:
    """Each line that ends in the word has an error, and no other line has."""
    Layer_Dense("2", 64)  # mistake
    print(Activation_ReLU().nonsense)  # mistake
    print(nnfs.Nothing)  # mistake
    Model().train([[0, 1]], [0], epochs="ten")  # mistake
    NNFSClassifier(hidden_layer_size=(64,))  # mistake
    NNFSClassifier(max_iter="ten")  # mistake
    NNFSRegressor(class_weight=None)  # mistake
    Optimizer_Adam(rate=0.1)  # mistake
