"""The networks and the book's program that the tests of `Model` share."""

import numpy as np
from networks import dense_model, model_of

from nnfs_gpu import (
    Accuracy_Categorical,
    Activation_ReLU,
    Activation_Softmax_Loss_CategoricalCrossentropy,
    Layer_Dense,
    Loss_CategoricalCrossentropy,
    Optimizer_Adam,
)

RNG = np.random.RandomState(8)
X = RNG.randn(50, 2)
Y = RNG.randint(0, 3, 50)
X_VAL, Y_VAL = RNG.randn(23, 2), RNG.randint(0, 3, 23)
PENALTY = {"weight_regularizer_l2": 0.02, "weight_regularizer_l1": 1e-3, "bias_regularizer_l2": 0.1}


def network(*layers, optimizer=None, seed=1, **regularizers):
    """A finalized softmax classifier; by default 2-8-3 with weights that `seed` draws."""
    optimizer = optimizer or Optimizer_Adam(0.05, decay=1e-3)
    if not layers:
        return dense_model(2, 8, 3, seed=seed, optimizer=optimizer, **regularizers)
    np.random.seed(seed)
    loss, accuracy = Loss_CategoricalCrossentropy(), Accuracy_Categorical()
    return model_of(*layers, loss=loss, optimizer=optimizer, accuracy=accuracy)


def parameters(model):
    """Copies of all parameters, on the host."""
    to_numpy = model.backend.to_numpy
    return [to_numpy(a).copy() for pair in model.get_parameters() for a in pair]


def book_program(X, y, *, epochs, batch_size, optimizer, seed=1, **regularizers):
    """The network of `network`, trained with the calls of the book's programs.

    Returns the lines that chapter 19 prints and the parameters.
    """
    np.random.seed(seed)
    dense1, activation1 = Layer_Dense(2, 8, **regularizers), Activation_ReLU()
    dense2 = Layer_Dense(8, 3)
    combined = Activation_Softmax_Loss_CategoricalCrossentropy()
    lines = []
    for epoch in range(1, epochs + 1):
        lines.append(f"epoch: {epoch}")
        right = loss_sum = 0.0
        steps = -(-len(X) // batch_size)
        for step in range(steps):
            batch = slice(step * batch_size, (step + 1) * batch_size)
            dense1.forward(X[batch])
            activation1.forward(dense1.output)
            dense2.forward(activation1.output)
            data_loss = float(combined.forward(dense2.output, y[batch]))
            penalty = float(combined.loss.regularization_loss(dense1))
            probabilities = combined.backend.to_numpy(combined.output)
            hits = np.argmax(probabilities, axis=1) == y[batch]
            right, loss_sum = right + hits.sum(), loss_sum + data_loss * len(hits)
            combined.backward(combined.output, y[batch])
            dense2.backward(combined.dinputs)
            activation1.backward(dense2.dinputs)
            dense1.backward(activation1.dinputs)
            optimizer.pre_update_params()
            optimizer.update_params(dense1)
            optimizer.update_params(dense2)
            optimizer.post_update_params()
            rate = optimizer.current_learning_rate
            lines.append(line(f"step: {step}", hits.mean(), data_loss, penalty, rate))
        penalty = float(combined.loss.regularization_loss(dense1))
        lines.append(line("training", right / len(X), loss_sum / len(X), penalty, rate))
    return lines, [*dense1.get_parameters(), *dense2.get_parameters()]


def line(what, accuracy, data_loss, penalty, rate):
    return (
        f"{what}, acc: {accuracy:.3f}, loss: {data_loss + penalty:.3f} "
        f"(data_loss: {data_loss:.3f}, reg_loss: {penalty:.3f}), lr: {rate}"
    )
