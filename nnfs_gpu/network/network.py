"""Network: layers, loss, optimizer and accuracy, connected: what `Model` trains.

Book, chapters 18, 21 and 22. Parts may be of the user's own: `own/parts.py` says what they are
asked for and how they are called, `checks.py` what must fit what.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import checks, remedies
from ..activations import Activation_Softmax
from ..backend import get_backend, use_backend
from ..layers import Layer_Input
from ..losses import Activation_Softmax_Loss_CategoricalCrossentropy, Loss_CategoricalCrossentropy
from ..optimizers import forget
from ..own import parts as own_parts
from ..own.parts import is_trainable, ours
from ..own.values import AsGiven, as_given, form_of, result
from ..parameters import Parameter, parameters_of
from ..passing import NAMES
from ..rollback import all_or_nothing
from ..targets import Targets, per_weight, weights_of
from . import checks as network_checks
from .measures import OwnAccuracy, OwnLoss, OwnOptimizer

Array = Any

# What an engine calls of a part: one of ours that has them all is called itself.
SUMS = ("calculate", "calculate_accumulated", "new_pass")
LOSS = ("forward", "backward", "regularization_loss", *SUMS)
ACCURACY = ("init", "compare", *SUMS)
OPTIMIZER = ("pre_update_params", "update_params", "post_update_params", "current_learning_rate")


class Network:
    """Parts that are added, set, and connected by `finalize`; forward and backward through them.

    Its messages name the class that users know, `Model`.

    preprocessing  of a model of a table: makes inputs of its rows, answers of outputs
                   (`tables/preprocessing.py`); kept in the model's file. Else None
    """

    preprocessing: Any = None

    def __init__(self) -> None:
        self.backend = get_backend()
        self.layers: list[Any] = []
        self.trainable_layers: list[Any] = []
        self.loss: Any = None
        self.optimizer: Any = None
        self.accuracy: Any = None
        self.output_layer_activation: Any = None
        self.softmax_classifier_output: Any = None
        self.stop_training = False
        self._finalized = False
        self._calls: list[Any] = []  # the layers as forward and backward call them
        self._trained_by: type | None = None  # class of the optimizer at the last finalize

    # ---- building ----
    def add(self, layer: Any) -> None:
        """Append a layer or an activation.

        Parameters
        ----------
        layer : layer or activation
            An object with `forward` and `backward`, which is in no network yet.
        """
        if isinstance(layer, type) or not hasattr(layer, "forward"):
            raise TypeError(
                f"Model.add: got {layer!r}, expected a layer or an activation object; one of your "
                "own needs the methods forward(self, inputs, training) and backward(self, dvalues)"
            )
        self.layers.append(layer)
        self._finalized = False

    def set(self, *, loss: Any = None, optimizer: Any = None, accuracy: Any = None) -> None:
        """Set what is given; what is None stays as it was.

        Parameters
        ----------
        loss : Loss, optional
            How wrong the predictions are.
        optimizer : Optimizer, optional
            How a gradient changes the parameters. Evaluating and predicting need none.
        accuracy : Accuracy, optional
            The share of predictions that are right.
        """
        self.loss = loss if loss is not None else self.loss
        if optimizer is not None and (
            isinstance(optimizer, type) or not hasattr(optimizer, "update_params")
        ):
            raise TypeError(
                f"Model.set: got the optimizer {optimizer!r}, expected an object such as "
                "Optimizer_Adam(), or one of your own with the method update_params(self, layer)"
            )
        self.optimizer = optimizer if optimizer is not None else self.optimizer
        self.accuracy = accuracy if accuracy is not None else self.accuracy
        self._finalized = False

    def finalize(self) -> None:
        """Connect the layers.

        Warns of parameters that no optimizer will change.

        Raises
        ------
        ValueError
            For parts that do not fit one another, and for parts of your own that lack something.
        """
        if not self.layers:
            raise ValueError("Model.finalize: the model has no layers; add some first")
        network_checks.check(self.layers, self.loss, self.accuracy, self.backend, self.optimizer)
        with use_backend(self.backend):
            self.input_layer = Layer_Input(any_shape=not ours(self.layers[0], "forward"))
            combined = Activation_Softmax_Loss_CategoricalCrossentropy()
        self._connect()
        self.output_layer_activation = self.layers[-1]
        self._calls = own_parts.called(self.layers, self.backend)
        self.trainable_layers = self._trainable()
        self.softmax_classifier_output = combined if self._is_softmax_classifier() else None
        if hasattr(self.loss, "remember_trainable_layers"):
            self.loss.remember_trainable_layers(self.trainable_layers)
        self._change_of_optimizer()
        self._finalized = True

    @property
    def finalized(self) -> bool:
        """Whether `finalize` was called after the last `add` and `set`."""
        return self._finalized

    def _connect(self) -> None:
        parts = [self.input_layer, *self.layers, self.loss]
        for before, layer, after in zip(parts, parts[1:], parts[2:], strict=False):
            layer.prev, layer.next = before, after

    def __setstate__(self, state: dict[str, Any]) -> None:
        """A copied or unpickled model, whose layers come without their neighbours."""
        vars(self).update(state)
        if self._finalized:
            self._connect()

    def _is_softmax_classifier(self) -> bool:
        """Whether softmax and loss are ours, whose derivatives cancel."""
        last, loss = self.layers[-1], self.loss
        known = isinstance(last, Activation_Softmax)
        known = known and isinstance(loss, Loss_CategoricalCrossentropy)
        return known and all(ours(part, "forward", "backward") for part in (last, loss))

    def _change_of_optimizer(self) -> None:
        """One of another class begins anew. Ours see to that among themselves: `take_over`."""
        if self.optimizer is None:
            return
        before, now = self._trained_by, type(self.optimizer)
        own = not all(hasattr(kind, "take_over") for kind in (before, now))
        if own and before not in (None, now):
            for layer in self.trainable_layers:
                forget(layer)
        self._trained_by = now

    # ---- one pass ----
    def forward(self, X: Any, training: bool = True) -> Array:
        """Output of the last layer.

        Parameters
        ----------
        X : array of shape (N, features)
            Data of the model's dtype.
        training : bool
            Whether dropout masks values.

        Returns
        -------
        array of shape (N, outputs)
            An array of the backend.
        """
        self._require("forward")
        output = self.input_layer.forward(X, training)
        for layer in self._calls:
            output = layer.forward(output, training)
        return output

    def backward(self, output: Array, y: Any) -> None:
        """Gradients of all layers, left on them as the book's attributes.

        Parameters
        ----------
        output : array of shape (N, outputs)
            Of the last `forward`.
        y : array or Targets
            Its targets. Where they have weights, the gradients are those of the weighted mean
            loss; the loss's own `dinputs` stay those of the mean.
        """
        self._require("backward", "loss")
        layers, combined = self._calls, self.softmax_classifier_output
        if combined is not None:
            # One difference instead of the softmax's and the loss's gradients one by one.
            if type(combined) is Activation_Softmax_Loss_CategoricalCrossentropy:
                dvalues = combined.backward(output, y)
            else:
                dvalues = result(combined.backward(output, as_given(y)), combined, "dinputs")
            self.layers[-1].dinputs = dvalues
            layers = layers[:-1]
        else:
            dvalues = loss_of(self).backward(output, y)
        weights = weights_of(y)
        if weights is not None:
            dvalues = self._weighted(dvalues, weights)
            if combined is not None:
                self.layers[-1].dinputs = dvalues
        for layer in reversed(layers):
            dvalues = layer.backward(dvalues)

    def _weighted(self, dvalues: Array, weights: Array) -> Array:
        """Gradient of the weighted mean loss, sum w l / sum w, from that of the mean loss."""
        factors = weights * per_weight(len(weights), self.backend.sum(weights))
        factors = self.backend.asarray(factors, dvalues.dtype)
        return dvalues * factors.reshape(-1, *(1,) * (dvalues.ndim - 1))

    def forget_pass(self) -> None:
        """After a fused step: what an earlier pass left on the layers is not of this step."""
        for part in (self.loss, self.softmax_classifier_output):
            if part is not None:
                vars(part).pop("dinputs", None)
        for layer in (self.input_layer, *self.layers):
            held = layer.__dict__
            if "output" in held:
                for name in NAMES:
                    held.pop(name, None)

    # ---- parameters ----
    def parameters(self) -> list[Parameter]:
        """Weights and biases of every trainable layer, with gradients, factors and state."""
        return [one for layer in self._trainable() for one in parameters_of(layer)]

    def get_parameters(self) -> list[tuple[Array, Array]]:
        """The parameters of every trainable layer.

        Returns
        -------
        list of tuple
            (weights, biases), the arrays themselves.
        """
        return [own_parts.get_parameters(layer) for layer in self._trainable()]

    def set_parameters(self, parameters: Sequence[tuple[Any, Any]]) -> None:
        """Take parameters as `get_parameters` gives them; all are checked before any changes.

        Parameters
        ----------
        parameters : sequence of tuple
            (weights, biases) of every trainable layer, arrays of any kind, which are copied.

        Raises
        ------
        ValueError, TypeError
            For another number of layers, and for arrays of another shape.
        """
        layers = self._trainable()
        if len(parameters) != len(layers):
            raise ValueError(
                f"set_parameters: got {len(parameters)} layers, expected {len(layers)}"
            )
        checked = []
        for number, (layer, values) in enumerate(zip(layers, parameters, strict=True), 1):
            try:
                checked.append(own_parts.checked_parameters(layer, self.backend, *values))
            except (TypeError, ValueError) as error:
                kind = TypeError if isinstance(error, TypeError) else ValueError
                where = f"set_parameters, layer {number} of {len(layers)}"
                raise kind(f"{where}: {error}") from error
        with all_or_nothing(*layers):
            for layer, values in zip(layers, checked, strict=True):
                own_parts.set_parameters(layer, self.backend, *values)

    # ---- what a user gives, checked: for data and training ----
    def checked_rows(self, X: Any, what: str, name: str) -> Array:
        """X as the first layer takes it: (N, features); one of the user's own takes images, too."""
        if ours(self.layers[0], "forward"):
            return checks.matrix(self.backend, X, network_checks.width_in(self.layers), what, name)
        return checks.samples(self.backend, X, what, name)

    def checked_inputs(self, X: Any, what: str, check_finite: bool) -> Array:
        """Data, checked and on the backend."""
        given, X = X, self.checked_rows(X, what, "X")
        if check_finite:
            checks.finite(self.backend, X, what, "X", given)
        return X

    def checked_targets(self, X: Array, y: Any, what: str) -> Targets:
        """The targets of X, checked and on the backend."""
        outputs, loss = network_checks.width_out(self.layers, X.shape[1]), loss_of(self)
        try:
            if outputs is None:  # our losses then check them at every step
                targets: Targets = AsGiven.of(y, self.backend, X.shape[0])
            else:
                targets = loss.targets(y, outputs, X.shape[0])
            if not (loss is self.loss and accuracy_of(self) is self.accuracy):
                targets.given = form_of(y)  # for parts of the user's own
            return targets
        except (TypeError, ValueError) as error:
            kind = TypeError if isinstance(error, TypeError) else ValueError
            raise kind(f"{what}: {error}") from error

    def checked_data(self, X: Any, y: Any, what: str, check_finite: bool) -> tuple[Array, Targets]:
        """Data and targets, checked and on the backend."""
        try:
            inputs = self.checked_inputs(X, what, check_finite)
            return inputs, self.checked_targets(inputs, y, what)
        except (TypeError, ValueError) as error:
            kind = TypeError if isinstance(error, TypeError) else ValueError
            raise kind(remedies.in_lists(str(error), X=X, y=y)) from error

    # ---- inside ----
    def _trainable(self) -> list[Any]:
        return [layer for layer in self.layers if is_trainable(layer)]

    def _require(self, what: str, *parts: str) -> None:
        missing = [part for part in parts if getattr(self, part) is None]
        if missing:
            raise RuntimeError(
                f"Model.{what} needs {', '.join(missing)}; give them to Model.set(...) first"
            )
        if not self._finalized:
            raise RuntimeError(f"Model.{what}: call finalize() after the last add and set")


# ---- parts as engines call them ----
def loss_of(model: Network) -> Any:
    """The loss of `model`, with all of `losses.Loss`."""
    part = model.loss
    return part if ours(part, *LOSS) else OwnLoss(part, model.backend, model.trainable_layers)


def accuracy_of(model: Network) -> Any:
    """The accuracy of `model`, with all of `accuracy.Accuracy`."""
    part = model.accuracy
    return part if ours(part, *ACCURACY) else OwnAccuracy(part, model.backend)


def optimizer_of(model: Network) -> Any:
    """The optimizer of `model`, with what a step and its report need of `Optimizer`."""
    part = model.optimizer
    own = not ours(part, "update_params") or not all(hasattr(part, name) for name in OPTIMIZER)
    return OwnOptimizer(part, model.backend) if own else part
