"""What every engine has: a step at once or from blocks of rows, and the sums in between.

Engines are `training.engines.LayerSteps` and those of `fused/`. `Batch` counts the rows of a
batch that comes in blocks, and refuses those that do not belong to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

Array = Any
Measured = Any  # mean loss, penalty and accuracy of the batch before the update: three numbers


@dataclass
class Sums:
    """What the rows of a batch given so far add up to. Sums of several add up, too.

    gradients  (dweights, dbiases) of each trainable layer: of the losses of these rows, divided
               by all rows of the batch; without penalties. From all rows: of the mean loss
    losses     sum of the rows' losses
    right      sum of their right answers
    rows       how many
    compared   answers among them

    Arrays are float64, the caller's to change, and where the model's are; nothing waits for a
    device.
    """

    gradients: list[tuple[Array, Array]]
    losses: Any
    right: Any
    rows: int
    compared: int


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

    def summed(self) -> Sums:
        """What has been accumulated. Raises RuntimeError where no batch is under way."""

    def replace(self, sums: Sums) -> None:
        """Go on as if `sums` had been accumulated: with rows that others have added, say.

        Raises ValueError for more rows than the batch has, RuntimeError where none is under way.
        """

    def finish(self) -> Measured:
        """The update from all rows. Raises RuntimeError where some are missing."""


class Batch:
    """The rows of a batch that comes in blocks.

    rows   given so far
    total  expected; 0 where no batch is under way
    """

    def __init__(self) -> None:
        self.rows = self.total = 0

    def first(self, rows: int, total: int) -> int:
        """The number of the first of `rows` more, which are not given yet.

        Raises ValueError where they do not fit into a batch of `total`.
        """
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

    def end(self) -> int:
        """All are there, and the next batch may come; how many. Raises RuntimeError else."""
        if self.rows != self.total or not self.total:
            raise RuntimeError(
                f"finish: got {self.rows} of {self.total} samples; accumulate the rest first"
            )
        total = self.total
        self.forget()
        return total

    def replace(self, rows: int) -> None:
        """`rows` in place of those given. Raises as `Engine.replace`."""
        self.under_way("replace")
        if not 0 <= rows <= self.total:
            raise ValueError(f"replace: got {rows} rows, expected at most {self.total}")
        self.rows = rows

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
