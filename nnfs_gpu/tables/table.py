"""A table in memory: columns with names, of numbers or of texts, and where each row came from.

`reading.py` and `given.py` make tables; `preprocessing.py` turns their rows into inputs and
targets. What is missing stays missing here: it is for the preprocessing to say what is to happen.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Any

import numpy as np

# What stands for nothing, in small letters; among texts the last two are texts like others.
MISSING_TEXT = frozenset(("", "?", "na", "n/a", "#n/a", "nan", "-nan", "null", "<na>"))
MISSING = MISSING_TEXT | {"none", "-"}
MOST_NAMED = 8  # names in an error
MOST_SHOWN = 40  # characters of a cell in an error


class TableError(ValueError):
    """A table that cannot be read, or that does not fit what it is to be used for.

    Its text names the source, and the line and the column where there are any. Options stand in
    it as arguments of the functions here: missing="drop".
    """


@dataclass(frozen=True)
class Numbers:
    """A column of numbers: values (N,) of any real dtype; NaN is a missing one."""

    values: np.ndarray

    def __len__(self) -> int:
        return len(self.values)

    def rows(self, rows: np.ndarray) -> Numbers:
        """Those rows of it."""
        return Numbers(self.values[rows])

    def missing(self) -> np.ndarray:
        """(N,) bool: where nothing stands."""
        found: np.ndarray = np.isnan(self.values)
        return found


@dataclass(frozen=True)
class Texts:
    """A column of texts: codes (N,) int32, the places in `categories`; -1 is a missing one.

    categories  the different texts, in the order in which they come first
    """

    codes: np.ndarray
    categories: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.codes)

    def rows(self, rows: np.ndarray) -> Texts:
        """Those rows of it."""
        return Texts(self.codes[rows], self.categories)

    def missing(self) -> np.ndarray:
        """(N,) bool: where nothing stands."""
        found: np.ndarray = self.codes < 0
        return found


Column = Numbers | Texts


@dataclass(frozen=True)
class Table:
    """Columns of equal length, by name.

    source   what errors call it: a file's name, "standard input"
    columns  in their order; names are unique
    header   whether the names are the source's own; else they are numbers from 1
    order    the names of all columns of the source, those that were left out, too
    lines    (N,) the line of each row, where the source is text
    files    the file of each row, where each is a picture
    picture  (height, width) where the columns of numbers are the pixels of a picture
    target   the column that the source itself says is to be learned, if it does
    test     the half for testing, where the source holds two
    """

    source: str
    columns: dict[str, Column]
    header: bool = True
    order: tuple[str, ...] = ()
    lines: np.ndarray | None = field(default=None, repr=False)
    files: Sequence[str] | None = field(default=None, repr=False)
    picture: tuple[int, int] | None = None
    target: str | None = None
    test: Table | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()))) if self.columns else 0

    @property
    def names(self) -> list[str]:
        """Of all columns."""
        return list(self.columns)

    def rows(self, rows: np.ndarray) -> Table:
        """The table of these rows: indices, or (N,) bool."""
        rows = np.asarray(rows)
        rows = np.flatnonzero(rows) if rows.dtype == bool else rows
        return replace(
            self,
            columns={name: column.rows(rows) for name, column in self.columns.items()},
            lines=None if self.lines is None else self.lines[rows],
            files=None if self.files is None else [self.files[row] for row in rows.tolist()],
            test=None,
        )

    def renamed(self, names: Sequence[str]) -> Table:
        """The table whose columns have these names, one after the other."""
        return replace(self, columns=dict(zip(names, self.columns.values(), strict=True)))

    def without(self, names: Iterable[str]) -> Table:
        """The table without the columns of these names; of others it has none anyway."""
        left_out = set(names)
        kept = {name: column for name, column in self.columns.items() if name not in left_out}
        return replace(self, columns=kept, test=self.test and self.test.without(left_out))

    def place(self, row: int) -> str:
        """What to call row number `row`, from 0: "line 7", or the file of a picture."""
        if self.files is not None:
            return self.files[row]
        return f"row {row + 1}" if self.lines is None else f"line {self.lines[row]}"

    def error(self, problem: str, row: int | None = None, name: str | None = None) -> TableError:
        """A TableError about the table, one of its rows, one of its columns, or one cell."""
        where = [self.source]
        where += [] if row is None else [self.place(row)]
        where += [] if name is None else [f"column {shown(name)}"]
        return TableError(f"{', '.join(where)}: {problem}")

    def column(self, name: str) -> Column:
        """The column called `name`. Raises TableError with the names that there are."""
        if name not in self.columns:
            raise self.error(f"has no column {shown(name)}{closest(name, self.columns)}")
        return self.columns[name]


def check_choice(value: Any, choices: tuple[str, ...], name: str) -> None:
    """TableError where `value` is none of the choices for the argument `name`."""
    if value not in choices:
        raise TableError(f"{name}: got {value!r}, expected one of {', '.join(choices)}")


# ---- words ----
def shown(text: str) -> str:
    """A name or a cell in an error: quoted, and cut where it is long."""
    return repr(text if len(text) <= MOST_SHOWN else f"{text[: MOST_SHOWN - 3]}...")


def listed(names: Iterable[str]) -> str:
    """Names in an error, cut where there are many."""
    names = list(names)
    more = len(names) - MOST_NAMED
    return ", ".join(map(shown, names[:MOST_NAMED])) + (f" and {more} more" if more > 0 else "")


def closest(name: str, names: Iterable[str]) -> str:
    """What may have been meant by a `name` that there is not, and which ones there are."""
    names = list(names)
    small = {one.strip().casefold(): one for one in names}
    near = get_close_matches(name.strip().casefold(), small, n=1)
    there = f"; it has {listed(names)}"
    return (
        f"; did you mean {shown(small[near[0]])}?{there.replace('; it', ' It')}" if near else there
    )
