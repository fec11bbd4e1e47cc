"""What ties the tables of a CPU engine to the objects of a model.

Before a step every object is asked whether it still is what the tables say: a rate, a factor, a
seed or an array that somebody changed between two steps counts. Kernels get addresses and check
nothing, so whatever they are given is checked here.
"""

from __future__ import annotations

from operator import attrgetter, is_
from typing import Any

import numpy as np

from ...backend import philox
from ...kernels.fused_cpu import tables as k
from ...network.network import Network
from ...parameters import NAMES, PARAMETERS, factors
from ...targets import weights_of
from ..stages import StageParts
from ..vocabulary import ACTIVATIONS, OPTIMIZERS
from .layout import Layout

Array = Any

NOTHING: Any = (None, None, None, (0, 0, 0))  # no data, targets, weights, and where they do not lie
# Of the vocabulary: where the table holds the addresses of an optimizer's states on a layer, and
# where the rules hold its settings.
STATES = {"momentums": (k.W_FIRST, k.B_FIRST), "cache": (k.W_SECOND, k.B_SECOND)}
SETTINGS = {
    "epsilon": k.EPSILON,
    "first": k.FIRST,
    "second": k.SECOND,
    "weight_decay": k.WEIGHT_DECAY,
}
RATES = {
    "learning_rate": k.LEARNING_RATE,
    "decay": k.DECAY,
    "current_learning_rate": k.CURRENT,
}


