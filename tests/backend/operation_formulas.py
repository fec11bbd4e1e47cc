"""The formulas of layers, activations and losses a second time, in the most naive way.

Python loops over samples and elements, in float64, that know nothing of the package. Each takes
the dtype that is tested and the operation's arguments, and gives a list of `Expected`: a value,
and the size of what was added up to make it, which bounds the rounding. The others and the table
of all are in operation_oracles.py.
"""

from __future__ import annotations

import math

import numpy as np
from helpers import summing


class Expected:
    """A value, and the size of the rounding errors on the way to it (see assert_close)."""

    def __init__(self, value, magnitude=None, ulps=4.0):
        self.value, self.magnitude, self.ulps = np.array(value), magnitude, ulps
        if magnitude is not None:
            self.magnitude = np.array(magnitude)


def exact(value):
    return Expected(value, ulps=0)


def each(function, *arrays):
    """`function` of the elements of arrays of equal shape, one by one."""
    return np.array([[function(*z) for z in zip(*rows, strict=True)] for rows in _rows(*arrays)])


def each_row(function, *arrays):
    """`function` of the rows, as lists, one by one."""
    return np.array([function(*rows) for rows in _rows(*arrays)])


def _rows(*arrays):
    return zip(*(a.tolist() for a in arrays), strict=True)


# ---- the formulas ----
def linear_forward(dtype, x, w, b):
    def dot(row, column):
        return math.fsum(p * q for p, q in zip(row, column, strict=True))

    columns = w.T.tolist()
    value = [
        [dot(row, column) + bias for column, bias in zip(columns, b[0].tolist(), strict=True)]
        for row in x.tolist()
    ]
    return [Expected(value, np.abs(x) @ np.abs(w) + np.abs(b), summing(w.shape[0]))]


def linear_backward(dtype, dy, x, w):
    (dx,) = linear_forward(dtype, dy, w.T, np.zeros((1, w.shape[0])))
    (dw,) = linear_forward(dtype, x.T, dy, np.zeros((1, dy.shape[1])))
    db = [[math.fsum(column) for column in dy.T.tolist()]]
    return [dx, dw, Expected(db, np.abs(dy).sum(0, keepdims=True), summing(dy.shape[0]))]


def linear_relu_forward(dtype, x, w, b):
    (z,) = linear_forward(dtype, x, w, b)
    return [Expected(np.where(z.value > 0, z.value, 0.0), z.magnitude, z.ulps)]


def linear_relu_backward(dtype, dy, x, w, y):
    return linear_backward(dtype, np.where(y > 0, dy, 0.0), x, w)


def relu_forward(dtype, x):
    return [exact(each(lambda v: v if v > 0 else 0.0, x))]


def relu_backward(dtype, dy, x):
    return [exact(each(lambda d, v: d if v > 0 else 0.0, dy, x))]


def leaky_relu_forward(dtype, x, slope):
    return [Expected(each(lambda v: v if v > 0 else slope * v, x))]


def leaky_relu_backward(dtype, dy, x, slope):
    return [Expected(each(lambda d, v: d if v > 0 else slope * d, dy, x))]


def sigmoid_forward(dtype, x):
    def sigmoid(v):
        return 1 / (1 + math.exp(-v)) if v > 0 else math.exp(v) / (1 + math.exp(v))

    return [Expected(each(sigmoid, x))]


def sigmoid_backward(dtype, dy, y):
    return [Expected(each(lambda d, v: d * v * (1 - v), dy, y))]


def tanh_forward(dtype, x):
    return [Expected(each(math.tanh, x))]


def tanh_backward(dtype, dy, y):
    return [Expected(each(lambda d, v: d * (1 - v * v), dy, y), each(abs, dy))]


def softmax_forward(dtype, x):
    def softmax(row):
        largest = max(row)
        powers = [math.exp(v - largest) for v in row]
        total = math.fsum(powers)
        return [p / total for p in powers]

    y = each_row(softmax, x)
    # exp turns the rounding of x - max, relative to x - max, into one relative to the result.
    below = x.max(axis=1, keepdims=True) - x
    growth = 2 + below + (y * below).sum(axis=1, keepdims=True)
    return [Expected(y, y * growth, summing(x.shape[1]))]


def softmax_backward(dtype, dy, y):
    """The notes' loop: the Jacobian matrix of every sample times its gradient."""
    dx = np.empty_like(dy)
    for index, (single_output, single_dvalues) in enumerate(zip(y, dy, strict=True)):
        single_output = single_output.reshape(-1, 1)
        jacobian_matrix = np.diagflat(single_output) - np.dot(single_output, single_output.T)
        dx[index] = np.dot(jacobian_matrix, single_dvalues)
    magnitude = y * (np.abs(dy) + (y * np.abs(dy)).sum(axis=1, keepdims=True))
    return [Expected(dx, magnitude, summing(y.shape[1]))]


