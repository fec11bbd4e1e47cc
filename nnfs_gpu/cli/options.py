"""Options that several commands of `nnfs-gpu` share, and numbers as people write them."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from typer import Argument, Option

MOST = 10**9  # samples of a class


def whole_number(value: Any) -> int:
    """1000 of "1000", "1e3", "1_000". Called for defaults, too, which are numbers already.

    Raises typer.BadParameter for what is no whole number from 1 to MOST.
    """
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        number = Decimal("nan")
    if not number.is_finite() or not 1 <= number <= MOST or number != number.to_integral_value():
        raise typer.BadParameter(
            f"{value!r}: expected a whole number from 1 to {MOST:,}, such as 250000, 1e6 or 1_000"
        )
    return int(number)


class OptimizerName(StrEnum):
    """The optimizers of the book, and AdamW."""

    sgd = "sgd"
    adagrad = "adagrad"
    rmsprop = "rmsprop"
    adam = "adam"
    adamw = "adamw"


class DtypeName(StrEnum):
    """The number formats a network can compute in."""

    float32 = "float32"
    float64 = "float64"


ModelPath = Annotated[
    Path,
    Argument(
        metavar="DIR_OR_FILE",
        help="A folder that train has written, or a model file in it.",
        show_default=False,
    ),
]
BackendName = Annotated[
    str,
    Option(
        "--backend",
        metavar="NAME",
        envvar="NNFS_GPU_BACKEND",
        help="What computes: auto takes the fastest that works here; nnfs-gpu info lists all.",
    ),
]
JsonTarget = Annotated[
    str | None,
    Option(
        "--json",
        metavar="FILE",
        help="Also write the results as JSON to FILE. With - they go to standard output, and "
        "everything for people to standard error.",
        show_default=False,
    ),
]
