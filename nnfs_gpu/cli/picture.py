"""The picture of a trained spiral classifier: what it decides where, and how it learned.

Called by `nnfs-gpu train`; `draw` takes any classifier of points in the plane. Matplotlib is
used through its objects (Figure, Axes) and drawn by Agg: no pyplot, so no window, no display
and no state shared with a program that draws for itself.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from ..model import Model

WIDTH, HEIGHT = 1600, 700  # pixels
PIXELS = 640  # of a side of the map of decisions
EXTENT = 1.12  # the map shows [-EXTENT, EXTENT] on both axes; spirals end at radius 1
EDGE = 1.06  # radius where the map ends: beyond the data a classifier only guesses
POINTS = 1500  # shown over the regions
BATCH = 16_384
MULTIPLY_ADDS = 4e10  # spent on the map at most, some seconds; large networks get fewer pixels
LEAST_SPAN = 0.01  # of a curve's axis
LONG = 5  # epochs from which the first one's training mean may lie outside

INK, GREY, FAINT = "#222222", "#6b6b6b", "#dddddd"
TRAIN, VALIDATION = "#0072B2", "#D55E00"
# Okabe and Ito's colours (2008), which people of every colour vision tell apart.
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442")
STYLE = {
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
    "grid.color": FAINT,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "lines.linewidth": 2.4,
    "lines.solid_capstyle": "round",
    "legend.frameon": False,
}


def draw(
    model: Model,
    points: np.ndarray,
    labels: np.ndarray,
    curve: dict[str, Sequence[float]],
    bayes_limit: float,
    title: str,
) -> bytes:
    """The picture as a PNG of about 1600 x 700 pixels.

    model        a finalized classifier of points in the plane
    points       (N, 2) and labels (N,): a sample of them is shown over the regions
    curve        by epoch: epoch, loss, accuracy, val_loss, val_accuracy; may be empty
    bayes_limit  the best possible accuracy, drawn as a dashed line
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):  # type: ignore[arg-type]
        figure = Figure(figsize=(WIDTH / 100, HEIGHT / 100), dpi=100, facecolor="white")
        FigureCanvasAgg(figure)
        figure.text(0.030, 0.945, title, fontsize=18, fontweight="bold")
        regions = figure.add_axes((0.030, 0.075, 0.352, 0.805))
        _draw_regions(regions, model, points, labels)
        loss, accuracy = (figure.add_axes((0.475, y, 0.495, 0.335)) for y in (0.545, 0.095))
        _draw_curve(loss, curve, "loss", "Loss")
        _draw_curve(accuracy, curve, "accuracy", "Accuracy", bayes_limit)
        accuracy.set_xlabel("epoch")
        file = io.BytesIO()
        figure.savefig(file, format="png", metadata={"Title": title})
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


def region_image(model: Model, pixels: int) -> np.ndarray:
    """(pixels, pixels, 4): the classes' colours mixed by probability, paler where in doubt.

    Colours are mixed as light (gamma 2.2 undone): two complementary ones give no mud.
    Outside the radius `EDGE` the image is transparent.
    """
    axis = (np.arange(pixels) + 0.5) / pixels * 2 * EXTENT - EXTENT
    x, y = (a.reshape(-1) for a in np.meshgrid(axis, axis))
    grid = np.stack([x, y], axis=1)
    image = np.empty((pixels * pixels, 4))
    light: Any = None
    for start in range(0, len(grid), BATCH):  # 300 classes on all pixels would be half a GB
        rows = slice(start, start + BATCH)
        p = model.backend.to_numpy(model.predict(grid[rows]))
        if light is None:
            light = class_colours(p.shape[1]) ** 2.2
            floor = 0.12 if p.shape[1] <= len(PALETTE) else 0.40  # among many all is in doubt
        # 0 where all classes are equally likely, 1 where one is certain
        chance = 1 / p.shape[1]
        sure = (p.max(axis=1) - chance) / (1 - chance) if p.shape[1] > 1 else np.ones(len(p))
        strength = (floor + (0.70 - floor) * np.clip(sure, 0, 1))[:, None]
        image[rows, :3] = (1 - strength + strength * (p @ light)).clip(0, 1) ** (1 / 2.2)
    softness = 2 * EXTENT / pixels  # one pixel: a round edge without steps
    image[:, 3] = np.clip((EDGE - np.hypot(x, y)) / softness, 0, 1)
    return image.reshape(pixels, pixels, 4)


