"""What the notebooks draw with: figures that look right on a light and on a dark page.

They have no ground, and a grey that can be read on white and on black (`CLEAR` of
`nnfs_gpu/show/style.py`); what has to be white or black is part of a picture, never of the page.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from nnfs_gpu.show.style import CLEAR, NEUTRAL, PALETTE, figure

DATA = Path(__file__).parent / "data"
BLUE, ORANGE, GREEN, PINK, SKY, RED, YELLOW = PALETTE


@contextlib.contextmanager
def panels(columns: int = 1, height: int = 320, width: int = 860, rows: int = 1) -> Iterator[Any]:
    """The axes of a figure, one or an array of them, to be drawn on in the block.

    The figure is `axes.figure`, and of several `axes[0].figure`.
    """
    with figure(CLEAR, width, height, layout="constrained") as made:
        yield made.subplots(rows, columns)


def show_matrix(axes: Any, values: np.ndarray, title: str = "", limit: float | None = None) -> Any:
    """A matrix as an image, blue below 0 and orange above, with its numbers where there is room.

    limit  the number that has the full colour; by default the largest
    """
    limit = limit or float(np.abs(values).max()) or 1.0
    image = axes.imshow(values, cmap=_blue_to_orange(), vmin=-limit, vmax=limit)
    axes.set(xticks=[], yticks=[], title=title)
    axes.grid(False)
    axes.spines[:].set_visible(False)
    if values.shape[1] <= 6:
        for (row, column), value in np.ndenumerate(values):
            axes.text(column, row, f"{value:.2g}", ha="center", va="center", color="black", size=8)
    return image


def show_probability(axes: Any, side: np.ndarray, p: np.ndarray) -> None:
    """A probability (rows, columns) over the square of `side` x `side`; the line is one half."""
    extent = (side[0], side[-1], side[0], side[-1])
    axes.imshow(p, cmap=_blue_to_orange(0.6), vmin=0, vmax=1, extent=extent, origin="lower")
    axes.contour(side, side, p, [0.5], colors=["#555555"])
    axes.set(xticks=[], yticks=[])
    axes.grid(False)
    axes.spines[:].set_visible(False)


def _blue_to_orange(strength: float = 1.0) -> Any:
    """Colours from blue over white to orange, mixed with white."""
    from matplotlib.colors import LinearSegmentedColormap, to_rgb

    ends = [1 - strength * (1 - np.array(to_rgb(colour))) for colour in (BLUE, ORANGE)]
    return LinearSegmentedColormap.from_list("signs", [ends[0], "white", ends[1]])


def show_picture(axes: Any, picture: np.ndarray, title: str = "") -> None:
    """Grey levels (height, width), light on dark as they are stored."""
    axes.imshow(picture, cmap="gray", vmin=0, vmax=255)
    axes.set(xticks=[], yticks=[])
    axes.set_title(title, fontsize=9, color=NEUTRAL, loc="center")
    axes.grid(False)
    axes.spines[:].set_visible(False)
