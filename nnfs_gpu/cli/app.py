"""The command line `nnfs-gpu`: its commands, their options and its exit codes.

    0    done
    1    failed while running: disk full, memory exhausted, training diverged
    2    the command or its input was wrong
    130  interrupted by Ctrl-C; a training run has saved what it had (143: by SIGTERM)

Errors are one line on stderr that begins with "error:". This file, app_train.py and app_use.py
only read the command; train.py, use.py and others do the work and are imported when a command
runs, so that `nnfs-gpu --help` answers at once.
"""

from __future__ import annotations

import sys
from typing import Annotated, NoReturn

import typer
from typer import Option

from .._version import __version__
from .app_train import train
from .app_use import evaluate, predict
from .errors import run_command
from .options import BackendName, DtypeName, JsonTarget

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


app.command()(train)
app.command()(evaluate)
app.command()(predict)


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
    key: Annotated[
        bool,
        Option("--key", help="Print what compiled kernels depend on, to name a cache by; no more."),
    ] = False,
) -> int:
    """Compile the kernels that runs on this machine will need, and keep them on disk.

    For container images and CI: later runs then begin at once. Says where the files lie.
    """
    from . import warmup as cli_warmup

    if key:
        return cli_warmup.print_key(backend)
    dtypes = (dtype.value,) if dtype else tuple(name.value for name in DtypeName)
    return cli_warmup.run(backend, dtypes, json_target)


def main() -> NoReturn:
    """Run the command in sys.argv and end the process with its exit code."""
    sys.exit(run_command(typer.main.get_command(app), sys.argv[1:]))
