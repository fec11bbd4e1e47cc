"""Tables that are arrays already: .npy, .npz, Parquet; and rows that a program gives.

Columns of an array without names are called by their numbers, from 1. Whole numbers keep their
dtype, so that a target of large ones loses nothing; true and false are 1 and 0.
"""

from __future__ import annotations

import io
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from .cells import TARGET as TARGET_KIND, ColumnReader
from .naming import IGNORE, Naming
from .table import Column, Numbers, Table, TableError, Texts, listed, shown

REAL = "fiub"
# What an .npz file calls data and targets: ours and the book's, Keras's.
NPZ_NAMES = (("X", "y", "X_test", "y_test"), ("x_train", "y_train", "x_test", "y_test"))
TARGET = "y"  # the name of the column that they make


# ---- .npy and .npz ----
def read_npy(data: bytes, source: str, naming: Naming) -> Table:
    """A matrix (rows, columns), pictures (N, height, width), or a structured array with names."""
    array = _loaded(data, source, ".npy file")
    return of_array(array, source, naming)


def read_npz(data: bytes, source: str, naming: Naming) -> Table:
    """X and y, with X_test and y_test for testing; or columns (N,) by their names."""
    file = _loaded(data, source, ".npz file")
    with file:
        names = set(file.files)
        for x, y, x_test, y_test in NPZ_NAMES:
            if x in names:
                found = _with_target(file, x, y, source, naming)
                if x_test in names:
                    test = _with_target(file, x_test, y_test, source, naming)
                    found = replace(found, test=test)
                return found
        arrays = {name: _member(file, name, source) for name in file.files}
    if not arrays or any(array.ndim != 1 for array in arrays.values()):
        shapes = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
        raise TableError(
            f"{source}: holds {shapes or 'nothing'}, expected the arrays X and y, or columns (N,) "
            "by their names"
        )
    return of_columns(arrays, source, naming)


def _with_target(file: Any, x: str, y: str, source: str, naming: Naming) -> Table:
    table = of_array(_member(file, x, source), f"{source}, {x}", naming)
    if y not in file.files:
        return table
    labels = _member(file, y, source)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels.reshape(-1)
    if labels.shape != (len(table),):
        raise TableError(
            f"{source}: got {x} with {len(table)} rows and {y} of shape {labels.shape}, expected "
            f"one target a row, ({len(table)},)"
        )
    columns = table.columns | {TARGET: _column(labels, TARGET, naming.kind(TARGET), source)}
    return replace(table, columns=columns, order=(*table.order, TARGET), target=TARGET)


def _loaded(data: bytes, source: str, what: str) -> Any:
    try:
        return np.load(io.BytesIO(data), allow_pickle=False)
    except Exception as error:  # whatever the parsers of a damaged header and archive raise
        raise TableError(f"{source}: a damaged {what} ({error})") from error


def _member(file: Any, name: str, source: str) -> np.ndarray:
    try:
        found: np.ndarray = file[name]
    except Exception as error:  # as in `_loaded`
        raise TableError(f"{source}: its array {name} cannot be read ({error})") from error
    return found


