"""`nnfs-gpu train --resume DIR`: the settings of the run that is to go on.

Checkpoints go to DIR as training proceeds. `--resume DIR` goes on from there with the settings
of that run, and begins a new one where the folder DIR has none: the same command can be repeated
until the run is done, whatever ends it. A DIR that does not exist is refused: a misspelt name
would train anew. A finished run is measured again and its files are written
again; with more --epochs it grows. Without --resume a new run takes the old checkpoint's place.

A table is read again: from where it lay, or from where --data now says that it lies. Its rows are
compared with those of the checkpoint before the first step.
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from .. import checks
from ..files.model_file import NOT_A_MODEL, ModelFileError
from ..files.tensor_reader import reason
from ..training import checkpoint_file
from .config import (
    NAMES,
    RULES,
    Config,
    DataConfig,
    Outputs,
    Settings,
    check_kind,
    option,
    parse_widths,
)
from .errors import InputError, describe

MAY_CHANGE = {"epochs", "data", "validation_data"}


def resumed(config: Settings, asked: dict[str, Any], given: set[str], outputs: Outputs) -> Settings:
    """The settings of the run that is to go on; `config` where there is none yet.

    asked  the value of every option
    given  those that the command names: epochs may grow, files may lie elsewhere, all else must
           be as before
    Raises InputError for a setting of another run, and for a file that is no checkpoint.
    """
    try:
        if not outputs.resume:
            check_kind(config, given)
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
    _check_same(stored, asked, given, outputs)
    now = {name: asked[name] for name in MAY_CHANGE & given}
    epochs, done = now.get("epochs", stored.epochs), document["training"]["epochs_done"]
    if epochs < done:
        raise InputError(f"--epochs {epochs}: the run in {outputs.folder} has {done} epochs done")
    return replace(stored, **now)


def _check_same(stored: Settings, asked: dict[str, Any], given: set[str], outputs: Outputs) -> None:
    """InputError where the command names another setting than the run has."""
    names = {field.name for field in fields(stored)}
    for name in sorted((given & NAMES) - names):
        about = stored.data if isinstance(stored, DataConfig) else "spirals"
        raise InputError(
            f"{option(name)}: the run in {outputs.folder} trains on {about} and has no such "
            "setting; leave the option out to go on with that run, or give another folder"
        )
    for name in sorted(given & names - MAY_CHANGE):
        before, now = getattr(stored, name), asked[name]
        if now not in (before, "auto"):
            raise InputError(
                f"{option(name)} {_shown(now)}: the run in {outputs.folder} has {_shown(before)}; "
                "leave the option out to go on with that run, or give another folder"
            )


def _shown(value: Any) -> str:
    """A setting as the command has it."""
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _begun(config: Settings, given: set[str], outputs: Outputs) -> Settings:
    """`config`, where the command names it: a run that was killed before its first checkpoint
    has left no settings, and those by default are another run's.
    """
    if not given & NAMES:
        raise InputError(
            f"--resume {outputs.folder}: no checkpoint there, and no settings of a run; begin it "
            f"with its settings and --out {outputs.folder}"
        )
    check_kind(config, given)
    return config


def stored_config(document: Any) -> Settings:
    """The settings in a checkpoint of the command, checked as those of a command are.

    Raises InputError, or one of NOT_A_MODEL, for any other checkpoint.
    """
    states = [one["config"] for one in document["training"]["callbacks"] if "config" in one]
    if len(states) != 1:
        raise ValueError(f"it has settings of {len(states)} commands")
    (state,) = states
    lists = {name: tuple(state[name]) for name in ("hidden", "text", "ignore") if name in state}
    config = (DataConfig if "data" in state else Config)(**state | lists)
    sizes = ["epochs", "batch_size"]
    if isinstance(config, Config):
        sizes += ["samples", "classes"]
        if max(config.samples, config.classes) > 10**9:
            raise ValueError("samples or classes larger than any command's")
    else:
        _check_table(config)
    for name in sizes:
        checks.positive_int(getattr(config, name), name)
    if checks.seed(config.seed, "seed") >= 2**32:
        raise ValueError("a seed larger than any command's")
    parse_widths(",".join(str(checks.positive_int(n, "hidden")) for n in config.hidden))
    checks.positive(config.learning_rate, "learning_rate")
    checks.not_negative(config.decay, "decay")
    known = config.optimizer in RULES and config.dtype in ("float32", "float64")
    if not known or not isinstance(config.backend, str):
        raise ValueError("an optimizer, a dtype or a backend that there is not")
    return config


def _check_table(config: DataConfig) -> None:
    """TypeError or ValueError for settings that no command has. What they say is judged where the
    table is read.
    """
    texts = (config.data, config.missing, config.unknown, config.decimal, *config.text)
    maybe = (config.target, config.task, config.validation_data, config.class_weight)
    form = (config.separator, config.encoding)
    if not all(isinstance(one, str) for one in (*texts, *config.ignore)):
        raise TypeError("a setting that is no text")
    if not all(one is None or isinstance(one, str) for one in (*maybe, *form)):
        raise TypeError("a setting that is no text")
    if config.header not in (None, True, False):
        raise TypeError("header: expected true, false or null")
    checks.positive_int(config.most_categories, "most_categories")
    checks.fraction(config.validation_split, "validation_split")
