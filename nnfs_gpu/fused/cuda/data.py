"""Data and targets in the form that the GPU's fused step reads, and what a step returns.

`checked(...)` is the one check between a caller's arrays and a kernel that does not look.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..plan import Plan
from .build import BYTES, LABELS, NUMBERS

Array = Any

CLASSES = {np.dtype(np.int32): LABELS, np.dtype(np.uint8): BYTES}


@dataclass(frozen=True, eq=False)
class Data:
    """Contiguous rows on the device.

    X       (rows, I) of the plan's dtype
    values  targets: (rows,) int32 or uint8, or (rows, O) of the plan's dtype
    kind    which of them: LABELS, BYTES or NUMBERS
    weights (rows,) of the plan's dtype; None: all samples count alike
    """

    X: Array
    values: Array
    kind: int
    rows: int
    weights: Array | None = None

    def part(self, first: int, last: int) -> Data:
        """Rows first to last - 1."""
        weights = None if self.weights is None else self.weights[first:last]
        return Data(self.X[first:last], self.values[first:last], self.kind, last - first, weights)


def checked(
    plan: Plan, xp: Any, dtype: np.dtype, X: Array, values: Array, weights: Array | None = None
) -> Data:
    """X, targets and weights, checked. Raises ValueError for another shape or dtype."""
    rows = len(X)
    if X.ndim != 2 or X.shape[1] != plan.n_inputs or X.dtype != dtype or not rows:
        raise ValueError(
            f"fused step: got data of shape {X.shape}, {X.dtype}, expected "
            f"(samples, {plan.n_inputs}), {dtype}; use backend.asarray(X)"
        )
    classes = plan.classes and values.ndim == 1
    kind = CLASSES.get(values.dtype) if classes else NUMBERS if values.dtype == dtype else None
    shape = (rows,) if classes else (rows, plan.n_outputs)
    flat = not classes and plan.n_outputs == 1 and values.shape == (rows,)
    if kind is None or (values.shape != shape and not flat):
        expected = "int32 or uint8" if classes else dtype
        raise ValueError(
            f"fused step: got targets of shape {values.shape}, {values.dtype}, expected "
            f"{shape}, {expected}; use the loss's targets(...)"
        )
    if weights is not None:
        if weights.shape != (rows,) or weights.dtype != dtype:
            raise ValueError(
                f"fused step: got weights of shape {weights.shape}, {weights.dtype}, expected "
                f"({rows},), {dtype}, one a sample"
            )
        weights = _contiguous(xp, weights)
    return Data(_contiguous(xp, X), _contiguous(xp, values), kind, rows, weights)


def _contiguous(xp: Any, a: Array) -> Array:
    return a if a.flags.c_contiguous else xp.ascontiguousarray(a)


class Measured(Sequence[Array]):
    """Mean loss, penalty and accuracy of a step, scalars on the device.

    They are cut out of the kernel's records when somebody asks: most steps nobody does.
    """

    __slots__ = ("_records", "_row")

    def __init__(self, records: Array, row: int):
        self._records, self._row = records, row

    def __len__(self) -> int:
        return 3

    def __getitem__(self, place: Any) -> Any:
        return tuple(self)[place]

    def __iter__(self) -> Iterator[Array]:
        return (self._records[self._row, place] for place in range(3))


class Ready:
    """A launch that waits to be made, with what was put into it last."""

    __slots__ = ("data", "graph", "launch", "sizes")

    def __init__(self, launch: Any, data: Data):
        self.launch = launch
        self.data: Data | None = data
        self.graph: Any = None  # of GRAPH_STEPS such launches
        self.sizes: tuple[int, ...] = ()
