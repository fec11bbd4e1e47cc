"""The target: what a network is to answer, as classes with names or as a number with a unit.

Which of both is said by `task`, or else by the target's column:

    a cell is no number                           classes
    a number is no whole one                      a number (regression)
    whole numbers, at most 20 different ones      classes
    whole numbers, more different ones            a number (regression)

Classes are sorted, numbers by their size. A number is learned as (y - mean) / std of the training
rows, and answered in its own unit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from .arrays import as_texts
from .cells import number_reader
from .features import MISSING_CODE, codes_of, moments, numbers
from .table import Numbers, Table, Texts, closest, shown

TASKS = ("classification", "regression")
MOST_WHOLE = 20  # different whole numbers that are taken for classes
MOST_CLASSES = 10_000
_read = number_reader(".")


@dataclass(frozen=True)
class Classes:
    """Classes by their names."""

    name: str
    classes: tuple[str, ...]
    task: ClassVar[str] = TASKS[0]

    def describe(self) -> dict[str, Any]:
        """For a model file."""
        return {"name": self.name, "classes": list(self.classes)}

    def encode(self, table: Table, name: str) -> np.ndarray:
        """(N,) int32, the places of the rows' classes. Raises TableError for a class that is
        missing or unknown.
        """
        codes = codes_of(named(table, name), self.classes)
        bad = np.flatnonzero(codes < 0)
        if not len(bad):
            return codes
        row = int(bad[0])
        if codes[row] == MISSING_CODE:
            raise missing_target(table, row, name)
        column = named(table, name)
        got = column.categories[column.codes[row]]
        raise table.error(
            f"got the class {shown(got)}, which the training rows do not have"
            f"{closest(got, self.classes).replace('it has', 'they have')}",
            row,
            name,
        )

    def decode(self, outputs: np.ndarray) -> np.ndarray:
        """(N,) names of the likeliest classes, for probabilities (N, C)."""
        found: np.ndarray = np.array(self.classes, dtype=object)[outputs.argmax(axis=1)]
        return found


@dataclass(frozen=True)
class Quantity:
    """A number to be estimated."""

    name: str
    mean: float
    std: float
    task: ClassVar[str] = TASKS[1]

    def describe(self) -> dict[str, Any]:
        """For a model file."""
        return {"name": self.name, "mean": self.mean, "std": self.std}

    def encode(self, table: Table, name: str) -> np.ndarray:
        """(N, 1) float64, standardized. Raises TableError for what is missing or no number."""
        values = quantities(table, name)
        missing = np.isnan(values)
        if missing.any():
            raise missing_target(table, int(np.argmax(missing)), name)
        return ((values - self.mean) / self.std).reshape(-1, 1)

    def decode(self, outputs: np.ndarray) -> np.ndarray:
        """(N,) float64 in the target's unit, for outputs (N, 1)."""
        found: np.ndarray = outputs[:, 0].astype(np.float64) * self.std + self.mean
        return found

    def measures(self, loss: float, y: np.ndarray) -> dict[str, float | None]:
        """What the mean squared error `loss` of standardized targets `y` means: the root of it in
        the target's unit, and R2, the share of the variance that is explained (None without one).
        """
        variance = float(np.var(y, dtype=np.float64))
        r2 = 1 - loss / variance if variance else None
        return {"rmse": loss**0.5 * self.std, "r2": r2}


Target = Classes | Quantity


# ---- making one ----
def task_of(table: Table, name: str) -> str:
    """The task that the target's column suggests: see the module docstring."""
    column = table.column(name)
    texts = column if isinstance(column, Texts) else None
    if texts is not None and not all(map(_is_number, texts.categories)):
        return TASKS[0]
    values = quantities(table, name)
    values = values[~np.isnan(values)]
    whole = bool((values == np.rint(values)).all())
    return TASKS[0] if whole and len(np.unique(values)) <= MOST_WHOLE else TASKS[1]


def fit_classes(table: Table, name: str) -> Classes:
    """The classes of all rows. Raises TableError where there is nothing to tell apart."""
    column = named(table, name)
    found = [column.categories[code] for code in np.unique(column.codes[column.codes >= 0])]
    if len(found) < 2:
        what = f"got one class, {shown(found[0])}" if found else "holds nothing"
        raise table.error(f"{what}, expected at least two to tell apart", name=name)
    if len(found) == len(table) or len(found) > MOST_CLASSES:
        raise table.error(
            f"got {len(found):,} classes in {len(table):,} rows, such as {shown(found[0])}: "
            "nothing can be learned from one row; name another target, or, for numbers, give "
            'task="regression"',
            name=name,
        )
    if all(map(_is_number, found)):
        return Classes(name, tuple(sorted(found, key=lambda text: (_read(text), text))))
    return Classes(name, tuple(sorted(found)))


def fit_quantity(table: Table, name: str, training: np.ndarray) -> Quantity:
    """Mean and deviation of the rows `training`. Raises TableError where all are the same."""
    values = quantities(table, name)[training]
    mean, std = moments(values, table, name)
    there = values[~np.isnan(values)]
    if (there == there[0]).all():
        raise table.error(
            f"got {there[0]:g} in all training rows, expected different numbers to learn",
            name=name,
        )
    return Quantity(name, mean, std)


# ---- columns ----
def named(table: Table, name: str) -> Texts:
    """The target's column as texts, where 1.0 is written 1: files of other kinds agree."""
    column = as_texts(table.column(name))
    names = [_canonical(text) for text in column.categories]
    found = tuple(dict.fromkeys(names))
    if len(found) == len(names) and found == column.categories:
        return column
    place = {text: code for code, text in enumerate(found)}
    codes = np.array([*(place[text] for text in names), MISSING_CODE], np.int32)
    return Texts(codes[column.codes], found)


def quantities(table: Table, name: str) -> np.ndarray:
    """(N,) float64 of the target's column; NaN where it is missing. Raises TableError for words."""
    column = table.column(name)
    if isinstance(column, Numbers):
        return numbers(table, name).astype(np.float64)
    for code, text in enumerate(column.categories):
        if not _is_number(text):
            row = int(np.argmax(column.codes == code))
            raise table.error(
                f'got {shown(text)}, expected a number; correct it, or give task="classification"',
                row,
                name,
            )
    known = np.array([*map(_read, column.categories), np.nan])
    return numbers(
        Table(table.source, {name: Numbers(known[column.codes])}, lines=table.lines), name
    )


def missing_target(table: Table, row: int, name: str) -> Exception:
    """The error of a row without a target."""
    return table.error(
        'has no target; fill it in, or leave such rows out with missing="drop"', row, name
    )


def _is_number(text: str) -> bool:
    try:
        _read(text)
    except ValueError:
        return False
    return True


def _canonical(text: str) -> str:
    if not _is_number(text) or text.lstrip("-").isdigit():
        return text
    value = _read(text)
    whole = abs(value) < 2**53 and value == int(value)
    return str(int(value)) if whole else text