def _draw_regions(axes: Any, model: Model, points: np.ndarray, labels: np.ndarray) -> None:
    from matplotlib.lines import Line2D

    weights = sum(layer.weights.size for layer in model.layers if hasattr(layer, "weights"))
    pixels = int(np.clip((MULTIPLY_ADDS / max(weights, 1)) ** 0.5, 120, PIXELS))
    side = (-EXTENT, EXTENT)
    axes.imshow(
        region_image(model, pixels), extent=(*side, *side), origin="lower", interpolation="bilinear"
    )
    classes = model.trainable_layers[-1].n_neurons
    colours = class_colours(classes)
    shown = np.random.default_rng(0).permutation(len(points))[:POINTS]
    axes.scatter(
        points[shown, 0],
        points[shown, 1],
        s=17,
        c=colours[labels[shown]] * 0.82,
        edgecolors="white",
        linewidths=0.5,
    )
    axes.set(xlim=side, ylim=side, aspect="equal", xticks=[], yticks=[])
    axes.set_title("Decision regions")
    axes.spines[:].set_visible(False)
    axes.grid(False)
    if 1 < classes <= len(PALETTE):
        handles = [
            Line2D([], [], marker="o", linestyle="", color=colour * 0.82, label=f"class {c}")
            for c, colour in enumerate(colours)
        ]
        axes.legend(
            handles=handles,
            loc="upper center",
            bbox_to_anchor=(0.5, 0.0),
            ncols=classes,
            handletextpad=0.1,
            columnspacing=1.2,
        )


def _draw_curve(
    axes: Any, curve: dict[str, Sequence[float]], name: str, title: str, limit: float | None = None
) -> None:
    """The training and validation curve of "loss" or "accuracy", and the `limit` for both."""
    from matplotlib.ticker import MaxNLocator

    axes.set_title(title)
    if limit is not None:
        _draw_limit(axes, limit)
    epochs = curve.get("epoch", [])
    if not len(epochs):
        style = {"transform": axes.transAxes, "ha": "center", "va": "center", "color": GREY}
        axes.text(0.5, 0.5, "no epoch was finished", **style)
        axes.set(xticks=[], ylim=(0, 1.15))
        return
    dots = {"marker": "o", "markersize": 6, "markeredgecolor": "white"} if len(epochs) < 30 else {}
    training, validation = np.asarray(curve[name]), np.asarray(curve[f"val_{name}"])
    for values, colour, label in (
        (training, TRAIN, "training"),
        (validation, VALIDATION, "validation"),
    ):
        axes.plot(epochs, values, color=colour, label=f"{label} {values[-1]:.3f}", **dots)
    margin = max(0.02 * (epochs[-1] - epochs[0]), 0.2)
    axes.set_xlim(epochs[0] - margin, epochs[-1] + margin)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1, steps=[1, 2, 5, 10]))
    # The training mean of epoch 1 begins with a network that knows nothing. In a long curve it
    # would press everything else flat: there the line comes in from outside.
    early = 1 if len(epochs) >= LONG else 0
    _set_range(axes, np.concatenate([training[early:], validation]), limit)
    axes.legend(loc="upper right" if name == "loss" else "lower right")


def _draw_limit(axes: Any, limit: float) -> None:
    from matplotlib.patheffects import withStroke

    axes.axhline(limit, color=INK, linewidth=1.6, linestyle=(0, (5, 3)), zorder=1.9)
    axes.annotate(
        f"Bayes limit {limit:.3f}",
        (0.01, limit),
        xycoords=("axes fraction", "data"),
        xytext=(0, 6),
        textcoords="offset points",
        zorder=4,
        path_effects=[withStroke(linewidth=4, foreground="white")],
    )


def _set_range(axes: Any, values: np.ndarray, limit: float | None) -> None:
    """Axis limits around `values` and `limit`; above the limit is room for its label."""
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
