"""`nnfs-gpu evaluate` and `predict`: a trained model at work."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from .. import datasets
from ..backend import use_backend
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
from .rows import read_rows

# Seeds of `train` end below 2^32, those of its validation points at 2^32: points drawn with
# this one are new to every model.
FRESH_SEED = 2**33


# ---- evaluate ----
def evaluate(path: Path, samples: int, seed: int, backend: str, json_target: str | None) -> int:
    """Measure a model on fresh spiral points; returns the exit code."""
    console = console_for(json_target)
    check_target(json_target, "--json")
    model, file = load_model(path, backend)
    classes, width = model.trainable_layers[-1].n_neurons, model.trainable_layers[0].n_inputs
    if width != 2:
        raise InputError(f"{file}: takes {width} numbers a row, but spiral points have 2")
    if model.accuracy is None:
        raise InputError(f"{file}: was saved without an accuracy; expected Accuracy_Categorical")
    with use_backend(model.backend), np.errstate(all="ignore"):
        points = fresh_points(samples, classes, seed)
        measured = model.evaluate(*points, batch_size=BATCH, verbose=False)
    result = {
        "loss": measured["loss"],
        "accuracy": measured["accuracy"],
        "bayes_limit": datasets.spiral_bayes_limit(classes),
        "samples": samples,
        "classes": classes,
        "seed": seed,
        "model": str(file),
        "backend": model.backend.name,
        "backend_version": model.backend.version(),
        "versions": versions(),
    }
    if json_target is not None:
        write(to_json(result), json_target)
    rows = {
        "model": str(file),
        "points": f"{samples * classes:,} fresh ones, {classes} classes",
        "loss": f"{measured['loss']:.4f}",
        "accuracy": f"{measured['accuracy']:.4f}",
        "Bayes limit": f"{result['bayes_limit']:.4f}  (no classifier can do better)",
        "backend": f"{model.backend.name}  ({result['backend_version']})",
    }
    console.print(two_columns(rows))
    return 0


# ---- predict ----
def predict(path: Path, source: str, target: str, backend: str) -> int:
    """Classify the rows of `source`; returns the exit code. Nothing is written on bad input."""
    check_target(target, "--output")
    model, _ = load_model(path, backend)
    name = "standard input" if source == "-" else source
    rows = read_rows(source, name)
    with np.errstate(all="ignore"):
        try:
            probabilities = model.predict(rows, batch_size=BATCH, check_finite=True)
        except ValueError as error:
            raise InputError(f"{name}: {_in_a_file(error, rows, model)}") from error
        classes = model.backend.to_numpy(model.output_layer_activation.predictions(probabilities))
    lines = csv_lines(classes, model.backend.to_numpy(probabilities))
    if target == "-":
        for part in lines:
            write(part, target)
    else:
        write(b"".join(lines), target)
    return 0


def _in_a_file(error: ValueError, rows: np.ndarray, model: Any) -> str:
    """What is wrong with rows from a file: without the remedies for arrays."""
    problem = str(error).removeprefix("predict: ").split("; ")[0]
    if rows.shape[1] == 2 * model.trainable_layers[0].n_inputs:
        return f"{problem}; if commas stand for decimal points, write points"
    if not np.isfinite(rows).all():
        return f"{problem}, row {1 + int(np.argmin(np.isfinite(rows).all(axis=1)))}; correct it"
    return problem


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
