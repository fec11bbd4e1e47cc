"""Tables written as text: CSV, TSV and their relatives, as programs and spreadsheets write them.

UTF-8 with or without a mark, UTF-16 with one, or what `encoding` names; fields between commas,
semicolons, tabs or bars, in quotes or not; blank lines, any line ends, `sep=;`, comments (#) and
titles before the names of the columns. Python's csv module takes lines apart: it knows which line
a row began in, which NumPy's reader does not, and `cells.py` makes numbers block by block, so that
of a large file little more is held than its bytes and its columns.
"""

from __future__ import annotations

import codecs
import csv
import io
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import compress, islice

import numpy as np

from .cells import ColumnReader, is_missing, number_reader
from .naming import IGNORE, Naming
from .table import Table, TableError, listed, shown

SEPARATORS = "\t;,|"
SEPARATOR_NAMES = {"tab": "\t", "space": " ", "comma": ",", "semicolon": ";", "bar": "|"}
UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
SAMPLE = 1 << 16  # bytes that are looked at to find the separator
SAMPLE_ROWS = 50
BLOCK = 1 << 12  # rows that become columns at a time
UNNAMED = "unnamed"


@dataclass(frozen=True)
class Format:
    """How a text is written, as far as it is known.

    separator  between fields: a character, or "tab", "space", ...; None: found out
    decimal    "." or ","
    encoding   None: UTF-8, or UTF-16 where its mark says so
    header     whether the first row has names; None: found out
    """

    separator: str | None = None
    decimal: str = "."
    encoding: str | None = None
    header: bool | None = None

    def checked(self) -> Format:
        """With `separator` as a character. Raises TableError for what no text is written in."""
        separator = self.separator
        if separator is not None:
            separator = SEPARATOR_NAMES.get(separator.lower(), separator)
            if len(separator) != 1 or separator in '"\r\n':
                raise TableError(
                    f"separator: got {shown(separator)}, expected one character, or one of "
                    f"{', '.join(SEPARATOR_NAMES)}"
                )
        decimal = {"comma": ",", "point": "."}.get(self.decimal, self.decimal)
        if decimal not in (".", ","):
            raise TableError(f'decimal: got {shown(decimal)}, expected "." or ","')
        if separator == decimal:
            raise TableError(
                f"separator and decimal: got {shown(decimal)} for both, expected two characters"
            )
        try:
            codecs.lookup(self.encoding or "utf-8")
        except LookupError as error:
            raise TableError(
                f"encoding: got {shown(str(self.encoding))}, expected one that Python knows, such "
                "as utf-8 or cp1252"
            ) from error
        return Format(separator, decimal, self.encoding, self.header)


def read_text(data: bytes, source: str, form: Format, naming: Naming) -> Table:
    """The table in `data`. Raises TableError, with source, line and column, for what is none."""
    return _Text(data, source, form.checked(), naming).table()


