"""`nnfs-gpu evaluate` and `predict`: a trained model at work."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .. import datasets
from ..backend import use_backend
from ..model import Model
from ..tables.features import matrix
from ..tables.reading import read_table
from . import table_use
from .common import (
    BATCH,
    check_target,
    console_for,
    load_model,
    to_json,
    two_columns,
    versions,
    write,
)
from .errors import InputError
from .points import fresh_points
from .table_input import form_of, in_options, source_of
from .table_use import Reading

# Seeds of `train` end below 2^32, those of its validation points at 2^32: points drawn with
# this one are new to every model.
FRESH_SEED = 2**33


@dataclass(frozen=True)
class Fresh:
    """Spiral points of a model that has not seen them: so many of each class, of a seed."""

    samples: int
    seed: int


# ---- evaluate ----
def evaluate(
    path: Path,
    fresh: Fresh,
    data: str | None,
    reading: Reading,
    given: set[str],
    backend: str,
    json_target: str | None,
) -> int:
    """Measure a model on fresh spiral points, or on the table `data`; returns the exit code."""
    console = console_for(json_target)
    check_target(json_target, "--json")
    model, file = load_model(path, backend)
    if model.accuracy is None:
        raise InputError(f"{file}: was saved without an accuracy; expected one to measure with")
    _check_options(model, file, data, given)
    if data is not None:
        result, rows = table_use.measured(model, data, reading)
    else:
        result, rows = _on_spirals(model, file, fresh)
    result |= {
        "model": str(file),
        "backend": model.backend.name,
        "backend_version": model.backend.version(),
        "versions": versions(),
    }
    if json_target is not None:
        write(to_json(result), json_target)
    rows |= {"backend": f"{model.backend.name}  ({result['backend_version']})"}
    console.print(two_columns({"model": str(file)} | rows))
    return 0


def _check_options(model: Model, file: Path, data: str | None, given: set[str]) -> None:
    """InputError where the options are those of another kind of model."""
    made = model.preprocessing
    if made is None and data is not None:
        raise InputError(
            f"--data: {file} knows of no table; expected a model of nnfs-gpu train --data"
        )
    if made is not None and data is None:
        raise InputError(
            f"--data: missing; {file} is a model of a table: give rows with {made.target.name!r}"
        )
    for name in sorted(given & {"samples", "seed"} if made is not None else ()):
        raise InputError(f"--{name}: is of spirals, and {file} is a model of a table")


def _on_spirals(model: Model, file: Path, fresh: Fresh) -> tuple[dict[str, Any], dict[str, str]]:
    """Measures on fresh points: for JSON, and for people."""
    classes, width = model.trainable_layers[-1].n_neurons, model.trainable_layers[0].n_inputs
    if width != 2:
        raise InputError(f"{file}: takes {width} numbers a row, but spiral points have 2")
    with use_backend(model.backend), np.errstate(all="ignore"):
        points = fresh_points(fresh.samples, classes, fresh.seed)
        measured = model.evaluate(*points, batch_size=BATCH, verbose=False)
    result = {
        "loss": measured["loss"],
        "accuracy": measured["accuracy"],
        "bayes_limit": datasets.spiral_bayes_limit(classes),
        "samples": fresh.samples,
        "classes": classes,
        "seed": fresh.seed,
    }
    rows = {
        "points": f"{fresh.samples * classes:,} fresh ones, {classes} classes",
        "loss": f"{measured['loss']:.4f}",
        "accuracy": f"{measured['accuracy']:.4f}",
        "Bayes limit": f"{result['bayes_limit']:.4f}  (no classifier can do better)",
    }
    return result, rows


# ---- predict ----
def predict(
    path: Path, source: str, target: str, probabilities: bool, reading: Reading, backend: str
) -> int:
    """Answer the rows of `source`; returns the exit code. Nothing is written on bad input."""
    check_target(target, "--output")
    model, _ = load_model(path, backend)
    if model.preprocessing is not None:
        lines = table_use.answered(model, source, probabilities, reading)
    else:
        lines = _classified(model, source, reading)
    if target == "-":
        for part in lines:
            write(part, target)
    else:
        write(b"".join(lines), target)
    return 0


def _classified(model: Model, source: str, reading: Reading) -> Iterator[bytes]:
    """The lines of a CSV with class and probabilities of each row of numbers."""
    with in_options():
        table = read_table(source_of(source, "INPUT"), ignore=reading.ignore, **form_of(reading))
        rows = matrix(table)
    width = model.trainable_layers[0].n_inputs
    if rows.shape[1] != width:
        commas = "; if commas stand for decimal points, give --decimal comma and --separator"
        raise InputError(
            f"{table.source}: got {rows.shape[1]} columns, expected {width}"
            + (commas if rows.shape[1] == 2 * width else "")
        )
    with np.errstate(all="ignore"):
        try:
            probabilities = model.predict(rows, batch_size=BATCH, check_finite=True)
        except ValueError as error:
            raise InputError(f"{table.source}: {_in_a_file(error)}") from error
        classes = model.backend.to_numpy(model.output_layer_activation.predictions(probabilities))
    return csv_lines(classes, model.backend.to_numpy(probabilities))


def _in_a_file(error: ValueError) -> str:
    """What is wrong with rows from a file: without the remedies for arrays."""
    return str(error).removeprefix("predict: ").split("; ")[0]


def csv_lines(classes: np.ndarray, probabilities: np.ndarray) -> Iterator[bytes]:
    """`class,p0,p1,...` and a line a row; digits enough to give back the very same numbers."""
    count = probabilities.shape[1]
    yield (",".join(["class", *(f"p{c}" for c in range(count))]) + "\n").encode()
    digits = 9 if probabilities.dtype == np.float32 else 17
    line = ",".join(["%d"] + [f"%.{digits}g"] * count) + "\n"
    for start in range(0, len(classes), BATCH):
        part = zip(
            classes[start : start + BATCH], probabilities[start : start + BATCH], strict=True
        )
        yield "".join(line % (label, *row) for label, row in part).encode()
