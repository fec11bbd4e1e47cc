"""The end of a fused step: the groups' sums become the gradient, the gradient an update.

Both are done piece by piece, some rows of a stage's weights at a time, and threads take pieces as
they take groups. The groups are added without rounding (collect.py), so the bits depend on how a
batch was cut into groups, not on the threads that took them. The new weights are packed for the
products of the next step while they are in the cache.
"""

import numpy as np

from ..cpu import optimizers
from ..cpu.common import jit, row
from .addresses import itemsize, stay_apart, vector
from .collect import collect_scaled
from .products import pack
from .tables import (
    B_FIRST,
    B_L1,
    B_L2,
    B_SECOND,
    CURRENT,
    DB,
    DECAY,
    DW,
    EPSILON,
    FIRST,
    FIRST_ROW,
    GRADIENT_AT,
    INPUTS,
    LEARNING_RATE,
    OUTPUTS,
    PACKED,
    PADDED,
    SECOND,
    STAGE,
    STOP_ROW,
    W_FIRST,
    W_L1,
    W_L2,
    W_SECOND,
    WEIGHT_DECAY,
    B,
    W,
)


# ---- rules: one optimizer step for flat arrays; `first` and `second` are its state, if any ----
@row
def sgd(w, dw, first, second, rules, rate, iteration, like):
    optimizers.sgd_step(np.uint64(0), np.uint64(w.shape[0]), dw, rate, w)


@row
def momentum(w, dw, first, second, rules, rate, iteration, like):
    share = type(like)(rules[FIRST])
    optimizers.momentum_step(np.uint64(0), np.uint64(w.shape[0]), dw, rate, share, w, first)


@row
def adagrad(w, dw, first, second, rules, rate, iteration, like):
    epsilon = type(like)(rules[EPSILON])
    optimizers.adagrad_step(np.uint64(0), np.uint64(w.shape[0]), dw, rate, epsilon, w, second)


@row
def rmsprop(w, dw, first, second, rules, rate, iteration, like):
    real, start, stop = type(like), np.uint64(0), np.uint64(w.shape[0])
    epsilon, rho, rest = real(rules[EPSILON]), real(rules[SECOND]), real(1.0 - rules[SECOND])
    optimizers.rmsprop_step(start, stop, dw, rate, epsilon, rho, rest, w, second)


@row
def adam(w, dw, first, second, rules, rate, iteration, like):
    real, beta_1, beta_2, steps = type(like), rules[FIRST], rules[SECOND], iteration + 1
    optimizers.adam_step(
        np.uint64(0),
        np.uint64(w.shape[0]),
        dw,
        rate,
        real(rules[EPSILON]),
        real(beta_1),
        real(1.0 - beta_1),
        real(beta_2),
        real(1.0 - beta_2),
        real(1.0 / (1.0 - optimizers.power(beta_1, steps))),
        real(1.0 / (1.0 - optimizers.power(beta_2, steps))),
        w,
        first,
        second,
    )


@row
def adamw(w, dw, first, second, rules, rate, iteration, like):
    real, beta_1, beta_2, steps = type(like), rules[FIRST], rules[SECOND], iteration + 1
    optimizers.adamw_step(
        np.uint64(0),
        np.uint64(w.shape[0]),
        dw,
        rate,
        real(rules[EPSILON]),
        real(beta_1),
        real(1.0 - beta_1),
        real(beta_2),
        real(1.0 - beta_2),
        real(1.0 / (1.0 - optimizers.power(beta_1, steps))),
        real(1.0 / (1.0 - optimizers.power(beta_2, steps))),
        real(rules[WEIGHT_DECAY]),
        w,
        first,
        second,
    )


@jit
def update(rule, w, dw, first, second, rules, iteration, like):
    """One step by `rule`, at the rate of step `iteration`."""
    stay_apart()
    rule(w, dw, first, second, rules, type(like)(rate_at(rules, iteration)), iteration, like)


@jit
def penalize(w, dw, l1, l2, like):
    """Adds the gradient of the penalty l1 sum|w| + l2 sum w^2 to dw; returns the penalty."""
    stay_apart()
    if not (l1 > 0 or l2 > 0):
        return 0.0
    real = type(like)
    absolute, squared = optimizers.penalty_sums((w,), (), 0, w.shape[0])
    start, stop = np.uint64(0), np.uint64(w.shape[0])
    optimizers.regularization_step(start, stop, w, real(l1), real(2.0 * l2), dw)
    return l1 * absolute + l2 * squared


@jit
def rate_at(rules, iteration):
    """The learning rate of step `iteration`, as the optimizers have it."""
    if rules[DECAY] == 0:
        return rules[CURRENT]
    return rules[LEARNING_RATE] * (1.0 / (1.0 + rules[DECAY] * iteration))


@jit
def finish(rule, table, factors, rules, groups, sums, size, words, piece, scale, iteration, like):
    """dw, db = gradient * scale + the penalties' in one piece, and its update; the penalty.

    The gradient is the sum of the groups' sums; without groups, that of the words.
    """
    stay_apart()
    s, first, stop = piece[STAGE], piece[FIRST_ROW], piece[STOP_ROW]
    inputs, outputs, padded = table[s, INPUTS], table[s, OUTPUTS], table[s, PADDED]
    rows = min(stop, inputs) - first
    begin, wide = first * outputs, itemsize(like)
    at, count = table[s, GRADIENT_AT] + first * padded, rows * outputs
    penalty = 0.0
    if rows > 0:
        w = vector(table[s, W] + begin * wide, count, like)
        dw = vector(table[s, DW] + begin * wide, count, like)
        runs, run = (1, count) if padded == outputs else (rows, outputs)
        for i in range(runs):
            from_, to = at + i * padded, i * outputs
            collect_scaled(groups, sums, size, words, from_, scale, dw, to, run)
        penalty += penalize(w, dw, factors[s, W_L1], factors[s, W_L2], like)
        m = vector(table[s, W_FIRST] + begin * wide, count, like)
        cache = vector(table[s, W_SECOND] + begin * wide, count, like)
        update(rule, w, dw, m, cache, rules, iteration, like)
        if table[s, PACKED]:
            packed = vector(table[s, PACKED], inputs * outputs, like)
            pack(w, first, first + rows, inputs, outputs, packed)
    if stop > inputs:
        b, db = vector(table[s, B], outputs, like), vector(table[s, DB], outputs, like)
        at = table[s, GRADIENT_AT] + inputs * padded
        collect_scaled(groups, sums, size, words, at, scale, db, 0, outputs)
        penalty += penalize(b, db, factors[s, B_L1], factors[s, B_L2], like)
        m = vector(table[s, B_FIRST], outputs, like)
        cache = vector(table[s, B_SECOND], outputs, like)
        update(rule, b, db, m, cache, rules, iteration, like)
    return penalty
