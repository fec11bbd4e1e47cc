"""What every operation must give: `ORACLES`, from the formulas here and in operation_formulas.py.

Here are dropout, regularization, optimizer steps, predictions, sums and random numbers.
"""

from __future__ import annotations

import math

import exact_numbers
import numpy as np
import operation_formulas as formulas
from helpers import philox_words, summing
from operation_formulas import Expected, each, each_row, exact

EPS64 = np.finfo(np.float64).eps


def dropout_forward(dtype, x, keep, seed, call):
    words = philox_words(0, x.size, seed, 1, call).reshape(x.shape)
    mask = each(lambda word: 1 / keep if word < keep * 2**32 else 0.0, words)
    return [Expected(x * mask), Expected(mask, ulps=1)]


def multiply(dtype, a, b):
    return [Expected(each(lambda p, q: p * q, a, b), ulps=1)]


def regularization_loss(dtype, w, l1, l2):
    value = math.fsum(l1 * abs(v) + l2 * v * v for row in w.tolist() for v in row)
    return [Expected(value, ulps=summing(w.size))]


def regularization_step(dtype, dw, w, l1, l2):
    def gradient(d, v):
        return d + (l1 if v >= 0 else -l1) + 2 * l2 * v

    return [Expected(each(gradient, dw, w), np.abs(dw) + l1 + 2 * l2 * np.abs(w))]


def sgd_step(dtype, w, dw, rate):
    return [Expected(each(lambda p, d: p - rate * d, w, dw), np.abs(w) + rate * np.abs(dw))]


def momentum_step(dtype, w, dw, m, rate, momentum):
    new_m = each(lambda d, v: momentum * v - rate * d, dw, m)
    size = momentum * np.abs(m) + rate * np.abs(dw)
    return [Expected(w + new_m, np.abs(w) + size), Expected(new_m, size)]


def adagrad_step(dtype, w, dw, cache, rate, epsilon):
    new_cache = each(lambda d, c: c + d * d, dw, cache)
    update = each(lambda d, c: rate * d / (math.sqrt(c) + epsilon), dw, new_cache)
    return [Expected(w - update, np.abs(w) + np.abs(update)), Expected(new_cache)]


def rmsprop_step(dtype, w, dw, cache, rate, epsilon, rho):
    new_cache = each(lambda d, c: rho * c + (1 - rho) * d * d, dw, cache)
    update = each(lambda d, c: rate * d / (math.sqrt(c) + epsilon), dw, new_cache)
    return [Expected(w - update, np.abs(w) + np.abs(update)), Expected(new_cache)]


def adam_step(dtype, w, dw, m, cache, rate, epsilon, beta_1, beta_2, step):
    new_m = each(lambda d, v: beta_1 * v + (1 - beta_1) * d, dw, m)
    new_cache = each(lambda d, c: beta_2 * c + (1 - beta_2) * d * d, dw, cache)
    size = beta_1 * np.abs(m) + (1 - beta_1) * np.abs(dw)

    def update(average, squares):
        corrected = average / (1 - beta_1**step)
        return rate * corrected / (math.sqrt(squares / (1 - beta_2**step)) + epsilon)

    moved = np.abs(each(update, size, new_cache))
    return [
        Expected(w - each(update, new_m, new_cache), np.abs(w) + moved),
        Expected(new_m, size),
        Expected(new_cache),
    ]


def adamw_step(dtype, w, dw, m, cache, rate, epsilon, beta_1, beta_2, weight_decay, step):
    adam = (dtype, w, dw, m, cache, rate, epsilon, beta_1, beta_2, step)
    moved, new_m, new_cache = adam_step(*adam)
    decayed = rate * weight_decay * w
    return [Expected(moved.value - decayed, moved.magnitude + np.abs(decayed)), new_m, new_cache]


def argmax(dtype, x):
    return [exact(each_row(lambda row: row.index(max(row)), x))]


def threshold(dtype, x, limit):
    return [exact(each(lambda v: int(v > limit), x))]


def equal(dtype, a, b):
    return [exact(each(lambda p, q: p == q, a, b))]


def close(dtype, a, b, tolerance):
    return [exact(each(lambda p, q: abs(p - q) < tolerance, a, b))]


def mean(dtype, a):
    value = math.fsum(a.ravel().tolist()) / a.size
    return [Expected(value, np.abs(a).mean(), summing(a.size))]


def sum_(dtype, a):
    return [Expected(math.fsum(a.ravel().tolist()), np.abs(a).sum(), summing(a.size))]


def random_words(dtype, count, seed, stream, call):
    return [exact(philox_words(0, count, seed, stream, call))]


