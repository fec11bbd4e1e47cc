"""Where a step of training or evaluation gets its samples from, wherever they lie.

`data_of` looks at what `Model.train` and `evaluate` were given and makes one of
    Held      arrays, moved to the backend as a whole
    Mapped    NumPy memory maps: rows are read, converted and moved when their turn comes
    Made      rows that a function makes (`sources.Rows`)
    Streamed  another source of blocks (`sources.py`)
those two in the middle in `ranges.py`, the last in `blockwise.py`. All have `samples` and
    blocks(batch_size, order, first, align) -> (total, X, y), ...
the samples in batches, from batch number `first` on. `total` is None where X, y are a
whole batch; else they are one block of a batch of `total` rows, which is larger than `block`
rows or than the blocks of the source: a step then adds the blocks up. X (n, features) and y
(`targets.Targets`, with their weights) are checked and on the backend. Blocks that are read or made
are cut at multiples of align(total) rows, so that what is added up alone lies in one. For ranks,
which divide a batch, there is
    shares(batch_size, order, first, share, align) -> (total, ((row, X, y), ...)), ...
of each batch from `first` on the rows start to stop - 1, share(total) -> (start, stop), in blocks
of which `row` is the first one's number in the batch. Nothing is read or made of other rows.
`Streamed` refuses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..backend import Backend
from ..network import checks as network_checks
from ..network.network import Network
from ..targets import Targets
from .blockwise import Block, Streamed
from .fingerprint import fingerprint
from .order import Order
from .ranges import Made, Mapped, Share
from .sources import Rows, as_source, given_parts, holds_pairs, is_source, targets_inside
from .weights import Weighting

Array = Any

ARGUMENT = {"train": "X", "evaluate": "X_val"}  # what a call's data are called in its signature


def data_of(
    model: Network,
    X: Any,
    y: Any,
    what: str,
    check_finite: bool,
    sample_weight: Any = None,
    class_weight: Any = None,
) -> Any:
    """`Held`, `Mapped`, `Made` or `Streamed`: checked as far as can be done now.

    The weights are those of `weights.Weighting`. Raises TypeError or ValueError, with `what` in
    front, for data that do not fit the network.
    """
    weighting = Weighting(model, what, sample_weight, class_weight)
    data = _data_of(model, X, y, what, check_finite)
    if weighting:
        data.weigh(weighting)
    return data


def _data_of(model: Network, X: Any, y: Any, what: str, check_finite: bool) -> Any:
    if is_source(X):
        if y is not None:
            raise TypeError(f"{what}: got blocks and y; the blocks (X, y) hold y: leave it out")
        if isinstance(X, Rows):
            return Made(model, X, what, check_finite)
        try:
            source = as_source(X, ARGUMENT.get(what, what))
        except ValueError as error:
            raise ValueError(f"{what}: {error}") from None
        return Streamed(model, source, what, check_finite)
    if y is None:
        alone = "got X without y; only a source of blocks holds its targets"
        if isinstance(X, (list, tuple)) and len(X) == 2 and not holds_pairs(X):
            alone += "; where these are both, use X, y = X"
        raise TypeError(f"{what}: {targets_inside(X, ARGUMENT.get(what, what)) or alone}")
    try:
        if isinstance(X, np.memmap) or isinstance(y, np.memmap):
            return Mapped(model, X, y, what, check_finite)
        return Held(model.backend, *model.checked_data(X, y, what, check_finite))
    except (TypeError, ValueError) as error:
        if not _swapped(X, y, network_checks.width_in(model.layers)):
            raise
        raise ValueError(
            f"{what}: got X of shape {np.shape(X)} and y of shape {np.shape(y)}, expected the data "
            "first and their targets second; use X, y = y, X"
        ) from error


def validation_of(model: Network, given: Any, check_finite: bool) -> Any:
    """The same of `validation_data`: (X, y), (X, y, sample_weight), or a source of blocks."""
    what = "validation_data"
    if is_source(given):
        return data_of(model, given, None, what, check_finite)
    inside = targets_inside(given, what)
    if inside:
        raise TypeError(f"{what}: {inside}")
    X, y, weights = given_parts(given, what)
    return data_of(model, X, y, what, check_finite, weights)


def _swapped(X: Any, y: Any, width: int | None) -> bool:
    """Whether X has the shape of targets and y that of data, so that all is well the other way."""
    try:
        x_shape, y_shape = np.shape(X), np.shape(y)
    except (TypeError, ValueError):  # ragged, or on a GPU
        return False
    if len(y_shape) != 2 or y_shape[1] != width or x_shape[:1] != y_shape[:1]:
        return False
    return bool(x_shape != y_shape and y_shape[0] > 1)


class Held:
    """Arrays on the backend: X (N, features) and its checked targets."""

    runs_out = False

    def __init__(self, backend: Backend, X: Array, y: Targets):
        self.backend, self.X, self.y = backend, X, y
        self.samples = X.shape[0]
        self._batches: tuple[int, list[slice]] = (0, [])  # of the size asked for last

    def blocks(
        self,
        batch_size: int | None = None,
        order: Order | None = None,
        first: int = 0,
        align: Callable[[int], int] | None = None,  # noqa: ARG002 - the others have it
    ) -> Iterator[Block]:
        """See the module docstring. `order`: the samples are gathered on the backend."""
        X, y = self.X, self.y
        if order is not None:
            rows = self.backend.asarray(np.asarray(order), np.int64)
            X, y = X[rows], y[rows]
        if batch_size is None or batch_size >= self.samples:
            if first == 0:
                yield None, X, y
            return
        if self._batches[0] != batch_size:
            starts = range(0, self.samples, batch_size)
            self._batches = batch_size, [slice(start, start + batch_size) for start in starts]
        for batch in self._batches[1][first:]:
            yield None, X[batch], y[batch]

    def shares(
        self,
        batch_size: int | None,
        order: Order | None,
        first: int,
        share: Callable[[int], tuple[int, int]],
        align: Callable[[int], int],  # noqa: ARG002 - the others have it
    ) -> Iterator[tuple[int, Share]]:
        """See the module docstring. A share is one block; with `order`, gathered alone."""
        size = min(batch_size or self.samples, self.samples)
        for batch in range(first * size, self.samples, size):
            total = min(size, self.samples - batch)
            yield total, self._share(batch, *share(total), order)

    def _share(self, batch: int, start: int, stop: int, order: Order | None) -> Share:
        if start < stop:
            rows: Any = slice(batch + start, batch + stop)
            if order is not None:
                rows = self.backend.asarray(order[rows], np.int64)
            yield start, self.X[rows], self.y[rows]

    @property
    def weighted(self) -> bool:
        """Whether the targets carry weights, as far as is known."""
        return self.y.weights is not None

    def weigh(self, weighting: Weighting) -> None:
        """Have the targets carry these weights. Raises ValueError for those that do not fit."""
        self.y = weighting.whole(self.y)

    def init_accuracy(self, accuracy: Any) -> None:
        """Show the targets to the accuracy."""
        accuracy.init(self.y)

    def fingerprints(self) -> tuple[Any, Any]:
        """What a checkpoint keeps of data and targets."""
        return fingerprint(self.backend, self.X), fingerprint(self.backend, self.y.values)

    def weights_fingerprint(self) -> Any:
        """The same of the weights; None where all samples count alike."""
        return None if self.y.weights is None else fingerprint(self.backend, self.y.weights)
