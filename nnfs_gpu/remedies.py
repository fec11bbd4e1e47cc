"""What to do with data and targets that cannot be right: the last words of `checks.py`'s errors.

Every remedy is written with the names X and y of `Model.train`, so that it can be copied into
the program as it stands; called only when something is refused.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from .backend.remedies import called, no_array


# ---- data ----
def not_a_matrix(given: Any, shape: tuple[int, ...], width: int | None, name: str) -> str:
    """What is wrong with data of `shape` where (N, width) was to come, and what to do.

    name  "X" for what a model is given; layers get their data from each other, as x
    """
    x, numbers = called(given, name, "reshape"), int(np.prod(shape[1:]))
    of = " in X" if name == "X" else ""
    if len(shape) != 2:
        rows = _in_rows(x, shape, width, name)
        return f"got shape {shape}, expected (samples, features){of}{rows}"
    if shape[0] == 0:
        return f"got an empty batch of shape {shape}, expected samples{of}: give at least one"
    if width is None:
        return f"got shape {shape}, expected (samples, features >= 1){of}"
    hint = f"for {numbers} features begin with Layer_Dense({numbers}, ...)"
    if shape[0] == width:
        hint = f"use {x}.T"
    elif shape[0] * numbers == width:
        hint = f"one picture is one sample: use {x}.reshape(1, -1)"
    return (
        f"got shape {shape}, expected (samples, {width}){of}: {numbers} features do not fit {width}"
        + (f"; {hint}" if name == "X" else "")
    )


def _in_rows(x: str, shape: tuple[int, ...], width: int | None, name: str) -> str:
    """How data of one, three or more axes become rows of features."""
    numbers = int(np.prod(shape[1:]))
    if len(shape) == 1:
        hint = "; one sample is x.reshape(1, -1)"
        if name == "X" and (width is None or shape[0] == width):
            return f"{hint}: use {x}.reshape(1, -1)"
        if name == "X" and width == 1:
            return f"{hint}, one feature of many: use {x}.reshape(-1, 1)"
        return hint if name != "X" else f"{hint}; X must hold rows of {width} here"
    if name != "X" or not shape:
        return ""
    first = "" if width in (None, numbers) else f", and begin with Layer_Dense({numbers}, ...)"
    return f"; use {x}.reshape(len({x}), -1){first}"


def for_parameter(given: Any, got: tuple[int, ...], shape: tuple[int, int], name: str) -> str:
    """How to bring weights or biases of shape `got` to `shape`; "" where nobody knows."""
    x = called(given, name)
    if len(got) == 2 and got == shape[::-1]:
        return f"; use {x}.T"
    if len(got) == 1 and got[0] == shape[1] and shape[0] == 1:
        return f"; use {x}.reshape(1, -1)"
    return f"; use {x}.reshape{shape}" if np.prod(got) == shape[0] * shape[1] else ""


# ---- targets ----
def for_labels(given: Any, y: np.ndarray, classes: int) -> str:
    """How to make class labels of `y`, which is `given` as an array; "" where nobody knows."""
    name = called(given, "y")
    if y.ndim == 0:
        return (
            f"use {name}.reshape(-1), one label" if y.dtype.kind in "iu" else no_array(given, "y")
        )
    if not y.size:
        return "give one label for each sample"
    if y.ndim == 1:
        return _for_indices(y, name, classes)
    if y.size == max(y.shape):  # a column, a row
        return _for_indices(y.reshape(-1), f"{name}.reshape(-1)", classes) or (
            f"class indices need shape (N,): use {name}.reshape(-1)"
        )
    if y.ndim == 2:
        return _for_rows(y, name, classes)
    return f"use {name}.reshape(len({name}), -1)" if y.size == len(y) * classes else ""


def for_values(given: Any, got: tuple[int, ...], shape: tuple[int, int]) -> str:
    """How to bring targets of shape `got` to `shape`, (N, O)."""
    name, (samples, outputs) = called(given, "y"), shape
    rows, numbers = got[:1] == (samples,), int(np.prod(got))
    if got == (outputs, samples) and not rows:
        return f"use {name}.T"
    if rows and numbers == samples * outputs:
        return f"use {name}.reshape(len({name}), -1)"
    if rows:
        width = numbers // samples
        return f"for {width} number(s) a sample end with Layer_Dense(..., {width})"
    return same_rows(got, samples)


def same_rows(got: tuple[int, ...], samples: int) -> str:
    """What to do where there are more samples than targets, of shape `got`, or fewer."""
    if not got or not got[0]:
        return "give one target for each sample"
    few = min(got[0], samples)
    return (
        "take both from the same rows; where the first of them belong together, use "
        f"X[:{few}] and y[:{few}]"
    )


def for_bad_numbers(x: str, name: str, ndim: int) -> str:
    """How to leave out samples whose `x`, X or y (`name`) as an array, is NaN or infinite."""
    keep = f"np.isfinite({x})" + (".all(axis=1)" if ndim == 2 else "")
    data, labels = (x, _beside(x, "y")) if name == "X" else (_beside(x, "X"), x)
    return f"leave those samples out: keep = {keep}; use {data}[keep] and {labels}[keep]"


def in_lists(remedy: str, **given: Any) -> str:
    """The remedy with arrays in place of those arguments that are lists, which no array cuts."""
    for name, value in given.items():
        if isinstance(value, (list, tuple)):
            remedy = re.sub(rf"\b{name}\[keep\]", f"np.asarray({name})[keep]", remedy)
    return remedy


def _beside(expression: str, other: str) -> str:
    """What is used with `expression`: where that one has to be made an array, so does this."""
    return f"np.asarray({other})" if "np.asarray" in expression else other


def for_unit(y: np.ndarray) -> str:
    """How to make 0 and 1 of the two numbers that `y` holds; "" for others."""
    found = np.unique(y)
    if len(found) != 2:
        return ""
    return f"use (np.asarray(y) == {found[1]:g}) * 1 where {found[1]:g} stands for yes"


# ---- class indices ----
def _for_indices(y: np.ndarray, name: str, classes: int) -> str:
    """Of one label a sample, `name`, of whatever dtype."""
    kind = y.dtype.kind
    if kind == "b":
        return f"use {name}.astype('int32')"
    if kind in "iu":
        return _for_whole(y, name, name, classes)
    if kind == "f":
        return _for_floats(y, name, classes)
    if kind == "c":
        return f"use {name}.real.astype('int32')"
    if kind in "Mm":
        return _numbered(np.unique(y), name, classes)
    return _for_words(y.astype(object), name, classes)


def _for_floats(y: np.ndarray, name: str, classes: int) -> str:
    finite = np.isfinite(y)
    if not finite.all():
        rest = _for_floats(y[finite], f"{name}[keep]", classes) if finite.any() else ""
        return _left_out(~finite, f"np.isfinite({name})", name, rest)
    whole = np.rint(y)
    if not (whole == y).all():
        row = int(np.argmax(whole != y))
        return (
            f"row {row} is {y[row]:g}; a network that estimates numbers ends with "
            "Activation_Linear() and Loss_MeanSquaredError()"
        )
    if float(np.abs(whole).max()) > 2**53:  # beyond what a float counts in ones
        return _numbered(np.unique(y), name, classes)
    return _for_whole(whole.astype(np.int64), name, f"{name}.astype('int32')", classes)


def _for_whole(y: np.ndarray, name: str, whole: str, classes: int) -> str:
    """Of whole numbers; `whole` makes integers of `name`."""
    low, high = int(y.min()), int(y.max())
    if low >= 0 and high < classes:
        return "" if whole == name else f"use {whole}"
    if low == 1 and high == classes:
        return f"these count from 1: use {whole} - 1"
    return _numbered(np.unique(y), name, classes)


def _numbered(found: Any, name: str, classes: int) -> str:
    """The different labels by their numbers, if the network has outputs for all of them."""
    if len(found) <= classes:
        return f"use np.unique({name}, return_inverse=True)[1], which numbers them from 0"
    return (
        f"there are {len(found)} different ones: end with Layer_Dense(..., {len(found)}), and "
        f"use np.unique({name}, return_inverse=True)[1], which numbers them from 0"
    )


def _for_words(y: np.ndarray, name: str, classes: int) -> str:
    """Of text and of Python objects."""
    missing = np.array([value is None or value != value for value in _plain(y)])
    if missing.any():
        rest = _for_words(y[~missing], f"{name}[keep]", classes) if not missing.all() else ""
        there = f"np.array([v is not None and v == v for v in {name}])"
        return _left_out(missing, there, name, rest)
    if all(isinstance(value, (int, np.integer)) for value in y):
        return _for_whole(y, name, f"{name}.astype('int32')", classes)
    texts = [str(value) for value in y]
    if all(text.isascii() and text.isdigit() and int(text) < classes for text in texts):
        return f"use {name}.astype('int32')"
    if not all(isinstance(value, str) for value in y):
        name = f"[str(v) for v in {name}]"
    return _numbered(set(texts), name, classes)


def _left_out(missing: np.ndarray, there: str, name: str, rest: str) -> str:
    """Without the samples that are `missing`; `rest` is what to do with the others' labels."""
    data = f"{_beside(name, 'X')}[keep]"
    labels = rest.split("use ", 1)[1] if "use " in rest else f"{name}[keep]"
    return (
        f"{int(missing.sum())} of them missing, the first in row {int(np.argmax(missing))}: leave "
        f"those samples out: keep = {there}; use {data} and {labels}"
    )