class Binding:
    """The tables of `layout`, kept equal to the objects of `model`.

    gradients     (dweights, dbiases) of each stage, written by the kernels
    target_bytes  from one sample's target to the next, in the batch last given
    weighted      whether that batch has weights
    """

    def __init__(self, model: Network, layout: Layout, parts: tuple[StageParts, ...]):
        self.model, self.layout, self.parts = model, layout, parts
        self.plan = plan = layout.plan
        self.accuracy, self.optimizer = model.accuracy, model.optimizer
        self.gradients = [
            (np.zeros_like(part.dense.weights), np.zeros_like(part.dense.biases)) for part in parts
        ]
        self.target_bytes, self.weighted = 0, False
        self._constants = [  # (stage, its activation, the attribute) where there is one
            (s, part.activation, name)
            for s, (part, stage) in enumerate(zip(parts, plan.stages, strict=True))
            for name in ACTIVATIONS[stage.activation].arguments
        ]
        rule = OPTIMIZERS[plan.optimizer]
        self._state = {  # where the table holds an address: the attribute of a layer
            at: one.state(name)
            for name in rule.states
            for at, one in zip(STATES[name], NAMES, strict=True)
        }
        self._places = [*RATES.values(), *(SETTINGS[role] for role in rule.settings), k.PRECISION]
        # What the tables hold now, and how to ask the objects in one call each.
        self._arrays = attrgetter(*PARAMETERS, *self._state.values())
        self._settings = attrgetter(*RATES, *rule.settings.values())
        self._bound: list[tuple[Any, ...]] = [(None,)] * len(parts)
        self._factors: list[tuple[Any, ...]] = [()] * len(parts)
        self._rules: tuple[Any, ...] = ()
        self._last: tuple[Any, Any, Any, tuple[int, int, int]] = NOTHING
        self._ordered: Any = None  # the order last given, and where it lies
        self._order_at = 0

    def prepare(self) -> None:
        """Bring the tables up to date with the model's objects.

        What the tables hold is noted when they hold it, and unknown while they are written:
        Ctrl-C may come in between.
        """
        for s, part in enumerate(self.parts):
            dense = part.dense
            try:
                found = self._arrays(dense)
            except AttributeError:  # the optimizer's state is not there yet
                found = ()
            if len(found) != len(self._bound[s]) or not all(map(is_, found, self._bound[s])):
                self._bind(s, dense)
            penalties = factors(dense)
            if penalties != self._factors[s]:
                self._factors[s] = ()
                self.layout.factors[s, :4] = penalties
                self._factors[s] = penalties
            if part.dropout is not None:
                self._bind_dropout(s, part.dropout)
        for s, activation, name in self._constants:
            self.layout.factors[s, k.CONSTANT] = getattr(activation, name)
        rules = self._settings(self.optimizer)
        if self.plan.accuracy == "close":
            if self.accuracy.precision is None:
                raise RuntimeError("Accuracy_Regression has no precision yet; call init(y) first")
            rules = (*rules, self.accuracy.precision)
        if rules != self._rules:
            self._rules = ()
            self.layout.rules[self._places[: len(rules)]] = rules
            self._rules = rules

    def _bind(self, s: int, dense: Any) -> None:
        """Write the addresses of a layer's arrays into the table; make the state it lacks."""
        self._bound[s] = (None,)
        row = self.layout.table[s]
        shapes = {"weight": dense.weights.shape, "bias": dense.biases.shape}
        row[k.W] = self._address(dense.weights, shapes["weight"], "weights")
        row[k.B] = self._address(dense.biases, shapes["bias"], "biases")
        for at, name in self._state.items():
            parameter = dense.weights if name.startswith("weight") else dense.biases
            state = self.optimizer.state_of(dense, name, parameter)
            row[at] = self._address(state, parameter.shape, name)
        for at, made in zip((k.DW, k.DB), self.gradients[s], strict=True):
            row[at] = made.ctypes.data
        self._bound[s] = self._arrays(dense)

    def _address(self, a: Array, shape: tuple[int, ...], what: str) -> int:
        fits = isinstance(a, np.ndarray) and a.shape == shape and a.dtype == self.layout.dtype
        if not fits or not a.flags.c_contiguous or not a.flags.writeable:
            raise ValueError(
                f"{what}: expected a writeable contiguous array of shape {shape} and dtype "
                f"{self.layout.dtype}; assign a copy: np.ascontiguousarray(...)"
            )
        return int(a.ctypes.data)

    def _bind_dropout(self, s: int, dropout: Any) -> None:
        if dropout.seed is None:
            dropout.seed = int(np.random.randint(2**63 - 1, dtype=np.int64))
        seed, _, call = philox.counter(dropout.seed, philox.STREAM_DROPOUT, dropout.calls)
        row = self.layout.table[s]
        row[k.SEED] = seed if seed < 1 << 63 else seed - (1 << 64)  # the same 64 bits
        row[k.CALL] = call
        row[k.BELOW] = philox.keep_below(dropout.rate)
        kind = self.layout.dtype.type
        self.layout.factors[s, k.SCALE] = kind(1) / kind(dropout.rate)

    def order(self, order: Array, n: int) -> int:
        """The address of the numbers of all n rows, in some order; checked."""
        if order is self._ordered:
            return self._order_at
        if order.dtype != np.int64 or order.shape != (n,) or not order.flags.c_contiguous:
            raise ValueError(
                f"order: got shape {order.shape} and dtype {order.dtype}, expected ({n},) and int64"
            )
        if n and not (order.min() >= 0 and order.max() < n):
            raise ValueError(f"order: expected numbers of rows, 0 to {n - 1}")
        self._ordered, self._order_at = order, order.ctypes.data
        return self._order_at

    def at(self, x: int, y: int, row: int) -> tuple[int, int]:
        """Where the samples and targets from number `row` on lie, of those at x and y."""
        wide = self.plan.n_inputs * self.layout.dtype.itemsize
        return x + row * wide, y + row * self.target_bytes

    def addresses(self, X: Array, y: Any) -> tuple[int, int, int]:
        """(n, where the samples lie, where their targets lie); checked, as kernels do not look.

        Where their weights lie goes to the head, with the place of the first one's target.
        """
        t, w = getattr(y, "values", y), weights_of(y)
        if X is self._last[0] and t is self._last[1] and w is self._last[2]:
            return self._last[3]
        self._last = NOTHING  # what follows may not come to its end
        given = X, t, w
        plan, backend, dtype = self.plan, self.model.backend, self.layout.dtype
        if X.dtype != dtype or not X.flags.c_contiguous:
            X = backend.asarray(X)
        if X.ndim != 2 or X.shape[1] != plan.n_inputs or X.shape[0] == 0:
            raise ValueError(f"X: got shape {X.shape}, expected (samples, {plan.n_inputs})")
        n = X.shape[0]
        rows = t.ndim == 2
        if rows:
            if t.dtype != dtype or not t.flags.c_contiguous:
                t = backend.asarray(t)
            fits = t.shape == (n, plan.n_outputs)
            self.target_bytes = plan.n_outputs * dtype.itemsize
        else:
            fits = plan.classes and t.shape == (n,)
            fits = fits and t.dtype == np.int32 and t.flags.c_contiguous
            self.target_bytes = 4
        if not fits:
            raise ValueError(
                f"y: got shape {t.shape} and dtype {t.dtype} for {n} samples of "
                f"{plan.n_outputs} outputs; give the model's targets"
            )
        self.layout.head[k.SOFT] = rows
        found = (
            n,
            X.__array_interface__["data"][0],
            t.__array_interface__["data"][0],
        )
        w = self._weigh(w, n, found[2])
        self._converted = X, t, w  # alive until the step is done
        same = X is given[0] and t is given[1] and w is given[2]
        self._last = (X, t, w, found) if same else NOTHING
        return found

    def _weigh(self, w: Array | None, n: int, targets: int) -> Array | None:
        """The weights of n samples as kernels read them, whose address goes to the head."""
        head, self.weighted = self.layout.head, w is not None
        head[k.WEIGHTS] = 0
        if w is None:
            return None
        w = np.ascontiguousarray(w, self.layout.dtype)
        if w.shape != (n,):
            raise ValueError(f"weights: got shape {w.shape}, expected ({n},), one a sample")
        head[k.WEIGHED] = targets
        head[k.WEIGHTS] = w.ctypes.data
        return w
