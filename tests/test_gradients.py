"""Every backward is the derivative of its forward, on every backend (float64).

The check is one random projection: for a function f, a direction u of its input and an upstream
gradient v of its output, sum(v * (f(x + h u) - f(x - h u))) / 2h must equal sum(u * backward(v)).
One equation sees every element of the Jacobian; u and v have no symmetry, so a transposed or a
swapped index shows. Then the same through a whole network and its penalties.
"""

from __future__ import annotations

import numpy as np
import pytest
from helpers import assert_close, probabilities

from nnfs_gpu import (
    Activation_ReLU,
    Activation_Softmax,
    Activation_Softmax_Loss_CategoricalCrossentropy,
    Layer_Dense,
    Loss_CategoricalCrossentropy,
    get_backend,
    use_backend,
)

STEP = 1e-6
# Central differences are wrong by h^2 times a third derivative (1e-12 of it) and by the rounding
# of f, eps / h (2e-10 of its size): some hundred times that is still far below a wrong term.
TOLERANCE = 1e-7
DTYPES_64 = np.dtype("float64")


@pytest.fixture
def backend(backend_name):
    return get_backend(backend_name, dtype="float64", precise_dot=False, book_random=False)


def check_projection(function, x, gradient, seed, what=""):
    """`gradient` of the scalar `function` at x against its slope along random directions."""
    rng = np.random.RandomState(seed)
    assert gradient.shape == x.shape, what
    for _ in range(3):
        u = rng.randn(*x.shape)
        slope = (function(x + STEP * u) - function(x - STEP * u)) / (2 * STEP)
        found = float((u * gradient).sum())
        scale = 1 + np.abs(u * gradient).sum()
        assert abs(slope - found) < TOLERANCE * scale, f"{what}: slope {slope}, gradient {found}"


SHAPES = [(1, 1), (1, 3), (7, 1), (5, 2), (6, 4), (9, 5), (3, 33)]
each_shape = pytest.mark.parametrize("shape", SHAPES, ids=lambda s: f"{s[0]}x{s[1]}")


def asymmetric(rng, n, c):
    """An upstream gradient in which no two rows or columns have the same size."""
    return rng.randn(n, c) * (1 + np.arange(c)) * (1 + np.arange(n))[:, None] / (n * c)


def away_from(x, kink):
    """x moved so that no step crosses the kink."""
    return kink + np.where(x < kink, np.minimum(x - kink, -0.01), np.maximum(x - kink, 0.01))


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


@pytest.mark.parametrize("name", ["relu", "sigmoid", "softmax"])
@each_shape
def test_activation(backend, shape, name):
    n, c = shape
    rng = np.random.RandomState(10 * n + c)
    x, v = 2 * rng.randn(n, c), asymmetric(rng, n, c)
    if name == "relu":
        x = away_from(x, 0.0)

    def forward(x):
        return backend.to_numpy(getattr(backend, f"{name}_forward")(backend.asarray(x)))

    seen = x if name == "relu" else forward(x)  # what backward needs
    dx = getattr(backend, f"{name}_backward")(backend.asarray(v), backend.asarray(seen))
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


def targets_of(kind, rng, n, c):
    t = rng.randint(0, c, n).astype(np.int32)
    if kind == "sparse":
        return t
    return np.eye(c)[t] if kind == "one_hot" else probabilities(rng, n, c)


KINDS = ("sparse", "one_hot", "soft")


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


# ---- a whole network ----
class Network:
    """Dense(4, 6), ReLU, Dense(6, 5), softmax, cross-entropy, with penalties on everything.

    factors  of both layers, the second's in the opposite order
    """

    def __init__(self, backend, factors=(0.01, 0.02, 0.03, 0.04)):
        self.backend = backend
        with use_backend(backend):
            self.dense1 = Layer_Dense(4, 6, *factors)
            self.relu = Activation_ReLU()
            self.dense2 = Layer_Dense(6, 5, *factors[::-1])
            self.softmax = Activation_Softmax()
            self.loss = Loss_CategoricalCrossentropy()
            self.combined = Activation_Softmax_Loss_CategoricalCrossentropy()
        rng = np.random.RandomState(0)
        for layer in (self.dense1, self.dense2):
            # Small enough that no probability is clipped: the clip has no slope.
            layer.weights = away_from(0.4 * rng.randn(*layer.weights.shape), 0.0)
            layer.biases = away_from(0.4 * rng.randn(*layer.biases.shape), 0.0)

    def scores(self, x):
        return self.dense2.forward(self.relu.forward(self.dense1.forward(x)))

    def total(self, x, t):
        """The number that training makes smaller: mean loss and all penalties."""
        data = self.loss.calculate(self.softmax.forward(self.scores(x)), t)
        return sum(
            (float(self.loss.regularization_loss(layer)) for layer in (self.dense1, self.dense2)),
            float(data),
        )

    def backward(self, x, t, combined):
        """Gradient at the inputs; those of the parameters are left on the layers."""
        p = self.softmax.forward(self.scores(x))
        if combined:
            dscores = self.combined.backward(p, t)
        else:
            dscores = self.softmax.backward(self.loss.backward(p, t))
        dinputs = self.dense1.backward(self.relu.backward(self.dense2.backward(dscores)))
        return self.backend.to_numpy(dinputs)


