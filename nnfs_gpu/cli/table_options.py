"""Options of `nnfs-gpu train`, `evaluate` and `predict` that say how a table is to be read."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from typer import Option

PANEL = "A table of your own"  # what --help groups them under


class TaskName(StrEnum):
    """What a target is."""

    classification = "classification"
    regression = "regression"


class ClassWeight(StrEnum):
    """What the samples of a class count."""

    balanced = "balanced"


class MissingRule(StrEnum):
    """What becomes of a row with an empty cell."""

    refuse = "refuse"
    drop = "drop"
    mean = "mean"


class UnknownRule(StrEnum):
    """What becomes of a text that the training table did not have."""

    refuse = "refuse"
    zero = "zero"


Unknown = Annotated[
    UnknownRule,
    Option(
        help="What becomes of a text that the training table did not have: an error, or none of "
        "the known ones.",
        rich_help_panel=PANEL,
    ),
]
IgnoredColumns = Annotated[
    list[str] | None,
    Option(
        metavar="COLUMN",
        help="A column to leave out; may be repeated.",
        rich_help_panel=PANEL,
        show_default=False,
    ),
]
Separator = Annotated[
    str | None,
    Option(
        metavar="CHARACTER",
        help="Between the cells of a line: a character, or tab, space, comma, semicolon, bar.",
        rich_help_panel=PANEL,
        show_default="found out",
    ),
]
DecimalMark = Annotated[
    str,
    Option(
        "--decimal",
        metavar="CHARACTER",
        help="What numbers are written with: a point, or a comma.",
        rich_help_panel=PANEL,
    ),
]
Encoding = Annotated[
    str | None,
    Option(
        metavar="NAME",
        help="Of a text, such as cp1252.",
        rich_help_panel=PANEL,
        show_default="UTF-8, or UTF-16 with its mark",
    ),
]
Header = Annotated[
    bool | None,
    Option(
        "--header/--no-header",
        help="Whether the first row has the columns' names.",
        rich_help_panel=PANEL,
        show_default="where it has the target's, or no number",
    ),
]