class _Text:
    """One text that is read."""

    def __init__(self, data: bytes, source: str, form: Format, naming: Naming):
        self.data, self.source, self.form, self.naming = data, source, form, naming
        marked = "utf-16" if data.startswith(UTF_16) else "utf-8-sig"
        self.encoding = form.encoding or marked
        if b"\0" in data[:SAMPLE] and "16" not in self.encoding and "32" not in self.encoding:
            raise TableError(f"{source}: neither CSV text nor .npy, .npz or Parquet")
        self.separator = form.separator or self._found_separator()

    def table(self) -> Table:
        try:
            return self._table()
        except UnicodeDecodeError as error:
            raise self._not_text(error) from error
        except csv.Error as error:
            raise TableError(
                f"{self.source}: cannot be read as CSV ({error}); a quote that is not closed?"
            ) from error

    def _table(self) -> Table:
        names, header, skipped = self._names()
        named = self.naming.named(names, header, self.source)
        readers = [
            None if kind == IGNORE else ColumnReader(name, kind, self.form.decimal)
            for name, kind in named
        ]
        lines = self._fill(readers, names, skipped)
        if any(reader and reader.again for reader in readers):
            late = [reader if reader and reader.again else None for reader in readers]
            for reader in late:
                if reader:
                    reader.restart()
            self._fill(late, names, skipped)
        place = lambda row: f"{self.source}, line {lines[row]}"  # noqa: E731
        columns = {}
        for reader in readers:
            if reader is not None:
                columns[reader.name] = reader.finish(place)
        order = tuple(name for name, _ in named)
        return self._tidied(Table(self.source, columns, header, order, lines))

    def _blocks(self) -> Iterator[tuple[np.ndarray, list[list[str]]]]:
        """The rows that are not blank, some at a time, and the line in which each begins."""
        text = io.TextIOWrapper(io.BytesIO(self.data), self.encoding, newline="")
        reader = csv.reader(text, delimiter=self.separator, skipinitialspace=True)
        line = 1
        while rows := list(islice(reader, BLOCK)):
            if reader.line_num + 1 - line == len(rows) and all(rows):
                lines = np.arange(line, line + len(rows))
            else:  # blank ones, or line ends between quotes
                ends = np.cumsum([1 + sum(map(_line_ends, row)) for row in rows])
                lines = line + np.concatenate([[0], ends[:-1]])
            if min(map(len, rows)) < 2:
                there = [bool("".join(row).strip()) for row in rows]
                lines, rows = lines[there], list(compress(rows, there))
            yield lines, rows
            line = reader.line_num + 1

    # ---- before the rows ----
    def _found_separator(self) -> str:
        """The one that cuts the first rows into equally many fields."""
        sample = self.data[:SAMPLE].decode(self.encoding, "replace")
        if len(self.data) > SAMPLE:
            sample = sample[: max(sample.rfind("\n"), sample.rfind("\r")) + 1] or sample
        best, found = 0.0, ","
        for separator in SEPARATORS:
            rows = csv.reader(
                io.StringIO(sample, newline=""), delimiter=separator, skipinitialspace=True
            )
            try:
                counts = [len(row) for row in islice(rows, SAMPLE_ROWS) if row]
            except csv.Error:
                continue
            wide = [count for count in counts if count > 1]
            if not wide:
                continue
            agree = max(map(wide.count, set(wide))) / len(counts)
            if agree > best:
                best, found = agree, separator
        return found

    def _names(self) -> tuple[list[str], bool, int]:
        """Names of the columns, whether they stand in the text, and rows before the first one."""
        line_of, rows = next(self._blocks(), (np.empty(0, int), []))
        first = [[cell.strip() for cell in row] for row in rows[:SAMPLE_ROWS]]
        skipped = self._titles(first)
        if not first[skipped:]:
            raise TableError(f"{self.source}: is empty, expected rows of a table")
        names = first[skipped]
        if not self._is_header(names):
            return [str(number + 1) for number in range(len(names))], False, skipped
        names = [name or f"{UNNAMED} {number + 1}" for number, name in enumerate(names)]
        twice = sorted(name for name, count in Counter(names).items() if count > 1)
        if twice:
            places = [str(i + 1) for i, name in enumerate(names) if name == twice[0]]
            raise TableError(
                f"{self.source}, line {line_of[skipped]}: got the name {shown(twice[0])} for "
                f"columns {' and '.join(places)}, expected a name for one column; rename one"
            )
        if len(first) == skipped + 1:
            raise TableError(
                f"{self.source}: has a header and no rows; expected rows below {listed(names)}"
            )
        return names, True, skipped + 1

    @staticmethod
    def _titles(rows: list[list[str]]) -> int:
        """How many of the first rows come before the table: titles, comments, `sep=;`."""
        wide = any(len(row) > 1 for row in rows)
        for number, row in enumerate(rows):
            if not (row[0].startswith(("#", "sep=")) or (wide and len(row) == 1)):
                return number
        return len(rows)

    def _is_header(self, fields: list[str]) -> bool:
        """Whether these are names: the caller's word, one that it knows, or no number among them.

        What stands for a missing number is no name: to pass over such a row would shift answers.
        """
        if self.form.header is not None:
            return self.form.header
        if any(map(self.naming.known, fields)):
            return True
        read = number_reader(self.form.decimal)
        for field in fields:
            try:
                read(field)
            except ValueError:
                continue
            return False
        return not all(map(is_missing, fields))

    # ---- the rows ----
    def _fill(
        self, readers: list[ColumnReader | None], names: list[str], skipped: int
    ) -> np.ndarray:
        """Give every reader its cells; the line of each row."""
        width, first, found = len(names), 0, []
        last: list[str] = []
        for lines, rows in self._blocks():
            lines, rows, skipped = lines[skipped:], rows[skipped:], max(0, skipped - len(rows))
            if set(map(len, rows)) - {width}:
                bad = next(i for i, row in enumerate(rows) if len(row) != width)
                raise self._ragged(lines[bad], rows[bad], names)
            for reader, cells in zip(readers, zip(*rows, strict=True), strict=False):
                if reader is not None:
                    reader.add(cells, first)
            found.append(lines)
            first += len(rows)
            if len(rows):
                last = rows[-1]
        line_of = np.concatenate(found)
        if any(map(_line_ends, last)) and self.data.count(b'"') % 2:
            raise TableError(
                f"{self.source}, line {line_of[-1]}: a quote that is opened here is not closed"
            )
        return line_of

    def _ragged(self, line: np.integer, row: list[str], names: list[str]) -> TableError:
        width = len(names)
        problem = f"{self.source}, line {line}: got {len(row)} cells, expected {width}"
        if any("\n" in cell for cell in row):
            remedy = "a quote that is opened in this line is not closed there"
        elif len(row) < width:
            remedy = f"the first without a cell is column {shown(names[len(row)])}"
        else:
            remedy = f"there is no column for {shown(row[width])}"
            if self.separator == ",":
                remedy += (
                    "; put quotes around a text with commas, and where commas stand for decimal "
                    "points, write points"
                )
        return TableError(f"{problem} as in the first row; {remedy}")

    def _tidied(self, table: Table) -> Table:
        """Without what spreadsheets leave: empty rows at the end, nameless empty columns."""
        missing = {name: column.missing() for name, column in table.columns.items()}
        there = len(table)
        while there and missing and all(gone[there - 1] for gone in missing.values()):
            there -= 1
        if not there:
            raise TableError(f"{self.source}: has no rows; expected some with numbers or texts")
        table = table if there == len(table) else table.rows(np.arange(there))
        if not table.header:
            return table
        for name, gone in missing.items():
            if not name.startswith(f"{UNNAMED} "):
                continue
            if not gone.all():
                raise table.error(
                    "has no name in the header, as where a program wrote the numbers of the rows; "
                    f'name it, or give ignore="{name}"',
                    name=name,
                )
            table = table.without([name])
        return table

    def _not_text(self, error: UnicodeDecodeError) -> TableError:
        try:
            self.data.decode(self.encoding)
        except UnicodeDecodeError as exact:
            error = exact
        line = self.data.count(b"\n", 0, error.start) + 1
        return TableError(
            f"{self.source}, line {line}: byte {self.data[error.start]:#04x} is no "
            f"{self.encoding.removesuffix('-sig')}; save the file as UTF-8, or give its encoding, "
            'for instance encoding="cp1252"'
        )


def _line_ends(cell: str) -> int:
    return cell.count("\n") + cell.count("\r") - cell.count("\r\n")
