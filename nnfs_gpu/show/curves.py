"""Curves of a training run: loss and accuracy by epoch.

Drawn into axes of a `style.figure`; called by `History.plot` and by `picture.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .style import CLEAR, TRAIN, VALIDATION, figure

if TYPE_CHECKING:
    from .figure import Picture

Curves = Mapping[str, Sequence[float]]

WIDTH, HEIGHT = 900, 340  # pixels
LEAST_SPAN = 0.01  # of a curve's axis
LONG = 5  # epochs from which the first one's training mean may lie outside


def plot(curves: Curves, limit: float | None) -> Picture:
    """A figure of loss and accuracy side by side, of lists by name with the epochs in "epoch".

    limit  the best possible accuracy, drawn as a dashed line
    """
    with figure(CLEAR, WIDTH, HEIGHT, layout="constrained") as made:
        loss, accuracy = made.subplots(1, 2)
        draw_curve(loss, curves, "loss", "Loss")
        draw_curve(accuracy, curves, "accuracy", "Accuracy", limit)
        for axes in (loss, accuracy):
            axes.set_xlabel("epoch")
    return made


def draw_curve(
    axes: Any, curves: Curves, name: str, title: str, limit: float | None = None
) -> None:
    """The training and validation curve of "loss" or "accuracy", and the `limit` for both.

    One of them may be missing, and numbers may be NaN or infinite.
    """
    from matplotlib.ticker import MaxNLocator

    axes.set_title(title)
    if limit is not None:
        _draw_limit(axes, limit)
    epochs = np.asarray(curves.get("epoch", ()), float)
    found = [
        (np.asarray(curves[key], float), colour, label)
        for key, colour, label in (
            (name, TRAIN, "training"),
            (f"val_{name}", VALIDATION, "validation"),
        )
        if key in curves and len(epochs)
    ]
    if not found:
        style = {"transform": axes.transAxes, "ha": "center", "va": "center"}
        axes.text(0.5, 0.5, "no epoch was finished", **style, color=axes.spines.left.get_ec())
        axes.set(xticks=[], ylim=(0, 1.15))
        return
    ground = axes.figure.get_facecolor()
    dots = {"marker": "o", "markersize": 6, "markeredgecolor": ground} if len(epochs) < 30 else {}
    for values, colour, label in found:
        axes.plot(epochs, values, color=colour, label=f"{label} {values[-1]:.3f}", **dots)
    margin = max(0.02 * (epochs[-1] - epochs[0]), 0.2)
    axes.set_xlim(epochs[0] - margin, epochs[-1] + margin)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1, steps=[1, 2, 5, 10]))
    # The training mean of epoch 1 begins with a network that knows nothing. In a long curve it
    # would press everything else flat: there the line comes in from outside.
    early = 1 if len(epochs) >= LONG else 0
    seen = [values[early:] if label == "training" else values for values, _, label in found]
    _set_range(axes, np.concatenate(seen), limit)
    axes.legend(loc="upper right" if name == "loss" else "lower right")


def _draw_limit(axes: Any, limit: float) -> None:
    from matplotlib import rcParams
    from matplotlib.patheffects import withStroke

    ink, ground = rcParams["text.color"], rcParams["figure.facecolor"]
    axes.axhline(limit, color=ink, linewidth=1.6, linestyle=(0, (5, 3)), zorder=1.9)
    axes.annotate(
        f"Bayes limit {limit:.3f}",
        (0.01, limit),
        xycoords=("axes fraction", "data"),
        xytext=(0, 6),
        textcoords="offset points",
        zorder=4,
        path_effects=[withStroke(linewidth=4, foreground=ground)],
    )


def _set_range(axes: Any, values: np.ndarray, limit: float | None) -> None:
    """Axis limits around `values` and `limit`; above the limit is room for its label."""
    values = values[np.isfinite(values)]
    if not values.size:
        return
    low, high = float(values.min()), float(values.max())
    if limit is not None:
        low, high = min(low, limit), max(high, limit)
        low = min(low, high - LEAST_SPAN)
    span = max(high - low, LEAST_SPAN)  # a flat curve is flat, not a magnified rounding error
    top = high + (0.08 if limit is None else 0.25) * span
    axes.set_ylim(max(low - 0.08 * span, min(low, 0.0)), top)
    if limit is not None:  # an accuracy: no ticks above 1
        axes.set_yticks([tick for tick in axes.get_yticks() if tick <= 1])
        axes.set_ylim(max(low - 0.08 * span, min(low, 0.0)), top)
