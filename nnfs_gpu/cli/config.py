"""What `nnfs-gpu train` was asked for: from the command, or from the checkpoint it goes on with.

Checkpoints go to DIR as training proceeds. `--resume DIR` goes on from there with the settings
of that run, and begins a new one where the folder DIR has none: the same command can be repeated
until the run is done, whatever ends it. A DIR that does not exist is refused: a misspelt name
would train anew. A finished run is measured again and its files are written
again; with more --epochs it grows. Without --resume a new run takes the old checkpoint's place.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import typer

from .. import checks, optimizers
from ..files.model_file import NOT_A_MODEL, ModelFileError
from ..files.tensor_reader import reason
from ..training import checkpoint, checkpoint_file
from .errors import InputError, describe

STEPS = 4_000  # what the default number of epochs aims at
EPOCHS = (5, 500)  # and its bounds


@dataclass(frozen=True)
class Rule:
    """An optimizer with the settings that suit the spiral in batches of about 1,000."""

    make: Any
    learning_rate: float
    decay: float
    settings: dict[str, float]


# A step's rate is learning_rate / (1 + decay * steps done): large steps find the spiral,
# small ones settle. AdaGrad divides by its growing cache and needs no decay.
RULES = {
    "adam": Rule(optimizers.Optimizer_Adam, 0.01, 1e-3, {}),
    "adamw": Rule(optimizers.Optimizer_AdamW, 0.01, 1e-3, {}),
    "rmsprop": Rule(optimizers.Optimizer_RMSprop, 0.01, 1e-3, {}),
    "adagrad": Rule(optimizers.Optimizer_Adagrad, 0.05, 0.0, {}),
    "sgd": Rule(optimizers.Optimizer_SGD, 0.5, 1e-3, {"momentum": 0.9}),
}


@dataclass(frozen=True)
class Config:
    """What was asked for, with every default filled in: it goes into metrics.json."""

    samples: int  # of each class
    classes: int
    hidden: tuple[int, ...]
    epochs: int
    batch_size: int
    optimizer: str
    learning_rate: float
    decay: float
    backend: str
    dtype: str
    seed: int

    @property
    def points(self) -> int:
        """Samples of all classes."""
        return self.samples * self.classes

    @property
    def network(self) -> str:
        """Its widths, from the two coordinates to the classes: 2-64-64-3."""
        return "-".join(str(width) for width in (2, *self.hidden, self.classes))


def default_epochs(points: int, batch_size: int) -> int:
    """As many epochs as make `STEPS` steps, within `EPOCHS`: small data is seen more often."""
    return min(max(math.ceil(STEPS / math.ceil(points / batch_size)), EPOCHS[0]), EPOCHS[1])


@dataclass(frozen=True)
class Outputs:
    """Where the results go."""

    folder: Path
    json_target: str | None
    plot: bool
    checkpoint_every: int  # steps
    resume: bool

    @property
    def checkpoint(self) -> Path:
        """The checkpoint's path."""
        return self.folder / checkpoint.FILE


# ---- from the command ----
def parse_widths(text: str) -> tuple[int, ...]:
    """(64, 64) of "64,64", or InputError."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() and 0 < int(part) <= 10**6 for part in parts):
        raise InputError(f"--hidden {text!r}: expected whole numbers from 1, such as 64,64")
    return tuple(int(part) for part in parts)


def check_rates(learning_rate: float, decay: float) -> None:
    """InputError for a rate that cannot train; Typer's limits let NaN through."""
    if not 0 < learning_rate < math.inf:
        raise InputError(f"--learning-rate {learning_rate:g}: expected a number above 0")
    if not 0 <= decay < math.inf:
        raise InputError(f"--decay {decay:g}: expected a number of at least 0")


def given(context: typer.Context) -> set[str]:
    """Names of the options that stand in the command, not in a default or the environment."""
    sources = {name: context.get_parameter_source(name) for name in context.params}
    return {name for name, source in sources.items() if source and source.name == "COMMANDLINE"}


