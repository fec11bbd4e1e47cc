"""What the parts of `make gpu-check`'s report share: records of a kind, goals, tables.

Standard library alone. `Results` is what `python -m bench.gpu_check` keeps, see report.py.
"""

from __future__ import annotations

from typing import Any

Results = dict[str, Any]
Record = dict[str, Any]


def records(results: Results, kind: str, step: str = "") -> list[Record]:
    """What the steps measured, of one kind."""
    return [
        record
        for found in results["steps"]
        if step in ("", found["name"])
        for record in found.get("records", ())
        if record["kind"] == kind
    ]


def goal(what: str, wanted: str, measured: str, met: bool | None) -> Record:
    """A goal: in words, its bound, what was measured, whether it is met (None: not measured)."""
    return {"goal": what, "wanted": wanted, "measured": measured, "met": met}


def most(what: str, lines: list[Record], key: str, limit: float) -> Record:
    """The worst of the lines must not pass `limit`."""
    if not lines:
        return goal(what, f"<= {limit:g}", "not measured", None)
    worst = max(lines, key=lambda r: r[key])
    measured = f"{worst[key]:.3g} ({worst['operation']})"
    return goal(what, f"<= {limit:g}", measured, worst[key] <= limit)


def table(heads: list[str], rows: list[list[Any]]) -> list[str]:
    """A Markdown table; the first column to the left, the others to the right."""
    if not rows:
        return ["(nothing measured)", ""]
    lines = ["| " + " | ".join(heads) + " |", "|---" + "|--:" * (len(heads) - 1) + "|"]
    cells = [[str(cell).replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows]
    return [*lines, *("| " + " | ".join(row) + " |" for row in cells), ""]


def number(value: Any, digits: int = 3) -> str:
    """Three digits that count; words, which stand for NaN and infinity, as they are."""
    if not isinstance(value, (int, float)):
        return str(value)
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.{digits}g}"
