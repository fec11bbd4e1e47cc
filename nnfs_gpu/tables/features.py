"""Features: what a column, or the pixels of a picture, become at the entrance of a network.

    Number    (x - mean) / std, one input. Mean and standard deviation are those of the training
              rows, in float64; where a column never changes the deviation is set to 1
    Category  one input for each text of the training table: 1 for the row's own, 0 for the others
    Pixels    (x - mean) / std, one input a pixel, with one mean and deviation for all of them: a
              pixel at the edge, which is nearly always 0, would else be blown up

`prepare` makes an array (N,) of a column, `fill` the inputs of some of its rows. A missing number
becomes 0, as the mean does, and a missing or unknown text is 0 in all inputs; whether either may be
is decided in `preprocessing.py`. `describe` is what a model file keeps.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from .arrays import as_texts
from .missing import check_complete
from .table import Column, Table, TableError, Texts, listed, shown

DATE = re.compile(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}([ T].*)?")
FEW = 20  # rows, from which on a text that none of them shares is the name of its row
MISSING_CODE, UNKNOWN_CODE = -1, -2


@dataclass(frozen=True)
class Number:
    """A column of numbers, standardized."""

    name: str
    mean: float
    std: float
    width: ClassVar[int] = 1

    @classmethod
    def fit(cls, name: str, table: Table, training: np.ndarray) -> Self:
        """With mean and standard deviation of the rows `training`."""
        values = numbers(table, name)
        return cls(name, *moments(values[training], table, name))

    def describe(self) -> dict[str, Any]:
        """For a model file."""
        return {"name": self.name, "mean": self.mean, "std": self.std}

    def prepare(self, table: Table, name: str) -> np.ndarray:
        """Its values. Raises TableError where it holds texts, or infinity."""
        return numbers(table, name)

    def fill(self, out: np.ndarray, values: np.ndarray) -> None:
        """Write the inputs of the rows with these values into `out` (n, 1)."""
        out[:, 0] = np.nan_to_num((values.astype(np.float64) - self.mean) / self.std, nan=0.0)


@dataclass(frozen=True)
class Category:
    """A column of texts, one-hot."""

    name: str
    categories: tuple[str, ...]

    @classmethod
    def fit(cls, name: str, table: Table, most: int) -> Self:
        """With the texts of all rows, sorted. Raises TableError for more than `most`, or for a
        text of its own in every row.
        """
        column = as_texts(table.column(name))
        there = np.unique(column.codes[column.codes >= 0])
        found = sorted(column.categories[code] for code in there)
        own = len(found) == len(table) >= FEW
        if not found or len(found) > most or own:
            raise _too_many(table, name, found, most)
        return cls(name, tuple(found))

    @property
    def width(self) -> int:
        """Inputs."""
        return len(self.categories)

    def describe(self) -> dict[str, Any]:
        """For a model file."""
        return {"name": self.name, "categories": list(self.categories)}

    def prepare(self, table: Table, name: str) -> np.ndarray:
        """Places in `categories`, MISSING_CODE, UNKNOWN_CODE."""
        return codes_of(as_texts(table.column(name)), self.categories)

    def fill(self, out: np.ndarray, codes: np.ndarray) -> None:
        """Write the inputs of the rows with these codes into `out` (n, width)."""
        out[:] = codes[:, None] == np.arange(self.width)


@dataclass(frozen=True)
class Pixels:
    """Pictures, standardized as a whole; their columns are called by their numbers, from 1."""

    shape: tuple[int, int]
    mean: float
    std: float

    @classmethod
    def fit(cls, table: Table, names: list[str], training: np.ndarray) -> Self:
        """With mean and deviation of all pixels of the rows `training`."""
        values = [numbers(table, name)[training].astype(np.float64) for name in names]
        mean = float(np.mean([np.nanmean(pixel) for pixel in values]))
        variance = float(np.mean([np.nanmean((pixel - mean) ** 2) for pixel in values]))
        return cls(table.picture or (1, len(names)), mean, variance**0.5 or 1.0)

    @property
    def width(self) -> int:
        """Inputs."""
        return self.shape[0] * self.shape[1]

    def describe(self) -> dict[str, Any]:
        """For a model file."""
        return {"pixels": list(self.shape), "mean": self.mean, "std": self.std}

    def columns(self) -> list[Number]:
        """One feature a pixel."""
        return [Number(str(n + 1), self.mean, self.std) for n in range(self.width)]


Feature = Number | Category | Pixels


def fit_features(
    table: Table, names: list[str], training: np.ndarray, most: int
) -> tuple[Feature, ...]:
    """The features of these columns; `most` different texts in each. Raises TableError."""
    pixels = table.picture and [str(n + 1) for n in range(table.picture[0] * table.picture[1])]
    if pixels == names:  # else one of them is the target, or left out
        return (Pixels.fit(table, names, training),)
    return tuple(
        Category.fit(name, table, most)
        if isinstance(table.columns[name], Texts)
        else Number.fit(name, table, training)
        for name in names
    )


def flat(features: Iterable[Feature]) -> list[Number | Category]:
    """One for each column: those of pictures, pixel by pixel."""
    found: list[Number | Category] = []
    for one in features:
        found += one.columns() if isinstance(one, Pixels) else [one]
    return found


# ---- columns ----
def numbers(table: Table, name: str) -> np.ndarray:
    """The values (N,) of a column. Raises TableError where it holds texts, or infinity."""
    column: Column = table.column(name)
    if isinstance(column, Texts):
        row = int(np.argmax(column.codes >= 0))
        text = column.categories[column.codes[row]] if column.categories else ""
        raise table.error(f"got {shown(text)}, expected a number; correct it", row, name)
    infinite = np.isinf(column.values)
    if infinite.any():
        row = int(np.argmax(infinite))
        raise table.error(
            f"got {column.values[row]:g}, or a number beyond what 64 bits hold, expected a finite "
            "one; correct it, or leave the cell empty",
            row,
            name,
        )
    return column.values


def matrix(table: Table) -> np.ndarray:
    """(N, columns) float64 of a table of numbers. Raises TableError for any other cell."""
    check_complete(table, table.names, "fill it in")
    return np.stack([numbers(table, name).astype(np.float64) for name in table.names], axis=1)


def codes_of(column: Texts, categories: tuple[str, ...]) -> np.ndarray:
    """(N,) places in `categories`; MISSING_CODE for what is missing, UNKNOWN_CODE for others."""
    place = {text: code for code, text in enumerate(categories)}
    codes = [place.get(text, UNKNOWN_CODE) for text in column.categories]
    found: np.ndarray = np.array([*codes, MISSING_CODE], np.int32)[column.codes]
    return found


def moments(values: np.ndarray, table: Table, name: str) -> tuple[float, float]:
    """Mean and standard deviation of those that are there, in float64; 1 for a deviation of 0.

    Raises TableError where none is there, or where float64 does not hold their squares.
    """
    values = values.astype(np.float64)
    values = values[~np.isnan(values)]
    if not len(values):
        raise table.error(f'holds nothing; leave it out with ignore="{name}"', name=name)
    with np.errstate(over="ignore", invalid="ignore"):
        mean, std = float(values.mean()), float(values.std())
    if not np.isfinite(mean + std):
        raise table.error(
            f"got numbers up to {np.abs(values).max():g}, too large to be standardized; write them "
            "in another unit",
            name=name,
        )
    return mean, std or 1.0


def unknown_text(table: Table, feature: Category, row: int) -> TableError:
    """The error of a text that the training table does not have."""
    column = as_texts(table.column(feature.name))
    got = shown(column.categories[column.codes[row]])
    return table.error(
        f"got {got}, which the training table does not have; it has {listed(feature.categories)}; "
        'unknown="zero" takes it for none of them',
        row,
        feature.name,
    )


def _too_many(table: Table, name: str, found: list[str], most: int) -> TableError:
    leave = f'leave it out with ignore="{name}"'
    if not found:
        return table.error(f"holds nothing; {leave}", name=name)
    if 2 * sum(DATE.fullmatch(text) is not None for text in found) > len(found):
        leave += ", or write dates as numbers: the year, the month, the days since some day"
    elif len(found) < len(table):
        leave += f", or give most_categories={len(found)}"
    return table.error(
        f"got {len(found):,} different texts in {len(table):,} rows, such as {shown(found[0])}; "
        f"expected at most {most}, which rows share; {leave}",
        name=name,
    )
