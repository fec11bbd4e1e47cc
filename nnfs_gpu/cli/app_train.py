"""The command `nnfs-gpu train`: its options. `app.py` has the other commands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from typer import Option

from .options import BackendName, DtypeName, JsonTarget, OptimizerName, whole_number
from .table_options import (
    PANEL,
    ClassWeight,
    DecimalMark,
    Encoding,
    Header,
    IgnoredColumns,
    MissingRule,
    Separator,
    TaskName,
    Unknown,
    UnknownRule,
)


def train(
    context: typer.Context,
    data: Annotated[
        str | None,
        Option(
            metavar="FILE",
            help="A table of your own, or a folder of pictures, in place of spirals: CSV, TSV, "
            ".npy, .npz, Parquet; - is standard input.",
            rich_help_panel=PANEL,
            show_default=False,
        ),
    ] = None,
    target: Annotated[
        str | None,
        Option(
            metavar="COLUMN",
            help="The column to be learned: classes by name, or a number.",
            rich_help_panel=PANEL,
            show_default="what the file says: y of .npz, class folders",
        ),
    ] = None,
    task: Annotated[
        TaskName | None,
        Option(
            help="What the target is.",
            rich_help_panel=PANEL,
            show_default="by its column: texts, and at most 20 whole numbers, are classes",
        ),
    ] = None,
    validation_split: Annotated[
        float,
        Option(
            metavar="SHARE",
            help="Of the rows kept to validate on, drawn with --seed, of every class alike.",
            rich_help_panel=PANEL,
        ),
    ] = 0.2,
    validation_data: Annotated[
        str | None,
        Option(
            metavar="FILE",
            help="Rows to validate on, in place of a share of the table.",
            rich_help_panel=PANEL,
            show_default=False,
        ),
    ] = None,
    class_weight: Annotated[
        ClassWeight | None,
        Option(
            help="balanced: rare classes count as much as common ones.",
            rich_help_panel=PANEL,
            show_default=False,
        ),
    ] = None,
    missing: Annotated[
        MissingRule,
        Option(
            help="What becomes of rows with empty cells, ?, NA or NaN: an error, left out, or the "
            "column's mean (a text is then none of the known ones).",
            rich_help_panel=PANEL,
        ),
    ] = MissingRule.refuse,
    text: Annotated[
        list[str] | None,
        Option(
            metavar="COLUMN",
            help="A column that holds names, though they are written with digits; may be repeated.",
            rich_help_panel=PANEL,
            show_default=False,
        ),
    ] = None,
    most_categories: Annotated[
        int,
        Option(
            metavar="N",
            min=1,
            help="Different texts that a column may have.",
            rich_help_panel=PANEL,
        ),
    ] = 100,
    ignore: IgnoredColumns = None,
    unknown: Unknown = UnknownRule.refuse,
    separator: Separator = None,
    decimal: DecimalMark = ".",
    encoding: Encoding = None,
    header: Header = None,
    samples: Annotated[
        int,
        Option(metavar="N", parser=whole_number, help="Training points of each class, as 1e6."),
    ] = 100_000,
    classes: Annotated[
        int, Option(metavar="N", min=1, max=10**5, help="Classes: as many spiral arms.")
    ] = 3,
    hidden: Annotated[
        str, Option(metavar="WIDTHS", help="Neurons of each hidden layer, with commas between.")
    ] = "64,64",
    epochs: Annotated[
        int | None,
        Option(
            metavar="N",
            min=1,
            help="Passes over the training points.",
            show_default="enough for 4,000 steps, from 5 to 500; of a table 2,000, from 5 to 100",
        ),
    ] = None,
    batch_size: Annotated[
        int | None,
        Option(
            metavar="N",
            min=1,
            help="Samples in a step of training.",
            show_default="1024; of a table 32 to 1024, by its rows",
        ),
    ] = None,
    optimizer: Annotated[
        OptimizerName, Option(help="How a gradient changes the weights; sgd has momentum 0.9.")
    ] = OptimizerName.adam,
    learning_rate: Annotated[
        float | None,
        Option(
            metavar="RATE",
            help="Size of the first steps.",
            show_default="0.01 for adam, adamw and rmsprop, 0.05 for adagrad, 0.5 for sgd; of a "
            "table a tenth",
        ),
    ] = None,
    decay: Annotated[
        float | None,
        Option(
            metavar="RATE",
            help="How fast steps shrink: step t has the rate learning-rate / (1 + decay * t).",
            show_default="0.001; for adagrad 0",
        ),
    ] = None,
    backend: BackendName = "auto",
    dtype: Annotated[
        DtypeName, Option(help="Number format of weights and data.")
    ] = DtypeName.float32,
    seed: Annotated[
        int,
        Option(
            metavar="N",
            min=0,
            max=2**32 - 1,
            help="Points, split and weights depend on it and on nothing else.",
        ),
    ] = 0,
    out: Annotated[
        Path | None,
        Option(
            metavar="DIR",
            help="Folder for model.safetensors, metrics.json, decision.png and the "
            "checkpoint; made if missing.",
            show_default="runs/spiral, or runs/ and the name of the table",
        ),
    ] = None,
    resume: Annotated[
        Path | None,
        Option(
            metavar="DIR",
            help="Go on with the run in DIR, in place of --out, where it was ended, killed or "
            "finished; its settings are read from there, and --epochs may grow. Where DIR "
            "holds no checkpoint yet, settings that are given begin a new run.",
            show_default=False,
        ),
    ] = None,
    checkpoint_every: Annotated[
        int, Option(metavar="STEPS", min=1, help="Steps between two checkpoints.")
    ] = 500,
    json_target: JsonTarget = None,
    no_plot: Annotated[bool, Option("--no-plot", help="Draw no picture.")] = False,
    animate: Annotated[
        bool,
        Option("--animate", help="Also draw training.gif: what the network says where, by epoch."),
    ] = False,
    distributed: Annotated[
        bool,
        Option(
            "--distributed",
            help="Share every step with the other ranks that mpiexec or srun has started.",
        ),
    ] = False,
    timeout: Annotated[
        float,
        Option(metavar="SECONDS", help="How long a rank waits for the others, distributed."),
    ] = 600.0,
) -> int:
    """Train a classifier of interleaved spirals, or of a table of your own.

    Spirals: points are drawn from the spiral's generator, a network of dense
    layers learns to tell the arms apart, and its accuracy on fresh points is
    compared with the Bayes limit, the best that any classifier can do.

    A table: nnfs-gpu train --data iris.csv --target species. Columns of numbers
    are standardized, columns of texts become one input a text, and the model's
    file keeps how, for evaluate and predict.

    Ctrl-C ends training early and keeps what was learned; --resume goes on.

    On several GPUs or machines: mpiexec -n 4 nnfs-gpu train --distributed.
    The model is the same, to the bit, for any number of ranks, and a run may
    go on with another number.
    """
    from ..ranks.failures import on_first
    from . import config as cli_config, resume as cli_resume, train as cli_train
    from .distributed import ranks

    options = dict(locals())

    def settings() -> tuple[cli_config.Settings, cli_config.Outputs]:
        given, asked = cli_config.given(context), cli_config.values_of(options)
        config = cli_config.config_of(asked)
        outputs = cli_config.outputs_for(
            given, out or config.folder, resume, json_target, not no_plot, animate, checkpoint_every
        )
        config = cli_resume.resumed(config, asked, given, outputs)
        cli_config.check_rates(config.learning_rate, config.decay)
        return config, outputs

    with ranks(distributed, timeout) as world:
        config, outputs = on_first(world, settings)
        return cli_train.run(config, outputs, world, distributed)
