"""Data whose blocks come when their turn does: how each is checked and moved, and sources.

See `held.py` for what they have in common with arrays, `ranges.py` for data whose rows can be had
in any order.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .. import checks
from ..accuracy import Accuracy
from ..backend.arrays import incoming, plain, prefixed, waits
from ..backend.protocol import DTypeLike
from ..backend.remedies import no_array
from ..network.measures import OwnAccuracy
from ..network.network import Network
from ..own.values import as_given
from ..targets import Labels, Targets
from .passes import stand_in
from .sources import fingerprint_of, given_parts, runs_out
from .weights import Weighting

Array = Any
Block = tuple[int | None, Array, Targets]

BLOCK_BYTES = 256 << 20  # what the arrays of all layers may take for one block of rows
ARRAYS = 4  # of a layer's width: inputs, output and their gradients


def block_rows(model: Network) -> int:
    """Rows of a block: as many as the layers' arrays hold in BLOCK_BYTES, from 1,024 to 2^20."""
    weights = [getattr(layer, "weights", None) for layer in model.layers]
    widths = sum(n for w in weights if w is not None for n in w.shape) or 1
    return min(max(BLOCK_BYTES // (ARRAYS * model.backend.dtype.itemsize * widths), 1024), 1 << 20)


class InBlocks:
    """What memory maps and sources share: blocks are checked, converted and moved one by one.

    Blocks have at most `block` rows.
    """

    samples: int

    def __init__(self, model: Network, what: str, check_finite: bool):
        self.model, self.backend, self.what = model, model.backend, what
        self.check_finite = check_finite
        self.block = block_rows(model)
        self._form: Targets | None = None  # some targets as the loss wants them
        self._kind: tuple[str, int] = ("", 0)  # of the targets: their dtype's, and dimensions
        self._seen = False  # a whole pass: later ones are looked at more quickly
        self._weighting = Weighting(model, what)
        self._weighted: bool | None = None  # whether blocks come with weights
        self._counts = False  # whether one of these was above 0

    def _converted(self, x: Any, dtype: DTypeLike, name: str) -> Array:
        """In `dtype`: on the host where it lies there, and only these rows."""
        x = incoming(x, name)
        return np.ascontiguousarray(x, dtype) if isinstance(x, np.ndarray) else x

    def _data(self, X: Any, where: str) -> Array:
        try:
            x = self._converted(X, self.backend.dtype, "X")
        except (TypeError, ValueError, RuntimeError) as error:
            raise prefixed(error, where) from error
        moved = self.model.checked_rows(x, where, "X")
        if self.check_finite and not (self._seen and waits(X)):
            checks.finite(self.backend, x if isinstance(x, np.ndarray) else moved, where, "X", X)
        return moved

    def _checked(self, X: Any, y: Any, start: int, given: Any = None) -> tuple[Array, Targets]:
        """A block whose first row is `start`: moved, and everything checked.

        given  the targets before `y` was made of them: a refusal speaks of these
        """
        where = f"{self.what}, rows {start} to {start + len(X) - 1}"
        X = self._data(X, where)
        try:
            self._form = self.model.checked_targets(X, y, where)
        except (TypeError, ValueError):
            if given is not None:
                self.model.checked_targets(X, given, where)
            raise
        return X, self._form

    def _known(self, X: Any, y: Any, start: int) -> tuple[Array, Targets]:
        """A block whose rows came before, in an earlier pass.

        Files change, and what makes blocks may make others: labels on the host are looked at
        again, quickly. On a GPU they are not, that would wait for it: there a label out of
        range makes the loss NaN, and nothing beside the arrays is read.
        """
        form: Any = self._form
        fits = waits(y) or (isinstance(form, Labels) and form.suit(y))
        if not fits or y.shape[:1] != X.shape[:1]:
            return self._checked(X, y, start)
        X = self._data(X, f"{self.what}, rows {start} to {start + len(X) - 1}")
        dtype = form.values.dtype
        values = self.backend.asarray(self._converted(y, dtype, "y"), dtype)
        targets = copy.copy(form)
        targets.values = values.reshape(-1, *form.values.shape[1:])
        return X, targets

    def _block(self, block: Any, start: int) -> tuple[Array, Targets]:
        """Arrays (X, y) as they were given, whose first row is `start`: as `_checked`, and quickly
        where all rows came before and these are of the same kind.
        """
        where = f"{self.what}, the block at row {start}"
        given = given_parts(block, where)
        try:
            X = given[0] if waits(given[0]) else plain(given[0], "X")
            y = raw(given[1]) if waits(raw(given[1])) else plain(raw(given[1]), "y")
        except (TypeError, ValueError, RuntimeError) as error:
            raise prefixed(error, where) from error
        for name, one, array in zip(("X", "y"), given, (X, y), strict=False):
            if not array.ndim:
                remedy = no_array(one, name)
                raise ValueError(f"{where}: got no rows, expected arrays: {remedy}")
        kind = str(y.dtype).rstrip("0123456789"), y.ndim
        if self._seen and kind == self._kind:
            X, targets = self._known(X, y, start)
        else:
            self._kind = kind
            X, targets = self._checked(X, y, start, raw(given[1]))
        return X, self._weigh_block(targets, given[2], where)

    # ---- weights ----
    @property
    def weighted(self) -> bool:
        """Whether the targets carry weights, as far as is known."""
        return bool(self._weighting) or bool(self._weighted)

    def weigh(self, weighting: Weighting) -> None:
        """Have the targets carry the weights of their classes; those of samples come with them."""
        if weighting.sample_weight is not None:
            raise TypeError(
                f"{self.what}: got blocks and sample_weight; blocks hold their weights: have the "
                "source give (X, y, sample_weight)"
            )
        self._weighting = weighting
        weighting.count(self._targets)

    def _weigh_block(self, y: Targets, given: Any, where: str) -> Targets:
        """`y` with the weights that came with its block, checked; None where it came without."""
        if self._weighted not in (None, given is not None):
            raise TypeError(
                f"{where}: got {'a triple' if given is not None else 'a pair'} after blocks of the "
                "other kind; expected all of them (X, y), or all (X, y, sample_weight)"
            )
        self._weighted = given is not None
        if self._weighted:
            self._weighting.check_loss()
        y = self._weighting.of_block(y, given, where, self._seen)
        if self._weighted and not self._seen and not self._counts:
            self._counts = bool(self.backend.to_numpy(y.weights).any())
        return y

    def _passed(self) -> None:
        """A whole pass has come to its end. Raises ValueError where nothing counts."""
        if self._weighted:
            self._weighting.some(self._counts)
        self._seen = True

    def weights_fingerprint(self) -> Any:
        """What a checkpoint keeps of the weights of classes; those of samples are the source's."""
        return self._weighting.described()

    def _targets(self) -> Iterator[np.ndarray]:
        """All targets, block by block, on the host."""
        raise NotImplementedError

    def init_accuracy(self, accuracy: Any) -> None:
        """Show it two numbers with the mean and the deviation of all targets, in their place.

        Where it wants to see them at all: that takes a pass over the data. One of the user's
        own, which may want to know something else, sees them all.
        """
        if isinstance(accuracy, OwnAccuracy):
            if accuracy.wants_targets:
                y = np.concatenate(list(self._targets()))
                accuracy.init(self.backend.asarray(y, y.dtype if y.dtype.kind in "iub" else None))
            return
        wants = type(accuracy).init is not Accuracy.init
        if wants and getattr(accuracy, "precision", None) is None:
            accuracy.init(stand_in(self._targets()))


class Streamed(InBlocks):
    """A source of blocks. Each is checked when it comes for the first time.

    A pass that gives fewer or more rows than `samples` ends with a ValueError before the
    step that it was for is finished: no parameter has changed.
    """

    def __init__(self, model: Network, source: Any, what: str, check_finite: bool):
        super().__init__(model, what, check_finite)
        self.source, self.runs_out = source, runs_out(source)
        if source.samples is None:
            source.samples = self._count()
        self.samples = checks.positive_int(source.samples, f"{what}, samples of the blocks")

    def _count(self) -> int:
        rows = 0
        for block in self.source:
            X, _ = self._block(block, rows)
            rows += X.shape[0]
        if not rows:
            raise ValueError(f"{self.what}: got no blocks, expected pairs (X, y)")
        self._passed()
        return rows

    def _pass(self) -> Iterator[tuple[Array, Targets]]:
        """The blocks of one pass; the last one comes only when it is known to be the last."""
        rows, samples, blocks = 0, self.samples, iter(self.source)
        expected = f"expected {samples} in every pass: correct the source or its samples"
        for block in blocks:
            X, y = self._block(block, rows)
            rows += X.shape[0]
            if rows > samples or (rows == samples and next(blocks, None) is not None):
                raise ValueError(
                    f"{self.what}: the blocks have more than {samples} rows, {expected}"
                )
            yield X, y
        if rows < samples:
            raise ValueError(f"{self.what}: the blocks ended after {rows} rows, {expected}")
        self._passed()

    def blocks(
        self,
        batch_size: int | None = None,
        order: np.ndarray | None = None,  # noqa: ARG002 - the others have it
        first: int = 0,
        align: Callable[[int], int] | None = None,  # noqa: ARG002 - blocks are as they come
    ) -> Iterator[Block]:
        """See `held.py`. `order` must be None; blocks before `first` are passed over."""
        size = min(batch_size or self.samples, self.samples)
        done = 0
        for X, y in self._pass():
            at, rows = 0, X.shape[0]
            while at < rows:
                inside = done % size  # the rows of the batch that came before
                total = min(size, self.samples - (done - inside))
                here = slice(at, at + min(rows - at, total - inside, self.block))
                if done >= first * size:
                    whole = here.stop - at == total
                    yield None if whole else total, X[here], y[here]
                done += here.stop - at
                at = here.stop

    def shares(self, *_: Any) -> Iterator[Any]:
        """Refused: only whoever takes all blocks knows where one begins."""
        raise TypeError(
            f"{self.what}: got blocks, which come in their own order: ranks cannot divide them; "
            "give Rows(make, samples), memory maps or arrays"
        )

    def _targets(self) -> Iterator[np.ndarray]:
        if self.runs_out:
            raise ValueError(
                f"{self.what}: the accuracy or class_weight wants to see all targets first, and "
                "these blocks can be used once; give a function that returns a new iterator, or "
                "set its precision and a number for each class"
            )
        return (self.backend.to_numpy(as_given(y)) for _, y in self._pass())

    def fingerprints(self) -> tuple[Any, Any]:
        """What the source says of itself; the targets are part of it."""
        return fingerprint_of(self.source) | {"block": self.block}, None


def raw(y: Any) -> Any:
    """Targets as they were given: the values of checked ones."""
    return y.values if isinstance(y, Targets) else y
