"""Pictures of a trained model: what it says where, and how it learned.

`picture` is public (`nnfs_gpu.picture`); `overview` is what `nnfs-gpu train` leaves behind.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ..activations import Activation_Linear, Activation_Sigmoid, Activation_Softmax
from ..network.network import Network
from ..targets import Labels, Targets, Values
from .curves import Curves, draw_curve
from .regions import View, draw_regions, legend, pixels_for, some_of
from .style import CLEAR, PALETTE, PAPER, VALIDATION, figure, png

if TYPE_CHECKING:
    from .figure import Picture

WIDTH, HEIGHT = 1600, 700  # pixels of an overview
STEPS = 600  # of a regression's curve
SPIRAL = View(-1.12, 1.12, -1.12, 1.12, edge=1.06)  # beyond the data a classifier only guesses


def picture(model: Any, X: Any, y: Any, *, title: str = "") -> Picture:
    """Draw what a model has learned: decision regions of a classifier, the curve of a regression.

    A classifier has 2 inputs: each place of the plane has the colour of the class that the model
    sees there, paler where it is in doubt. A regression has 1 input: its outputs over the data.

    Parameters
    ----------
    model : Model
        Finalized, with a loss; it ends in a softmax, in one sigmoid, or in a linear activation.
    X : array_like of shape (N, 2) or (N, 1)
        The data that are shown, of at most 1,500 samples.
    y : array_like
        Their targets, in any form that `train` takes.
    title : str
        Above the picture.

    Returns
    -------
    matplotlib.figure.Figure
        With a transparent ground and one Axes. A notebook shows it, `savefig` writes it; pyplot
        does not know of it.

    Raises
    ------
    ValueError, TypeError
        For a model of another kind, and for data that do not fit it.
    RuntimeError
        For a model without a loss, or one that is not finalized.
    """
    _check(model)
    inputs, targets = model.checked_data(X, y, "picture", True)
    features, outputs = inputs.shape[1], model.predict(inputs[:1]).shape[1]
    draw, width, height = _drawing(model, features, outputs)
    with figure(CLEAR, width, height, layout="constrained") as made:
        axes = made.add_subplot(title=title)
        draw(axes, model, model.backend.to_numpy(inputs), targets, outputs)
        axes.locator_params(nbins=6)
    return made


def _check(model: Any) -> None:
    if not isinstance(model, Network):
        raise TypeError(f"picture: got a {type(model).__name__}, expected a Model")
    if not model.layers or model.loss is None:
        missing = "loss" if model.layers else "layers"
        raise RuntimeError(f"picture: the model has no {missing}; build and train it first")


def _drawing(model: Network, features: int, outputs: int) -> tuple[Callable[..., None], int, int]:
    """What draws such a model, and how large. Raises ValueError where nothing does."""
    kind = type(model.layers[-1])
    classes = kind is Activation_Softmax or (kind is Activation_Sigmoid and outputs == 1)
    if features == 2 and classes:
        return _draw_classes, 520, 540
    if features == 1 and kind is Activation_Linear:
        return _draw_function, 640, 420
    raise ValueError(
        f"picture: got a model of {features} inputs and {outputs} outputs that ends in "
        f"{kind.__name__}, expected a classifier of 2 inputs (a softmax, or one sigmoid) or a "
        "regression of 1 input (linear); for wider data, train one on two of the columns"
    )


def _draw_classes(
    axes: Any, model: Network, points: np.ndarray, targets: Targets, outputs: int
) -> None:
    labels, classes = _labels(model, targets, outputs)
    draw_regions(axes, model, points, labels, classes, View.around(points), pixels_for(model))
    axes.figure.legend(loc="outside lower center", **legend(classes))


def _labels(model: Network, targets: Targets, outputs: int) -> tuple[np.ndarray, int]:
    """The class (N,) of each sample, and how many classes there are."""
    samples, backend = len(targets), model.backend
    if type(model.layers[-1]) is Activation_Softmax:
        t = backend.to_numpy(Labels.of(targets, outputs, backend, samples).values)
        return (t.argmax(axis=1) if t.ndim == 2 else t), outputs
    t = backend.to_numpy(Values.of(targets, 1, backend, samples).values)
    return (t[:, 0] > 0.5).astype(int), 2


def _draw_function(axes: Any, model: Any, x: np.ndarray, targets: Targets, outputs: int) -> None:
    """The outputs as lines over the samples as points, each output in its colour."""
    backend, some = model.backend, some_of(len(x))
    t = backend.to_numpy(Values.of(targets, outputs, backend, len(x)).values)
    low, high = float(x.min()), float(x.max())
    margin = 0.05 * (high - low) or 1.0
    line = np.linspace(low - margin, high + margin, STEPS)[:, None]
    y = backend.to_numpy(model.predict(line))
    for output in range(outputs):
        data = PALETTE[output % len(PALETTE)]
        colour, of = (VALIDATION, "") if outputs == 1 else (data, f" {output}")
        axes.scatter(
            x[some, 0],
            t[some, output],
            s=12,
            color=data,
            alpha=0.35,
            linewidths=0,
            label=f"data{of}",
        )
        axes.plot(line[:, 0], y[:, output], color=colour, label=f"model{of}")
    axes.set(xlabel="input", ylabel="output")
    axes.legend()


def overview(
    model: Network,
    points: np.ndarray,
    labels: np.ndarray,
    curves: Curves,
    bayes_limit: float | None,
    title: str,
) -> bytes:
    """Decision regions beside the curves, as a PNG of 1600 x 700 pixels on white.

    model        a finalized classifier of points in the plane
    points       (N, 2) and labels (N,): a sample of them is shown over the regions
    curves       by epoch: epoch, loss, accuracy, val_loss, val_accuracy; may be empty
    bayes_limit  the best possible accuracy, drawn as a dashed line
    """
    with figure(PAPER, WIDTH, HEIGHT) as made:
        made.text(0.030, 0.945, title, fontsize=18, fontweight="bold")
        regions = made.add_axes((0.030, 0.075, 0.352, 0.805))
        classes = model.trainable_layers[-1].n_neurons
        draw_regions(regions, model, points, labels, classes, SPIRAL, pixels_for(model))
        regions.set(xticks=[], yticks=[], title="Decision regions", aspect="equal")
        regions.legend(loc="upper center", bbox_to_anchor=(0.5, 0.0), **legend(classes))
        loss, accuracy = (made.add_axes((0.475, y, 0.495, 0.335)) for y in (0.545, 0.095))
        draw_curve(loss, curves, "loss", "Loss")
        draw_curve(accuracy, curves, "accuracy", "Accuracy", bayes_limit)
        accuracy.set_xlabel("epoch")
    return png(made, title)
