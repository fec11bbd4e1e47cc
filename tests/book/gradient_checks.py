"""The check of a gradient by random projections, with inputs and targets for it."""

from __future__ import annotations

import numpy as np
from helpers import probabilities

STEP = 1e-6
# Central differences are wrong by h^2 times a third derivative (1e-12 of it) and by the rounding
# of f, eps / h (2e-10 of its size): some hundred times that is still far below a wrong term.
TOLERANCE = 1e-7

KINDS = ("sparse", "one_hot", "soft")


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


def away_from(x, kink):
    """x moved so that no step crosses the kink."""
    return kink + np.where(x < kink, np.minimum(x - kink, -0.01), np.maximum(x - kink, 0.01))


def targets_of(kind, rng, n, c):
    t = rng.randint(0, c, n).astype(np.int32)
    if kind == "sparse":
        return t
    return np.eye(c)[t] if kind == "one_hot" else probabilities(rng, n, c)
