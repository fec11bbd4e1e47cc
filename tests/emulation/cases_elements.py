"""Cases of elementwise.cu, losses.cu and optimizers.cu."""

from __future__ import annotations

import numpy as np
from helpers import parameters, probabilities, summing

from emulation.cases import (
    HIGH,
    LOW,
    ORACLE,
    Result,
    case,
    class_labels,
    class_probabilities,
    clipped,
    normal,
    row_blocks,
    wide,
)


# ---- elementwise.cu ----
@case("elementwise.relu_forward", "elementwise.relu_backward")
def relu(gpu, rng, n, c):
    x, dy = gpu.array(normal(rng, n, c)), gpu.array(normal(rng, n, c))
    y, dx = gpu.empty((n, c)), gpu.empty((n, c))
    gpu.flat("elementwise", "relu_forward", x.size, x, y, x.size)
    gpu.flat("elementwise", "relu_backward", x.size, dy, x, dx, x.size)
    return [Result(y, ORACLE.relu_forward(x)), Result(dx, ORACLE.relu_backward(dy, x))]


@case("elementwise.tanh_forward", "elementwise.tanh_backward")
def tanh(gpu, rng, n, c):
    x, dy = gpu.array(3 * normal(rng, n, c)), gpu.array(rng.randn(n, c))
    y, dx = gpu.empty((n, c)), gpu.empty((n, c))
    gpu.flat("elementwise", "tanh_forward", x.size, x, y, x.size)
    gpu.flat("elementwise", "tanh_backward", x.size, dy, y, dx, x.size)
    expected, lost = ORACLE.tanh_backward(wide(dy), wide(y)), np.abs(wide(dy))  # where y is near 1
    return [Result(y, ORACLE.tanh_forward(wide(x)), 4), Result(dx, expected, 2, lost)]


@case("elementwise.leaky_relu_forward", "elementwise.leaky_relu_backward")
def leaky_relu(gpu, rng, n, c):
    x, dy = gpu.array(normal(rng, n, c)), gpu.array(normal(rng, n, c))
    y, dx = gpu.empty((n, c)), gpu.empty((n, c))
    gpu.flat("elementwise", "leaky_relu_forward", x.size, x, y, x.size, 0.125)
    gpu.flat("elementwise", "leaky_relu_backward", x.size, dy, x, dx, x.size, 0.125)
    expected = ORACLE.leaky_relu_forward(x, 0.125), ORACLE.leaky_relu_backward(dy, x, 0.125)
    return [Result(y, expected[0]), Result(dx, expected[1])]


@case("elementwise.sigmoid_forward", "elementwise.sigmoid_backward")
def sigmoid(gpu, rng, n, c):
    x, dy = gpu.array(9 * normal(rng, n, c)), gpu.array(rng.randn(n, c))
    y, dx = gpu.empty((n, c)), gpu.empty((n, c))
    gpu.flat("elementwise", "sigmoid_forward", x.size, x, y, x.size)
    gpu.flat("elementwise", "sigmoid_backward", x.size, dy, y, dx, x.size)
    expected = ORACLE.sigmoid_backward(wide(dy), wide(y))
    return [Result(y, ORACLE.sigmoid_forward(wide(x)), 4), Result(dx, expected, 2)]


@case("elementwise.multiply")
def multiply(gpu, rng, n, c):
    a, b, product = gpu.array(normal(rng, n, c)), gpu.array(normal(rng, n, c)), gpu.empty((n, c))
    gpu.flat("elementwise", "multiply", a.size, a, b, product, a.size)
    return [Result(product, a * b)]


@case("elementwise.threshold")
def threshold(gpu, rng, n, c):
    x, y = gpu.array(rng.randint(-2, 3, (n, c)) / 4), gpu.empty((n, c), np.int32)
    x[rng.rand(n, c) < 0.1] = np.nan
    gpu.flat("elementwise", "threshold", x.size, x, y, x.size, 0.25)
    return [Result(y, ORACLE.threshold(x, 0.25))]


