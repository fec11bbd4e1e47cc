"""What every engine has: a step at once or from blocks of rows; and what some share with others.

Engines are `training.engines.LayerSteps` and those of `fused/`. `Batch` counts the rows of a
batch that comes in blocks, and refuses those that do not belong to it. `Message` is what the
sums of a shared batch look like on their way to other processes.
"""

from __future__ import annotations

from typing import Any, Protocol

Array = Any
Measured = Any  # mean loss, penalty and accuracy of the batch before the update: three numbers


class Engine(Protocol):
    """What does a training step: updates the parameters, and adds to the epoch's sums in
    `model.loss` and `model.accuracy`.

    A step is done or not done, also where Ctrl-C or an error ends it: parameters, the optimizer's
    state and count, dropout's calls and the sums agree. A batch in blocks that ends so is
    forgotten; until `finish` the model is as it was before the first block.
    """

    name: str

    def step(self, X: Array, y: Any) -> Measured:
        """One batch: forward, loss and penalty, accuracy, backward, update."""

    def accumulate(self, X: Array, y: Any, total: int) -> None:
        """Add the gradient of X, y: the next rows of a batch of `total`. No parameter changes, and
        memory does not grow with `total`. Raises ValueError for more rows than `total`.
        """

    def finish(self) -> Measured:
        """The update from all rows. Raises RuntimeError where some are missing."""


class SharedEngine(Engine, Protocol):
    """An engine whose batches may be shared: other processes have some of the rows.

    A batch is cut into leaves, whose sums are rounded as they come; leaves are added up without
    rounding. So whoever has which leaves, the update is the same to the bit.
    """

    def leaf(self, total: int) -> int:
        """Rows of a leaf of a batch of `total`: of sizes alone."""

    def begin(self, total: int) -> None:
        """A shared batch: all that has been added up is 0. Raises RuntimeError where another is
        under way.
        """

    def accumulate(self, X: Array, y: Any, total: int, first: int | None = None) -> None:
        """As `Engine.accumulate`. first: the number of row 0 of X in a shared batch, a multiple of
        `leaf`.
        """

    def fingerprint(self) -> int:
        """A number below 2^32 made of all weights and biases, as the batch under way began; 0
        where that would wait for a device.
        """

    def message(self) -> Array:
        """What has been added up, a `Message` in the engine's own memory: that of others may be
        added to it. Raises RuntimeError where no batch is under way.
        """


class Message:
    """Where things stand in a message: int64, to be added to those of others.

    numbers  of a gradient; three words of each, word after word
    words    of the gradient and, behind them, of the sum of losses
    right    right answers; rows: how many rows these are sums of
    weighed  how many of the rows have weights; weights: words of the sum of these
    extras   what others want to add up along with them

    The words are those of kernels/fused_cpu/exact.py.
    """

    LOSS_WORDS, EXTRAS = 12, 6

    def __init__(self, numbers: int):
        self.right = 3 * numbers + self.LOSS_WORDS
        self.rows = self.right + 1
        self.weighed = self.rows + 1
        self.weights = slice(self.weighed + 1, self.weighed + 1 + self.LOSS_WORDS)
        self.extras = slice(self.weights.stop, self.weights.stop + self.EXTRAS)
        self.words, self.size = slice(0, self.right), self.extras.stop


def weighed(rows: int, total: int) -> bool:
    """Whether a batch of `total` rows, of which `rows` have weights, has them.

    Raises ValueError where some rows have and others have not.
    """
    if rows not in (0, total):
        raise ValueError(
            f"finish: got weights of {rows} of {total} samples; give a weight for each, or none"
        )
    return rows > 0


class Batch:
    """The rows of a batch that comes in blocks.

    rows    given so far
    total   expected; 0 where no batch is under way
    shared  whether others may have given some
    """

    def __init__(self) -> None:
        self.rows = self.total = 0
        self.shared = False

    def begin(self, total: int) -> None:
        """A shared batch. Raises RuntimeError where one is under way, ValueError for no rows."""
        self.none("begin")
        if total < 1:
            raise ValueError(f"begin: got a batch of {total} rows, expected at least 1")
        self.total, self.shared = total, True

    def first(self, rows: int, total: int, at: int | None = None, leaf: int = 1) -> int:
        """The number of the first of `rows` more, which are not given yet.

        at    the number as the caller has it, of rows in a shared batch; a multiple of `leaf`
        Raises ValueError where they do not fit into a batch of `total`.
        """
        if at is not None:
            if not self.shared or total != self.total or at % leaf or not 0 <= at <= total - rows:
                raise ValueError(
                    f"accumulate: got rows {at} to {at + rows} of a batch of {total}, expected a "
                    f"multiple of {leaf} first, in a batch of {self.total} that `begin` has begun"
                )
            return at
        last = self.rows + rows
        if (self.total and total != self.total) or last > total:
            raise ValueError(
                f"accumulate: got rows {self.rows} to {last} of a batch of {total}, expected at "
                f"most {self.total or total}; call finish() between batches"
            )
        return self.rows

    def add(self, rows: int, total: int) -> None:
        """They are given. Whoever fails at them calls `forget`: half of them may be added."""
        self.rows, self.total = self.rows + rows, total

    def end(self, rows: int | None = None) -> int:
        """All are there, and the next batch may come; how many. Raises RuntimeError else.

        rows  those given by all, where that is known
        """
        rows = self.rows if rows is None else rows
        if rows != self.total or not self.total:
            raise RuntimeError(
                f"finish: got {rows} of {self.total} samples; accumulate the rest first"
            )
        total = self.total
        self.forget()
        return total

    def under_way(self, what: str) -> None:
        """Raises RuntimeError where no batch is under way."""
        if not self.total:
            raise RuntimeError(f"{what}: no batch is under way; call accumulate(...) first")

    def none(self, what: str) -> None:
        """Raises RuntimeError where a batch is under way."""
        if self.total:
            raise RuntimeError(f"{what}: a batch is under way; call finish() first")

    def forget(self) -> None:
        """No batch is under way."""
        self.rows = self.total = 0
        self.shared = False
