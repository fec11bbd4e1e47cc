"""Markdown for every report of bench/: tables, and goals with what was measured beside them.

Standard library alone: `make gpu-check` writes its report on a machine where a package is broken.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Record = dict[str, Any]


def table(head: Sequence[str], rows: Sequence[Sequence[Any]], words: int = 1) -> str:
    """A table; `words` columns to the left, the others to the right."""
    if not rows:
        return "(nothing measured)"
    cells = [[str(cell).replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows]
    lines = [head, [*["---"] * words, *["--:"] * (len(head) - words)], *cells]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def goal(what: str, wanted: str, measured: str, met: bool | None) -> Record:
    """A goal: in words, its bound, what was measured, whether it is met (None: not measured)."""
    return {"goal": what, "wanted": wanted, "measured": measured, "met": met}


def verdict(found: Record) -> str:
    """Whether a goal is met, in a word."""
    return {True: "met", False: "MISSED", None: "not measured"}[found["met"]]


def goal_table(goals: Sequence[Record]) -> str:
    """What was wanted, what was measured, and whether that is enough."""
    rows = [[g["goal"], g["wanted"], g["measured"], verdict(g)] for g in goals]
    return table(["goal", "wanted", "measured", ""], rows)
