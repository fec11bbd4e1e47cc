"""The rows that `nnfs-gpu predict` is given: CSV as programs and spreadsheets write it, or .npy.

CSV: UTF-8, or UTF-16 with its mark; fields between commas, semicolons or tabs, in quotes or
not; a title, comments (#) and the names of the columns before the rows; blank lines and any
line ends. Numbers have a point: one with a decimal comma is refused, as "0,5" may as well be
two numbers.
"""

from __future__ import annotations

import codecs
import csv
import io
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from .errors import InputError, describe

SEPARATORS = "\t;,"  # the first of them that the last row has between its fields
EMPTY = '\t;, "'  # what a row without anything consists of
MISSING = ("", "na", "n/a", "null", "none", "-", "?")
MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)  # what UTF-16 text begins with


def read_rows(source: str, name: str) -> np.ndarray:
    """Rows of numbers (N, columns) from CSV or .npy, told apart by their first bytes.

    Raises InputError, with the `name` of the source and the line, for what cannot be used.
    """
    if source == "-" and sys.stdin is None:
        raise InputError(f"{name}: is closed; give a file, or send rows through a pipe")
    try:
        data = sys.stdin.buffer.read() if source == "-" else Path(source).read_bytes()
    except OSError as error:
        raise InputError(f"{name}: {error.strerror}") from error
    if not data.strip():
        raise InputError(f"{name}: is empty, expected rows of numbers")
    if data.startswith(b"\x93NUMPY"):
        return _read_npy(data, name)
    return _read_csv(_text(data, name), name)


def _text(data: bytes, name: str) -> str:
    """Text of any encoding: numbers are the same in all, and a header's letters do not matter."""
    try:
        return data.decode("utf-16" if data.startswith(MARKS) else "utf-8-sig")
    except UnicodeDecodeError as error:
        if b"\0" in data:
            raise InputError(f"{name}: neither CSV text nor a .npy file") from error
        return data.decode("latin-1")


def _read_npy(data: bytes, name: str) -> np.ndarray:
    try:
        rows: np.ndarray = np.load(io.BytesIO(data), allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise InputError(f"{name}: a damaged .npy file ({describe(error)})") from error
    if rows.dtype.kind not in "fiub" or rows.ndim != 2:
        raise InputError(
            f"{name}: got an array of {rows.dtype} of shape {rows.shape}, "
            "expected numbers of shape (rows, columns)"
        )
    return rows


def _read_csv(text: str, name: str) -> np.ndarray:
    """Numbers between separators, after header lines."""
    lines = [(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    while lines and not lines[-1][1].strip(EMPTY):  # a spreadsheet's rows without anything
        lines.pop()
    separator, columns = ",", 0
    if lines:
        last = lines[-1][1]
        separator = next((s for s in SEPARATORS if len(_fields(last, s, name)) > 1), ",")
        columns = len(_fields(last, separator, name))
    while lines and _holds_words(fields := _fields(lines[0][1], separator, name)):
        del lines[0]
        if len(fields) == columns and not fields[0].startswith(("#", "sep=")):
            break  # names of the columns: what follows is a row
    if not lines:
        raise InputError(f"{name}: has a header but no rows of numbers")
    columns = len(_fields(lines[0][1], separator, name))
    try:  # NumPy's reader is thirty times as fast, and less patient
        rows = np.loadtxt(
            [line for _, line in lines],
            delimiter=separator,
            ndmin=2,
            comments=None,
            quotechar='"',
            dtype=np.float64,
        )
    except ValueError:
        rows = None
    if rows is None or rows.shape != (len(lines), columns):
        rows = np.array(list(_patiently(lines, separator, columns, name)), np.float64)
    return rows


def _patiently(
    lines: list[tuple[int, str]], separator: str, columns: int, name: str
) -> Iterator[list[float]]:
    """The numbers line by line. Raises InputError for the first that is not `columns` numbers."""
    for number, line in lines:
        fields = _fields(line, separator, name)
        for field in fields:
            if not _is_number(field):
                raise InputError(
                    f"{name}, line {number}: got {field!r}, expected a number{_word(field)}"
                )
        if len(fields) != columns:
            raise InputError(
                f"{name}, line {number}: got {len(fields)} numbers, expected {columns} "
                "as in the lines before"
            )
        yield [float(field) for field in fields]


def _word(field: str) -> str:
    """What may be wrong with what is no number."""
    if _is_number(field.replace(".", "").replace(",", ".")):
        return ": a decimal comma; write a decimal point, as in 0.5"
    if field.split()[1:] and all(_is_number(part) for part in field.split()):
        return ": several; put commas between them"
    return ""


def _fields(line: str, separator: str, name: str) -> list[str]:
    """The fields of a line, without their quotes and the blanks around them."""
    try:
        read = next(csv.reader([line], delimiter=separator, skipinitialspace=True))
    except csv.Error as error:
        raise InputError(f"{name}: cannot be read as CSV ({error})") from error
    return [field.strip() for field in read]


def _holds_words(fields: list[str]) -> bool:
    """Whether a line before the rows is none. What stands for a missing number is no word: to
    pass over such a row would shift all answers.
    """
    if any(_is_number(field) or _word(field) for field in fields):
        return False
    return any(field.lower() not in MISSING for field in fields)


def _is_number(field: str) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True
