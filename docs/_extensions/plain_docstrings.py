"""Docstrings of the package are plain text: what Sphinx would take for markup in them is escaped.

|x| is a size and no substitution, `coefs_` ends with an underscore and names no link. Between back
quotes is code. Runs behind numpydoc, whose sections are markup. conf.py names this extension.
"""

from __future__ import annotations

import re
from typing import Any

from sphinx.application import Sphinx

CODE = re.compile(r"(`[^`]*`|:\w+:`[^`]*`)")
BAR = re.compile(r"(?<!\\)\|")
ENDS_LIKE_A_LINK = re.compile(r"(?<=[A-Za-z0-9])_(?![A-Za-z0-9_])")


def escaped(line: str) -> str:
    """The line with its bars and ends of names as they are, but for what is code."""
    parts = CODE.split(line)
    parts[::2] = [ENDS_LIKE_A_LINK.sub(r"\\_", BAR.sub(r"\\|", text)) for text in parts[::2]]
    return "".join(parts)


def escape(
    app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]
) -> None:
    """Called by autodoc with the lines of a docstring, which are changed in place."""
    literal = None  # the indent of the line that began a block of code
    for number, line in enumerate(lines):
        indent = len(line) - len(line.lstrip())
        if literal is not None and line.strip() and indent <= literal:
            literal = None
        if literal is None:
            lines[number] = escaped(line)
            if line.endswith("::"):
                literal = indent


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", escape, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
