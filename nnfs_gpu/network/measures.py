"""Losses, accuracies and optimizers of the user's own, as the engines call them.

`network.loss_of`, `accuracy_of` and `optimizer_of` put a wrapper around what is not ours. It asks
the user's object and does what that leaves out: means, sums over an epoch, penalties, a step's
beginning and end. Own parts get plain arrays, never `targets.Targets`. The epoch's sums are kept
on the user's object, under the book's names. See `own/parts.py`.
"""

from __future__ import annotations

from typing import Any

from ..accuracy import Accuracy
from ..backend import Backend
from ..losses import Loss
from ..own.parts import accepts, adopt_parameters, ours
from ..own.values import AsGiven, as_given, comparisons, converted, hint, per_row, result
from ..targets import Targets

Array = Any


def _calculates(part: Any) -> bool:
    """Whether it has a `calculate` of its own, which then decides on the number of a batch."""
    return hasattr(part, "calculate") and not ours(part, "calculate")


class _Sums:
    """The sums over an epoch, on the user's object."""

    part: Any

    @property
    def accumulated_sum(self) -> Any:
        return getattr(self.part, "accumulated_sum", 0.0)

    @accumulated_sum.setter
    def accumulated_sum(self, value: Any) -> None:
        self.part.accumulated_sum = value

    @property
    def accumulated_count(self) -> int:
        return getattr(self.part, "accumulated_count", 0)

    @accumulated_count.setter
    def accumulated_count(self, value: int) -> None:
        self.part.accumulated_count = value

    def new_pass(self) -> None:
        """Forget the sums, and let the user's object forget its own."""
        self.accumulated_sum, self.accumulated_count = 0.0, 0
        if hasattr(self.part, "new_pass"):
            self.part.new_pass()

    def calculated(self, given: Array, y: Any) -> Any:
        """What the object's own `calculate` gives; the sums that it may add to stay."""
        sums = self.accumulated_sum, self.accumulated_count
        self.accumulated_sum, self.accumulated_count = sums  # the book's need to be there
        value = self.part.calculate(given, y)
        self.accumulated_sum, self.accumulated_count = sums
        return value


class OwnLoss(_Sums, Loss):
    """A loss of the user's own.

    Its number of a batch is the mean of its forward's losses or, where the class has a
    `calculate` of its own, that. Over several batches it is weighted with their rows.
    """

    def __init__(self, part: Any, backend: Backend, trainable_layers: list[Any]):
        self.part, self.backend, self.trainable_layers = part, backend, trainable_layers
        self.what = type(part).__name__

    def targets(self, y: Any, outputs: int, samples: int) -> Targets:
        """As the class of ours says that it inherits from, else as given."""
        if not isinstance(self.part, Loss):
            return AsGiven.of(y, self.backend, samples)
        found = self.part.targets(y, outputs, samples)
        return found if isinstance(found, Targets) else AsGiven.of(found, self.backend, samples)

    def forward(self, y_pred: Array, y_true: Any) -> Array:
        """Losses of the samples, (N,). Raises ValueError for another shape."""
        y = as_given(y_true)
        if _calculates(self.part):
            losses = self.calculated(y_pred, y)
        else:
            losses = self.part.forward(y_pred, y)
        return per_row(self.backend, losses, y_pred, f"{self.what}, losses", y)

    def backward(self, dvalues: Array, y_true: Any) -> Array:
        """dinputs: the gradient of the mean loss, of the shape of `dvalues`."""
        y = as_given(y_true)
        dinputs = result(self.part.backward(dvalues, y), self.part, "dinputs")
        if dinputs is None:
            raise ValueError(
                f"{self.what}: backward returned nothing and stored nothing; end it with the "
                "line: self.dinputs = ..."
            )
        dinputs = converted(self.backend, dinputs, f"{self.what}, dinputs")
        if dinputs.shape != dvalues.shape:
            raise ValueError(
                f"{self.what}: dinputs has shape {dinputs.shape}, expected {dvalues.shape}, the "
                f"shape of the predictions; y_true has shape {y.shape}{hint(dvalues, y)}"
            )
        return dinputs

    def regularization_loss(self, layer: Any = None) -> Any:
        """The object's own penalty where it has one: of all layers, or layer by layer."""
        if not hasattr(self.part, "regularization_loss") or ours(self.part, "regularization_loss"):
            return super().regularization_loss(layer)
        if layer is None and accepts(self.part.regularization_loss):
            return self.part.regularization_loss()
        layers = self.trainable_layers if layer is None else [layer]
        return sum(self.part.regularization_loss(one) for one in layers)


class OwnAccuracy(_Sums, Accuracy):
    """An accuracy of the user's own.

    It gets what the output activation's `predictions` gives, as in the book. Its `compare`
    may give any number of comparisons, or one number for the batch, weighted with its rows.
    """

    def __init__(self, part: Any, backend: Backend):
        self.part, self.backend = part, backend
        self.wants_targets = hasattr(part, "init")

    def init(self, y: Any) -> None:
        """Show it the targets, where it wants to see them."""
        if self.wants_targets:
            self.part.init(as_given(y))

    def compare(self, predictions: Any, y: Any) -> Array:
        """Comparisons, or the batch's number as often as it has rows."""
        y = as_given(y)
        if _calculates(self.part):
            value = self.calculated(predictions, y)
        else:
            value = self.part.compare(predictions, y)
        return comparisons(self.backend, value, predictions, type(self.part).__name__, y)


class OwnOptimizer:
    """An optimizer of the user's own; what it does not have does nothing."""

    def __init__(self, part: Any, backend: Backend):
        self.part, self.backend = part, backend

    @property
    def current_learning_rate(self) -> Any:
        """For reports."""
        rate = getattr(self.part, "current_learning_rate", None)
        return self.part.learning_rate if rate is None else rate

    def pre_update_params(self) -> None:
        """Once before the layers' updates."""
        if hasattr(self.part, "pre_update_params"):
            self.part.pre_update_params()

    def update_params(self, layer: Any) -> None:
        """Change the parameters of `layer`, which keep their dtype."""
        self.part.update_params(layer)
        adopt_parameters(layer, self.backend)

    def post_update_params(self) -> None:
        """Once after the layers' updates."""
        if hasattr(self.part, "post_update_params"):
            self.part.post_update_params()
