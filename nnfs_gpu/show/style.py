"""How pictures look: colours, fonts, and the ground that they are drawn on.

Figures are made through Matplotlib's objects (Figure, Axes) and drawn by Agg: no pyplot, so no
window, no display and no state shared with a program that draws for itself. What is drawn inside
`figure` asks Matplotlib's settings for the ink and the ground, so that it fits both of them:

    PAPER  white, for files
    CLEAR  none, in grey that can be read on white and on black: for notebooks and sites
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from .figure import Picture

INK, GREY, FAINT = "#222222", "#6b6b6b", "#dddddd"
NEUTRAL = "#7a7a7a"  # a contrast of 4.3 to white and of 4.4 to #121212
TRAIN, VALIDATION = "#0072B2", "#D55E00"
# Okabe and Ito's colours (2008), which people of every colour vision tell apart.
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442")
Style = Mapping[str, Any]
PAPER: Style = {
    "font.family": "DejaVu Sans",  # comes with Matplotlib: the same picture on every machine
    "font.size": 12,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": GREY,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.titlesize": 14,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "figure.facecolor": "white",
    "grid.color": FAINT,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "lines.linewidth": 2.4,
    "lines.solid_capstyle": "round",
    "legend.frameon": False,
}
CLEAR: Style = {
    **PAPER,
    "font.size": 11,
    "text.color": NEUTRAL,
    "axes.labelcolor": NEUTRAL,
    "axes.edgecolor": NEUTRAL,
    "axes.facecolor": "none",
    "axes.titlesize": 12,
    "axes.titleweight": "normal",
    "figure.facecolor": "none",
    "grid.color": NEUTRAL,
    "grid.alpha": 0.25,
    "xtick.color": NEUTRAL,
    "ytick.color": NEUTRAL,
    "lines.linewidth": 2.0,
}


@contextlib.contextmanager
def figure(style: Style, width: int, height: int, **options: Any) -> Iterator[Picture]:
    """A figure of so many pixels, to be drawn in the block; `options` are those of Figure."""
    import matplotlib

    from .figure import DPI, Picture

    with matplotlib.rc_context(style):  # type: ignore[arg-type]
        made = Picture(figsize=(width / DPI, height / DPI), dpi=DPI, **options)
        yield made
        made.draw_without_rendering()  # ticks come into being here, in this style


def png(made: Picture, title: str = "") -> bytes:
    """The figure as a PNG file."""
    file = io.BytesIO()
    made.savefig(file, format="png", metadata={"Title": title} if title else None)
    return file.getvalue()


def class_colours(classes: int) -> np.ndarray:
    """(classes, 3) colours as red, green, blue in 0..1."""
    import matplotlib
    from matplotlib.colors import to_rgb

    if classes <= len(PALETTE):
        return np.array([to_rgb(colour) for colour in PALETTE[:classes]])
    # More than eyes can name. Arms that touch differ by several classes (10 rad apart, they
    # come round again after 5), so a map by number still sets neighbours apart.
    return matplotlib.colormaps["viridis"](np.linspace(0, 1, classes))[:, :3]
