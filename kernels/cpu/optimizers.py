"""Optimizer steps and regularization: flat arrays, read once and written once.

In array code each line of an update is a pass over memory with a temporary; here a parameter
and its state are loaded, updated and stored before the next one. Scalars come in with the
dtype of the arrays. A product that meets a sum is one fma, written down: on a GPU the same bits.
"""

import math

import numpy as np

from .common import CHUNK, jit
from .elementary import fma
from .lane_sums import lane_sums
from .reductions import join


@jit
def power(x, n):
    """x^n for whole n >= 0 in float64, by squaring: the C library's bits are its version's.

    What a product loses to rounding is kept beside it, so that the result rounds once.
    """
    high, low = 1.0, 0.0
    factor, rest = x, 0.0
    while n > 0:
        if n & 1:
            product = high * factor
            low = fma(high, factor, -product) + (high * rest + low * factor)
            high = product
        square = factor * factor
        rest = fma(factor, factor, -square) + 2.0 * factor * rest
        factor = square
        n >>= 1
    return high + low


@jit
def sgd_step(start, stop, dw, rate, w):
    """w -= rate dw."""
    for k in range(start, stop):
        w[k] = fma(-rate, dw[k], w[k])


@jit
def momentum_step(start, stop, dw, rate, momentum, w, m):
    """m = momentum m - rate dw; w += m."""
    for k in range(start, stop):
        m[k] = fma(momentum, m[k], -(rate * dw[k]))
        w[k] += m[k]


@jit
def adagrad_step(start, stop, dw, rate, epsilon, w, cache):
    """cache += dw^2; w -= rate dw / (sqrt(cache) + epsilon)."""
    for k in range(start, stop):
        cache[k] = fma(dw[k], dw[k], cache[k])
        w[k] -= rate * dw[k] / (math.sqrt(cache[k]) + epsilon)


@jit
def rmsprop_step(start, stop, dw, rate, epsilon, rho, rest, w, cache):
    """cache = rho cache + rest dw^2, rest = 1 - rho; w as in adagrad_step."""
    for k in range(start, stop):
        cache[k] = fma(rho, cache[k], rest * (dw[k] * dw[k]))
        w[k] -= rate * dw[k] / (math.sqrt(cache[k]) + epsilon)


@jit
def adam_step(
    start,
    stop,
    dw,
    rate,
    epsilon,
    beta_1,
    rest_1,
    beta_2,
    rest_2,
    factor_1,
    factor_2,
    w,
    m,
    cache,
):
    """m and cache are moving averages of dw and dw^2; rest = 1 - beta, factor = 1 / (1 - beta^t).

    A division takes as long as ten multiplications: the corrections come in as factors.
    """
    corrected = rate * factor_1
    for k in range(start, stop):
        m[k] = fma(beta_1, m[k], rest_1 * dw[k])
        cache[k] = fma(beta_2, cache[k], rest_2 * (dw[k] * dw[k]))
        w[k] -= corrected * m[k] / (math.sqrt(cache[k] * factor_2) + epsilon)


@jit
def adamw_step(
    start,
    stop,
    dw,
    rate,
    epsilon,
    beta_1,
    rest_1,
    beta_2,
    rest_2,
    factor_1,
    factor_2,
    weight_decay,
    w,
    m,
    cache,
):
    """As adam_step, and w shrinks by rate weight_decay of itself."""
    for k in range(start, stop):
        m[k] = fma(beta_1, m[k], rest_1 * dw[k])
        cache[k] = fma(beta_2, cache[k], rest_2 * (dw[k] * dw[k]))
        moved = factor_1 * m[k] / (math.sqrt(cache[k] * factor_2) + epsilon)
        w[k] = fma(-rate, fma(weight_decay, w[k], moved), w[k])


@jit
def regularization_step(start, stop, w, l1, twice_l2, dw):
    """dw += l1 sign(w) + 2 l2 w, with sign(0) = 1 as in the book.

    A penalty of 0 adds nothing, not even the NaN of 0 * infinity.
    """
    zero = w.dtype.type(0)
    for k in range(start, stop):
        flat = l1 if w[k] >= zero else -l1
        dw[k] += flat if twice_l2 == zero else fma(twice_l2, w[k], flat)


penalty_sums = lane_sums(
    lambda emit, w: emit.absolute(w),
    lambda emit, w: (w, w),
)


@jit
def regularization_sums(start, stop, w, absolute, squared):
    """Sums of |w| and w^2 over chunks start..stop-1, in float64."""
    for chunk in range(start, stop):
        first = chunk * CHUNK
        last = min(first + CHUNK, type(first)(w.shape[0]))
        a, s = penalty_sums((w,), (), np.int64(first), np.int64(last))
        absolute[chunk] = a
        squared[chunk] = s


@jit
def penalty(absolute, squared, l1, l2):
    """l1 sum|w| + l2 sum w^2 of the chunks' sums, which are used up."""
    join(absolute)
    join(squared)
    return fma(l1, absolute[0], l2 * squared[0])
