"""Files and standard input as commands are given tables, and what is wrong with them in options.

`nnfs_gpu.tables` says remedies as arguments of its functions, missing="drop": here they become
options of the command, --missing drop.
"""

from __future__ import annotations

import contextlib
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..images import ImageFolderError
from ..tables.reading import STANDARD_INPUT
from ..tables.table import TableError
from .errors import InputError, describe

ARGUMENT = re.compile(
    r"\b(missing|unknown|separator|decimal|encoding|header|ignore|text|task|most_categories)"
    r'=("[^"]*"|\d+|True|False)'
)


def source_of(given: str, option: str) -> Any:
    """What `read_table` takes. Raises InputError where there is nothing."""
    if given != "-":
        if not Path(given).exists():
            raise InputError(f"{option} {given}: no such file or folder")
        return given
    if sys.stdin is None:
        raise InputError(f"{STANDARD_INPUT}: is closed; give a file, or send rows through a pipe")
    return sys.stdin.buffer


def form_of(config: Any) -> dict[str, Any]:
    """How a text is written, as the options say."""
    return {name: getattr(config, name) for name in ("separator", "decimal", "encoding", "header")}


# ---- errors ----
@contextlib.contextmanager
def in_options() -> Iterator[None]:
    """Errors of reading and converting as those of a command: InputError, with its options."""
    try:
        yield
    except (TableError, ImageFolderError, OSError) as error:
        raise InputError(ARGUMENT.sub(_option, describe(error))) from error


def _option(found: re.Match[str]) -> str:
    name, value = found[1].replace("_", "-"), found[2].strip('"')
    if value in ("True", "False"):
        return f"--{'' if value == 'True' else 'no-'}{name}"
    return f"--{name} {shlex.quote(value)}"
