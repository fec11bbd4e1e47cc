"""Cells that are missing: found and refused, or the rows with them left out."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from .table import Table

MISSING_RULES = ("refuse", "drop", "mean")


def complete_rows(table: Table, names: Iterable[str] | None = None) -> Table:
    """The rows in which no cell of these columns is missing; None: of all columns.

    Raises TableError where none is left.
    """
    gone = np.zeros(len(table), bool)
    for name in table.names if names is None else names:
        gone |= table.column(name).missing()
    if gone.all():
        raise table.error('misses a cell in every row: nothing is left with missing="drop"')
    return table.rows(~gone) if gone.any() else table


def check_complete(table: Table, names: Iterable[str], remedy: str) -> None:
    """TableError for the first cell of these columns that is missing, and how many there are."""
    found = [(name, table.column(name).missing()) for name in names]
    count = sum(int(missing.sum()) for _, missing in found)
    if not count:
        return
    row, name = min((int(np.argmax(gone)), name) for name, gone in found if gone.any())
    more = f"; {count:,} cells are" if count > 1 else ""
    raise table.error(
        f"is missing (empty, ?, NA or NaN){more}; {remedy}",
        row,
        name,
    )
