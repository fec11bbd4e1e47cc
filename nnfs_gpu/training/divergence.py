"""One warning where training goes to NaN or infinity: nobody gets such a model without being told.

`Training` shows a `FiniteWatch` the numbers of each epoch when they are fetched anyway, and the
parameters once, at the end: the update after the last loss may have been the one too large.
"""

from __future__ import annotations

import contextlib
import math
import sys
import warnings
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import numpy as np

from ..network.network import Network

_reported = ContextVar("divergence is reported by the caller", default=False)


class FiniteWatch:
    """What one call of `Model.train` has to warn about, and whether it has."""

    def __init__(self) -> None:
        self._found: str | None = None  # what to say
        self._told = False

    def look(self, epoch: int, value: float, name: str) -> None:
        """Remember the first number that is NaN or infinite."""
        if self._found is None and not math.isfinite(value):
            self._found = f"{name} of epoch {epoch} is {value}"

    def look_at_all(self, first: int, values: list[float], name: str) -> None:
        """The same of many epochs in a row, from epoch `first` on."""
        if not math.isfinite(sum(values)):  # one look at all: epochs may be a microsecond long
            for epoch, value in enumerate(values, first):
                self.look(epoch, value, name)

    def tell(self) -> None:
        """Warn, once, about what was found. After callbacks: one may raise an error instead."""
        if self._found is None or self._told or _reported.get():
            return
        self._told = True
        warnings.warn(
            f"train: {self._found}: the data hold NaN or infinity, which check_finite=True finds "
            "before the first step, or the steps are too large: take a lower learning_rate",
            RuntimeWarning,
            stacklevel=_callers(),
        )

    def end(self, model: Network, epochs: int) -> None:
        """Look at the parameters that training leaves behind, after `epochs` of them."""
        if self._found is None and not finite_parameters(model):
            self._found = f"weights or biases after epoch {epochs} are NaN or infinite"
        self.tell()


def finite_parameters(model: Network) -> bool:
    """Whether all weights and biases are finite. Waits for the device."""
    backend = model.backend
    return all(
        backend.all_finite(backend.asarray(values))
        for pair in model.get_parameters()
        for values in pair
        if values is not None
    )


def _callers() -> int:
    """The `stacklevel` of the first caller outside of this package: the line that trains."""
    package, level, frame = __name__.partition(".")[0], 0, sys._getframe()
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] == package:
        level, frame = level + 1, frame.f_back
    return level


@contextlib.contextmanager
def reported_by_caller() -> Iterator[None]:
    """Nothing is told inside: the caller looks at the history, and raises an error."""
    token = _reported.set(True)
    try:
        yield
    finally:
        _reported.reset(token)


def numpy_quiet() -> Any:
    """NumPy says nothing about overflow, once for every operation: the one warning does.

    Where somebody has asked it to raise, it does.
    """
    settings = np.geterr()
    kinds: Any = {kind: "ignore" for kind in ("over", "invalid") if settings[kind] == "warn"}
    return np.errstate(**kinds)
