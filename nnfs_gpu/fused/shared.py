"""A batch whose rows several processes may have, as the engines of a GPU count it.

`SharedBatch` is `network.engine.Batch` for sums that lie on a device, with the number of rows that
others have added: nothing here waits for them. A leaf is a launch there, and never a part of one.
Used by `cuda.engine.KernelSteps` and `tiles.TiledSteps`.
"""

from __future__ import annotations

from ..network.engine import Batch


class SharedBatch(Batch):
    """The rows of a batch that comes in blocks, of this process or of several."""

    def __init__(self) -> None:
        super().__init__()
        self._next = 0  # the row behind those given last

    def place(self, rows: int, total: int, first: int | None, leaf: int) -> int:
        """The number in the batch of the first of `rows` more, which are not given yet.

        first   as the caller has it; None: they follow those given last
        Raises ValueError for rows that do not fit, or that are not whole leaves where others
        may have the rest.
        """
        at = self.first(rows, total, self._next if self.shared and first is None else first, leaf)
        if self.shared and rows % leaf and at + rows < total:
            raise ValueError(
                f"accumulate: got rows {at} to {at + rows} of a batch of {total} that is shared, "
                f"expected whole leaves of {leaf} rows; cut where leaf({total}) says"
            )
        return at

    def given(self, at: int, rows: int, total: int) -> None:
        """They are given, from number `at` on. Whoever fails at them calls `forget`."""
        self.add(rows, total)
        self._next = at + rows

    def end(self, rows: int | None = None) -> int:
        """The next batch may come; the rows of this one. Raises RuntimeError where some are
        missing and nobody else can have them.
        """
        return super().end(self.total if self.shared else rows)

    def forget(self) -> None:
        """No batch is under way."""
        super().forget()
        self._next = 0
