"""What `nnfs-gpu train` was asked for: of spirals, or of a table; and where the results go.

`resume.py` has the same from a checkpoint.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from enum import Enum
from pathlib import Path
from typing import Any

import typer

from .. import optimizers
from ..training import checkpoint
from .errors import InputError

STEPS = 4_000  # what the default number of epochs aims at
EPOCHS = (5, 500)  # and its bounds
# The same of tables, which are smaller and are learned by heart when they are seen too often; and
# the bounds of their batches.
TABLE_STEPS, TABLE_EPOCHS, TABLE_BATCH = 2_000, (5, 100), (32, 1024)
BATCH_SIZE = 1024  # of spirals
TABLE_RATE = 10  # times smaller than a spiral's is its first learning rate


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
    """What was asked for of spirals, with every default filled in: it goes into metrics.json."""

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
    def folder(self) -> Path:
        """Where results go by default."""
        return Path("runs/spiral")


@dataclass(frozen=True)
class DataConfig:
    """The same of a table of one's own."""

    data: str
    target: str | None
    task: str | None
    validation_split: float
    validation_data: str | None
    class_weight: str | None
    missing: str
    unknown: str
    most_categories: int
    text: tuple[str, ...]
    ignore: tuple[str, ...]
    separator: str | None
    decimal: str
    encoding: str | None
    header: bool | None
    hidden: tuple[int, ...]
    epochs: int | None  # None: by the number of rows, as for batch_size
    batch_size: int | None
    optimizer: str
    learning_rate: float
    decay: float
    backend: str
    dtype: str
    seed: int

    @property
    def folder(self) -> Path:
        """Where results go by default: under the name of the table."""
        return Path("runs") / (Path(self.data).absolute().stem if self.data != "-" else "table")

    def settled(self, rows: int) -> DataConfig:
        """With what depends on the number of training rows filled in."""
        size = self.batch_size
        if size is None:  # about 64 steps an epoch, as far as batches are neither tiny nor huge
            size = min(max(2 ** int(math.log2(max(rows / 64, 1))), TABLE_BATCH[0]), TABLE_BATCH[1])
        epochs = self.epochs or default_epochs(rows, size, TABLE_STEPS, TABLE_EPOCHS)
        return replace(self, batch_size=size, epochs=epochs)


Settings = Config | DataConfig
NAMES = {field.name for kind in (Config, DataConfig) for field in fields(kind)}


def default_epochs(
    samples: int, batch_size: int, steps: int = STEPS, bounds: tuple[int, int] = EPOCHS
) -> int:
    """As many epochs as make so many steps, within bounds: small data is seen more often."""
    return min(max(math.ceil(steps / math.ceil(samples / batch_size)), bounds[0]), bounds[1])


@dataclass(frozen=True)
class Outputs:
    """Where the results go."""

    folder: Path
    json_target: str | None
    plot: bool
    animate: bool
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


def values_of(options: dict[str, Any]) -> dict[str, Any]:
    """Options by name as settings hold them: lists as tuples, choices as texts."""
    plain = {
        name: value.value if isinstance(value, Enum) else value for name, value in options.items()
    }
    lists = {name: tuple(plain[name] or ()) for name in ("text", "ignore")}
    return plain | lists | {"hidden": parse_widths(plain["hidden"])}


def config_of(asked: dict[str, Any]) -> Settings:
    """The settings that `values_of` options make: of a table where `data` is one of them."""
    rule, table, values = RULES[asked["optimizer"]], asked["data"] is not None, dict(asked)
    if asked["learning_rate"] is None:
        values["learning_rate"] = rule.learning_rate / (TABLE_RATE if table else 1)
    if asked["decay"] is None:
        values["decay"] = rule.decay
    if not table:
        size = values["batch_size"] = asked["batch_size"] or BATCH_SIZE
        points = asked["samples"] * asked["classes"]
        values["epochs"] = asked["epochs"] or default_epochs(points, size)
    kind = DataConfig if table else Config
    return kind(**{field.name: values[field.name] for field in fields(kind)})


def option(name: str) -> str:
    """What the command calls a setting."""
    return "--" + name.replace("_", "-")


def check_kind(config: Settings, given: set[str]) -> None:
    """InputError for options that go with something else than what is trained on."""
    for name in sorted((given & NAMES) - {field.name for field in fields(config)}):
        table = isinstance(config, DataConfig)
        remedy = "the rows are those of --data" if table else "give a table with --data FILE"
        raise InputError(f"{option(name)}: {remedy}")
    if {"validation_data", "validation_split"} <= given:
        raise InputError("--validation-data and --validation-split: expected one of them")


def outputs_for(
    given: set[str],
    out: Path,
    resume: Path | None,
    json_target: str | None,
    plot: bool,
    animate: bool,
    checkpoint_every: int,
) -> Outputs:
    """Where the results go: --resume DIR in place of --out DIR."""
    if resume is not None and "out" in given and out != resume:
        raise InputError(f"--out {out} and --resume {resume}: expected one folder")
    if resume is not None and not resume.is_dir():
        kind = "is a file, expected a folder" if resume.exists() else "no such folder"
        raise InputError(f"--resume {resume}: {kind}; begin a run with --out {resume}")
    folder = out if resume is None else resume
    return Outputs(folder, json_target, plot, animate, checkpoint_every, resume is not None)
