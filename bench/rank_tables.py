"""Ranks on the page on speed, from the results of the suite `ranks`: called by tables.py.

What was measured, how near the fitted model of rank_model.py is to it, and what that model says of
GPUs with assumed constants, which is called so.
"""

from __future__ import annotations

import statistics
from typing import Any

from . import rank_model
from .cells import faster_elsewhere
from .markdown import table
from .rank_model import Fit, gpu_efficiency
from .sheet import Row, duration, times

GPUS = (8, 64, 512, 1024)
GPU_CASES: dict[str, tuple[tuple[int, ...], float]] = {  # the net, and samples of a step
    "2-64-3, 1M": ((2, 64, 3), 1e6),
    "2-64-3, 100M": ((2, 64, 3), 1e8),
    "2-64-3, 10G": ((2, 64, 3), 1e10),
    "2-512-512-3, 1M": ((2, 512, 512, 3), 1e6),
}
LIBRARIES = ("nnfs_gpu", "torch", "jax")


def section(result: dict[str, Any]) -> str:
    """All of it."""
    rows = result["rows"]
    parts = [measured(rows), faster_elsewhere([row for row in rows if row["samples"]]).strip()]
    found = rank_model.fit(result)
    if found is not None:
        parts.append(fitted(found))
    parts.append(modelled())
    return "\n\n".join(parts)


def set_of(row: Row, library: str, ranks: int) -> str | None:
    """The name of a library's set of so many ranks, where it was measured."""
    for name, size in row["ranks"].items():
        if size == ranks and name.startswith(library) and not name.endswith("process"):
            return str(name) if name in row["contenders"] else None
    return None


def speed_up(row: Row, library: str, ranks: int) -> float | None:
    """How many times as fast so many ranks are as one, in samples a second."""
    one, many = set_of(row, library, 1), set_of(row, library, ranks)
    if one is None or many is None:
        return None
    more: float = row["samples"][many] / row["samples"][one]
    return more * times(row, one, many)


# ---- measured ----
def measured(rows: list[Row]) -> str:
    """Time of a step, and how many times as fast as one rank."""
    counts = sorted({ranks for row in rows for ranks in row["ranks"].values()})
    crowded = {row["ranks"][name] for row in rows for name in row["crowded"]}
    lines = []
    for row in rows:
        names = [
            library
            for library in LIBRARIES
            if any(name.startswith(library) for name in row["contenders"])
        ]
        for library in names:
            alone = row["contenders"].get(f"{library} one process")
            lines.append(
                [
                    row["case"] if library == names[0] else "",
                    library,
                    duration(alone["median"]) if alone else "-",
                    *(_cell(row, library, ranks) for ranks in counts),
                    _waited(row, 2) if library == "nnfs_gpu" else "-",
                ]
            )
    heads = [f"{n} rank{'s' * (n > 1)}{' (crowded)' * (n in crowded)}" for n in counts]
    head = ["net", "by", "one process", *heads, "waited"]
    return (
        "Time of a step with one thread a rank, and how many times as fast as on one rank it is, "
        "in samples a second. Crowded: more ranks than cores. Waited: what of the time of 2 ranks "
        "was communication. The parameters of all our ranks are the same bits as those of one "
        "process.\n\n"
    ) + table(head, lines, words=2)


def _cell(row: Row, library: str, ranks: int) -> str:
    name = set_of(row, library, ranks)
    if name is None:
        return "-"
    text, faster = duration(row["contenders"][name]["median"]), None
    if ranks > 1 and row["samples"]:
        faster = speed_up(row, library, ranks)
    return text if faster is None else f"{text}, {faster:.2f}x"


def _waited(row: Row, ranks: int) -> str:
    name = set_of(row, "nnfs_gpu", ranks)
    if name is None or not row["samples"] or name not in row.get("waited", {}):
        return "-"
    return f"{100 * row['waited'][name] / row['contenders'][name]['median']:.0f} %"


# ---- modelled ----
def fitted(found: Fit) -> str:
    """The constants of this machine, and how far the model is off."""
    speeds = ", ".join(f"{speed / 1e6:.3g} M of {net}" for net, speed in found.speeds.items())
    alphas = ", ".join(f"{1e6 * a:.3g} us with {n} ranks" for n, a in found.alphas.items())
    off = [abs(found.residual(point)) for point in found.points]
    return (
        "t = n / (R c) + overhead + alpha + 2 B / bandwidth (`bench/rank_model.py`), fitted to "
        f"{len(off)} times of ours on as many ranks as cores: c, samples a second of a core: "
        f"{speeds}; overhead {1e6 * found.overhead:.3g} us; alpha {alphas}; bandwidth "
        f"{found.bandwidth / 1e9:.3g} GB/s. It is off by {100 * statistics.median(off):.0f} % in "
        f"the middle, by {100 * max(off):.0f} % at most."
    )


def residuals(result: dict[str, Any]) -> str:
    """Every point of the fit, for tables.md; "" where there is none."""
    found = rank_model.fit(result)
    if found is None:
        return ""
    lines = [
        [
            point.case,
            str(point.ranks),
            duration(point.seconds),
            duration(found.seconds(point.net, point.samples, point.ranks, point.bytes)),
            f"{100 * found.residual(point):+.1f} %",
        ]
        for point in found.points
    ]
    return table(["fitted", "ranks", "measured", "model", "longer than the model"], lines)


def modelled() -> str:
    """What the model says of GPUs."""
    lines = [
        [
            f"{name} samples a step",
            *(f"{100 * gpu_efficiency(widths, samples, ranks):.0f} %" for ranks in GPUS),
        ]
        for name, (widths, samples) in GPU_CASES.items()
    ]
    text = (
        "**A model, not measured**: the same formula for H200s, eight in a node, with assumed "
        "constants (`bench/rank_model.py`). The share of so many GPUs' speed that a fixed batch "
        "reaches:\n\n"
    )
    return text + table(["GPUs", *map(str, GPUS)], lines)
