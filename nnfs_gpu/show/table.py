"""The picture of a model of a table, which `nnfs-gpu train --data` leaves behind.

Curves, and where the table has two columns of numbers and a class, what the model says where, in
the columns' own units.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..network.network import Network
from .animation import Animation
from .curves import Curves, draw_curve
from .regions import View, draw_regions, legend, pixels_for
from .style import PAPER, figure, png

WIDTH, HEIGHT = 1600, 700  # pixels
LONGEST_NAME = 24  # characters of a class in the legend


@dataclass(frozen=True)
class Plane:
    """Rows of two columns, as a network takes them, and what they are in the columns' units.

    points     (N, 2) standardized, with labels (N,)
    mean, std  (2,) of the columns
    columns    their names
    classes    the names of the classes
    """

    points: np.ndarray
    labels: np.ndarray
    mean: np.ndarray
    std: np.ndarray
    columns: tuple[str, str]
    classes: tuple[str, ...]

    @property
    def in_units(self) -> np.ndarray:
        """The points in the columns' units."""
        return np.asarray(self.points * self.std + self.mean)

    def see(self, model: Any) -> _InUnits:
        """`model` as what takes such points."""
        return _InUnits(model, self)

    def animation(self) -> Animation:
        """One without frames, in the columns' units."""
        points = self.in_units
        return Animation(points, self.labels, len(self.classes), View.around(points), self.see)


class _InUnits:
    """A model that takes points in the columns' units: what `draw_regions` needs of one."""

    def __init__(self, model: Any, plane: Plane):
        self._model, self._plane = model, plane
        self.backend = model.backend
        self.softmax_classifier_output = model.softmax_classifier_output

    def predict(self, points: np.ndarray) -> Any:
        """Probabilities of the classes at points (n, 2)."""
        return self._model.predict((points - self._plane.mean) / self._plane.std)


def table_overview(
    model: Network, curves: Curves, title: str, plane: Plane | None, judged: bool
) -> bytes:
    """The curves, beside the decision regions where there is a `plane`: a PNG on white.

    curves  by epoch: epoch, loss, accuracy, val_loss, val_accuracy; may be empty
    judged  whether there is an accuracy worth a curve
    """
    with figure(PAPER, WIDTH, HEIGHT) as made:
        made.text(0.030, 0.945, title, fontsize=18, fontweight="bold")
        left, width = (0.475, 0.495) if plane is not None else (0.060, 0.910)
        if plane is not None:
            _draw_plane(made.add_axes((0.065, 0.175, 0.335, 0.690)), model, plane)
        if judged:
            loss, accuracy = (made.add_axes((left, y, width, 0.335)) for y in (0.545, 0.095))
            draw_curve(accuracy, curves, "accuracy", "Accuracy")
            accuracy.set_xlabel("epoch")
        else:
            loss = made.add_axes((left, 0.095, width, 0.785))
            loss.set_xlabel("epoch")
        draw_curve(loss, curves, "loss", "Loss")
    return png(made, title)


def _draw_plane(axes: Any, model: Network, plane: Plane) -> None:
    points, classes = plane.in_units, len(plane.classes)
    seen, view = plane.see(model), View.around(points)
    draw_regions(axes, seen, points, plane.labels, classes, view, pixels_for(model))
    axes.set(title="Decision regions", xlabel=plane.columns[0], ylabel=plane.columns[1])
    names = [name[:LONGEST_NAME] for name in plane.classes]
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12), **legend(classes, names))
