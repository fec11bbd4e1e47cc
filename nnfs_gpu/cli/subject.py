"""What a command of `nnfs-gpu` is about: spirals (`spiral.py`), or a table of people's own
(`table.py`). `train.py` and `results.py` do the same with both, by what stands here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from ..model import Model
from ..show.animation import Animation
from .config import Settings


class Subject(Protocol):
    """Data, the ends of the network for them, and what is said of the result.

    inputs   of the network
    outputs  of the network
    words    what is trained on, for the first line: "300,000 points"
    epochs   passes over it
    step     samples in a step
    judged   whether answers are right or wrong, so that there is an accuracy to show
    """

    inputs: int
    outputs: int
    words: str
    epochs: int
    step: int
    judged: bool

    @property
    def picture_file(self) -> str:
        """The name of the picture's file."""

    @property
    def config(self) -> Settings:
        """Every setting, defaults filled in."""

    @property
    def notes(self) -> Sequence[str]:
        """More lines before training begins."""

    def ends(self) -> tuple[Any, Any, Any]:
        """Output activation, loss and accuracy, new ones."""

    def prepare(self, model: Model) -> None:
        """Give a new model what it is to keep of the data."""

    def options(self) -> dict[str, Any]:
        """More arguments of `Model.train`: order, weights."""

    def training(self) -> tuple[Any, ...]:
        """What `Model.train` is given first: (X, y), or a source of rows."""

    def validation(self) -> tuple[Any, Any]:
        """(X, y) that are not trained on."""

    def seen(self, training: tuple[Any, ...]) -> tuple[Any, Any]:
        """(X, y) of some of the training samples, to measure the final model on."""

    def measures(self, seen: dict[str, float], fresh: dict[str, float]) -> dict[str, Any]:
        """What metrics.json says first, of the final model's loss and accuracy on both."""

    def rows(self, metrics: dict[str, Any]) -> dict[str, str]:
        """The same for people."""

    def picture(self, model: Model, validation: Any, metrics: dict[str, Any]) -> bytes:
        """A PNG of the trained model."""

    def animation(self, validation: Any) -> Animation:
        """One without frames, of a model that learns this. Raises InputError where nothing can be
        shown.
        """
