"""What the parts of `make gpu-check`'s report share: records of a kind, their worst, numbers.

Standard library alone. `Results` is what `python -m bench.gpu_check` keeps, see report.py.
"""

from __future__ import annotations

from typing import Any

from ..markdown import Record, goal

Results = dict[str, Any]


def records(results: Results, kind: str, step: str = "") -> list[Record]:
    """What the steps measured, of one kind."""
    return [
        record
        for found in results["steps"]
        if step in ("", found["name"])
        for record in found.get("records", ())
        if record["kind"] == kind
    ]


def most(what: str, lines: list[Record], key: str, limit: float) -> Record:
    """The worst of the lines must not pass `limit`."""
    if not lines:
        return goal(what, f"<= {limit:g}", "not measured", None)
    worst = max(lines, key=lambda r: r[key])
    measured = f"{worst[key]:.3g} ({worst['operation']})"
    return goal(what, f"<= {limit:g}", measured, worst[key] <= limit)


def number(value: Any, digits: int = 3) -> str:
    """Three digits that count; words, which stand for NaN and infinity, as they are."""
    if not isinstance(value, (int, float)):
        return str(value)
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.{digits}g}"
