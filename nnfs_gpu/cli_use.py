"""`nnfs-gpu evaluate` and `predict`: a trained model at work."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from . import datasets
from .backend import use_backend
from .cli_common import (
    BATCH,
    InputError,
    check_target,
    console_for,
    describe,
    load_model,
    to_json,
    two_columns,
    versions,
    write,
)

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
        points = datasets.spiral_data(samples, classes, seed=seed)
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
            raise InputError(f"{name}: {str(error).removeprefix('predict: ')}") from error
        classes = model.backend.to_numpy(model.output_layer_activation.predictions(probabilities))
    lines = csv_lines(classes, model.backend.to_numpy(probabilities))
    if target == "-":
        for part in lines:
            write(part, target)
    else:
        write(b"".join(lines), target)
    return 0


def read_rows(source: str, name: str) -> np.ndarray:
    """Rows of numbers (N, columns) from CSV or .npy, told apart by their first bytes."""
    try:
        data = sys.stdin.buffer.read() if source == "-" else Path(source).read_bytes()
    except OSError as error:
        raise InputError(f"{name}: {error.strerror}") from error
    if not data.strip():
        raise InputError(f"{name}: is empty, expected rows of numbers")
    if data.startswith(b"\x93NUMPY"):
        return _read_npy(data, name)
    try:
        return _read_csv(data.decode("utf-8-sig"), name)
    except UnicodeDecodeError as error:
        raise InputError(f"{name}: neither CSV text nor a .npy file") from error


def _read_npy(data: bytes, name: str) -> np.ndarray:
    try:
        rows = np.load(io.BytesIO(data), allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise InputError(f"{name}: a damaged .npy file ({describe(error)})") from error
    if rows.dtype.kind not in "fiub" or rows.ndim != 2:
        raise InputError(
            f"{name}: got an array of {rows.dtype} of shape {rows.shape}, "
            "expected numbers of shape (rows, columns)"
        )
    return rows


def _read_csv(text: str, name: str) -> np.ndarray:
    """Numbers between commas. A first line without any number is a header and left out."""
    lines = [(n, line) for n, line in enumerate(text.splitlines(), 1) if line.strip()]
    if not any(_is_number(field) for field in lines[0][1].split(",")):
        del lines[0]
    if not lines:
        raise InputError(f"{name}: has a header but no rows of numbers")
    columns = lines[0][1].count(",") + 1
    try:
        rows = np.loadtxt(
            [line for _, line in lines], delimiter=",", ndmin=2, comments=None, dtype=np.float64
        )
    except ValueError:
        rows = None
    if rows is None or rows.shape != (len(lines), columns):
        raise InputError(_what_is_wrong(lines, columns, name))
    return rows


def _what_is_wrong(lines: list[tuple[int, str]], columns: int, name: str) -> str:
    """The first line that is not `columns` numbers. Slow and exact: only after a failure."""
    for number, line in lines:
        fields = line.split(",")
        for field in fields:
            if not _is_number(field):
                return f"{name}, line {number}: got {field.strip()!r}, expected a number"
        if len(fields) != columns:
            return (
                f"{name}, line {number}: got {len(fields)} numbers, expected {columns} "
                "as in the lines before"
            )
    return f"{name}: cannot be read as CSV"


def _is_number(field: str) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True


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