def spiral_point(first, second, c, k, samples):
    """Point k of class c and its angle, from two random words (by Box and Muller)."""
    u, v = (first + 0.5) / 2**32, second / 2**32
    g = math.sqrt(-2 * math.log(u)) * math.cos(2 * math.pi * v)
    r = k / (samples - 1) if samples > 1 else 0.0
    angle = 10 * c + 10 * r + 0.5 * g
    return [r * math.sin(angle), r * math.cos(angle)], angle


def spiral(dtype, samples, classes, seed, start=0, step=1):
    words = philox_words(0, 2 * samples * classes, seed, 2).tolist()
    points, labels, angles = [], [], []
    for i in range(start, samples * classes, step):
        c, k = divmod(i, samples)
        point, angle = spiral_point(*words[2 * i : 2 * i + 2], c, k, samples)
        points.append(point)
        labels.append(c)
        angles.append([abs(angle) + 10])
    # The angle is computed in float64; its rounding moves a point by as much.
    magnitude = 1 + np.array(angles) * EPS64 / np.finfo(dtype).eps
    return [Expected(points, magnitude, 2), exact(labels)]


def exact_add(dtype, w0, w1, w2, x):
    numbers = (map(int, a.ravel().tolist()) for a in (w0, w1, w2))
    found = [
        exact_numbers.added(words, one)
        for *words, one in zip(*numbers, x.ravel().tolist(), strict=True)
    ]
    return [exact(np.array(word).reshape(x.shape)) for word in zip(*found, strict=True)]


def exact_value(dtype, w0, w1, w2):
    return [exact(each(lambda *words: exact_numbers.value_of(words), w0, w1, w2))]


def unchanged(dtype, **arguments):
    return [exact(value) for value in arguments.values()]


ORACLES = {
    "asarray": unchanged,
    "to_numpy": unchanged,
    "copy": unchanged,
    "zeros": lambda dtype, shape: [exact(np.zeros(shape))],
    "synchronize": lambda dtype: [],
    "all_finite": lambda dtype, a: [exact(True)],
    "linear_forward": formulas.linear_forward,
    "linear_backward": formulas.linear_backward,
    "linear_relu_forward": formulas.linear_relu_forward,
    "linear_relu_backward": formulas.linear_relu_backward,
    "relu_forward": formulas.relu_forward,
    "relu_backward": formulas.relu_backward,
    "leaky_relu_forward": formulas.leaky_relu_forward,
    "leaky_relu_backward": formulas.leaky_relu_backward,
    "sigmoid_forward": formulas.sigmoid_forward,
    "sigmoid_backward": formulas.sigmoid_backward,
    "tanh_forward": formulas.tanh_forward,
    "tanh_backward": formulas.tanh_backward,
    "softmax_forward": formulas.softmax_forward,
    "softmax_backward": formulas.softmax_backward,
    "softmax_jacobian": formulas.softmax_jacobian,
    "cross_entropy_forward": formulas.cross_entropy_forward,
    "cross_entropy_backward": formulas.cross_entropy_backward,
    "softmax_cross_entropy_backward": formulas.softmax_cross_entropy_backward,
    "softmax_cross_entropy": formulas.softmax_cross_entropy,
    "binary_cross_entropy_forward": formulas.binary_cross_entropy_forward,
    "binary_cross_entropy_backward": formulas.binary_cross_entropy_backward,
    "squared_error_forward": formulas.squared_error_forward,
    "squared_error_backward": formulas.squared_error_backward,
    "absolute_error_forward": formulas.absolute_error_forward,
    "absolute_error_backward": formulas.absolute_error_backward,
    "dropout_forward": dropout_forward,
    "multiply": multiply,
    "regularization_loss": regularization_loss,
    "regularization_step": regularization_step,
    "sgd_step": sgd_step,
    "momentum_step": momentum_step,
    "adagrad_step": adagrad_step,
    "rmsprop_step": rmsprop_step,
    "adam_step": adam_step,
    "adamw_step": adamw_step,
    "argmax": argmax,
    "threshold": threshold,
    "equal": equal,
    "close": close,
    "mean": mean,
    "sum": sum_,
    "exact_add": exact_add,
    "exact_value": exact_value,
    "random_words": random_words,
    "spiral": spiral,
}


def in_float64(arguments):
    """The same numbers for the oracle: float arrays as float64, the rest as it is."""
    return {
        name: value.astype(np.float64)
        if isinstance(value, np.ndarray) and value.dtype.kind == "f"
        else value
        for name, value in arguments.items()
    }
