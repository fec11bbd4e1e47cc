"""An order in which every batch is an even sample: for rows that lie sorted, as the spiral's do.

`sources.spiral_rows(spread=...)` gives rows in it. Like cards, the rows 0..n-1 are dealt to S
strata, as many as there are batches: stratum s has the rows s, s + S, s + 2 S, ..., and the order
is stratum after stratum. Any part of it is a few ranges of rows that lie equally far apart, so
nothing is kept but three numbers, and a kernel can make the rows of a range by itself.

Batches of more than n / S rows begin in one stratum and end in the next, at nearly the same
place of the whole: these, too, sample evenly. The last batch, where it is k rows smaller, lacks the
first k rows of its stratum: of few steps, let all have ceil(n / S) rows.
"""

from __future__ import annotations

from collections.abc import Iterator


class Spread:
    """The order of n rows for batches of `batch` rows.

    strata  S = ceil(n / batch): neighbours in a stratum are so many rows apart
    """

    def __init__(self, n: int, batch: int):
        self.n, self.strata = n, -(-n // batch)
        self._least, self._longer = divmod(n, self.strata)  # rows; strata that have one more

    def parts(self, start: int, stop: int) -> Iterator[range]:
        """The rows at places start..stop-1 of the order. Raises ValueError outside of 0..n."""
        if not 0 <= start <= stop <= self.n:
            raise ValueError(f"rows: got {start} to {stop}, expected a range within 0 to {self.n}")
        while start < stop:
            stratum, place = self._stratum(start)
            left = self._least + (stratum < self._longer) - place
            count = min(left, stop - start)
            first = stratum + self.strata * place
            yield range(first, first + self.strata * (count - 1) + 1, self.strata)
            start += count

    def _stratum(self, place: int) -> tuple[int, int]:
        """Its number, and the place within it."""
        longer = self._longer * (self._least + 1)  # places in the strata that have one more
        if place < longer:
            return divmod(place, self._least + 1)
        stratum, within = divmod(place - longer, self._least)
        return self._longer + stratum, within
