"""Preprocessing: what a model knows of the table that it was trained on.

Fitted to a table, kept in the model's file (`model.preprocessing`), it turns rows of the same
columns into inputs, targets into what a loss takes, and outputs into names or numbers with a unit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Self

import numpy as np

from . import stored as stored_parts
from .arrays import of_rows
from .encoding import UNKNOWN_RULES, encode
from .features import Feature, fit_features, flat
from .missing import MISSING_RULES, check_complete, complete_rows
from .naming import IGNORE, Expected
from .reading import read_as
from .table import Table, Texts, check_choice, listed, shown
from .target import TASKS, Classes, Target, fit_classes, fit_quantity, task_of
from .text import Format

MOST_CATEGORIES = 100
FILL = (
    'fill it in, or say what is to happen: missing="drop" leaves such rows out, missing="mean" '
    "takes the mean of the column"
)


class Preprocessing:
    """Columns of a table as inputs of a network, and its outputs as answers.

    Made by `Preprocessing.fit`. Given to a model as `model.preprocessing`, it is kept in the
    model's file.

    Parameters
    ----------
    features : iterable of Number, Category or Pixels
        One for each column that is used, in the table's order; `Pixels` for pictures.
    target : Classes or Quantity
        What is answered.
    columns : mapping of str to str
        Names and kinds ("text", "number", "ignore") of all columns, in the table's order.
    header : bool
        Whether the columns have names of their own.
    missing : {"refuse", "drop", "mean"}
        What happens to a row with a missing cell: an error, the row is left out, or a number is
        the column's mean and a text none of the categories.
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
        """The preprocessing of a table of which one column is to be learned.

        Parameters
        ----------
        table : Table
            All rows, those for validation, too: classes and categories are those of all. With
            missing="drop" one of `complete_rows`.
        target : str
            The column's name.
        task : {"classification", "regression"}, optional
            None: by the column (`tables/target.py`).
        missing : {"refuse", "drop", "mean"}
            What happens to a row with a missing cell.
        training : array of int, optional
            The rows that mean and standard deviation come from; None: all.
        most_categories : int
            Different texts that a column may have.

        Returns
        -------
        Preprocessing
            Fitted; `width` inputs, `outputs` outputs.

        Raises
        ------
        TableError
            With the line and the column, for cells that are missing or infinite, a column that
            cannot be used, a target that there is not or that has nothing to learn.
        """
        check_choice(missing, MISSING_RULES, "missing")
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
        check_choice(task, TASKS, "task")
        fitted: Target = (
            fit_classes(table, target) if task == TASKS[0] else fit_quantity(table, target, rows)
        )
        features = fit_features(table, names, rows, most_categories)
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

        Parameters
        ----------
        source : path or binary file
            As in `read_table`.
        ignore : iterable of str
            Columns to leave out that the model does not know.
        **form
            Separator, decimal, encoding, header, as in `read_table`.

        Returns
        -------
        Table
            The columns as they were in training: numbers are numbers, texts are texts.

        Raises
        ------
        TableError
            Names columns that are missing or too many, and what `read_table` refuses.
        """
        return read_as(source, self._expected(ignore), Format(**form))

    def complete(self, table: Table) -> Table:
        """Without the rows that miss a cell, where this was fitted with missing="drop".

        Parameters
        ----------
        table : Table
            Of this model's columns.

        Returns
        -------
        Table
            The same where nothing is to be dropped.
        """
        if self.missing != "drop":
            return table
        return complete_rows(table, [name for name in self.columns if name in table.columns])

    # ---- arrays ----
    def inputs(self, rows: Any, *, unknown: str = "refuse", dtype: Any = np.float64) -> np.ndarray:
        """What the network takes for these rows, (N, width).

        Parameters
        ----------
        rows : Table, table of pandas or polars, dict, or list
            A table, a dict of columns, a list of dicts, or rows of values in the order of the
            features.
        unknown : {"refuse", "zero"}
            What becomes of a text that the training table did not have: an error, or 0 in all
            inputs of its column.
        dtype : dtype
            Of the result; computed in float64.

        Returns
        -------
        numpy.ndarray of shape (N, width)
            Standardized numbers, and 1 for the text that a row has.

        Raises
        ------
        TableError
            With row and column, for cells that are missing, infinite, unknown or of another kind,
            and for columns that are missing or too many.
        """
        check_choice(unknown, UNKNOWN_RULES, "unknown")
        return encode(self._table(rows), self.features, self.missing, unknown, dtype)

    def targets(self, rows: Any) -> np.ndarray:
        """What a loss takes for these rows.

        Parameters
        ----------
        rows : Table, table of pandas or polars, dict, or list of dict
            As in `inputs`, with the target.

        Returns
        -------
        numpy.ndarray
            (N,) int32 class numbers, or (N, 1) float64 standardized numbers.

        Raises
        ------
        TableError
            Where the target is missing, or has a class that the training table did not have.
        """
        table = self._table(rows)
        name = self.target.name if self.target.name in table.columns else table.target
        if name is None:
            raise table.error(
                f"has no column {shown(self.target.name)}, the target; it has {listed(table.names)}"
            )
        return self.target.encode(table, name)

    def answers(self, outputs: Any) -> np.ndarray:
        """What the outputs of the network mean.

        Parameters
        ----------
        outputs : array of shape (N, outputs)
            As `model.predict` gives them.

        Returns
        -------
        numpy.ndarray of shape (N,)
            Names of the likeliest classes, or float64 numbers in the target's unit.

        Raises
        ------
        ValueError
            For outputs of another width.
        """
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
        made = cls(**stored_parts.parts(stored))
        used = sorted(one.name for one in flat(made.features))
        if sorted(made._expected(()).features) != used or len(used) != len(set(used)):
            raise ValueError("the features are not those of the columns")
        return made

    # ---- inside ----
    def _expected(self, ignore: Iterable[str]) -> Expected:
        return Expected(self.columns, self.target.name, self.header, ignore)

    def _table(self, rows: Any) -> Table:
        expected = self._expected(())
        if isinstance(rows, Table):
            known = {*self.columns, rows.target}
            if set(expected.features) <= set(rows.names) <= known:
                return rows
            named = expected.named(rows.names, rows.header, rows.source)
            return rows.renamed([name for name, _ in named])
        return of_rows(rows, expected.features, expected)
