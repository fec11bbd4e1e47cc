"""One short program for each chapter of the book, 9 to 22: `python -m nnfs_gpu.examples`.

Each is read from top to bottom: its docstring says what the chapter shows and what to look at
in what is printed. `main(epochs=...)` is the program; `run` makes a command line of it.
All run on every backend: NNFS_GPU_BACKEND=numpy python -m nnfs_gpu.examples.chapter14
"""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Callable, Sequence
from typing import Any

from ..checks import positive_int

CHAPTERS = tuple(range(9, 23))
OPTIONS = {
    "epochs": "passes over the data",
    "folder": "pictures as folder/{train,test}/{class number}/*.png; without it some are drawn",
}


def run(main: Callable[..., Any], arguments: Sequence[str] | None = None) -> None:
    """Call `main` with options of the command line: one for each of its parameters.

    A parameter with a number as its default takes a whole number of at least 1, another one
    text. Errors in the options, and files that cannot be used, end in one line.
    """
    parser = argparse.ArgumentParser(
        description=inspect.getdoc(inspect.getmodule(main)),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for name, parameter in inspect.signature(main).parameters.items():
        if isinstance(parameter.default, int):
            text = f"{OPTIONS[name]} (default {parameter.default})"
            parser.add_argument(f"--{name}", type=_whole, default=parameter.default, help=text)
        else:
            parser.add_argument(f"--{name}", default=parameter.default, help=OPTIONS[name])
    given = vars(parser.parse_args(arguments))
    from ..images import ImageFolderError

    try:
        main(**given)
    except (OSError, ImageFolderError) as error:
        parser.exit(1, f"{parser.prog}: {error}\n")


def _whole(text: str) -> int:
    try:
        return positive_int(int(text), "number")
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"got {text!r}, expected a whole number of at least 1"
        ) from None
