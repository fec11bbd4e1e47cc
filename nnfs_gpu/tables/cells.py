"""Cells of text become columns: numbers where they are numbers, else texts by their codes.

`text.py` and `arrays.py` give a `ColumnReader` the cells of its column, block by block. What a
column holds is decided by its cells:

    all that are there are numbers      numbers; true and false, in any letters, are 1 and 0
    more than half are words            texts, and numbers among them are texts as they stand
    otherwise                           an error that names the first word: a misprint in a
                                        column of numbers is no category

A number has a point, or a comma where `decimal` says so; "1_000" and digits of other scripts,
which Python would read, are words.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np

from .table import MISSING, MISSING_TEXT, Column, Numbers, TableError, Texts, shown

KINDS = ("text", "number")  # what a column may be declared to be
TARGET = "target"  # ... or texts as well as numbers: kept as they are written, with a point
TRUTH = {"true": 1.0, "false": 0.0}
COMMA = re.compile(r"[-+]?(\d+|\d{1,3}(\.\d{3})+),\d+")  # a number as much of the world writes it

Place = Callable[[int], str]  # of a row


def number_reader(decimal: str) -> Callable[[str], float]:
    """What makes a number of a cell, strictly; it raises ValueError for a word."""

    def read(cell: str) -> float:
        if not _plain(cell):
            raise ValueError(cell)
        if decimal == ",":
            if "." in cell:
                raise ValueError(cell)
            cell = cell.replace(",", ".")
        return float(cell)

    return read


def _plain(cell: str) -> bool:
    return cell.isascii() and "_" not in cell


def is_missing(cell: str) -> bool:
    """Whether nothing stands there, among numbers."""
    return cell.strip().lower() in MISSING


class ColumnReader:
    """Makes one column of its cells.

    kind     "text", "number", TARGET, or None: by the cells
    decimal  "." or ","
    """

    def __init__(self, name: str, kind: str | None, decimal: str = "."):
        self.name, self.kind, self.decimal = name, kind, decimal
        self._number = number_reader(decimal)
        self._parts: list[np.ndarray] = []
        self._codes: dict[str, int] = {}
        self._as_text = kind in ("text", TARGET)
        self.again = False  # whether it is a text after all: all cells are to be read again
        self.word: tuple[int, str] | None = None  # row and cell of the first one, in a number

    def add(self, cells: Sequence[str], first: int) -> None:
        """The cells of the next rows, from row number `first` on."""
        if self.again or self.word:
            return
        if not self._as_text and self._add_numbers(cells, first):
            return
        if not self._as_text and self._parts:
            self.again = True
            return
        self._as_text = True
        codes, known = self._codes, self._codes.setdefault
        found = [known(cell.strip(), len(codes)) for cell in cells]
        self._parts.append(np.array(found, np.int32))

    def _add_numbers(self, cells: Sequence[str], first: int) -> bool:
        """Whether they are numbers or missing; a word in a declared column is kept in `word`."""
        try:
            read = self._number_of_all(cells)
            self._parts.append(np.fromiter(map(read, cells), np.float64, len(cells)))
            return True
        except ValueError:
            values = np.empty(len(cells))
        for i, cell in enumerate(cells):
            try:
                values[i] = np.nan if is_missing(cell) else self._number(cell)
            except ValueError:
                if self.kind != "number":
                    return False
                small = cell.strip().lower()
                if small not in TRUTH:
                    self.word = first + i, cell.strip()
                    return True
                values[i] = TRUTH[small]
        self._parts.append(values)
        return True

    def _number_of_all(self, cells: Sequence[str]) -> Callable[[str], float]:
        """Python's `float`, three times as fast, where it reads all cells as `_number` does."""
        together = "".join(cells)
        return float if self.decimal == "." and _plain(together) else self._number

    def restart(self) -> None:
        """Begin anew, as a text."""
        self._parts, self._codes = [], {}
        self._as_text, self.again = True, False

    # ---- the result ----
    def finish(self, place: Place) -> Column:
        """The column. Raises TableError for a word among numbers, with its place."""
        if self.word:
            raise self._word_error(*self.word, place, "in a column of numbers")
        values = np.concatenate(self._parts) if self._parts else np.empty(0)
        self._parts = []  # of a million rows they are as large as the column
        if not self._as_text:
            return Numbers(values)
        given = list(self._codes)
        kept = [cell for cell in given if cell.lower() not in MISSING_TEXT]
        number = {cell: code for code, cell in enumerate(kept)}
        codes = np.array([number.get(cell, -1) for cell in given], np.int32)[values]
        if self.kind == TARGET:
            kept = self._with_points(codes, kept, place)
        if self.kind in ("text", TARGET):
            return Texts(codes, tuple(kept))
        if kept and all(cell.lower() in TRUTH for cell in kept):
            truth = np.array([*(TRUTH[cell.lower()] for cell in kept), np.nan])
            return Numbers(truth[codes])
        self._check_mixed(codes, kept, place)
        return Texts(codes, tuple(kept))

    def _check_mixed(self, codes: np.ndarray, kept: list[str], place: Place) -> None:
        """Raises TableError where at least half of the cells that are there are numbers."""
        numbers = np.array([self._is_number(cell) for cell in kept], bool)
        there = codes[codes >= 0]
        count = int(numbers[there].sum())
        if kept and not numbers.all() and 2 * count >= len(there):
            row = int(np.argmax((codes >= 0) & ~numbers[codes]))
            raise self._word_error(row, kept[codes[row]], place, f"as in {count:,} other row(s)")
        self._check_commas(codes, kept, place)

    def _check_commas(self, codes: np.ndarray, kept: list[str], place: Place) -> None:
        """Raises TableError where most of the texts are numbers with a decimal comma."""
        commas = [i for i, cell in enumerate(kept) if COMMA.fullmatch(cell)]
        if self.decimal == "." and commas and 2 * len(commas) > len(kept):
            row = int(np.argmax(codes == commas[0]))
            raise self._word_error(row, kept[commas[0]], place, "")

    def _with_points(self, codes: np.ndarray, kept: list[str], place: Place) -> list[str]:
        """The texts, in which all that are numbers are written with a point."""
        self._check_commas(codes, kept, place)
        if self.decimal == "," and all(map(self._is_number, kept)):
            return [cell.replace(",", ".") for cell in kept]
        return kept

    def _is_number(self, cell: str) -> bool:
        try:
            self._number(cell)
        except ValueError:
            return False
        return True

    def _word_error(self, row: int, cell: str, place: Place, among: str) -> TableError:
        where = f"{place(row)}, column {shown(self.name)}"
        if self.decimal == "." and COMMA.fullmatch(cell):
            remedy = 'a decimal comma; write a decimal point, or give decimal=","'
        elif self.decimal == "," and "." in cell:
            remedy = 'a point, where decimal="," says that numbers have a comma; write one way'
        elif len(cell.split()) > 1 and all(map(self._is_number, cell.split())):
            remedy = 'several; write a separator between them, or give separator="space"'
        elif self.kind == "number":
            remedy = "correct it"
        else:
            remedy = f'correct it, or give text="{self.name}" where numbers are names here, too'
        return TableError(
            f"{where}: got {shown(cell)}, expected a number{' ' * bool(among)}{among}: {remedy}"
        )
