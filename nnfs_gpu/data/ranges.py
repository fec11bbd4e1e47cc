"""Data whose rows can be had by their numbers: memory maps, and rows that are made.

A batch may begin anywhere, so that a run which goes on passes nothing over, and ranks have their
own rows each. See `held.py` for what they have in common with arrays, `blockwise.py` for how blocks
are checked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .. import remedies
from ..backend.arrays import plain, prefixed, to_host
from ..network.network import Network
from ..own.values import as_given
from ..targets import Targets
from .blockwise import Block, InBlocks, raw
from .fingerprint import hashed
from .order import Order
from .passes import gathered
from .sources import Rows, fingerprint_of
from .weights import Weighting

Array = Any
Share = Iterator[tuple[int, Array, Targets]]


class ByRange(InBlocks):
    """What they share: blocks of batches, and of a rank's share of batches."""

    runs_out = False

    def _range(self, start: int, stop: int, order: Order | None) -> tuple[Array, Targets]:
        """Rows start..stop-1, or those at these places of `order`: checked and moved."""
        raise NotImplementedError

    def _blocks(self) -> Iterator[slice]:
        for start in range(0, self.samples, self.block):
            yield slice(start, min(start + self.block, self.samples))

    def blocks(
        self,
        batch_size: int | None = None,
        order: Order | None = None,
        first: int = 0,
        align: Callable[[int], int] | None = None,
    ) -> Iterator[Block]:
        """See `held.py`. Rows are read or made when their block is asked for."""
        size = min(batch_size or self.samples, self.samples)
        for batch in range(first * size, self.samples, size):
            end = min(batch + size, self.samples)
            most = self._most(align(end - batch) if align else 1)
            for start in range(batch, end, most):
                stop = min(start + most, end)
                total = None if stop - start == end - batch else end - batch
                yield total, *self._range(start, stop, order)
        if first == 0:
            self._passed()

    def shares(
        self,
        batch_size: int | None,
        order: Order | None,
        first: int,
        share: Callable[[int], tuple[int, int]],
        align: Callable[[int], int],
    ) -> Iterator[tuple[int, Share]]:
        """See `held.py`."""
        size = min(batch_size or self.samples, self.samples)
        for batch in range(first * size, self.samples, size):
            total = min(size, self.samples - batch)
            yield total, self._share(batch, *share(total), align(total), order)
        self._seen = self._seen or first == 0

    def _most(self, align: int) -> int:
        """Rows of a block: whole multiples of `align`, one at least."""
        return max(self.block // align, 1) * align

    def _share(self, batch: int, start: int, stop: int, align: int, order: Order | None) -> Share:
        """Rows start..stop-1 of the batch whose first row is `batch`, cut at multiples of `align`:
        blocks have at most `block` rows, or `align` where that is more.
        """
        most = self._most(align)
        while start < stop:
            end = min(start - start % align + most, stop)
            yield start, *self._range(batch + start, batch + end, order)
            start = end


class Mapped(ByRange):
    """Memory maps of data and targets (one of the two may be an array in memory).

    One pass, when it is made, checks the targets. `order` takes rows from all over the
    files: from a disk that costs a seek each, and the order itself 8 bytes a sample.
    """

    def __init__(self, model: Network, X: Any, y: Any, what: str, check_finite: bool):
        super().__init__(model, what, check_finite)
        try:
            self.X, self.y = to_host(X, "X"), plain(raw(y), "y")
        except (TypeError, ValueError, RuntimeError) as error:
            raise prefixed(error, what) from error
        if not self.X.size or self.X.ndim < 2:
            model.checked_rows(self.X, what, "X")  # raises
        if not isinstance(y, np.memmap):
            model.checked_targets(self.X, raw(y), what)  # raises, in words for what was given
        if self.y.shape[:1] != self.X.shape[:1]:
            raise ValueError(
                f"{what}: got X of shape {self.X.shape} and y of shape {self.y.shape}, expected "
                f"one target a sample: {remedies.same_rows(self.y.shape, self.X.shape[0])}"
            )
        self.samples = self.X.shape[0]
        self._sample_weight: np.ndarray | None = None
        self._unit = 1.0  # by which weights are multiplied
        for rows in self._blocks():
            self._checked(self.X[rows], self.y[rows], rows.start)
        self._seen = True

    def weigh(self, weighting: Weighting) -> None:
        """See `Held`; a pass checks the weights of samples, which may be a memory map, too."""
        self._weighting = weighting
        if weighting.sample_weight is not None:
            self._sample_weight = weighting.on_host(self.samples)
        weighting.count(self._targets)
        self._unit = weighting.unit(max(float(self._products(r).max()) for r in self._blocks()))

    def _products(self, rows: Any) -> np.ndarray:
        """The weights of these rows, checked, in float64."""
        weights, y = None, self.y[rows]
        if self._sample_weight is not None:
            block = f", the block at row {rows.start}" if isinstance(rows, slice) else ""
            given = self._sample_weight[rows]
            weights = self._weighting.checked(given, len(y), f"{self.what}{block}")
        return self._weighting.products(y, weights)

    def _with_weights(self, y: Targets, rows: Any) -> Targets:
        return self._weighting.carried(y, self._products(rows), self._unit) if self.weighted else y

    def _range(self, start: int, stop: int, order: Order | None) -> tuple[Array, Targets]:
        if order is None:
            rows: Any = slice(start, stop)
            X, y = self._known(self.X[rows], self.y[rows], start)
        else:
            rows = order[start:stop]
            X, y = self._known(gathered(self.X, rows), self.y[rows], start)
        return X, self._with_weights(y, rows)

    def _targets(self) -> Iterator[np.ndarray]:
        return (self.y[rows] for rows in self._blocks())

    def fingerprints(self) -> tuple[Any, Any]:
        """As those of the same data in memory, read block by block."""
        form: Any = self._form
        found = []
        for values, dtype, shape in (
            (self.X, self.backend.dtype, self.X.shape),
            (self.y, form.values.dtype, (self.samples, *form.values.shape[1:])),
        ):
            parts = (np.ascontiguousarray(values[rows], dtype) for rows in self._blocks())
            found.append(hashed(shape, dtype, parts) | {"block": self.block})
        return found[0], found[1]

    def weights_fingerprint(self) -> Any:
        """Those of samples, read block by block, and of classes."""
        weights, found = self._sample_weight, super().weights_fingerprint()
        if weights is None:
            return found
        dtype = self.backend.dtype
        parts = (np.ascontiguousarray(weights[rows], dtype) for rows in self._blocks())
        return hashed(weights.shape, dtype, parts) | {"classes": found}


class Made(ByRange):
    """Rows that a function makes: `sources.Rows`. Each block is checked when it comes.

    After a whole pass they are known, and later ones are looked at more quickly.
    """

    def __init__(self, model: Network, source: Rows, what: str, check_finite: bool):
        super().__init__(model, what, check_finite)
        self.source, self.samples = source, source.samples

    def _range(
        self,
        start: int,
        stop: int,
        order: Order | None = None,  # noqa: ARG002 - None: to shuffle is refused before
    ) -> tuple[Array, Targets]:
        X, y = self._block(self.source.make(start, stop), start)
        if X.shape[0] != stop - start:
            raise ValueError(
                f"{self.what}: make({start}, {stop}) gave {X.shape[0]} rows, expected "
                f"{stop - start}: rows {start} to {stop - 1}"
            )
        return X, y

    def _targets(self) -> Iterator[np.ndarray]:
        made = (self._range(rows.start, rows.stop) for rows in self._blocks())
        return (self.backend.to_numpy(as_given(y)) for _, y in made)

    def fingerprints(self) -> tuple[Any, Any]:
        """What `Rows` says of itself; the targets are part of it."""
        return fingerprint_of(self.source) | {"block": self.block}, None
