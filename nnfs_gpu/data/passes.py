"""Reading data that lie in files: rows in another order, and a number that is made of all rows."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np


def gathered(values: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """values[rows], read in the order in which they lie in the file."""
    by = np.argsort(rows)
    result = np.empty((len(rows), *values.shape[1:]), values.dtype)
    result[by] = values[rows[by]]
    return result


def stand_in(parts: Iterator[np.ndarray]) -> np.ndarray:
    """Two numbers with the mean and the standard deviation of all numbers in `parts`.

    Means and sums of squares are merged block by block, in float64: Chan, Golub, LeVeque (1983).
    """
    count, mean, squares = 0, 0.0, 0.0
    for part in parts:
        values = np.asarray(part, np.float64)
        change = float(values.mean()) - mean
        squares += float(values.var()) * values.size
        squares += change * change * count * values.size / (count + values.size)
        count += values.size
        mean += change * values.size / count
    deviation = (squares / max(count, 1)) ** 0.5
    return np.array([mean - deviation, mean + deviation])
