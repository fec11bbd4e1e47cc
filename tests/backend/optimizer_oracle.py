"""An optimizer over many steps, by the formulas of operation_oracles.py: `follow`."""

from __future__ import annotations

import numpy as np
from operation_oracles import ORACLES

STATES = {  # rule: the arrays that it keeps beside the parameters
    "sgd": (),
    "momentum": ("m",),
    "adagrad": ("cache",),
    "rmsprop": ("cache",),
    "adam": ("m", "cache"),
}


def follow(rule, w, gradients, learning_rate, decay=0.0, **settings):
    """(parameters after all steps, the size of what was added up to make them, state by name).

    The size is that of a second walk, along gradients that are all of one sign: there nothing
    cancels.
    """
    w, size = w.astype(np.float64), np.abs(w).astype(np.float64)
    state = {name: np.zeros_like(w) for name in STATES[rule]}
    longest = {name: np.zeros_like(w) for name in STATES[rule]}
    for step, dw in enumerate(gradients.astype(np.float64)):
        settings["rate"] = learning_rate / (1 + decay * step)
        if rule == "adam":
            settings["step"] = step + 1
        w, *kept = one_step(rule, w, dw, state, settings)
        moved, *walked = one_step(rule, np.zeros_like(w), np.abs(dw), longest, settings)
        size += np.abs(moved)
        state = dict(zip(state, kept, strict=True))
        longest = dict(zip(longest, walked, strict=True))
    return w, size, state


def one_step(rule, w, dw, state, settings):
    return [found.value for found in ORACLES[f"{rule}_step"](None, w, dw, **state, **settings)]
