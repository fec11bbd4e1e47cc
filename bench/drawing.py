"""How the pictures of bench/ look: colours, markers and lines by contender, panels and a legend.

Called by `pictures.py` and `rank_pictures.py`. Contenders differ in colour (Okabe and Ito's, for
all kinds of colour vision), in marker and in line, so that a print in grey can be read. Ours are
thick. Axes are logarithmic: times span decades.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from nnfs_gpu.show.style import GREY, INK, PAPER

from .sheet import Row

Result = dict[str, Any]
Points = list[tuple[float, float]]

BLUE, VERMILION, GREEN, ORANGE, PINK, SKY = (
    *("#0072B2", "#D55E00", "#009E73", "#E69F00", "#CC79A7", "#56B4E9"),
)
# What the name ends in: colour, marker, line. The first that fits counts.
LOOKS: tuple[tuple[str, str, str, Any], ...] = (
    ("fused", VERMILION, "o", "-"),
    ("layers", BLUE, "s", "-"),
    ("batches", SKY, "D", "-"),
    ("torch.compile", GREEN, "v", (0, (5, 2))),
    ("torch", GREEN, "^", "-"),
    ("jax", PINK, "P", "-"),
    ("book", GREY, "x", (0, (2, 2))),
    ("loop", GREY, "x", (0, (2, 2))),
    ("matrices", ORANGE, "d", (0, (2, 2))),
    ("closed form", SKY, "D", (0, (5, 2))),
    ("multiply-adds", INK, "", (0, (1, 1.5))),
    ("add", INK, "", (0, (1, 1.5))),
    ("new array", INK, "", (0, (5, 1.5))),
    ("numba", VERMILION, "o", "-"),
    ("numba-cuda", BLUE, "s", "-"),
    ("cupy", VERMILION, "o", "-"),
    ("numpy", BLUE, "s", "-"),
)


def look(contender: str) -> dict[str, Any]:
    """How a contender is drawn, in every picture the same."""
    fits = (rest for ending, *rest in LOOKS if contender.endswith(ending))
    colour, marker, style = next(fits, (INK, ".", "-"))
    ours = contender.startswith("nnfs_gpu")
    return {
        "color": colour,
        "marker": marker,
        "linestyle": style,
        "linewidth": 3.2 if ours else 1.8,
        "markersize": 8 if ours else 6.5,
        "markeredgecolor": "white" if marker not in ("x", "") else colour,
        "zorder": 3 if ours else 2,
    }


def by_contender(
    rows: Iterable[Row], point: Callable[[Row, dict[str, Any]], tuple[float, float]]
) -> dict[str, Points]:
    """The points of every contender, from left to right: point(row, what it measured)."""
    found: dict[str, Points] = {}
    for row in rows:
        for name, contender in row["contenders"].items():
            found.setdefault(name, []).append(point(row, contender))
    return {name: sorted(points) for name, points in found.items()}


def _decades(limits: tuple[float, float]) -> float:
    """Between the ends of an axis."""
    return math.log10(limits[1] / limits[0])


def _number(value: float, _: Any = None) -> str:
    """Such as 0.1, 30, 10k, 2M."""
    for unit, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= unit:
            return f"{value / unit:g}{name}"
    return f"{value:g}"


def picture(
    title: str, result: Result, panels: Sequence[tuple[str, Callable[[Any], Any]]]
) -> bytes:
    """A PNG of panels side by side, at most two in a row, with one legend below."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, NullFormatter

    columns = min(2, len(panels))
    lines = -(-len(panels) // columns)
    with matplotlib.rc_context(PAPER):  # type: ignore[arg-type]
        width, height = (12.0, 7.2) if columns == 1 else (16.0, 2.1 + 4.9 * lines)
        figure = Figure(figsize=(width, height), dpi=100, facecolor="white", layout="constrained")
        FigureCanvasAgg(figure)
        figure.suptitle(title, x=0.01, ha="left", fontsize=17, fontweight="bold")
        handles: dict[str, Any] = {}
        for number, (name, draw) in enumerate(panels, 1):
            axes = figure.add_subplot(lines, columns, number)
            axes.set(xscale="log", yscale="log")
            axes.set_title(name)
            draw(axes)
            if _decades(axes.get_xlim()) > 1:
                axes.xaxis.set_major_formatter(FuncFormatter(_number))
                axes.xaxis.set_minor_formatter(NullFormatter())
            axes.yaxis.set_major_formatter(FuncFormatter(_number))
            if _decades(axes.get_ylim()) > 1:
                axes.yaxis.set_minor_formatter(NullFormatter())
            found, labels = axes.get_legend_handles_labels()
            handles |= dict(zip(labels, found, strict=True))
        environment = result["environment"]
        where = f"{environment['processor']}, {environment['cores']} cores; {environment['time']}"
        if handles:
            figure.legend(
                handles.values(),
                handles,
                loc="outside lower center",
                ncols=min(len(handles), 6 if columns > 1 else 4),
                title=where,
            )
        file = io.BytesIO()
        figure.savefig(file, format="png", metadata={"Title": title})
    return file.getvalue()
