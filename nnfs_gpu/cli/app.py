"""The command line `nnfs-gpu`: its commands, their options and its exit codes.

    0    done
    1    failed while running: disk full, memory exhausted, training diverged
    2    the command or its input was wrong
    130  interrupted by Ctrl-C; a training run has saved what it had (143: by SIGTERM)

Errors are one line on stderr that begins with "error:". This file only reads the command;
train.py, use.py and others do the work and are imported when a command runs, so that
`nnfs-gpu --help` answers at once.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from typer import Argument, Option

from .._version import __version__
from .errors import run_command
from .options import BackendName, DtypeName, JsonTarget, ModelPath, OptimizerName, whole_number

app = typer.Typer(
    name="nnfs-gpu",
    help="Train and use the network of the book Neural Networks from Scratch in Python.\n\n"
    "Start with: nnfs-gpu train",
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"nnfs-gpu {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _top(
    context: typer.Context,
    version: Annotated[  # noqa: ARG001 - its callback has done it
        bool,
        Option("--version", callback=_print_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command()
def train(
    context: typer.Context,
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
            show_default="enough for 4,000 steps, from 5 to 500",
        ),
    ] = None,
    batch_size: Annotated[
        int, Option(metavar="N", min=1, help="Points in a step of training.")
    ] = 1024,
    optimizer: Annotated[
        OptimizerName, Option(help="How a gradient changes the weights; sgd has momentum 0.9.")
    ] = OptimizerName.adam,
    learning_rate: Annotated[
        float | None,
        Option(
            metavar="RATE",
            help="Size of the first steps.",
            show_default="0.01 for adam, adamw and rmsprop, 0.05 for adagrad, 0.5 for sgd",
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
            help="Points and weights depend on it and on nothing else.",
        ),
    ] = 0,
    out: Annotated[
        Path,
        Option(
            metavar="DIR",
            help="Folder for model.safetensors, metrics.json, decision.png and the "
            "checkpoint; made if missing.",
        ),
    ] = Path("runs/spiral"),
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
    no_plot: Annotated[bool, Option("--no-plot", help="Draw no decision.png.")] = False,
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
    """Train a classifier of interleaved spirals.

    Points are drawn from the spiral's generator, a network of dense layers
    learns to tell the arms apart, and its accuracy on fresh points is compared
    with the Bayes limit, the best that any classifier can do.

    Ctrl-C ends training early and keeps what was learned; --resume goes on.

    On several GPUs or machines: mpiexec -n 4 nnfs-gpu train --distributed.
    The model is the same, to the bit, for any number of ranks, and a run may
    go on with another number.
    """
    from ..ranks.failures import on_first
    from . import config as cli_config, train as cli_train
    from .distributed import ranks

    def asked() -> tuple[cli_config.Config, cli_config.Outputs]:
        rule = cli_config.RULES[optimizer.value]
        config = cli_config.Config(
            samples=samples,
            classes=classes,
            hidden=cli_config.parse_widths(hidden),
            epochs=epochs or cli_config.default_epochs(samples * classes, batch_size),
            batch_size=batch_size,
            optimizer=optimizer.value,
            learning_rate=rule.learning_rate if learning_rate is None else learning_rate,
            decay=rule.decay if decay is None else decay,
            backend=backend,
            dtype=dtype.value,
            seed=seed,
        )
        outputs = cli_config.outputs_for(
            context, out, resume, json_target, not no_plot, checkpoint_every
        )
        config = cli_config.resumed(config, cli_config.given(context), outputs)
        cli_config.check_rates(config.learning_rate, config.decay)
        return config, outputs

    with ranks(distributed, timeout) as world:
        config, outputs = on_first(world, asked)
        return cli_train.run(config, outputs, world, distributed)


@app.command()
def evaluate(
    model: ModelPath,
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
    """Measure a trained model on fresh spiral points that it has not seen."""
    from . import use as cli_use

    seed = cli_use.FRESH_SEED if seed is None else seed
    return cli_use.evaluate(model, samples, seed, backend, json_target)


@app.command()
def predict(
    model: ModelPath,
    source: Annotated[
        str,
        Argument(
            metavar="[INPUT]",
            help="CSV with a row of numbers for each point, header lines allowed, or .npy; "
            "- is standard input.",
        ),
    ] = "-",
    output: Annotated[
        str, Option(metavar="FILE", help="Where the CSV goes; - is standard output.")
    ] = "-",
    backend: BackendName = "auto",
) -> int:
    """Classify points with a trained model.

    Writes a line class,p0,p1,... for each row: the most likely class, then the
    probability of every class.

    Try: echo 0.1,0.2 | nnfs-gpu predict runs/spiral
    """
    from . import use as cli_use

    return cli_use.predict(model, source, output, backend)


@app.command()
def info(json_target: JsonTarget = None) -> int:
    """Show which backends work on this machine, why others do not, and the versions."""
    from . import info as cli_info

    return cli_info.run(json_target)


@app.command()
def bench(backend: BackendName = "auto", json_target: JsonTarget = None) -> int:
    """Measure how fast this installation is: softmax backward, and training steps."""
    from . import bench as cli_bench

    return cli_bench.run(backend, json_target)


@app.command()
def crosscheck(
    backend: BackendName = "auto",
    against: Annotated[
        str, Option(metavar="NAME", help="The backend to compare with; numpy is the specification.")
    ] = "numpy",
    json_target: JsonTarget = None,
) -> int:
    """Compare two backends: every operation, and a short training run.

    Ends with exit code 1 where a difference is larger than rounding explains.
    """
    from . import crosscheck as cli_crosscheck

    return cli_crosscheck.run(backend, against, json_target)


@app.command()
def warmup(
    backend: BackendName = "auto",
    dtype: Annotated[
        DtypeName | None,
        Option(help="Numbers to compute in.", show_default="both"),
    ] = None,
    json_target: JsonTarget = None,
) -> int:
    """Compile the kernels that runs on this machine will need, and keep them on disk.

    For container images and CI: later runs then begin at once. Says where the files lie.
    """
    from . import warmup as cli_warmup

    dtypes = (dtype.value,) if dtype else tuple(name.value for name in DtypeName)
    return cli_warmup.run(backend, dtypes, json_target)


def main() -> NoReturn:
    """Run the command in sys.argv and end the process with its exit code."""
    sys.exit(run_command(typer.main.get_command(app), sys.argv[1:]))
