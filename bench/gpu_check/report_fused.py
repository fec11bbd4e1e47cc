"""The fused training step in `make gpu-check`'s report: its goals and its tables.

Standard library alone; called by report.py.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..markdown import Record, goal, table
from .tables import Results, number, records

NET, ROWS = "2-64-3", 1_000_000  # of goal P4
FASTER = {"torch": ("PyTorch eager", 12.0), "torch.compile": ("torch.compile", 6.0)}


def goals(results: Results) -> list[Record]:
    """P4, P5 and P7, as far as they are about the fused step."""
    speeds = records(results, "fused speed")
    lines = [r for r in speeds if (r["net"], r["rows"]) == (NET, ROWS)]
    found = [_reached(f"P4 {NET}, {ROWS:,} samples: samples a second", lines, "samples_a_second")]
    for peer, (name, least) in FASTER.items():
        measured = [r["faster_than"][peer] for r in lines if peer in r["faster_than"]]
        what, wanted = f"P4 {NET}, {ROWS:,} samples: times {name}", f">= {least:g}"
        met = min(measured) >= least if measured else None
        found.append(goal(what, wanted, number(min(measured)) if measured else "no", met))
    runs: list[Record | None] = [*records(results, "fused book")]
    for r in runs or [None]:
        what = "P5 the book's run of 10,001 epochs, ms"
        if r is None:
            found.append(goal(what, "", "not measured", None))
            continue
        met = r["milliseconds"] <= r["goal"]
        found.append(goal(what, f"<= {r['goal']:g}", number(r["milliseconds"]), met))
    repeated = records(results, "fused repeated")
    same = sum(r["same"] for r in repeated)
    measured_as = f"{same} of {len(repeated)}"
    met = same == len(repeated) if repeated else None
    found.append(
        goal("P7 fused steps, one by one and together: the same bits", "all", measured_as, met)
    )
    return found


def _reached(what: str, lines: list[Record], key: str) -> Record:
    lines = [r for r in lines if r["goal"]]
    if not lines:
        return goal(what, "", "not measured", None)
    (line,) = lines
    met = line[key] >= line["goal"]
    return goal(what, f">= {line['goal']:.3g}", f"{line[key]:.3g}", met)


def section(results: Results) -> Iterator[str]:
    """Speed, the book's run, then what was compared; each where it was measured."""
    yield from ("## Fused training step, float32", "")
    yield "Whole steps with Adam; medians over rounds taken in turns, after all were found to"
    yield "compute the same gradient."
    yield ""
    for heads, rows in (_speed(results), _book(results), _right(results), _repeated(results)):
        if rows:
            yield from (table(heads, rows), "")


Table = tuple[list[str], list[list[str]]]


def _speed(results: Results) -> Table:
    rows = []
    for r in records(results, "fused speed"):
        took, rate = 1e6 * r["seconds_a_step"]["ours"], r["samples_a_second"] / 1e9
        times = [f"{r['faster_than'][n]:.1f}" if n in r["faster_than"] else "" for n in FASTER]
        rows.append([r["net"], f"{r['rows']:,}", number(took), number(rate), *times])
    peers = (f"times faster than {name}" for name, _ in FASTER.values())
    return ["net", "samples", "us a step", "G samples/s", *peers], rows


def _book(results: Results) -> Table:
    rows = [
        [f"{r['epochs']:,} epochs", number(r["milliseconds"]), f"{r['accuracy']:.3f}"]
        for r in records(results, "fused book")
    ]
    return ["the book's run, 300 samples", "ms", "accuracy"], rows


def _right(results: Results) -> Table:
    rows = [
        [f"{r['net']}, {r['how']}", f"{r['rows']:,}", number(r["gradient_error"])]
        for r in records(results, "fused right")
    ]
    return ["against float64 layer by layer", "samples", "largest error"], rows


def _repeated(results: Results) -> Table:
    rows = [
        [r["net"], f"{r['rows']:,}", str(r["times"]), "same bits" if r["same"] else "DIFFERENT"]
        for r in records(results, "fused repeated")
    ]
    return ["runs, one with its steps together", "samples", "runs", ""], rows