@case("elementwise.equal", "elementwise.near")
def comparisons(gpu, rng, n, c):
    """Ties, NaN, infinities, and denormal numbers beside 0."""
    a = gpu.array(np.where(rng.rand(n, c) < 0.5, rng.randint(-2, 3, (n, c)) / 4, normal(rng, n, c)))
    b = gpu.array(np.where(rng.rand(n, c) < 0.5, a, rng.randint(-2, 3, (n, c)) / 4))
    a[rng.rand(n, c) < 0.2] = 3 * np.finfo(a.dtype).smallest_subnormal
    same, near = gpu.empty((n, c), np.bool_), gpu.empty((n, c), np.bool_)
    gpu.flat("elementwise", "equal", a.size, a, b, same, a.size)
    gpu.flat("elementwise", "near", a.size, a, b, near, a.size, 0.25)
    return [Result(same, ORACLE.equal(a, b)), Result(near, ORACLE.close(a, b, 0.25))]


# ---- losses.cu ----
@case("losses.cross_entropy_forward", "losses.cross_entropy_backward")
def cross_entropy(gpu, rng, n, c):
    p, t = class_probabilities(gpu, rng, n, c), class_labels(gpu, rng, n, c)
    loss, dp = gpu.empty(n), gpu.empty((n, c))
    grid = gpu.blocks(-(-n // 256))
    gpu.launch("losses", "cross_entropy_forward", grid, p, t, loss, n, c, LOW, HIGH)
    gpu.flat("losses", "cross_entropy_backward", p.size, p, t, dp, n, c, LOW)
    return [
        Result(loss, ORACLE.cross_entropy_forward(clipped(p), t), 2),
        Result(dp, ORACLE.cross_entropy_backward(wide(p), t), 2),
    ]


@case("losses.cross_entropy_forward_soft", "losses.cross_entropy_backward_soft")
def cross_entropy_soft(gpu, rng, n, c):
    p, t = class_probabilities(gpu, rng, n, c), gpu.array(probabilities(rng, n, c, 0.5))
    loss, dp = gpu.empty(n), gpu.empty((n, c))
    grid = row_blocks(gpu, n, c)
    gpu.launch("losses", "cross_entropy_forward_soft", grid, p, t, loss, n, c, LOW, HIGH)
    gpu.flat("losses", "cross_entropy_backward_soft", p.size, p, t, dp, n, c, LOW)
    expected = ORACLE.cross_entropy_forward(clipped(p), wide(t))  # terms of one sign
    return [
        Result(loss, expected, summing(c)),
        Result(dp, ORACLE.cross_entropy_backward(wide(p), wide(t)), 3),
    ]


@case("losses.softmax_cross_entropy_backward", "losses.softmax_cross_entropy_backward_soft")
def softmax_cross_entropy_gradient(gpu, rng, n, c):
    p, t = class_probabilities(gpu, rng, n, c), class_labels(gpu, rng, n, c)
    soft = gpu.array(probabilities(rng, n, c, 0.5))
    dx, dx_soft = gpu.empty((n, c)), gpu.empty((n, c))
    gpu.flat("losses", "softmax_cross_entropy_backward", p.size, p, t, dx, n, c)
    gpu.flat("losses", "softmax_cross_entropy_backward_soft", p.size, p, soft, dx_soft, n, c)
    return [
        Result(dx, ORACLE.softmax_cross_entropy_backward(wide(p), t), 2),
        Result(dx_soft, ORACLE.softmax_cross_entropy_backward(wide(p), wide(soft)), 2),
    ]


@case("losses.binary_cross_entropy_forward", "losses.binary_cross_entropy_backward")
def binary_cross_entropy(gpu, rng, n, c):
    values = rng.rand(n, c)
    values[rng.rand(n, c) < 0.1], values[rng.rand(n, c) < 0.1] = 0.0, 1.0
    values[rng.rand(n, c) < 0.02] = np.nan
    p, t = gpu.array(values), gpu.array(np.where(rng.rand(n, c) < 0.2, 0.3, rng.randint(0, 2)))
    loss, dp = gpu.empty(n), gpu.empty((n, c))
    grid = row_blocks(gpu, n, c)
    gpu.launch("losses", "binary_cross_entropy_forward", grid, p, t, loss, n, c, LOW, HIGH)
    gpu.flat("losses", "binary_cross_entropy_backward", p.size, p, t, dp, n, c, LOW, HIGH)
    q, wide_t = clipped(p), wide(t)
    magnitude = (wide_t / q + (1 - wide_t) / (1 - q)) / c / n
    return [
        Result(loss, ORACLE.binary_cross_entropy_forward(q, wide_t), summing(c)),
        Result(dp, ORACLE.binary_cross_entropy_backward(q, wide_t), 4, magnitude),
    ]


@case(
    *("losses.squared_error_forward", "losses.squared_error_backward"),
    *("losses.absolute_error_forward", "losses.absolute_error_backward"),
)
def regression(gpu, rng, n, c):
    y = gpu.array(normal(rng, n, c))
    t = gpu.array(np.where(rng.rand(n, c) < 0.2, y, rng.randn(n, c)))
    results = []
    for name in ("squared_error", "absolute_error"):
        loss, dy = gpu.empty(n), gpu.empty((n, c))
        gpu.launch("losses", f"{name}_forward", row_blocks(gpu, n, c), y, t, loss, n, c)
        gpu.flat("losses", f"{name}_backward", y.size, y, t, dy, n, c)
        expected = getattr(ORACLE, f"{name}_forward")(wide(y), wide(t))
        gradient = getattr(ORACLE, f"{name}_backward")(wide(y), wide(t))
        results += [Result(loss, expected, summing(c)), Result(dy, gradient, 4)]
    return results


# ---- optimizers.cu ----
ADAM = (0.05, 1e-7, 0.9, 1 - 0.9, 0.999, 1 - 0.999)  # rate, epsilon, and of each average two
STEPS = {  # state, the specification's settings, the kernel's scalars
    "sgd_step": ((), {"rate": 0.05}, (0.05,)),
    "momentum_step": (("m",), {"rate": 0.05, "momentum": 0.9}, (0.05, 0.9)),
    "adagrad_step": (("cache",), {"rate": 0.05, "epsilon": 1e-7}, (0.05, 1e-7)),
    "rmsprop_step": (
        ("cache",),
        {"rate": 0.05, "epsilon": 1e-7, "rho": 0.9},
        (0.05, 1e-7, 0.9, 1 - 0.9),
    ),
    "adam_step": (
        ("m", "cache"),
        {"rate": 0.05, "epsilon": 1e-7, "beta_1": 0.9, "beta_2": 0.999, "step": 3},
        (*ADAM, 1 / (1 - 0.9**3), 1 / (1 - 0.999**3)),
    ),
    "adamw_step": (
        ("m", "cache"),
        {
            "rate": 0.05,
            "epsilon": 1e-7,
            "beta_1": 0.9,
            "beta_2": 0.999,
            "step": 3,
            "weight_decay": 0.1,
        },
        (*ADAM, 1 / (1 - 0.9**3), 1 / (1 - 0.999**3), 0.1),
    ),
}


def optimizer_step(kernel):
    state, settings, scalars = STEPS[kernel]

    def after(arrays):
        result = {name: a.copy() for name, a in arrays.items()}
        getattr(ORACLE, kernel)(**result, **settings)
        return result

    def run(gpu, rng, n, c):
        values = parameters(rng, np.float64, n, c)
        values |= {name: rng.randn(n, c) ** (1 if name == "m" else 2) for name in state}
        arrays = {name: gpu.array(a) for name, a in values.items()}
        before = {name: wide(a) for name, a in arrays.items()}
        gpu.flat("optimizers", kernel, n * c, *arrays.values(), n * c, *scalars)
        # What terms of either sign can add up to bounds the rounding.
        sizes = {name: np.abs(a) for name, a in before.items()} | {"w": np.zeros((n, c))}
        bounds = [after(sizes), after({**sizes, "dw": -sizes["dw"]})]
        results = []
        for name, expected in after(before).items():
            magnitude = np.maximum(*(np.abs(bound[name]) for bound in bounds))
            magnitude += np.abs(before["w"]) if name == "w" else 0
            ulps = 0 if name == "dw" else 6
            results.append(Result(arrays[name], expected, ulps, magnitude))
        return results

    return run


for name in STEPS:
    case(f"optimizers.{name}", name=name)(optimizer_step(name))


@case("optimizers.regularization_step")
def regularization_step(gpu, rng, n, c):
    results = []
    for l1, l2 in ((0.0625, 0.3), (0.0625, 0.0), (0.0, 0.3), (0.0, 0.0)):
        w, dw = gpu.array(normal(rng, n, c)), gpu.array(rng.randn(n, c))
        expected = wide(dw)
        magnitude = np.abs(expected) + l1
        if l2:
            magnitude += 2 * l2 * np.abs(wide(w))
        ORACLE.regularization_step(expected, wide(w), l1, l2)
        gpu.flat("optimizers", "regularization_step", w.size, dw, w, w.size, l1, 2 * l2)
        results.append(Result(dw, expected, 2, magnitude))
    return results
