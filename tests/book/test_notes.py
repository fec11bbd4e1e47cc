"""The neuron of the notes, with the notes' numbers, on every backend and dtype.

N1 to N3 of the project's reference: what a reader of "Neural Networks from Scratch", chapter 9,
has on the page beside the screen. A neuron is a `Layer_Dense` with one output and assigned
weights. N4 to N10 are in test_notes_layer.py, N11 to N16 in test_notes_softmax.py. (N15 is a
timing experiment: a benchmark, not a test.)
"""

from __future__ import annotations

import pytest

from nnfs_gpu import (
    Activation_ReLU,
    Layer_Dense,
    Optimizer_SGD,
)

pytestmark = pytest.mark.default_backend

X = [1.0, -2.0, 3.0]
W = [-3.0, -1.0, 2.0]
B = 1.0


def neuron(weights, bias):
    """One neuron with the given weights."""
    layer = Layer_Dense(len(weights), 1)
    layer.weights = [[w] for w in weights]
    layer.biases = [[bias]]
    return layer


# ---- one neuron (notes 000, 001, 003) ----
def test_n1_forward(same):
    dense, relu = neuron(W, B), Activation_ReLU()
    products = [neuron([w], 0.0).forward([[x]]) for x, w in zip(X, W, strict=True)]
    for product, expected in zip(products, [-3, 2, 6], strict=True):
        same(product, [[expected]], ulps=0)
    same(dense.forward([X]), [[6]], ulps=0)
    same(relu.forward(dense.output), [[6]], ulps=0)


def test_n2_backward(same):
    dense, relu = neuron(W, B), Activation_ReLU()
    relu.forward(dense.forward([X]))
    same(relu.backward([[1.0]]), [[1]], ulps=0)  # d/dz; the sum hands it on to every product
    dense.backward(relu.dinputs)
    same(dense.dinputs, [[-3, -1, 2]], ulps=0)
    same(dense.dweights, [[1], [-2], [3]], ulps=0)
    same(dense.dbiases, [[1]], ulps=0)


def test_n2_gradient_of_every_product(same):
    """d relu / d xw = 1, 1, 1: the sum is a neuron whose weights are 1."""
    total, relu = neuron([1, 1, 1], B), Activation_ReLU()
    relu.forward(total.forward([[-3.0, 2.0, 6.0]]))
    same(total.backward(relu.backward([[1.0]])), [[1, 1, 1]], ulps=0)
    same(total.dbiases, [[1]], ulps=0)


@pytest.mark.parametrize("how", ["by hand", "optimizer"])
def test_n3_step(same, how):
    dense, relu = neuron(W, B), Activation_ReLU()
    relu.forward(dense.forward([X]))
    dense.backward(relu.backward([[1.0]]))
    if how == "by hand":
        dense.weights += -0.001 * dense.dweights
        dense.biases += -0.001 * dense.dbiases
    else:
        Optimizer_SGD(learning_rate=0.001).update_params(dense)
    same(dense.weights, [[-3.001], [-0.998], [1.997]])
    same(dense.biases, [[0.999]])
    same(relu.forward(dense.forward([X])), [[5.985]], magnitude=12)


def test_n3b_the_variant_with_13(backend, same):
    """Note 000 gives the second product the local derivative 13: three products of their own."""
    products = [neuron([w], 0.0) for w in W]
    total = neuron([1, 13, 1], B)  # what the sum sends back, as the note has it
    relu = Activation_ReLU()
    for product, x in zip(products, X, strict=True):
        product.forward([[x]])
    relu.forward([[6.0]])
    total.forward([[-3.0, 2.0, 6.0]])
    dxw = backend.to_numpy(total.backward(relu.backward([[1.0]])))
    assert dxw.tolist() == [[1, 13, 1]]
    for k, product in enumerate(products):
        product.backward(dxw[:, k : k + 1])
    for product, dx, dw in zip(products, [-3, -13, 2], [1, -26, 3], strict=True):
        same(product.dinputs, [[dx]], ulps=0)
        same(product.dweights, [[dw]], ulps=0)
    for product in products:
        Optimizer_SGD(learning_rate=0.001).update_params(product)
    updated = [float(p.weights[0, 0]) for p in products]
    dense = neuron(updated, B)
    dense.dweights, dense.dbiases = backend.zeros((3, 1)), total.dbiases
    Optimizer_SGD(learning_rate=0.001).update_params(dense)
    same(dense.weights, [[-3.001], [-0.974], [1.997]])
    same(dense.biases, [[0.999]])
    same(Activation_ReLU().forward(dense.forward([X])), [[5.937]], magnitude=12)


def test_n3c_the_neuron_of_note_003(same):
    dense, relu = neuron([1, -2, 3], 1), Activation_ReLU()
    same(relu.forward(dense.forward([[-3, -1, 2]])), [[6]], ulps=0)
    dense.backward(relu.backward([[1]]))
    same(dense.dinputs, [[1, -2, 3]], ulps=0)
    same(dense.dweights, [[-3], [-1], [2]], ulps=0)
    same(dense.dbiases, [[1]], ulps=0)
