"""Preprocessing: what a model knows of the table that it was trained on.

Fitted to a table, kept in the model's file (`model.preprocessing`), it turns rows of the same
columns into inputs, targets into what a loss takes, and outputs into names or numbers with a unit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Self

import numpy as np

from . import stored as stored_parts
from .arrays import as_texts, of_rows
from .cells import KINDS
from .features import UNKNOWN_CODE, Category, Feature, Number, Pixels
from .missing import MISSING_RULES, check_complete, complete_rows
from .naming import IGNORE, Expected
from .reading import read_as
from .stored import text
from .table import Table, TableError, Texts, listed, shown
from .target import TASKS, Classes, Target, fit_classes, fit_quantity, task_of
from .text import Format

UNKNOWN_RULES = ("refuse", "zero")
MOST_CATEGORIES = 100
FILL = (
    'fill it in, or say what is to happen: missing="drop" leaves such rows out, missing="mean" '
    "takes the mean of the column"
)
BLOCK = 1 << 13  # rows that become inputs at a time


class Preprocessing:
    """Columns of a table as inputs of a network, and its outputs as answers.

    Make one with `Preprocessing.fit`; give it to a model as `model.preprocessing`, and the model's
    file keeps it.

    features   one for each column that is used, in the table's order; `Pixels` for pictures
    target     `Classes` or `Quantity`
    columns    names and kinds ("text", "number", "ignore") of all columns, in the table's order
    header     whether the columns have names of their own
    missing    what happens to a row with a missing cell: "refuse" (an error), "drop" (the row is
               left out), "mean" (a number is the mean, a text is none of the categories)
    """

    def __init__(
        self,
        features: Iterable[Feature],
        target: Target,
        columns: Mapping[str, str],
        header: bool,
        missing: str,
    ):
        self.features, self.target = tuple(features), target
        self.columns, self.header, self.missing = dict(columns), header, missing

    @classmethod
    def fit(
        cls,
        table: Table,
        target: str,
        *,
        task: str | None = None,
        missing: str = "refuse",
        training: np.ndarray | None = None,
        most_categories: int = MOST_CATEGORIES,
    ) -> Self:
        """The preprocessing of `table`, whose column `target` is to be learned.

        table            all rows, those for validation, too: classes and categories are those of
                         all. With missing="drop" one of `complete_rows`
        target           the column's name
        task             "classification" or "regression"; None: by the column (`target.py`)
        missing          "refuse", "drop" or "mean"
        training         the rows that mean and standard deviation come from: indices; None: all
        most_categories  different texts that a column may have

        Raises TableError, with the line and the column, for cells that are missing or infinite, a
        column that cannot be used, a target that there is not or that has nothing to learn.
        """
        _check_choice(missing, MISSING_RULES, "missing")
        rows = np.arange(len(table)) if training is None else np.asarray(training)
        names = [name for name in table.names if name != target]
        table.column(target)
        if not names:
            raise table.error(
                f"has one column, the target {shown(target)}, expected features beside it; where "
                'cells stand in one, give separator, such as separator=";"'
            )
        if missing == "refuse":
            check_complete(table, names, FILL)
        if task is None:
            task = task_of(table, target)
        _check_choice(task, TASKS, "task")
        fitted: Target = (
            fit_classes(table, target) if task == TASKS[0] else fit_quantity(table, target, rows)
        )
        features: list[Feature] = []
        if table.picture is not None:
            features.append(Pixels.fit(table, names, rows))
        else:
            for name in names:
                if isinstance(table.columns[name], Texts):
                    features.append(Category.fit(name, table, most_categories))
                else:
                    features.append(Number.fit(name, table, rows))
        kinds = dict.fromkeys(table.order, IGNORE) | {
            name: "text" if isinstance(column, Texts) else "number"
            for name, column in table.columns.items()
        }
        return cls(features, fitted, kinds, table.header, missing)

    # ---- sizes and names ----
    @property
    def width(self) -> int:
        """Inputs of the network."""
        return sum(feature.width for feature in self.features)

    @property
    def outputs(self) -> int:
        """Outputs of the network: one a class, or 1."""
        return len(self.target.classes) if isinstance(self.target, Classes) else 1

    @property
    def classes(self) -> tuple[str, ...] | None:
        """The names of the classes, in the order of the outputs; None in a regression."""
        return self.target.classes if isinstance(self.target, Classes) else None

    @property
    def task(self) -> str:
        """What is learned: "classification" or "regression"."""
        return self.target.task

    # ---- reading and rows ----
    def read(self, source: Any, *, ignore: Iterable[str] = (), **form: Any) -> Table:
        """A table with this model's columns, in any order; the target may be missing.

        source        as in `read_table`, and so are separator, decimal, encoding, header
        ignore        columns to leave out that the model does not know
        Raises TableError, naming columns that are missing or too many.
        """
        return read_as(source, self._expected(ignore), Format(**form))

    def complete(self, table: Table) -> Table:
        """Without the rows that miss a cell, where this was fitted with missing="drop"."""
        if self.missing != "drop":
            return table
        return complete_rows(table, [name for name in self.columns if name in table.columns])

    def target_in(self, table: Table) -> str | None:
        """The column of `table` that holds the target; None where there is none."""
        if self.target.name in table.columns:
            return self.target.name
        return table.target

    # ---- arrays ----
    def inputs(self, rows: Any, *, unknown: str = "refuse", dtype: Any = np.float64) -> np.ndarray:
        """What the network takes for these rows, (N, width), of `dtype`.

        rows     a `Table`, a table of pandas or polars, a dict of columns, a list of dicts, or
                 rows of values in the order of the features
        unknown  what becomes of a text that the training table did not have: "refuse" (an error),
                 or "zero" in all inputs of its column
        dtype    of the result; computed in float64

        Raises TableError, with row and column, for cells that are missing, infinite, unknown or of
        another kind, and for columns that are missing or too many.
        """
        _check_choice(unknown, UNKNOWN_RULES, "unknown")
        table = self._table(rows)
        prepared = self._prepared(table, unknown)
        out = np.empty((len(table), self.width), dtype)
        for start in range(0, len(table), BLOCK):
            block, place = slice(start, start + BLOCK), 0
            for feature, values in prepared:
                inside = slice(place, place + feature.width)
                feature.fill(out[block, inside], values[block])
                place += feature.width
        return out

    def targets(self, rows: Any) -> np.ndarray:
        """(N,) int32 class numbers, or (N, 1) standardized numbers. Raises TableError."""
        table = self._table(rows)
        name = self.target_in(table)
        if name is None:
            raise table.error(
                f"has no column {shown(self.target.name)}, the target; it has {listed(table.names)}"
            )
        return self.target.encode(table, name)

    def answers(self, outputs: Any) -> np.ndarray:
        """Names of classes, or numbers in the target's unit, (N,), for outputs of the network."""
        outputs = np.asarray(outputs)
        if outputs.ndim != 2 or outputs.shape[1] != self.outputs:
            raise ValueError(
                f"answers: got outputs of shape {outputs.shape}, expected (N, {self.outputs})"
            )
        return self.target.decode(outputs)

    # ---- model files ----
    def describe(self) -> dict[str, Any]:
        """Numbers, texts, lists and dicts: what a model file keeps."""
        return {
            "features": [feature.describe() for feature in self.features],
            "target": self.target.describe(),
            "columns": [[name, kind] for name, kind in self.columns.items()],
            "header": self.header,
            "missing": self.missing,
        }

    @classmethod
    def construct(cls, stored: Any) -> Self:
        """What `describe` has described. Raises TypeError, ValueError or LookupError for else."""
        columns = {text(name): text(kind) for name, kind in stored["columns"]}
        for kind in columns.values():
            _check_choice(kind, (*KINDS, IGNORE), "columns")
        features = [stored_parts.feature(one) for one in stored["features"]]
        target = stored_parts.target(stored["target"])
        _check_choice(stored["missing"], MISSING_RULES, "missing")
        if type(stored["header"]) is not bool:
            raise TypeError("header: expected true or false")
        made = cls(features, target, columns, stored["header"], stored["missing"])
        used = [one.name for one in made._flat()]
        if sorted(made._expected(()).features) != sorted(used) or len(used) != len(set(used)):
            raise ValueError("the features are not those of the columns")
        return made

    # ---- inside ----
    def _flat(self) -> list[Number | Category]:
        found: list[Number | Category] = []
        for feature in self.features:
            found += feature.columns() if isinstance(feature, Pixels) else [feature]
        return found

    def _expected(self, ignore: Iterable[str]) -> Expected:
        return Expected(self.columns, self.target.name, self.header, ignore)

    def _table(self, rows: Any) -> Table:
        expected = self._expected(())
        if isinstance(rows, Table):
            wanted = [*expected.features]
            extra = set(rows.names) - {*self.columns, rows.target}
            if set(wanted) <= set(rows.names) and not extra:
                return rows
            named = expected.named(rows.names, rows.header, rows.source)
            return rows.renamed([name for name, _ in named])
        return of_rows(rows, expected.features, expected)

    def _prepared(self, table: Table, unknown: str) -> list[tuple[Number | Category, np.ndarray]]:
        """Features with what they make of their columns."""
        pixels = next((one for one in self.features if isinstance(one, Pixels)), None)
        if pixels and table.picture and table.picture != pixels.shape:
            raise table.error(
                f"got pictures of {table.picture[1]} x {table.picture[0]} pixels, expected "
                f"{pixels.shape[1]} x {pixels.shape[0]}; resize them"
            )
        flat = self._flat()
        if self.missing != "mean":
            check_complete(table, [one.name for one in flat], "fill it in")
        prepared = [(one, one.prepare(table, one.name)) for one in flat]
        if unknown == "refuse":
            for feature, values in prepared:
                if isinstance(feature, Category) and (values == UNKNOWN_CODE).any():
                    raise _unknown(table, feature, int(np.argmax(values == UNKNOWN_CODE)))
        return prepared


def _unknown(table: Table, feature: Category, row: int) -> TableError:
    column = as_texts(table.column(feature.name))
    got = shown(column.categories[column.codes[row]])
    return table.error(
        f"got {got}, which the training table does not have; it has {listed(feature.categories)}; "
        'unknown="zero" takes it for none of them',
        row,
        feature.name,
    )


def _check_choice(value: Any, choices: tuple[str, ...], name: str) -> None:
    if value not in choices:
        raise TableError(f"{name}: got {value!r}, expected one of {', '.join(choices)}")
