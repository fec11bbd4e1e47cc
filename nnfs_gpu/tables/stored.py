"""Features and targets as model files hold them: judged, then made again.

The opposite of `describe`; a document may be made up, so nothing in it is believed.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import checks
from .cells import KINDS
from .features import Category, Feature, Number, Pixels
from .missing import MISSING_RULES
from .naming import IGNORE
from .table import check_choice
from .target import Classes, Quantity, Target

MOST_PIXELS = 10**8


def parts(stored: Any) -> dict[str, Any]:
    """The arguments of the `Preprocessing` that `stored` describes. Raises as `feature`."""
    columns = {text(name): text(kind) for name, kind in stored["columns"]}
    for kind in columns.values():
        check_choice(kind, (*KINDS, IGNORE), "columns")
    check_choice(stored["missing"], MISSING_RULES, "missing")
    if type(stored["header"]) is not bool:
        raise TypeError("header: expected true or false")
    return {
        "features": [feature(one) for one in stored["features"]],
        "target": target(stored["target"]),
        "columns": columns,
        "header": stored["header"],
        "missing": stored["missing"],
    }


def feature(stored: Any) -> Feature:
    """The feature that `stored` describes. Raises TypeError, ValueError or LookupError for else."""
    if "categories" in stored:
        return Category(text(stored["name"]), _different(stored["categories"], 1, "categories"))
    if "pixels" in stored:
        height, width = (checks.positive_int(size, "pixels") for size in stored["pixels"])
        if height * width > MOST_PIXELS:
            raise ValueError(f"pixels: got {height} x {width}, more than any picture's")
        return Pixels((height, width), *_moments(stored))
    return Number(text(stored["name"]), *_moments(stored))


def target(stored: Any) -> Target:
    """The target that `stored` describes. Raises as `feature`."""
    if "classes" in stored:
        return Classes(text(stored["name"]), _different(stored["classes"], 2, "classes"))
    return Quantity(text(stored["name"]), *_moments(stored))


def text(value: Any) -> str:
    """`value`, which must be a text."""
    if not isinstance(value, str):
        raise TypeError(f"got {type(value).__name__}, expected a text")
    return value


def _different(values: Any, least: int, name: str) -> tuple[str, ...]:
    found = tuple(map(text, values)) if isinstance(values, list) else ()
    if len(found) < least or len(set(found)) != len(found):
        raise ValueError(f"{name}: expected a list of at least {least} different texts")
    return found


def _moments(stored: Any) -> tuple[float, float]:
    mean, std = stored["mean"], stored["std"]
    if not all(type(one) in (int, float) for one in (mean, std)) or not np.isfinite(mean):
        raise ValueError("mean and std: expected finite numbers")
    return float(mean), float(checks.positive(std, "std"))
