"""`nnfs-gpu evaluate --data` and `predict` with a model of a table: answers with names."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..backend import use_backend
from ..model import Model
from ..tables.preprocessing import Preprocessing
from ..tables.table import Table
from ..tables.target import Classes
from .common import BATCH
from .errors import InputError
from .table import quantity_rows
from .table_input import form_of, in_options, source_of


@dataclass(frozen=True)
class Reading:
    """How rows are to be read, as the options say."""

    ignore: tuple[str, ...]
    unknown: str
    separator: str | None
    decimal: str
    encoding: str | None
    header: bool | None


def read(made: Preprocessing, source: str, option: str, reading: Reading) -> Table:
    """Rows with the columns of a model. Raises InputError."""
    table = made.read(source_of(source, option), ignore=reading.ignore, **form_of(reading))
    return table.test or table


# ---- evaluate ----
def measured(model: Model, source: str, reading: Reading) -> tuple[dict[str, Any], dict[str, str]]:
    """Measures of a model on rows with their targets: for JSON, and for people."""
    made: Preprocessing = model.preprocessing
    with in_options():
        table = read(made, source, "--data", reading)
        kept = made.complete(table)
        X = made.inputs(kept, unknown=reading.unknown, dtype=model.backend.dtype)
        y = made.targets(kept)
    with use_backend(model.backend), np.errstate(all="ignore"):
        found: dict[str, Any] = model.evaluate(X, y, batch_size=BATCH, verbose=False)
    dropped = len(table) - len(kept)
    words = f"{len(kept):,} of {table.source}" + (f", {dropped:,} left out" if dropped else "")
    result = {"task": made.task, "target": made.target.name, "rows": len(kept), "dropped": dropped}
    rows = {"rows": words}
    if isinstance(made.target, Classes):
        result |= {"accuracy": found["accuracy"]}
        rows |= {"loss": f"{found['loss']:.4f}", "accuracy": f"{found['accuracy']:.4f}"}
    else:
        numbers = made.target.measures(found["loss"], y)
        result |= numbers
        rows |= quantity_rows(made.target, numbers, "")
    return {"loss": found["loss"], **result}, rows


# ---- predict ----
def answered(model: Model, source: str, probabilities: bool, reading: Reading) -> Iterator[bytes]:
    """The lines of a CSV with an answer for each row, after their header. Raises InputError."""
    made: Preprocessing = model.preprocessing
    if probabilities and not isinstance(made.target, Classes):
        raise InputError(f"--probabilities: {made.target.name!r} is a number, and has no classes")
    with in_options():
        table = read(made, source, "INPUT", reading)
        X = made.inputs(table, unknown=reading.unknown, dtype=model.backend.dtype)
    with np.errstate(all="ignore"):
        outputs = model.backend.to_numpy(model.predict(X, batch_size=BATCH))
    return _lines(made, table, outputs, probabilities)


def _lines(
    made: Preprocessing, table: Table, outputs: np.ndarray, probabilities: bool
) -> Iterator[bytes]:
    """A header and a line a row; digits enough to give back the very same numbers."""
    digits = 9 if outputs.dtype == np.float32 else 17
    columns: list[Any] = [] if table.files is None else [table.files]
    header = ["file"] * len(columns) + [made.target.name]
    answers = made.answers(outputs)
    if isinstance(made.target, Classes):
        columns.append(answers.tolist())
        if probabilities:
            header += [f"p_{name}" for name in made.target.classes]
            columns += [[f"{p:.{digits}g}" for p in column] for column in outputs.T.tolist()]
    else:
        columns.append([f"{number:.{digits}g}" for number in answers.tolist()])
    yield _csv([header])
    for start in range(0, len(outputs), BATCH):
        block = [column[start : start + BATCH] for column in columns]
        yield _csv(zip(*block, strict=True))


def _csv(rows: Any) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()
