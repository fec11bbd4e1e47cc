"""Training as the notes write it, in NumPy, as the thing to compare with.

The same array expressions in the same order as the classes in the notes (Kinsley and Kukiela,
chapters 9 and 10), the habits that cost time included: a Python loop over samples for the
softmax's Jacobian, `range(samples)` as an index, one-hot rows by `eye`. Nothing checks anything.
Parameters and data are float32, as after `nnfs.init()`; matrix products are BLAS's in float32.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

CLIP = 1e-7


def softmax_backward(dvalues: np.ndarray, output: np.ndarray) -> np.ndarray:
    """`Activation_Softmax.backward`: one Jacobian a sample, in a Python loop."""
    dinputs = np.empty_like(dvalues)
    for index, (single_output, single_dvalues) in enumerate(zip(output, dvalues, strict=True)):
        single_output = single_output.reshape(-1, 1)
        jacobian_matrix = np.diagflat(single_output) - np.dot(single_output, single_output.T)
        dinputs[index] = np.dot(jacobian_matrix, single_dvalues)
    return dinputs


def cross_entropy_backward(dvalues: np.ndarray, y_true: np.ndarray) -> np.ndarray:
    """`Loss_CategoricalCrossentropy.backward`, for class indices."""
    samples, labels = len(dvalues), len(dvalues[0])
    y_true = np.eye(labels)[y_true]
    dinputs: np.ndarray = -y_true / dvalues / samples
    return dinputs


def separate(dvalues: np.ndarray, y_true: np.ndarray) -> np.ndarray:
    """Loss and softmax one after the other: the slow one of the timing experiment."""
    return softmax_backward(cross_entropy_backward(dvalues, y_true), dvalues)


def combined(dvalues: np.ndarray, y_true: np.ndarray) -> np.ndarray:
    """`Activation_Softmax_Loss_CategoricalCrossentropy.backward`: the fast one."""
    samples = len(dvalues)
    dinputs = dvalues.copy()
    dinputs[range(samples), y_true] -= 1
    return dinputs / samples


class BookNetwork:
    """Dense layers with ReLU between and the combined softmax and loss at the end.

    parameters  (weights, biases) of each layer; copied
    optimizer   "adam" or "sgd"
    derivative  of loss and softmax: `combined` or `separate`
    """

    def __init__(
        self,
        parameters: list[tuple[np.ndarray, np.ndarray]],
        optimizer: str,
        rate: float,
        derivative: Callable[[np.ndarray, np.ndarray], np.ndarray] = combined,
    ):
        self._derivative = derivative
        self.layers = [(w.copy(), b.copy()) for w, b in parameters]
        self._state = [[(np.zeros_like(p), np.zeros_like(p)) for p in pair] for pair in self.layers]
        self._adam, self._rate, self.iterations, self.loss = optimizer == "adam", rate, 0, np.nan

    def step(self, X: np.ndarray, y: np.ndarray) -> None:
        """One epoch of the notes' training loop, loss and accuracy included."""
        samples, inputs, sums = len(X), [X], []
        for number, (w, b) in enumerate(self.layers):
            sums.append(np.dot(inputs[-1], w) + b)
            if number < len(self.layers) - 1:
                inputs.append(np.maximum(0, sums[-1]))
        exp_values = np.exp(sums[-1] - np.max(sums[-1], axis=1, keepdims=True))
        output = exp_values / np.sum(exp_values, axis=1, keepdims=True)
        confidences = np.clip(output, CLIP, 1 - CLIP)[range(samples), y]
        self.loss = float(np.mean(-np.log(confidences)))
        self.accuracy = np.mean(np.argmax(output, axis=1) == y)
        dvalues = self._derivative(output, y)
        gradients: list[Any] = [None] * len(self.layers)
        for number in reversed(range(len(self.layers))):
            w, _ = self.layers[number]
            dweights = np.dot(inputs[number].T, dvalues)
            gradients[number] = dweights, np.sum(dvalues, axis=0, keepdims=True)
            dvalues = np.dot(dvalues, w.T)
            if number:
                dvalues = dvalues.copy()
                dvalues[sums[number - 1] <= 0] = 0
        self._update(gradients)

    def _update(self, gradients: list[tuple[np.ndarray, np.ndarray]]) -> None:
        """`Optimizer_Adam.update_params`, or `Optimizer_SGD`'s."""
        self.iterations += 1
        for pair, derivatives, state in zip(self.layers, gradients, self._state, strict=True):
            for p, dp, (momentums, cache) in zip(pair, derivatives, state, strict=True):
                if not self._adam:
                    p += -self._rate * dp
                    continue
                momentums[...] = 0.9 * momentums + (1 - 0.9) * dp
                cache[...] = 0.999 * cache + (1 - 0.999) * dp**2
                corrected = momentums / (1 - 0.9**self.iterations)
                cache_corrected = cache / (1 - 0.999**self.iterations)
                p += -self._rate * corrected / (np.sqrt(cache_corrected) + 1e-7)
