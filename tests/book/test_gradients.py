"""Every backward is the derivative of its forward, on every backend (float64).

The check is one random projection: for a function f, a direction u of its input and an upstream
gradient v of its output, sum(v * (f(x + h u) - f(x - h u))) / 2h must equal sum(u * backward(v)).
One equation sees every element of the Jacobian; u and v have no symmetry, so a transposed or a
swapped index shows.
Through a whole network: test_gradients_network.py.
"""

from __future__ import annotations

import numpy as np
import pytest
from gradient_checks import KINDS, STEP, TOLERANCE, away_from, check_projection, targets_of

from nnfs_gpu import (
    get_backend,
)


@pytest.fixture
def backend(backend_name):
    return get_backend(backend_name, dtype="float64", precise_dot=False, book_random=False)


SHAPES = [(1, 1), (1, 3), (7, 1), (5, 2), (6, 4), (9, 5), (3, 33)]
each_shape = pytest.mark.parametrize("shape", SHAPES, ids=lambda s: f"{s[0]}x{s[1]}")


def asymmetric(rng, n, c):
    """An upstream gradient in which no two rows or columns have the same size."""
    return rng.randn(n, c) * (1 + np.arange(c)) * (1 + np.arange(n))[:, None] / (n * c)


# ---- one operation at a time ----
@each_shape
def test_linear(backend, shape):
    n, i = shape
    rng = np.random.RandomState(n)
    x, w, b = rng.randn(n, i), rng.randn(i, 4), rng.randn(1, 4)
    v = asymmetric(rng, n, 4)

    def f(x, w, b):
        moved = [backend.asarray(a) for a in (x, w, b)]
        return float((v * backend.to_numpy(backend.linear_forward(*moved))).sum())

    results = backend.linear_backward(*(backend.asarray(a) for a in (v, x, w)))
    dx, dw, db = (backend.to_numpy(a) for a in results)
    check_projection(lambda z: f(z, w, b), x, dx, 1, "dx")
    check_projection(lambda z: f(x, z, b), w, dw, 2, "dw")
    check_projection(lambda z: f(x, w, z), b, db, 3, "db")


@pytest.mark.parametrize("name", ["relu", "leaky_relu", "sigmoid", "tanh", "softmax"])
@each_shape
def test_activation(backend, shape, name):
    n, c = shape
    rng = np.random.RandomState(10 * n + c)
    x, v = 2 * rng.randn(n, c), asymmetric(rng, n, c)
    if name.endswith("relu"):
        x = away_from(x, 0.0)

    slope = (0.3,) if name == "leaky_relu" else ()

    def forward(x):
        return backend.to_numpy(getattr(backend, f"{name}_forward")(backend.asarray(x), *slope))

    seen = x if name.endswith("relu") else forward(x)  # what backward needs
    dx = getattr(backend, f"{name}_backward")(backend.asarray(v), backend.asarray(seen), *slope)
    check_projection(lambda z: float((v * forward(z)).sum()), x, backend.to_numpy(dx), 4, name)


@each_shape
def test_softmax_backward_is_the_jacobian_of_softmax_forward(backend, shape):
    """Element by element: J[n, i, j] is the slope of y[n, i] along x[n, j]."""
    n, c = shape
    x = np.random.RandomState(c).randn(n, c)

    def forward(x):
        return backend.to_numpy(backend.softmax_forward(backend.asarray(x)))

    jacobian = backend.to_numpy(backend.softmax_jacobian(backend.asarray(forward(x))))
    for j in range(c):
        u = np.zeros((n, c))
        u[:, j] = STEP
        slope = (forward(x + u) - forward(x - u)) / (2 * STEP)
        assert np.abs(jacobian[:, :, j] - slope).max() < TOLERANCE


@pytest.mark.parametrize("kind", KINDS)
@each_shape
def test_cross_entropy(backend, shape, kind):
    n, c = shape
    rng = np.random.RandomState(n + c)
    p = rng.uniform(0.2, 0.9, (n, c))  # the clip has no slope: stay inside
    t = backend.asarray(targets_of(kind, rng, n, c), np.int32 if kind == "sparse" else None)

    def f(p):
        return float(backend.to_numpy(backend.cross_entropy_forward(backend.asarray(p), t)).mean())

    dp = backend.to_numpy(backend.cross_entropy_backward(backend.asarray(p), t))
    check_projection(f, p, dp, 5, kind)


@pytest.mark.parametrize("kind", KINDS)
@each_shape
def test_softmax_cross_entropy(backend, shape, kind):
    """The combined gradient, against the slope of both forwards together."""
    n, c = shape
    rng = np.random.RandomState(n + 2 * c)
    x = rng.randn(n, c)
    t = backend.asarray(targets_of(kind, rng, n, c), np.int32 if kind == "sparse" else None)

    def f(x):
        p = backend.softmax_forward(backend.asarray(x))
        return float(backend.to_numpy(backend.cross_entropy_forward(p, t)).mean())

    p = backend.softmax_forward(backend.asarray(x))
    dx = backend.to_numpy(backend.softmax_cross_entropy_backward(p, t))
    # At C = 1, p is 1 and clipped: f is constant, and so is p - t = 0.
    check_projection(f, x, dx, 6, kind)


@pytest.mark.parametrize("name", ["binary_cross_entropy", "squared_error", "absolute_error"])
@each_shape
def test_elementwise_losses(backend, shape, name):
    n, o = shape
    rng = np.random.RandomState(n * o)
    t = rng.rand(n, o)
    y = away_from(rng.rand(n, o), t) if name == "absolute_error" else rng.uniform(0.1, 0.9, (n, o))
    moved = backend.asarray(t)

    def f(y):
        losses = getattr(backend, f"{name}_forward")(backend.asarray(y), moved)
        return float(backend.to_numpy(losses).mean())

    dy = backend.to_numpy(getattr(backend, f"{name}_backward")(backend.asarray(y), moved))
    check_projection(f, y, dy, 7, name)


@each_shape
def test_dropout_and_multiply(backend, shape):
    """With the mask fixed by (seed, call), dropout is a product: dx = dy * mask."""
    n, c = shape
    rng = np.random.RandomState(n)
    x, v = rng.randn(n, c), asymmetric(rng, n, c)

    def forward(x):
        return backend.dropout_forward(backend.asarray(x), 0.6, 3, 4)

    _, mask = forward(x)
    dx = backend.to_numpy(backend.multiply(backend.asarray(v), mask))
    check_projection(lambda z: float((v * backend.to_numpy(forward(z)[0])).sum()), x, dx, 8)


@each_shape
@pytest.mark.parametrize(("l1", "l2"), [(0.3, 0.0), (0.0, 0.2), (0.3, 0.2)])
def test_penalty(backend, shape, l1, l2):
    w = away_from(np.random.RandomState(1).randn(*shape), 0.0)
    dw = backend.zeros(shape)
    backend.regularization_step(dw, backend.asarray(w), l1, l2)
    check_projection(
        lambda z: float(backend.regularization_loss(backend.asarray(z), l1, l2)),
        w,
        backend.to_numpy(dw),
        9,
    )
