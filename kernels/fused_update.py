"""The end of a fused step: the groups' sums become the gradient, the gradient an update.

The groups are added in order, in float64, so the bits depend on how a batch was cut into
groups and not on the threads that took them.
"""

import numpy as np

from . import optimizers
from .common import jit
from .fused_addresses import stay_apart, vector
from .fused_tables import (
    ADAGRAD,
    ADAM,
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
    GRADIENT_AT,
    INPUTS,
    LEARNING_RATE,
    MOMENTUM,
    OPTIMIZER,
    OUTPUTS,
    PADDED,
    RMSPROP,
    SECOND,
    SGD,
    STAGES,
    W_FIRST,
    W_L1,
    W_L2,
    W_SECOND,
    B,
    W,
)

BLOCK = 512  # sums that stay in the first-level cache while the groups are added


@jit
def collect(groups, sums, totals, gradient, measured, fresh):
    """gradient (float64) and measured += the groups', in order; `fresh`: they start from 0."""
    stay_apart()
    for first in range(0, gradient.shape[0], BLOCK):
        last = min(first + BLOCK, gradient.shape[0])
        if fresh:
            for k in range(first, last):
                gradient[k] = 0.0
        for g in range(groups):
            for k in range(first, last):
                gradient[k] += sums[g, k]
    for k in range(2):
        total = 0.0 if fresh else measured[k]
        for g in range(groups):
            total += totals[g, k]
        measured[k] = total


@jit
def update(kind, w, dw, first, second, rules, rate, correct_1, correct_2, like):
    """One optimizer step for flat arrays; `first` and `second` are the state, if any.

    correct_1, correct_2  1 - beta^t of Adam
    """
    stay_apart()
    real = type(like)
    start, stop = np.uint64(0), np.uint64(w.shape[0])
    speed, epsilon = real(rate), real(rules[EPSILON])
    if kind == SGD:
        optimizers.sgd_step(start, stop, dw, speed, w)
    elif kind == MOMENTUM:
        optimizers.momentum_step(start, stop, dw, speed, real(rules[FIRST]), w, first)
    elif kind == ADAGRAD:
        optimizers.adagrad_step(start, stop, dw, speed, epsilon, w, second)
    elif kind == RMSPROP:
        rho, rest = real(rules[FIRST]), real(1.0 - rules[FIRST])
        optimizers.rmsprop_step(start, stop, dw, speed, epsilon, rho, rest, w, second)
    else:
        beta_1, beta_2 = rules[FIRST], rules[SECOND]
        optimizers.adam_step(
            start,
            stop,
            dw,
            speed,
            epsilon,
            real(beta_1),
            real(1.0 - beta_1),
            real(beta_2),
            real(1.0 - beta_2),
            real(correct_1),
            real(correct_2),
            w,
            first,
            second,
        )


@jit
def penalize(w, dw, l1, l2, like):
    """Adds the gradient of the penalty l1 sum|w| + l2 sum w^2 to dw; returns the penalty."""
    stay_apart()
    if not (l1 > 0 or l2 > 0):
        return 0.0
    real = type(like)
    absolute, squared = 0.0, 0.0
    for k in range(w.shape[0]):
        absolute += abs(w[k])
        squared += w[k] * w[k]
    start, stop = np.uint64(0), np.uint64(w.shape[0])
    optimizers.regularization_step(start, stop, w, real(l1), real(2.0 * l2), dw)
    return l1 * absolute + l2 * squared


@jit
def finish(head, table, factors, rules, gradient, scale, iteration, like):
    """dw, db = gradient * scale + the penalties'; the update. Returns (penalty, learning rate)."""
    stay_apart()
    rate = rules[CURRENT]
    if rules[DECAY] != 0:
        rate = rules[LEARNING_RATE] * (1.0 / (1.0 + rules[DECAY] * iteration))
    correct_1 = correct_2 = 1.0
    if head[OPTIMIZER] == ADAM:
        t = float(iteration + 1)
        correct_1, correct_2 = 1.0 - rules[FIRST] ** t, 1.0 - rules[SECOND] ** t
    penalty = 0.0
    kind = head[OPTIMIZER]
    real = type(like)
    for s in range(head[STAGES]):
        inputs, outputs, padded = table[s, INPUTS], table[s, OUTPUTS], table[s, PADDED]
        count, at = inputs * outputs, table[s, GRADIENT_AT]
        w, dw = vector(table[s, W], count, like), vector(table[s, DW], count, like)
        b, db = vector(table[s, B], outputs, like), vector(table[s, DB], outputs, like)
        for i in range(inputs):
            for o in range(outputs):
                dw[i * outputs + o] = real(gradient[at + i * padded + o] * scale)
        for o in range(outputs):
            db[o] = real(gradient[at + inputs * padded + o] * scale)
        penalty += penalize(w, dw, factors[s, W_L1], factors[s, W_L2], like)
        penalty += penalize(b, db, factors[s, B_L1], factors[s, B_L2], like)
        first, second = (
            vector(table[s, W_FIRST], count, like),
            vector(table[s, W_SECOND], count, like),
        )
        update(kind, w, dw, first, second, rules, rate, correct_1, correct_2, like)
        first, second = (
            vector(table[s, B_FIRST], outputs, like),
            vector(table[s, B_SECOND], outputs, like),
        )
        update(kind, b, db, first, second, rules, rate, correct_1, correct_2, like)
    return penalty, rate
