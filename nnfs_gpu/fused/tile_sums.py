"""The sums of a batch that several processes share, tile by tile: without rounding.

`TiledSteps` adds each tile's sums here in place of adding them in order. Where things stand says
`network.engine.Message`, what words are `backend/exact.py`. Array code and operations alone;
nothing waits for the device.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backend import Backend, exact
from ..network.engine import Message
from .plan import Plan

Array = Any

PENDING = 1024  # losses that become words together: each takes a dozen small launches else


class SharedSums:
    """Words of the gradient and of losses, right answers and rows, on the backend's device."""

    def __init__(self, backend: Backend, plan: Plan):
        self.backend, self.plan, self._xp = backend, plan, backend.xp
        self._at = Message(plan.parameters)
        self._words = backend.zeros(self._at.size, np.int64)
        numbers = plan.parameters
        self._three = [self._words[k * numbers : (k + 1) * numbers] for k in range(3)]
        losses = self._words[3 * numbers : self._at.right].reshape(-1, 3)
        self._losses = [losses[:, word] for word in range(3)]  # of each window
        self._pending: list[Any] = []
        self._right: Any = 0.0
        self._rows = 0

    def clear(self) -> None:
        """A batch begins."""
        self._words[...] = 0
        self._pending, self._right, self._rows = [], 0.0, 0

    def add(self, found: list[tuple[Array, Array]], loss: Any, right: Any) -> None:
        """A tile's gradients, sums of losses and of right answers."""
        flat = [values.reshape(-1) for pair in found for values in pair]
        w0, w1, w2 = self._three
        self.backend.exact_add(w0, w1, w2, self._xp.concatenate(flat))
        self._pending.append(loss)
        self._right = self._right + right
        if len(self._pending) == PENDING:
            self._settle()

    def count(self, rows: int) -> None:
        """So many rows have been added."""
        self._rows += rows

    def message(self) -> Array:
        """All that has been added."""
        self._settle()
        return self._words

    def sums(self, total: int) -> tuple[list[tuple[Array, Array]], Any, Any]:
        """Gradients as a tile has them, losses and right answers from the words as they stand: NaN
        where they are not of `total` rows.
        """
        xp, backend = self._xp, self.backend
        self._settle()
        all_there = self._words[self._at.rows] == total
        flat = xp.where(all_there, backend.exact_value(*self._three), np.nan)
        flat = flat.astype(backend.dtype)
        losses = exact.of_windows(exact.value(xp, *self._losses))
        right = self._words[self._at.right].astype(np.float64)
        losses, right = (xp.where(all_there, one, np.nan) for one in (losses, right))
        return self._cut(flat), losses, right

    def _cut(self, flat: Array) -> list[tuple[Array, Array]]:
        """Weights' and biases' parts of a flat gradient, of each stage."""
        found, at = [], 0
        for stage in self.plan.stages:
            biases = at + stage.n_inputs * stage.n_outputs
            end = at + stage.parameters
            w = flat[at:biases].reshape(stage.n_inputs, stage.n_outputs)
            found.append((w, flat[biases:end].reshape(1, stage.n_outputs)))
            at = end
        return found

    def _settle(self) -> None:
        """What waits goes to the words, once."""
        xp, words = self._xp, self._words
        if self._pending:
            losses = xp.stack([xp.asarray(one) for one in self._pending])
            w0, w1, w2 = self._losses
            exact.add_all(xp, w0, w1, w2, exact.in_windows(xp, losses))
            right = self._right  # a float where nothing is compared
            right = right.astype(np.int64) if hasattr(right, "astype") else int(right)
            words[self._at.right] += right
            self._pending, self._right = [], 0.0
        if self._rows:
            words[self._at.rows] += self._rows
            self._rows = 0