def _plain(y: np.ndarray) -> list[Any]:
    """Its elements, None for pandas' NA, which is neither equal nor unequal to itself."""
    return [None if type(value).__name__ == "NAType" else value for value in y]


# ---- rows of probabilities ----
def _for_rows(y: np.ndarray, name: str, classes: int) -> str:
    """Of a row a sample."""
    if y.dtype.kind == "c":
        return f"use {name}.real"
    if y.dtype.kind not in "fiub":
        return f"use {name}.astype('float32')" if y.dtype.kind in "OUS" else ""
    if y.shape[1] != classes and y.shape[0] == classes:
        return f"use {name}.T"
    if y.shape[1] < classes:
        return f"use {name}.argmax(axis=1), the class of each row"
    if y.shape[1] > classes:
        return f"for {y.shape[1]} classes end with Layer_Dense(..., {y.shape[1]})"
    with np.errstate(all="ignore"):
        sums = y.sum(axis=1, dtype=np.float64)
    if not np.isfinite(sums).all():
        return for_bad_numbers(name, "y", 2)
    if (y < 0).any():
        return f"scores are no probabilities: use {name}.argmax(axis=1), the class of each row"
    if (sums == 0).any():
        return (
            f"a row without a class: leave it out: keep = {name}.any(axis=1); use "
            f"{_beside(name, 'X')}[keep] and {name}[keep]"
        )
    return (
        f"use {name} / {name}.sum(axis=1, keepdims=True); where several answers are yes at once "
        "end with Activation_Sigmoid() and Loss_BinaryCrossentropy()"
    )
