"""The picture of the suite `ranks`: what was measured, the fitted model beside it, and a model.

Two panels have the speed of a fixed batch over ranks, by library; one compares the times with the
fitted model; the last one draws the same formula for GPUs, with assumed constants, and says so.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from nnfs_gpu.show.style import FAINT, GREY, INK

from . import rank_model
from .drawing import BLUE, GREEN, PINK, SKY, VERMILION, Result, look, picture
from .rank_model import GPU_RANKS, Fit, gpu_efficiency
from .rank_tables import GPU_CASES, LIBRARIES, set_of
from .sheet import Row

LOOK = {"nnfs_gpu": "nnfs_gpu fused", "torch": "torch", "jax": "jax"}
MODEL = {"color": INK, "linestyle": (0, (1, 1.5)), "linewidth": 2, "zorder": 4}
SHADES = (VERMILION, BLUE, GREEN, PINK, SKY)
MARKERS = "os^Dv"
NAMES = {  # where a line's name stands, from its end on
    "2-64-3, 1M": (-46, -4),
    "2-64-3, 100M": (4, 54),
    "2-64-3, 10G": (4, 6),
    "2-512-512-3, 1M": (-74, -8),
}
PANELS = 2  # of what was measured


def ranks(result: Result) -> bytes:
    """See the file's docstring."""
    rows = [row for row in result["rows"] if row["samples"] and not row["each"]]
    first = {row["net"]: row for row in rows[::-1]}  # of each net its first row
    shown = [row for row in rows if first[row["net"]] is row][:PANELS]
    found = rank_model.fit(result)
    panels: list[tuple[str, Callable[[Any], Any]]] = [
        (f"{row['case']}: measured", partial(_speed, row=row, fit=found)) for row in shown
    ]
    if found is not None:
        panels.append(("nnfs_gpu: measured against the fitted model", partial(_fitted, fit=found)))
    panels.append(("H200s: a model, not measured", _modelled))
    title = "Training steps shared by ranks, one core each"
    return picture(title, result, panels)


def _speed(axes: Any, row: Row, fit: Fit | None) -> None:
    counts = sorted(set(row["ranks"].values()))
    for library in LIBRARIES:
        names = {n: name for n in counts if (name := set_of(row, library, n))}
        speeds = {
            n: row["samples"][name] / row["contenders"][name]["median"] for n, name in names.items()
        }
        if not speeds:
            continue
        axes.plot(list(speeds), list(speeds.values()), label=library, **look(LOOK[library]))
        if library == "nnfs_gpu" and 1 in speeds:
            straight = [n * speeds[1] for n in counts]
            axes.plot(counts, straight, color=FAINT, zorder=1, label="ideal")
    if fit is not None and row["net"] in fit.speeds:
        samples, here = max(row["samples"].values()), [1, *fit.alphas]
        line = [samples / fit.seconds(row["net"], samples, n, row["bytes"]) for n in here]
        axes.plot(here, line, label="model, fitted", **MODEL)
    crowded = [row["ranks"][name] for name in row["crowded"]]
    if crowded:
        cores = max([n for n in counts if n not in crowded], default=1)
        edge = (cores * min(crowded)) ** 0.5
        axes.axvspan(edge, 1.15 * max(counts), color=FAINT, alpha=0.45, linewidth=0, zorder=0)
        _note(axes, (0.98, 0.04), "more ranks than cores", "right")
    axes.set_xlim(0.87, 1.15 * max(counts))
    axes.set_xticks(counts, map(str, counts))
    axes.set_xticks([], minor=True)
    axes.set_xlabel("ranks")
    axes.set_ylabel("samples a second")


def _fitted(axes: Any, fit: Fit) -> None:
    """Times of the model and those that were measured: on the line they are the same."""
    for shade, marker, count in zip(SHADES, MARKERS, [1, *fit.alphas], strict=False):
        points = [point for point in fit.points if point.ranks == count]
        x = [1e6 * fit.seconds(p.net, p.samples, p.ranks, p.bytes) for p in points]
        y = [1e6 * point.seconds for point in points]
        name = f"nnfs_gpu, {count} rank{'s' * (count > 1)}"
        axes.plot(x, y, marker, color=shade, markersize=8, markeredgecolor="white", label=name)
    every = [1e6 * point.seconds for point in fit.points]
    ends = [0.6 * min(every), 1.7 * max(every)]
    axes.plot(ends, ends, **(MODEL | {"zorder": 1}))
    off = max(abs(fit.residual(point)) for point in fit.points)
    _note(axes, (0.98, 0.04), f"off by {100 * off:.0f} % at most", "right")
    axes.set_xlabel("microseconds by the model")
    axes.set_ylabel("microseconds, measured")


def _modelled(axes: Any) -> None:
    for shade, (name, case) in zip(SHADES, GPU_CASES.items(), strict=False):
        line = [100 * gpu_efficiency(*case, n) for n in GPU_RANKS]
        axes.plot(GPU_RANKS, line, **(MODEL | {"color": shade, "linewidth": 2.6}))
        drawn = {"color": shade, "textcoords": "offset points", "ha": "right"}
        axes.annotate(name, (GPU_RANKS[-1], line[-1]), xytext=NAMES[name], **drawn)
    _note(axes, (0.02, 0.04), "assumed constants: bench/rank_model.py", "left")
    axes.set_xlabel("GPUs")
    axes.set_ylabel("% of so many GPUs' speed")


def _note(axes: Any, place: tuple[float, float], text: str, side: str) -> None:
    axes.text(*place, text, transform=axes.transAxes, ha=side, color=GREY, fontsize=10.5)
