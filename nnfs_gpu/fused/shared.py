"""A batch whose rows several processes may have, as the engines of a GPU count it.

`SharedBatch` is `network.engine.Batch` with a beginning of its own, and rows that need not follow
each other. What the rows add up to is on the device, with the number of those that others have
given; nothing here waits for it. Used by `cuda.engine.KernelSteps` and `tiles.TiledSteps`.
"""

from __future__ import annotations

from ..network.engine import Batch

WINDOWS = 12  # words of losses in a message
EXTRAS = 6  # numbers in a message that are the trainer's


class Message:
    """Where things stand in a message, int64: what a rank adds up and others add to.

    w0 (P,), w1 (P,), w2 (P,)   words of the gradient
    losses   words of the sum of losses, (4, 3)
    right    right answers; rows: how many rows all this is of; then EXTRAS numbers
    """

    def __init__(self, numbers: int):
        self.words, self.losses = slice(0, 3 * numbers), slice(3 * numbers, 3 * numbers + WINDOWS)
        self.right = self.losses.stop
        self.rows = self.right + 1
        self.size = self.rows + 1 + EXTRAS


class SharedBatch(Batch):
    """The rows of a batch that comes in blocks, of this process or of several.

    shared   others may have rows of it
    """

    def __init__(self) -> None:
        super().__init__()
        self.shared, self._next = False, 0

    def begin(self, total: int) -> None:
        """A batch of `total` rows of which others may have some.

        Raises RuntimeError while another is under way, ValueError for less than a row.
        """
        self.none("begin")
        if total < 1:
            raise ValueError(f"begin: got a batch of {total} rows, expected at least 1")
        self.total, self.shared = total, True

    def place(self, rows: int, total: int, first: int | None, leaf: int) -> int:
        """The number in the batch of the first of `rows` more, which are not given yet.

        first   as the caller has it; None: they follow those before
        Raises ValueError for rows that do not fit, or that are not whole leaves where others
        may have the rest.
        """
        at = self._next if first is None else first
        if not self.shared:
            if first not in (None, self.rows):
                raise ValueError(
                    f"accumulate: got rows from {first} on, expected {self.rows}, which come next; "
                    "call begin(total) for a batch of which others have rows"
                )
            return self.first(rows, total)
        last = at + rows
        if total != self.total or at < 0 or last > total or self.rows + rows > total:
            raise ValueError(
                f"accumulate: got rows {at} to {last} of a batch of {total} after {self.rows} "
                f"others, expected rows within the {self.total} of begin({self.total})"
            )
        if at % leaf or (rows % leaf and last < total):
            raise ValueError(
                f"accumulate: got rows {at} to {last} of a batch that is shared, expected whole "
                f"leaves of {leaf} rows; cut where leaf({total}) says"
            )
        return at

    def given(self, at: int, rows: int, total: int) -> None:
        """They are given, from number `at` on. Whoever fails at them calls `forget`."""
        self.add(rows, total)
        self._next = at + rows

    def end(self) -> int:
        """The next batch may come; the rows of this one. Raises RuntimeError where some are
        missing and nobody else can have them.
        """
        if self.shared:
            self.rows = self.total  # or others have the rest: the device knows
        return super().end()

    def forget(self) -> None:
        """No batch is under way."""
        super().forget()
        self.shared, self._next = False, 0