def softmax_jacobian(dtype, y):
    def jacobian(row):
        return [[a * (i == j) - a * b for j, b in enumerate(row)] for i, a in enumerate(row)]

    def magnitude(row):
        return [[a * (i == j) + a * b for j, b in enumerate(row)] for i, a in enumerate(row)]

    return [Expected(each_row(jacobian, y), each_row(magnitude, y))]


def limits(dtype):
    """The book's clip, as numbers of the arrays' dtype: 1 - 1e-7 is 1 - 1.19e-7 in float32."""
    return float(dtype.type(1e-7)), float(dtype.type(1 - 1e-7))


def as_rows(t, classes):
    """Class indices as one-hot rows."""
    return t if t.ndim == 2 else np.array([[float(c == k) for c in range(classes)] for k in t])


def cross_entropy_forward(dtype, p, t):
    low, high = limits(dtype)

    def loss(probabilities, targets):
        return -math.fsum(
            target * math.log(min(max(probability, low), high))
            for probability, target in zip(probabilities, targets, strict=True)
            if target
        )

    t = as_rows(t, p.shape[1])
    value = each_row(loss, p, t)
    # 1 eps: a probability near 1, rounded by half an eps, moves its logarithm by as much.
    return [Expected(value, 1 + value, 2 + (summing(p.shape[1]) if (t % 1).any() else 0))]


def cross_entropy_backward(dtype, p, t):
    low, _ = limits(dtype)
    n, classes = p.shape
    gradient = each(lambda q, k: -k / max(q, low) / n, p, as_rows(t, classes))
    return [Expected(gradient)]


def softmax_cross_entropy_backward(dtype, p, t):
    n, classes = p.shape
    t = as_rows(t, classes)
    return [Expected(each(lambda q, k: (q - k) / n, p, t), (np.abs(p) + t) / n, 2)]


def softmax_cross_entropy(dtype, x, t, samples=None):
    (p,) = softmax_forward(dtype, x)
    (loss,) = cross_entropy_forward(dtype, p.value, t)
    n, classes = x.shape
    (dx,) = softmax_cross_entropy_backward(dtype, p.value, t)
    scale = n / (n if samples is None else samples)
    # What p is off by, relative to itself, is what its logarithm is off by.
    below = np.max(p.magnitude / np.where(p.value > 0, p.value, 1), axis=1)
    sums = summing(classes)
    return [
        Expected(loss.value, loss.magnitude + np.minimum(below, 1 / limits(dtype)[0]), sums + 4),
        Expected(dx.value * scale, (p.magnitude + as_rows(t, classes)) * scale / n, sums),
    ]


def binary_cross_entropy_forward(dtype, p, t):
    low, high = limits(dtype)

    def loss(probabilities, targets):
        terms = []
        for probability, target in zip(probabilities, targets, strict=True):
            q = min(max(probability, low), high)
            terms.append(-(target * math.log(q) + (1 - target) * math.log(1 - q)))
        return math.fsum(terms) / len(terms)

    value = each_row(loss, p, t)
    return [Expected(value, 1 + value, summing(p.shape[1]))]


def binary_cross_entropy_backward(dtype, p, t):
    low, high = limits(dtype)
    n, outputs = p.shape

    def terms(probability, target):
        q = min(max(probability, low), high)
        return target / q, (1 - target) / (1 - q)

    gradient = each(lambda q, k: -(terms(q, k)[0] - terms(q, k)[1]) / outputs / n, p, t)
    return [Expected(gradient, each(lambda q, k: sum(terms(q, k)), p, t) / outputs / n)]


def squared_error_forward(dtype, y, t):
    def loss(outputs, targets):
        squares = [(b - a) ** 2 for a, b in zip(outputs, targets, strict=True)]
        return math.fsum(squares) / len(squares)

    return [Expected(each_row(loss, y, t), ulps=summing(y.shape[1]))]


def squared_error_backward(dtype, y, t):
    n, outputs = y.shape
    return [Expected(each(lambda a, b: 2 * (a - b) / outputs / n, y, t))]


def absolute_error_forward(dtype, y, t):
    def loss(outputs, targets):
        return math.fsum(abs(b - a) for a, b in zip(outputs, targets, strict=True)) / len(outputs)

    return [Expected(each_row(loss, y, t), ulps=summing(y.shape[1]))]


def absolute_error_backward(dtype, y, t):
    n, outputs = y.shape
    return [Expected(each(lambda a, b: ((a > b) - (a < b)) / outputs / n, y, t))]
