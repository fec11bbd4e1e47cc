"""A network whose matrix products are exact: 50 steps layer by layer, for test_one_answer.py.

What a BLAS adds up has an order of its own, so that two runs part at their first product, unless
rounding has no part in it. Here whatever goes into a product is rounded to a few bits: weights
after each step, by the optimizer, what flows forward and back by a layer of the test's own. All the
rest has the digits that it has: softmax and its loss, tanh, penalties, bias gradients, Adam.

That no order can matter is checked at every product: in whole numbers of its unit, what is added up
stays below 2^24, or 2^53, in size.
"""

from __future__ import annotations

import hashlib
from itertools import pairwise
from typing import Any

import numpy as np

import nnfs_gpu
from nnfs_gpu import use_backend
from nnfs_gpu.selftest.crosscheck import bits_of

STEPS, CLASSES = 50, 3
WEIGHTS, FORWARD, BACK = 5, 6, 11  # binary digits after the point
# Samples, then inputs and units of layers: of the second a thread of the simulator is a thread.
NETWORKS = {"three layers": (33, 3, 6, 5), "two layers": (3, 2, 2)}


def rounded(a: Any, digits: int) -> Any:
    """`a` to multiples of 2^-digits: exact but for what is dropped."""
    return (a * a.dtype.type(2**digits)).round() * a.dtype.type(2.0**-digits)


class Rounded:
    """A layer: rounds what goes through it, both ways."""

    def forward(self, inputs: Any, training: bool) -> None:
        self.inputs, self.output = inputs, rounded(inputs, FORWARD)

    def backward(self, dvalues: Any) -> None:
        self.dinputs = rounded(dvalues, BACK)


class RoundedAdam(nnfs_gpu.Optimizer_Adam):
    """Adam, after which weights and biases are rounded."""

    def update_params(self, layer: Any) -> None:
        super().update_params(layer)
        for name in ("weights", "biases"):
            setattr(layer, name, rounded(getattr(layer, name), WEIGHTS))


def digits_of(a: np.ndarray) -> int:
    """Binary digits after the point."""
    for digits in range(60):
        if (a * 2.0**digits == np.rint(a * 2.0**digits)).all():
            return digits
    raise AssertionError("more digits than a product may have here")


def check_exact(a: Any, b: Any, product: Any) -> None:
    """Every sum on the way to every element of the product is a number of the dtype."""
    wide = [np.asarray(x, np.float64) for x in (a, b)]
    digits = [digits_of(x) for x in wide]
    whole = [(x * 2.0**d).astype(np.int64) for x, d in zip(wide, digits, strict=True)]
    limit = 2 ** (np.finfo(a.dtype).nmant + 1)
    assert (abs(whole[0]) @ abs(whole[1])).max(initial=0) < limit, "sums that are rounded"
    found = np.asarray(product, np.float64) * 2.0 ** sum(digits)
    assert (found == (whole[0] @ whole[1]).astype(np.float64)).all()


def train(backend: Any, network: str) -> str:
    """A digest of every step's loss and of all parameters at the end."""
    products, dot = 0, backend._dot

    def checked(a: Any, b: Any) -> Any:
        nonlocal products
        product, products = dot(a, b), products + 1
        check_exact(*(backend.to_numpy(x) for x in (a, b, product)))
        return product

    samples, *widths = NETWORKS[network]
    rng = np.random.RandomState(1)
    X = rng.randint(-3, 4, (samples, widths[0])).astype(backend.dtype)
    y = (abs(X).sum(axis=1) % CLASSES).astype(np.int32)
    backend._dot = checked  # of this one, which others get from get_backend as well
    try:
        with use_backend(backend):
            model = _model(rng, widths)
            history = model.train(X, y, epochs=STEPS, print_every=None, engine="layers")
    finally:
        del backend._dot
    assert products == 3 * STEPS * len(widths)
    assert history["loss"][-1] < 0.8 * history["loss"][0]
    parameters = [backend.to_numpy(a) for pair in model.get_parameters() for a in pair]
    bits = [*map(bits_of, parameters), history["loss"]]
    return hashlib.sha256(repr(bits).encode()).hexdigest()


def _model(rng: np.random.RandomState, widths: list[int]) -> nnfs_gpu.Model:
    model = nnfs_gpu.Model()
    for k, size in enumerate(pairwise((*widths, CLASSES))):
        penalties = {"weight_regularizer_l2": 1e-3} if k else {"bias_regularizer_l1": 1e-3}
        dense = nnfs_gpu.Layer_Dense(*size, **penalties)
        dense.weights = np.rint(rng.randn(*size) * 16) / 2**WEIGHTS
        model.add(dense)
        model.add(Rounded())
        if k == len(widths) - 1:
            model.add(nnfs_gpu.Activation_Softmax())
        elif k == 0:
            model.add(nnfs_gpu.Activation_ReLU())
            model.add(nnfs_gpu.Layer_Dropout(0.5, seed=7))
        else:
            model.add(nnfs_gpu.Activation_Tanh())
            model.add(Rounded())
    model.set(
        loss=nnfs_gpu.Loss_CategoricalCrossentropy(),
        optimizer=RoundedAdam(learning_rate=2.0**-4),
        accuracy=nnfs_gpu.Accuracy_Categorical(),
    )
    model.finalize()
    return model
