"""The list of examples, each with the first line of what it says about itself."""

from __future__ import annotations

import ast
from importlib.resources import files

from . import CHAPTERS


def main() -> None:
    """Print how to start each program and what it shows. Nothing is imported for that."""
    for chapter in CHAPTERS:
        source = files(__package__).joinpath(f"chapter{chapter:02}.py").read_text(encoding="utf-8")
        title = (ast.get_docstring(ast.parse(source)) or "").splitlines()[0]
        print(f"python -m nnfs_gpu.examples.chapter{chapter:02}   {title}")


if __name__ == "__main__":
    main()
