"""Rows of a table become inputs of a network, some at a time: for `preprocessing.py`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from .features import UNKNOWN_CODE, Category, Feature, Pixels, flat, unknown_text
from .missing import check_complete
from .table import Table

UNKNOWN_RULES = ("refuse", "zero")
BLOCK = 1 << 13  # rows: their inputs stay in the cache while the columns fill them


def encode(
    table: Table, features: Iterable[Feature], missing: str, unknown: str, dtype: Any
) -> np.ndarray:
    """(N, inputs) of `dtype`. Raises TableError for a cell that is not to be taken.

    missing  "mean", or else a missing cell is an error
    unknown  "zero", or else a text that is no category is one
    """
    features = tuple(features)
    _check_pictures(table, features)
    columns = flat(features)
    if missing != "mean":
        check_complete(table, [one.name for one in columns], "fill it in")
    prepared = [(one, one.prepare(table, one.name)) for one in columns]
    for one, values in prepared if unknown == "refuse" else ():
        if isinstance(one, Category) and (values == UNKNOWN_CODE).any():
            raise unknown_text(table, one, int(np.argmax(values == UNKNOWN_CODE)))
    out = np.empty((len(table), sum(one.width for one in columns)), dtype)
    for start in range(0, len(table), BLOCK):
        block, place = slice(start, start + BLOCK), 0
        for one, values in prepared:
            one.fill(out[block, place : place + one.width], values[block])
            place += one.width
    return out


def _check_pictures(table: Table, features: tuple[Feature, ...]) -> None:
    pixels = next((one for one in features if isinstance(one, Pixels)), None)
    if pixels and table.picture and table.picture != pixels.shape:
        raise table.error(
            f"got pictures of {table.picture[1]} x {table.picture[0]} pixels, expected "
            f"{pixels.shape[1]} x {pixels.shape[0]}; resize them"
        )
