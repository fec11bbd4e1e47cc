"""Interleaved spirals as the subject of `nnfs-gpu train`: where nothing else is given."""

from __future__ import annotations

from typing import Any

from .. import datasets, losses
from ..accuracy import Accuracy_Categorical
from ..activations import Activation_Softmax
from ..backend import get_backend
from ..model import Model
from ..show.animation import Animation
from ..show.picture import SPIRAL, overview
from . import points
from .common import PICTURE_FILE
from .config import Config


class Spirals:
    """See `subject.Subject`."""

    inputs = 2
    judged = True
    notes: tuple[str, ...] = ()
    picture_file = PICTURE_FILE

    def __init__(self, config: Config):
        self.config = config
        self.outputs, self.epochs = config.classes, config.epochs
        self.step = points.step_size(config)
        self.words = f"{config.points:,} points"

    def ends(self) -> tuple[Any, Any, Any]:
        """A softmax and cross-entropy: the probability of each arm."""
        return (
            Activation_Softmax(),
            losses.Loss_CategoricalCrossentropy(),
            Accuracy_Categorical(),
        )

    def prepare(self, model: Model) -> None:
        """Points need nothing."""

    def options(self) -> dict[str, Any]:
        """None: the points are mixed as they are made."""
        return {}

    def training(self) -> tuple[Any, ...]:
        """Held in memory, or made when their step comes."""
        return points.training_points(self.config)

    def validation(self) -> tuple[Any, Any]:
        """Points of another seed."""
        return points.validation_points(self.config)

    def seen(self, training: tuple[Any, ...]) -> tuple[Any, Any]:
        """At most 100,000 of the training points."""
        return points.some_of(self.config, training)

    def measures(self, seen: dict[str, float], fresh: dict[str, float]) -> dict[str, Any]:
        """Accuracies, and the best that there can be."""
        return {
            "train_accuracy": seen["accuracy"],
            "validation_accuracy": fresh["accuracy"],
            "bayes_limit": datasets.spiral_bayes_limit(self.config.classes),
        }

    def rows(self, metrics: dict[str, Any]) -> dict[str, str]:
        """Accuracies, and the best that there can be."""
        return {
            "train accuracy": f"{metrics['train_accuracy']:.4f}",
            "validation accuracy": f"{metrics['validation_accuracy']:.4f}",
            "Bayes limit": f"{metrics['bayes_limit']:.4f}  (no classifier can do better)",
        }

    def picture(self, model: Model, validation: Any, metrics: dict[str, Any]) -> bytes:
        """Decision regions and curves."""
        return overview(  # imports Matplotlib, which takes longer than a small run to train
            model,
            model.backend.to_numpy(validation[0]),
            model.backend.to_numpy(validation[1]),
            metrics["curve"],
            metrics["bayes_limit"],
            f"Spiral classifier: network {network(self)}, {self.config.points:,} training points",
        )

    def animation(self, validation: Any) -> Animation:
        """Of the same map."""
        points, labels = map(get_backend().to_numpy, validation)
        return Animation(points, labels, self.outputs, SPIRAL)


def network(subject: Any) -> str:
    """Its widths, from the inputs to the outputs: 2-64-64-3."""
    widths = (subject.inputs, *subject.config.hidden, subject.outputs)
    return "-".join(map(str, widths))