def outputs_for(
    context: typer.Context,
    out: Path,
    resume: Path | None,
    json_target: str | None,
    plot: bool,
    checkpoint_every: int,
) -> Outputs:
    """Where the results go: --resume DIR in place of --out DIR."""
    if resume is not None and "out" in given(context) and out != resume:
        raise InputError(f"--out {out} and --resume {resume}: expected one folder")
    if resume is not None and not resume.is_dir():
        kind = "is a file, expected a folder" if resume.exists() else "no such folder"
        raise InputError(f"--resume {resume}: {kind}; begin a run with --out {resume}")
    folder = out if resume is None else resume
    return Outputs(folder, json_target, plot, checkpoint_every, resume is not None)


# ---- from a checkpoint ----
def resumed(config: Config, given: set[str], outputs: Outputs) -> Config:
    """The settings of the run that is to go on; `config` where there is none yet.

    given  what the command names of `config`: epochs may grow, all else must be as before.
    Raises InputError for a setting of another run, and for a file that is no checkpoint.
    """
    try:
        if not outputs.resume:
            return config
        if not outputs.checkpoint.exists():
            return _begun(config, given, outputs)
        document, _ = checkpoint_file.read(outputs.checkpoint)
    except (ModelFileError, OSError) as error:
        raise InputError(describe(error)) from error
    try:
        stored = stored_config(document)
    except (InputError, *NOT_A_MODEL) as error:
        raise InputError(
            f"{outputs.checkpoint}: not a checkpoint of nnfs-gpu train ({reason(error)})"
        ) from error
    for name in sorted(given & {field.name for field in fields(Config)} - {"epochs"}):
        before, now = getattr(stored, name), getattr(config, name)
        if now not in (before, "auto"):
            option = "--" + name.replace("_", "-")
            raise InputError(
                f"{option} {now}: the run in {outputs.folder} has {before}; leave the option "
                "out to go on with that run, or give another folder"
            )
    done = document["training"]["epochs_done"]
    epochs = config.epochs if "epochs" in given else stored.epochs
    if epochs < done:
        raise InputError(f"--epochs {epochs}: the run in {outputs.folder} has {done} epochs done")
    return replace(stored, epochs=epochs)


def _begun(config: Config, given: set[str], outputs: Outputs) -> Config:
    """`config`, where the command names it: a run that was killed before its first checkpoint
    has left no settings, and those by default are another run's.
    """
    if not given & {field.name for field in fields(Config)}:
        raise InputError(
            f"--resume {outputs.folder}: no checkpoint there, and no settings of a run; begin it "
            f"with its settings and --out {outputs.folder}"
        )
    return config


def stored_config(document: Any) -> Config:
    """The settings in a checkpoint of the command, checked as those of a command are.

    Raises InputError, or one of NOT_A_MODEL, for any other checkpoint.
    """
    states = [one["config"] for one in document["training"]["callbacks"] if "config" in one]
    if len(states) != 1:
        raise ValueError(f"it has settings of {len(states)} commands")
    (state,) = states
    config = Config(**state | {"hidden": tuple(state["hidden"])})
    sizes = "samples", "classes", "epochs", "batch_size"
    for name, size in [(name, getattr(config, name)) for name in sizes]:
        checks.positive_int(size, name)
    if max(config.samples, config.classes) > 10**9 or checks.seed(config.seed, "seed") >= 2**32:
        raise ValueError("samples, classes or seed larger than any command's")
    parse_widths(",".join(str(checks.positive_int(n, "hidden")) for n in config.hidden))
    checks.positive(config.learning_rate, "learning_rate")
    checks.not_negative(config.decay, "decay")
    known = config.optimizer in RULES and config.dtype in ("float32", "float64")
    if not known or not isinstance(config.backend, str):
        raise ValueError("an optimizer, a dtype or a backend that there is not")
    return config