# ---- Parquet ----
def read_parquet(data: bytes, source: str, naming: Naming) -> Table:
    """A Parquet file. Raises TableError where pyarrow is not installed."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise TableError(
            f'{source}: a Parquet file needs pyarrow: pip install "nnfs-gpu[parquet]"; or write '
            "the table as CSV"
        ) from error
    try:
        found = pyarrow.parquet.read_table(pyarrow.BufferReader(data))
    except (pyarrow.ArrowException, OSError) as error:
        raise TableError(f"{source}: a damaged Parquet file ({error})") from error
    _check_unique(found.column_names, source)
    wanted = naming.named(found.column_names, True, source)
    columns = {
        name: None if kind == IGNORE else _of_arrow(found[name], pyarrow.types)
        for name, (_, kind) in zip(found.column_names, wanted, strict=True)
    }
    return of_columns(columns, source, naming)


def _of_arrow(column: Any, types: Any) -> Any:
    kind = column.type
    if types.is_boolean(kind) or types.is_integer(kind) or types.is_floating(kind):
        if not column.null_count:
            return column.to_numpy()
        column = column.cast("float64")
        return column.to_numpy()
    return column.to_pylist()


# ---- arrays and columns ----
def of_array(array: np.ndarray, source: str, naming: Naming) -> Table:
    """The table of an array with one row a sample."""
    if array.dtype.names:
        columns = {name: array[name] for name in array.dtype.names}
        return of_columns(columns, source, naming)
    if array.ndim < 2 or 0 in array.shape:
        raise TableError(
            f"{source}: got an array of {array.dtype} of shape {array.shape}, expected "
            "(rows, columns), or pictures of (N, height, width)"
        )
    picture = array.shape[1:3] if array.ndim == 3 and array.dtype.kind in REAL else None
    if array.ndim > 2 and picture is None:
        raise TableError(
            f"{source}: got an array of {array.dtype} of shape {array.shape}, expected pictures "
            "of grey levels, (N, height, width)"
        )
    flat = array.reshape(len(array), -1)
    columns = {str(number + 1): flat[:, number] for number in range(flat.shape[1])}
    return replace(of_columns(columns, source, naming, header=False), picture=picture)


def of_columns(
    columns: Mapping[str, Any], source: str, naming: Naming, header: bool = True
) -> Table:
    """The table of columns by name: arrays (N,), lists, Series. Raises TableError."""
    named = naming.named(list(columns), header, source)
    found = {
        name: _column(values, name, kind, source)
        for values, (name, kind) in zip(columns.values(), named, strict=True)
        if kind != IGNORE
    }
    lengths = {name: len(column) for name, column in found.items()}
    if len(set(lengths.values())) > 1:
        few, many = min(lengths, key=lengths.__getitem__), max(lengths, key=lengths.__getitem__)
        raise TableError(
            f"{source}: got {lengths[few]} values in column {shown(few)} and {lengths[many]} in "
            f"column {shown(many)}, expected as many in each"
        )
    if not found or not next(iter(lengths.values())):
        raise TableError(f"{source}: has no rows; expected some with numbers or texts")
    return Table(source, found, header, tuple(name for name, _ in named))


def _column(values: Any, name: str, kind: str | None, source: str) -> Column:
    try:
        array = np.asarray(values)
    except ValueError as error:  # lists of different lengths
        raise TableError(f"{source}, column {shown(name)}: {error}") from error
    if array.ndim != 1:
        raise TableError(
            f"{source}, column {shown(name)}: got shape {array.shape}, expected one value a row"
        )
    if array.dtype.kind in REAL:
        texts = kind in ("text", TARGET_KIND)
        return as_texts(Numbers(array)) if texts else Numbers(array)
    if array.dtype.kind == "c":
        raise TableError(f"{source}, column {shown(name)}: got complex numbers, expected real ones")
    _check_letters(array, f"{source}, column {shown(name)}")
    reader = ColumnReader(name, kind)
    cells = [_cell(value) for value in (values if isinstance(values, list) else array.tolist())]
    reader.add(cells, 0)
    return reader.finish(lambda row: f"{source}, row {row + 1}")


def _check_letters(array: np.ndarray, where: str) -> None:
    """TableError for what no text can hold: Python would end in an error of its own."""
    if array.dtype.kind == "U" and array.size and array.dtype.itemsize:
        letters = np.dtype(np.uint32).newbyteorder(array.dtype.byteorder)
        if np.ascontiguousarray(array).view(letters).max() > sys.maxunicode:
            raise TableError(f"{where}: holds no text: the file is damaged")


def _cell(value: Any) -> str:
    """As it would stand in a text; nothing for None and pandas' NA."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return ""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def as_texts(column: Column) -> Texts:
    """Numbers as the texts that they are written as: 1 for 1.0, True for a bool."""
    if isinstance(column, Texts):
        return column
    values, missing = column.values, column.missing()
    found, codes = np.unique(values[~missing], return_inverse=True)
    whole = values.dtype.kind == "f" and bool((np.abs(found) < 2**53).all())
    whole = whole and bool((found == np.rint(found)).all())
    names = [str(int(value)) if whole else str(value) for value in found.tolist()]
    all_codes = np.full(len(values), -1, np.int32)
    all_codes[~missing] = codes
    return Texts(all_codes, tuple(names))


# ---- what a program gives ----
def of_rows(rows: Any, names: Sequence[str], naming: Naming) -> Table:
    """The table of raw rows: a Table, a table of pandas or polars, columns by name, dicts with
    names, or rows of values in the order of `names`. Raises TableError or TypeError.
    """
    source = "rows"
    if isinstance(rows, Table):
        return rows
    if isinstance(rows, Mapping):
        return of_columns(dict(rows), source, naming)
    if hasattr(rows, "columns") and hasattr(rows, "__getitem__"):
        labels = list(rows.columns)
        _check_unique([str(label) for label in labels], source)
        return of_columns({str(label): list(rows[label]) for label in labels}, source, naming)
    if isinstance(rows, np.ndarray) and rows.dtype.kind in REAL:
        return (
            _by_order(list(rows.T), names, source, naming)
            if rows.ndim == 2
            else of_array(rows, source, naming)
        )
    if isinstance(rows, (str, bytes)) or not hasattr(rows, "__iter__"):
        raise TypeError(
            f"rows: got {type(rows).__name__}, expected a table, columns by name, or a list of "
            "rows; read a file with read_table"
        )
    rows = list(rows)
    if not rows:
        raise TableError(f"{source}: has no rows; expected some with numbers or texts")
    if all(isinstance(row, Mapping) for row in rows):
        labels = list(dict.fromkeys(str(name) for row in rows for name in row))
        return of_columns(
            {name: [row.get(name) for row in rows] for name in labels}, source, naming
        )
    if any(isinstance(row, (str, bytes)) or not hasattr(row, "__len__") for row in rows):
        raise TypeError("rows: got values, expected a list of rows; one row is [row]")
    widths = {len(row) for row in rows}
    if len(widths) > 1:
        row = next(i for i, one in enumerate(rows) if len(one) != len(rows[0]))
        raise TableError(
            f"{source}, row {row + 1}: got {len(rows[row])} values, expected {len(rows[0])} as in "
            "the first row"
        )
    return _by_order([list(column) for column in zip(*rows, strict=True)], names, source, naming)


def _by_order(columns: list[Any], names: Sequence[str], source: str, naming: Naming) -> Table:
    if len(columns) != len(names):
        raise TableError(
            f"{source}: got {len(columns)} values a row, expected {len(names)}: {listed(names)}"
        )
    return of_columns(dict(zip(names, columns, strict=True)), source, naming)


def _check_unique(names: Sequence[str], source: str) -> None:
    counts = Counter(names)
    twice = sorted(name for name, count in counts.items() if count > 1)
    if twice:
        raise TableError(
            f"{source}: got {counts[twice[0]]} columns with the name {shown(twice[0])}, "
            "expected a name for one column; rename one"
        )
