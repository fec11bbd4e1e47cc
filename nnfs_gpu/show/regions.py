"""Decision regions: what a classifier of points in the plane says where.

Drawn into axes of a `style.figure`; called by `picture.py` and `animation.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..network.network import Network
from ..parameters import parameters_of
from .style import PALETTE, class_colours

PIXELS = 640  # of a side of the map of decisions
POINTS = 1500  # shown over the regions
BATCH = 16_384
MULTIPLY_ADDS = 4e10  # spent on the map at most, some seconds; large networks get fewer pixels
LEAST_PIXELS = 120
MARGIN = 0.06  # of the data's extent, around them


@dataclass(frozen=True)
class View:
    """What part of the plane is shown.

    left, right, bottom, top  its borders
    edge  radius around the origin where the map ends; None: it has no end
    """

    left: float
    right: float
    bottom: float
    top: float
    edge: float | None = None

    @classmethod
    def around(cls, points: np.ndarray) -> View:
        """All of `points` (N, 2) and a margin."""
        low, high = points.min(axis=0).astype(float), points.max(axis=0).astype(float)
        margin = MARGIN * (high - low)
        margin[margin == 0] = 1.0  # of points in a line, or of a single one
        (left, bottom), (right, top) = low - margin, high + margin
        return cls(left, right, bottom, top)

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """As `imshow` wants it."""
        return self.left, self.right, self.bottom, self.top

    def grid(self, pixels: int) -> np.ndarray:
        """(pixels * pixels, 2): the middles of the pixels, row by row from the bottom."""
        steps = (np.arange(pixels) + 0.5) / pixels
        x = self.left + steps * (self.right - self.left)
        y = self.bottom + steps * (self.top - self.bottom)
        return np.stack([a.reshape(-1) for a in np.meshgrid(x, y)], axis=1)


def probabilities(model: Network, outputs: Any) -> np.ndarray:
    """(N, C): what a classifier's outputs say of each class; a single one is that of class 1."""
    p = model.backend.to_numpy(outputs)
    binary = p.shape[1] == 1 and model.softmax_classifier_output is None
    return np.concatenate([1 - p, p], axis=1) if binary else p


def pixels_for(model: Network, most: int = PIXELS, work: float = MULTIPLY_ADDS) -> int:
    """Pixels of a side of the map, as many as so many multiply-adds allow."""
    weights = sum(
        int(getattr(one.values, "size", 0))
        for layer in model.trainable_layers
        for one in parameters_of(layer)
    )
    return int(np.clip((work / max(weights, 1)) ** 0.5, min(LEAST_PIXELS, most), most))


def region_image(model: Any, view: View, pixels: int) -> np.ndarray:
    """(pixels, pixels, 4): the classes' colours mixed by probability, paler where in doubt.

    Colours are mixed as light (gamma 2.2 undone): two complementary ones give no mud.
    Beyond the view's edge the image is transparent.
    """
    grid = view.grid(pixels)
    image = np.empty((pixels * pixels, 4))
    light: Any = None
    for start in range(0, len(grid), BATCH):  # 300 classes on all pixels would be half a GB
        rows = slice(start, start + BATCH)
        p = probabilities(model, model.predict(grid[rows]))
        if light is None:
            light = class_colours(p.shape[1]) ** 2.2
            floor = 0.12 if p.shape[1] <= len(PALETTE) else 0.40  # among many all is in doubt
        # 0 where all classes are equally likely, 1 where one is certain
        chance = 1 / p.shape[1]
        sure = (p.max(axis=1) - chance) / (1 - chance) if p.shape[1] > 1 else np.ones(len(p))
        strength = (floor + (0.70 - floor) * np.clip(sure, 0, 1))[:, None]
        image[rows, :3] = (1 - strength + strength * (p @ light)).clip(0, 1) ** (1 / 2.2)
    image[:, 3] = 1
    if view.edge is not None:
        softness = (view.right - view.left) / pixels  # one pixel: a round edge without steps
        image[:, 3] = np.clip((view.edge - np.hypot(*grid.T)) / softness, 0, 1)
    return image.reshape(pixels, pixels, 4)


def draw_regions(
    axes: Any,
    model: Any,
    points: np.ndarray,
    labels: np.ndarray,
    classes: int,
    view: View,
    pixels: int,
    dot: float = 17,
) -> Any:
    """The map, some of the points (N, 2) over it in the colours of their labels (N,);
    returns the image on the axes.

    dot  the size of a point, in Matplotlib's unit of an area
    """
    shown = axes.imshow(
        region_image(model, view, pixels),
        extent=view.extent,
        origin="lower",
        interpolation="bilinear",
        aspect="auto",
    )
    colours = class_colours(classes)
    some = some_of(len(points))
    axes.scatter(
        points[some, 0],
        points[some, 1],
        s=dot,
        c=colours[labels[some]] * 0.82,
        edgecolors="white",
        linewidths=0.5,
    )
    axes.set(xlim=(view.left, view.right), ylim=(view.bottom, view.top))
    axes.spines[:].set_visible(False)
    axes.grid(False)
    return shown


def legend(classes: int, names: Sequence[str] = ()) -> dict[str, Any]:
    """What a legend in one line says of the classes: nothing where eyes cannot name them.

    names  theirs; else they are called by their numbers
    """
    from matplotlib.lines import Line2D

    named = class_colours(classes) if 1 < classes <= len(PALETTE) else ()
    labels = names or [f"class {c}" for c in range(classes)]
    handles = [
        Line2D([], [], marker="o", linestyle="", color=colour * 0.82, label=label)
        for colour, label in zip(named, labels, strict=False)
    ]
    return {
        "handles": handles,
        "ncols": max(len(handles), 1),
        "handletextpad": 0.1,
        "columnspacing": 1.2,
    }


def some_of(samples: int) -> np.ndarray:
    """Which of so many samples are shown: the same in every picture."""
    return np.random.default_rng(0).permutation(samples)[:POINTS]
