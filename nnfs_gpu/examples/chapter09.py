"""Chapter 9, backpropagation: gradients of a whole network, and the proof that they are right.

A forward pass leaves in each layer what its backward pass needs; the backward pass goes through
the same layers in reverse and leaves `dweights` and `dbiases`.

Look at: the gradient of one weight beside its finite difference (lift that weight a little,
lower it a little, see how the loss moves): the same number, found without backpropagation.
Then at the loss, which falls when every parameter takes a step against its gradient.
"""

from __future__ import annotations

import nnfs_gpu as nnfs
from nnfs_gpu import (
    Activation_ReLU,
    Activation_Softmax_Loss_CategoricalCrossentropy,
    Layer_Dense,
    spiral_data,
)


def main(epochs: int = 200) -> list[float]:
    """Print gradients and their check, then take `epochs` steps; returns the losses."""
    nnfs.init(default_dtype="float64")  # a finite difference needs the digits
    X, y = spiral_data(samples=100, classes=3)
    dense1, activation1, dense2 = Layer_Dense(2, 16), Activation_ReLU(), Layer_Dense(16, 3)
    loss_activation = Activation_Softmax_Loss_CategoricalCrossentropy()

    def forward() -> float:
        activation1.forward(dense1.forward(X))
        return float(loss_activation.forward(dense2.forward(activation1.output), y))

    def backward() -> None:
        loss_activation.backward(loss_activation.output, y)
        dense2.backward(loss_activation.dinputs)
        activation1.backward(dense2.dinputs)
        dense1.backward(activation1.dinputs)

    print("loss:", forward())
    backward()
    print("gradient of the first layer's weights:\n", dense1.dweights)

    # The derivative of the loss by one weight, from its definition.
    weights, step = dense1.weights, 1e-6
    gradient = float(dense1.dweights[0, 3])
    weights[0, 3] += step
    above = forward()
    weights[0, 3] -= 2 * step
    below = forward()
    weights[0, 3] += step
    print(f"by backpropagation: {gradient:.9f}")
    print(f"by differences:     {(above - below) / (2 * step):.9f}")

    # What an optimizer does (chapter 10), by hand: a step downhill for every parameter.
    losses = []
    for epoch in range(1, epochs + 1):
        losses.append(forward())
        backward()
        for layer in (dense1, dense2):
            layer.weights -= 1.0 * layer.dweights
            layer.biases -= 1.0 * layer.dbiases
        if epoch % 50 == 0 or epoch in (1, epochs):
            print(f"epoch: {epoch}, loss: {losses[-1]:.4f}")
    return losses


if __name__ == "__main__":
    from nnfs_gpu.examples import run

    run(main)