def check_network(network, kind, combined):
    backend = network.backend
    rng = np.random.RandomState(5)
    x, t = rng.randn(17, 4), targets_of(kind, rng, 17, 5)
    hidden = backend.to_numpy(network.dense1.forward(x))
    assert np.abs(hidden).min() > 10 * STEP, "a step would cross the kink: choose another seed"
    assert (hidden < 0).any()
    dx = network.backward(x, t, combined)
    gradients = {
        (layer, name): np.array(backend.to_numpy(getattr(layer, f"d{name}")))
        for layer in (network.dense1, network.dense2)
        for name in ("weights", "biases")
    }
    check_projection(lambda z: network.total(z, t), x, dx, 11, "inputs")
    for seed, ((layer, name), gradient) in enumerate(gradients.items()):
        value = np.array(backend.to_numpy(getattr(layer, name)))

        def total(z, layer=layer, name=name):
            setattr(layer, name, z)
            return network.total(x, t)

        check_projection(total, value, gradient, seed, name)
        setattr(layer, name, value)


@pytest.mark.parametrize("combined", [True, False], ids=["combined", "separate"])
@pytest.mark.parametrize("kind", KINDS)
def test_whole_network(backend, kind, combined):
    check_network(Network(backend), kind, combined)


@pytest.mark.parametrize("place", range(4))
def test_whole_network_with_one_penalty(backend, place):
    """Each factor alone: none may hide behind another, in the loss or in the gradient."""
    factors = [0.0] * 4
    factors[place] = 0.05
    network = Network(backend, factors)
    check_network(network, "sparse", True)
    layers = (network.dense1, network.dense2)
    network.loss.remember_trainable_layers(layers)
    total = sum(float(network.loss.regularization_loss(layer)) for layer in layers)
    assert total > 0
    assert float(network.loss.regularization_loss()) == pytest.approx(total, rel=1e-14)
    if place == 0:  # L1 on dense1's weights and, in opposite order, L2 on dense2's biases
        w, b = (backend.to_numpy(a) for a in (layers[0].weights, layers[1].biases))
        assert total == pytest.approx(0.05 * (np.abs(w).sum() + (b**2).sum()), rel=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_combined_equals_separate(backend, kind):
    """Softmax.backward(Loss.backward) is Activation_Softmax_Loss...backward, element by element."""
    network = Network(backend)
    rng = np.random.RandomState(6)
    for n, c in ((1, 3), (40, 5), (40, 33)):
        t = targets_of(kind, rng, n, c)
        p = network.softmax.forward(rng.randn(n, c))
        combined = backend.to_numpy(network.combined.backward(p, t))
        separate = backend.to_numpy(network.softmax.backward(network.loss.backward(p, t)))
        assert_close(separate, combined, DTYPES_64, magnitude=1 / n, ulps=8)
        rows = np.abs(combined.sum(axis=1)).max()
        assert rows < 1e-15, "the gradients of a row sum to zero"


@pytest.mark.parametrize("kind", KINDS)
def test_combined_forward_equals_separate(backend, kind):
    network = Network(backend)
    rng = np.random.RandomState(7)
    x, t = 3 * rng.randn(40, 5), targets_of(kind, rng, 40, 5)
    loss = network.combined.forward(x, t)
    expected = network.loss.calculate(network.softmax.forward(x), t)
    assert float(loss) == float(expected)
    np.testing.assert_array_equal(
        backend.to_numpy(network.combined.output), backend.to_numpy(network.softmax.output)
    )


def test_a_wrong_gradient_is_noticed(backend):
    """The check itself: one element off by one part in ten thousand is refused."""
    x = np.random.RandomState(8).randn(6, 4)
    check_projection(lambda z: float((z**2).sum()), x, 2 * x, 0)
    wrong = 2 * x
    wrong[3, 2] *= 1 + 1e-4
    with pytest.raises(AssertionError):
        check_projection(lambda z: float((z**2).sum()), x, wrong, 0)
