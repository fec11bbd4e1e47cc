"""What the commands of `nnfs-gpu` share: consoles, files, models, words.

What is wrong with a file or a name is found here and raised as `InputError`, before any work
begins (`errors.py`).
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import platform
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._version import __version__
from ..backend import Backend, BackendUnavailableError, get_backend, use_backend
from ..files import model_file as storage, tensor_file
from ..model import Model
from .errors import CommandError, InputError, describe

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

MODEL_FILE, METRICS_FILE, PICTURE_FILE = "model.safetensors", "metrics.json", "decision.png"
CURVES_FILE = "curves.png"  # where there are no regions to draw
ANIMATION_FILE = "training.gif"
BATCH = 16_384  # rows at a time where nothing is learned: bounds memory, changes no result


def console_for(json_target: str | None, quiet: bool = False) -> Console:
    """Where people read: stdout, or stderr while `--json -` keeps stdout for the machine.

    quiet  nowhere: of several ranks, one prints
    """
    from rich.console import Console

    return Console(stderr=json_target == "-", highlight=False, emoji=False, quiet=quiet)


def choose_backend(name: str, dtype: str | None = None, option: str = "--backend") -> Backend:
    """Make the backend called `name`, as `option` says, the default and return it; InputError."""
    try:
        use_backend(name, dtype=dtype)
    except (ValueError, BackendUnavailableError) as error:
        raise InputError(f"{option} {name}: {error}") from error
    return get_backend()


def load_model(path: Path, backend: str) -> tuple[Model, Path]:
    """The model of a table, or the classifier, in the file `path` or in the folder `path`; the
    file.
    """
    try:
        file = path / MODEL_FILE if path.is_dir() else path
        found = file.is_file()
    except OSError as error:  # a folder on the way there may not be entered
        raise InputError(describe(error)) from error
    if not found:
        raise InputError(f"{file}: no such model file; make one with: nnfs-gpu train --out DIR")
    choose_backend(backend)
    try:
        model = Model.load(file)
    except (storage.ModelFileError, OSError) as error:
        raise InputError(describe(error)) from error
    if model.preprocessing is not None:
        return model, file
    if model.softmax_classifier_output is None or not hasattr(model.layers[0], "n_inputs"):
        raise InputError(
            f"{file}: not a classifier; expected dense layers that end in a softmax, "
            "with categorical cross-entropy as the loss"
        )
    return model, file


# ---- files ----
class OutputFolder:
    """A folder that exists and can be written; found out now, not after an hour of training.

    `discard` takes back the folders that were made, as long as they are empty.
    """

    def __init__(self, path: Path):
        self.path = path
        self._made: list[Path] = []
        try:
            if path.exists() and not path.is_dir():
                raise InputError(f"--out {path}: is a file, expected a folder")
            self._made = tensor_file.make_folder(path)
            tempfile.TemporaryFile(dir=path).close()
        except OSError as error:
            self.discard()
            raise InputError(f"--out {path}: cannot write there: {error.strerror}") from error

    def discard(self) -> None:
        """Remove the folders that were made here and that nobody has filled."""
        tensor_file.remove_empty(self._made)


def check_target(target: str | None, option: str) -> None:
    """InputError where `write` could not write to `target`."""
    if target is None or target == "-":
        return
    path = Path(target)
    try:
        if path.is_dir():
            raise InputError(f"{option} {path}: is a folder, expected a file")
        if path.is_file() or not path.exists():
            tempfile.TemporaryFile(dir=path.parent).close()
    except OSError as error:
        raise InputError(f"{option} {path}: cannot write there: {error.strerror}") from error


def write(data: bytes, target: str | Path) -> None:
    """Write to the file `target`, whole or not at all; to stdout for "-"."""
    path = Path(target)
    if target == "-":
        if sys.stdout is None:
            raise CommandError("standard output is closed; send it to a file or a pipe")
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return
    with naming(path):
        if path.exists() and not path.is_file():
            path.write_bytes(data)  # a pipe or a device: to replace it would destroy it
        else:
            tensor_file.write_atomically(path, data)


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Say which file it was: the system's error of a failed write does not."""
    try:
        yield
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror}") from error


def to_json(value: dict[str, Any]) -> bytes:
    """`value` as JSON that every reader accepts: NaN and infinity become null."""
    return (json.dumps(_finite(value), indent=2, allow_nan=False) + "\n").encode()


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not abs(value) < float("inf"):
        return None
    return value


# ---- words ----
def two_columns(rows: dict[str, str]) -> Table:
    """A table of names and values; values are text, whatever brackets they hold."""
    from rich.table import Table
    from rich.text import Text

    table = Table(show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows.items():
        table.add_row(name, Text(value))
    return table


def versions() -> dict[str, str | None]:
    """The versions that decide on results and speed; None for what is not installed."""
    found: dict[str, str | None] = {"nnfs_gpu": __version__, "python": platform.python_version()}
    for name in ("numpy", "numba", "safetensors"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = None
    return found
