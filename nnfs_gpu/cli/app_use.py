"""The commands `nnfs-gpu evaluate` and `predict`: their options. `app.py` has the others."""

from __future__ import annotations

from typing import Annotated

import typer
from typer import Argument, Option

from .options import BackendName, JsonTarget, ModelPath, whole_number
from .table_options import (
    PANEL,
    DecimalMark,
    Encoding,
    Header,
    IgnoredColumns,
    Separator,
    Unknown,
    UnknownRule,
)


def evaluate(
    context: typer.Context,
    model: ModelPath,
    data: Annotated[
        str | None,
        Option(
            metavar="FILE",
            help="For a model of a table: rows with its columns, in any order, and its target; "
            "- is standard input.",
            rich_help_panel=PANEL,
            show_default=False,
        ),
    ] = None,
    ignore: IgnoredColumns = None,
    unknown: Unknown = UnknownRule.refuse,
    separator: Separator = None,
    decimal: DecimalMark = ".",
    encoding: Encoding = None,
    header: Header = None,
    samples: Annotated[
        int, Option(metavar="N", parser=whole_number, help="Fresh points of each class, as 1e6.")
    ] = 100_000,
    seed: Annotated[
        int | None,
        Option(
            metavar="N",
            min=0,
            max=2**64 - 1,
            help="The points depend on it.",
            show_default="one that train cannot use",
        ),
    ] = None,
    backend: BackendName = "auto",
    json_target: JsonTarget = None,
) -> int:
    """Measure a trained model: on fresh spiral points, or on rows of a table (--data)."""
    from . import use as cli_use
    from .config import given
    from .table_use import Reading

    reading = Reading(tuple(ignore or ()), unknown.value, separator, decimal, encoding, header)
    fresh = cli_use.Fresh(samples, cli_use.FRESH_SEED if seed is None else seed)
    return cli_use.evaluate(model, fresh, data, reading, given(context), backend, json_target)


def predict(
    model: ModelPath,
    source: Annotated[
        str,
        Argument(
            metavar="[INPUT]",
            help="Rows as train was given them, without the target: CSV, TSV, .npy, .npz, Parquet, "
            "a folder of pictures; - is standard input.",
        ),
    ] = "-",
    output: Annotated[
        str, Option(metavar="FILE", help="Where the CSV goes; - is standard output.")
    ] = "-",
    probabilities: Annotated[
        bool,
        Option(
            "--probabilities",
            help="Also write the probability of every class. (A model of spirals always does.)",
        ),
    ] = False,
    ignore: IgnoredColumns = None,
    unknown: Unknown = UnknownRule.refuse,
    separator: Separator = None,
    decimal: DecimalMark = ".",
    encoding: Encoding = None,
    header: Header = None,
    backend: BackendName = "auto",
) -> int:
    """Answer rows with a trained model.

    A model of a table writes a line for each row: the name of its class, or the
    number in the target's unit. A model of spirals writes class,p0,p1,...: the
    most likely class, then the probability of every class.

    Try: echo 0.1,0.2 | nnfs-gpu predict runs/spiral
    """
    from . import use as cli_use
    from .table_use import Reading

    reading = Reading(tuple(ignore or ()), unknown.value, separator, decimal, encoding, header)
    return cli_use.predict(model, source, output, probabilities, reading, backend)
