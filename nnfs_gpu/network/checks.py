"""Network checks: what layers, a loss and an accuracy must satisfy to make one network.

Called by `Model.finalize`: a mistake is reported before any training, with both sides named.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..accuracy import Accuracy, Accuracy_Categorical, Accuracy_Regression
from ..activations import Activation_Sigmoid, Activation_Softmax
from ..backend import Backend
from ..backend.identity import arrays
from ..layers import Layer_Dense
from ..losses import (
    Loss,
    Loss_BinaryCrossentropy,
    Loss_CategoricalCrossentropy,
    Loss_MeanAbsoluteError,
    Loss_MeanSquaredError,
)
from ..own.parts import PACKAGE, backend_of, ours
from . import own_checks

# Which output activation gives what a loss expects; losses that are not here take any.
OUTPUT_OF = {
    Loss_CategoricalCrossentropy: Activation_Softmax,
    Loss_BinaryCrossentropy: Activation_Sigmoid,
}
EXAMPLES = {"loss": "Loss_MeanSquaredError()", "accuracy": "Accuracy_Regression()"}
FORMS = {
    "loss": "def forward(self, y_pred, y_true): return ...",
    "accuracy": "def compare(self, predictions, y): return ...",
}


def check(
    layers: Sequence[Any], loss: Any, accuracy: Any, backend: Backend, optimizer: Any = None
) -> None:
    """Raises ValueError where two parts do not fit: widths, backends, output and loss.

    `loss`, `accuracy` and `optimizer` may be None: what needs them is not checked then.
    TypeError for what is no loss or accuracy. Of parts of the user's own it is checked that
    they have what is needed (`own_checks.py`); what they compute is theirs to know.
    """
    _check_once(layers)
    _check_kinds(loss, accuracy)
    own_checks.check(layers, loss, accuracy, optimizer)
    named = [(f"layer {number}", layer) for number, layer in enumerate(layers)]
    for what, part in [*named, ("the loss", loss), ("the accuracy", accuracy)]:
        _check_backend(what, part, backend)
    _check_widths(layers)
    if loss is not None:
        _check_output(layers[-1], loss)
        _check_accuracy(loss, accuracy)
    if _known(layers[-1], Activation_Softmax) and _known(accuracy, Accuracy_Regression):
        raise ValueError(
            "the last layer is Activation_Softmax, which predicts classes, and "
            "Accuracy_Regression compares numbers; use Activation_Linear(), or categorical "
            "cross-entropy with Accuracy_Categorical()"
        )


def width_in(layers: Sequence[Any]) -> int | None:
    """Features that the network takes; None where only a layer of the user's own knows."""
    for layer in layers:
        if not ours(layer, "forward"):
            return None
        if isinstance(layer, Layer_Dense):
            return layer.n_inputs
    return None


def width_out(layers: Sequence[Any], features: int) -> int | None:
    """Outputs of the network for so many features; None where only an own layer knows."""
    for layer in reversed(layers):
        if not ours(layer, "forward"):
            return None
        if isinstance(layer, Layer_Dense):
            return layer.n_neurons
    return features


def _known(part: Any, kind: type) -> bool:
    """Whether it is one of ours, of this kind, and computes what ours computes."""
    methods = ("compare",) if issubclass(kind, Accuracy) else ("forward",)
    return isinstance(part, kind) and ours(part, *methods)


def _check_once(layers: Sequence[Any]) -> None:
    """An object in two places keeps only the later inputs: its gradient would be wrong."""
    first: dict[int, int] = {}
    for number, layer in enumerate(layers):
        if first.setdefault(id(layer), number) != number:
            kind = type(layer).__name__
            raise ValueError(
                f"layers {first[id(layer)]} and {number} are the same {kind} object, which keeps "
                f"the inputs of one place only; make two: {kind}(...)"
            )


def _check_kinds(loss: Any, accuracy: Any) -> None:
    for name, part, kind, methods, others in (
        ("loss", loss, Loss, ("forward", "calculate"), "compare"),
        ("accuracy", accuracy, Accuracy, ("compare", "calculate"), "forward"),
    ):
        if part is None or isinstance(part, kind):
            continue
        own = type(part).__module__.partition(".")[0] != PACKAGE
        fits = any(hasattr(part, method) for method in methods) and not hasattr(part, others)
        if isinstance(part, type) or not own or not fits:
            raise TypeError(
                f"{name}: got {part!r}, expected an object such as {EXAMPLES[name]}, or of a "
                f"class of your own with {FORMS[name]}"
            )


def _check_backend(what: str, part: Any, backend: Backend) -> None:
    """Arrays of both must be of one kind; settings such as `init()` makes may differ."""
    theirs = backend_of(part, backend)
    if arrays(backend) != arrays(theirs):
        raise ValueError(
            f"{what} ({type(part).__name__}) was made for {theirs!r}, the model for "
            f"{backend!r}; make both under the same use_backend(...), such as "
            f"use_backend({backend.name!r}, dtype={backend.dtype.name!r})"
        )


def _check_widths(layers: Sequence[Any]) -> None:
    width = None
    for number, layer in enumerate(layers):
        if not ours(layer, "forward"):
            width = None  # it may give any number of outputs
        if not _known(layer, Layer_Dense):
            continue
        if width is not None and layer.n_inputs != width:
            raise ValueError(
                f"layer {number} is Dense({layer.n_inputs}, {layer.n_neurons}), but the "
                f"layers before it give {width} outputs; expected Dense({width}, ...)"
            )
        width = layer.n_neurons


def _check_output(last: Any, loss: Any) -> None:
    name = type(last).__name__
    for kind, activation in OUTPUT_OF.items():
        if _known(loss, kind) and ours(last, "forward") and not isinstance(last, activation):
            raise ValueError(
                f"{type(loss).__name__} needs probabilities, but the last layer is "
                f"{name}; add {activation.__name__}() at the end"
            )
    if not hasattr(last, "predictions"):
        own = (
            f", or to {name} the method: def predictions(self, outputs): return outputs "
            "(for classes: np.argmax(outputs, axis=1))"
        )
        raise ValueError(
            f"the last layer is {name}, which makes no predictions; add an output activation at "
            f"the end, Activation_Linear() for a regression{'' if ours(last, 'forward') else own}"
        )


def _check_accuracy(loss: Any, accuracy: Any) -> None:
    for kind, fits, wanted in (
        (Loss_CategoricalCrossentropy, _is_categorical, "Accuracy_Categorical()"),
        (Loss_BinaryCrossentropy, _is_binary, "Accuracy_Categorical(binary=True)"),
        (Loss_MeanSquaredError, _is_regression, "Accuracy_Regression()"),
        (Loss_MeanAbsoluteError, _is_regression, "Accuracy_Regression()"),
    ):
        if _known(loss, kind) and not fits(accuracy):
            got = type(accuracy).__name__
            if isinstance(accuracy, Accuracy_Categorical):
                got += f"(binary={accuracy.binary})"
            raise ValueError(f"{kind.__name__} goes with {wanted}, got {got}")


# An accuracy of the user's own class fits every loss: only ours are known.
def _is_categorical(accuracy: Any) -> bool:
    if _known(accuracy, Accuracy_Categorical):
        return not accuracy.binary
    return not _known(accuracy, Accuracy_Regression)


def _is_binary(accuracy: Any) -> bool:
    if _known(accuracy, Accuracy_Categorical):
        return bool(accuracy.binary)
    return not _known(accuracy, Accuracy_Regression)


def _is_regression(accuracy: Any) -> bool:
    return not _known(accuracy, Accuracy_Categorical)
