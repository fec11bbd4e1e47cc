"""Tables of pandas and polars, recognized by their methods and read column by column.

A column becomes a NumPy array where it holds numbers or bools and none is missing: NumPy cannot
say that an integer is missing, and a NaN in its place would train a network of NaN. Nothing is
imported: a table comes with its library.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from . import remedies

REAL = "fiub"  # kinds of dtypes that hold real numbers or bools


def is_table(x: Any) -> bool:
    """A DataFrame of pandas or polars."""
    return hasattr(x, "columns") and (hasattr(x, "iloc") or hasattr(x, "get_columns"))


def is_column(x: Any) -> bool:
    """A Series or an extension array of pandas, a Series of polars."""
    if isinstance(x, np.ndarray) or not hasattr(x, "dtype") or hasattr(x, "columns"):
        return False
    return hasattr(x, "isna") or hasattr(x, "null_count")


def to_numpy(x: Any, name: str) -> np.ndarray:
    """The numbers of a table (N, columns), or of one column (N,).

    Raises TypeError, with the column's name, for missing values and for what is no number; a
    single column of text comes as objects: the caller knows what it was to be.
    """
    if is_column(x):
        return _values(x, name, name, name)
    columns = x.get_columns() if _polars(x) else [x.iloc[:, i] for i in range(len(x.columns))]
    if not columns:
        return np.empty((len(x), 0))
    return np.column_stack(
        [_number_column(c, label, name) for label, c in zip(x.columns, columns, strict=True)]
    )


def _polars(x: Any) -> bool:
    return hasattr(x, "get_columns") or not hasattr(x, "isna")


def _number_column(column: Any, label: Any, name: str) -> np.ndarray:
    """A column of a table, which must hold real numbers."""
    where, called = f"{name}, column {label!r}", f"{name}[{label!r}]"
    a = _values(column, where, called, name)
    if a.dtype.kind in REAL:
        return a
    numbers = a.dtype.kind in "OUST" and all(map(remedies.is_number, a))
    if numbers and _polars(column):  # as Python objects, or written out
        change = f"{name} = {name}.with_columns({called}.cast(float))"
    elif numbers:
        change = f"{called} = {called}.astype('float64')"
    elif _polars(column):  # dates by their days or microseconds, words by their order
        physical = f"{called}.to_physical()"
        order = physical if a.dtype.kind in "Mm" else f"{called}.rank('dense') - 1"
        change = f"{name} = {name}.with_columns({order})"
    elif a.dtype.kind in "Mm":
        change = f"{called} = {remedies.in_days(a.dtype.kind, called)}"
    else:
        change = f"{called} = {called}.astype('category').cat.codes"
    raise TypeError(
        f"{where}: array of real numbers expected, got dtype {column.dtype}; convert it first: "
        f"use {change}"
    )


def _values(column: Any, where: str, called: str, name: str) -> np.ndarray:
    """One column, of whatever it holds; refused where numbers are missing.

    called  the expression for it; name: of the whole
    """
    dtype = column.dtype
    if isinstance(dtype, np.dtype):  # NaN in a column of floats is a float
        return np.asarray(column)
    if _polars(column):
        if column.null_count():
            _refuse_missing(np.asarray(column.is_null()), where, polars_remedy(name))
        return np.asarray(column)
    real = getattr(dtype, "numpy_dtype", None)
    categories = getattr(dtype, "categories", None)
    if categories is not None and categories.dtype.kind not in REAL:
        codes = f"{called}.cat.codes"
        raise TypeError(
            f"{where}: got the categories {list(categories)[:4]}, expected numbers; use "
            + (codes if called == name else f"{called} = {codes}")
        )
    if real is None or real.kind not in REAL:
        return np.asarray(column)
    missing = np.asarray(column.isna())
    if missing.any():
        _refuse_missing(missing, where, pandas_remedy(name))
    values: np.ndarray = column.to_numpy(dtype=real)
    return values


def _refuse_missing(missing: np.ndarray, where: str, remedy: str) -> None:
    raise TypeError(
        f"{where}: got {int(missing.sum())} missing value(s), the first in row "
        f"{int(np.argmax(missing))}, expected a number in each; {remedy}"
    )


def pandas_remedy(name: str) -> str:
    """What to do about missing values: of data they may be filled, of targets rarely."""
    if name == "y":
        return "leave those samples out: keep = y.notna(); use X[keep] and y[keep]"
    return f"use {name}.astype('float64').fillna(0), or another number for what is missing"


def polars_remedy(name: str) -> str:
    """The same for polars."""
    if name == "y":
        return (
            "leave those samples out: keep = y.is_not_null().to_numpy(); use X[keep] and "
            "y.drop_nulls()"
        )
    return f"use {name}.fill_null(0), or another number for what is missing"
