"""What a chain of layers, a loss and an accuracy must satisfy to make one network.

Called by `Model.finalize`: a mistake is reported before any training, with both sides named.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .accuracy import Accuracy_Categorical, Accuracy_Regression
from .activations import Activation_Sigmoid, Activation_Softmax
from .backend import Backend
from .layers import Layer_Dense
from .losses import (
    Loss_BinaryCrossentropy,
    Loss_CategoricalCrossentropy,
    Loss_MeanAbsoluteError,
    Loss_MeanSquaredError,
)

# Which output activation gives what a loss expects; losses that are not here take any.
OUTPUT_OF = {
    Loss_CategoricalCrossentropy: Activation_Softmax,
    Loss_BinaryCrossentropy: Activation_Sigmoid,
}
EXAMPLES = {"loss": "Loss_MeanSquaredError()", "accuracy": "Accuracy_Regression()"}


def check(layers: Sequence[Any], loss: Any, accuracy: Any, backend: Backend) -> None:
    """Raises ValueError where two parts do not fit: widths, backends, output and loss.

    `loss` and `accuracy` may be None: what needs them is not checked then. TypeError for what
    is no loss or accuracy.
    """
    _check_once(layers)
    _check_kinds(loss, accuracy)
    named = [(f"layer {number}", layer) for number, layer in enumerate(layers)]
    for what, part in [*named, ("the loss", loss), ("the accuracy", accuracy)]:
        _check_backend(what, part, backend)
    _check_widths(layers)
    if loss is not None:
        _check_output(layers[-1], loss)
        _check_accuracy(loss, accuracy)
    if isinstance(layers[-1], Activation_Softmax) and isinstance(accuracy, Accuracy_Regression):
        raise ValueError(
            "the last layer is Activation_Softmax, which predicts classes, and "
            "Accuracy_Regression compares numbers; use Activation_Linear(), or categorical "
            "cross-entropy with Accuracy_Categorical()"
        )


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
    for name, part, method in (("loss", loss, "calculate"), ("accuracy", accuracy, "compare")):
        if part is not None and (isinstance(part, type) or not hasattr(part, method)):
            raise TypeError(f"{name}: got {part!r}, expected an object such as {EXAMPLES[name]}")


def _check_backend(what: str, part: Any, backend: Backend) -> None:
    if getattr(part, "backend", backend) is not backend:
        raise ValueError(
            f"{what} ({type(part).__name__}) was made for {part.backend!r}, the "
            f"model for {backend!r}; make both under the same use_backend(...)"
        )


def _check_widths(layers: Sequence[Any]) -> None:
    width = None
    for number, layer in enumerate(layers):
        if not isinstance(layer, Layer_Dense):
            continue
        if width is not None and layer.n_inputs != width:
            raise ValueError(
                f"layer {number} is Dense({layer.n_inputs}, {layer.n_neurons}), but the "
                f"layers before it give {width} outputs; expected Dense({width}, ...)"
            )
        width = layer.n_neurons


def _check_output(last: Any, loss: Any) -> None:
    for kind, activation in OUTPUT_OF.items():
        if isinstance(loss, kind) and not isinstance(last, activation):
            raise ValueError(
                f"{type(loss).__name__} needs probabilities, but the last layer is "
                f"{type(last).__name__}; add {activation.__name__}() at the end"
            )
    if not hasattr(last, "predictions"):
        raise ValueError(
            f"the last layer is {type(last).__name__}, which makes no predictions; add an "
            "output activation at the end, Activation_Linear() for a regression"
        )


def _check_accuracy(loss: Any, accuracy: Any) -> None:
    for kind, fits, wanted in (
        (Loss_CategoricalCrossentropy, _is_categorical, "Accuracy_Categorical()"),
        (Loss_BinaryCrossentropy, _is_binary, "Accuracy_Categorical(binary=True)"),
        (Loss_MeanSquaredError, _is_regression, "Accuracy_Regression()"),
        (Loss_MeanAbsoluteError, _is_regression, "Accuracy_Regression()"),
    ):
        if isinstance(loss, kind) and not fits(accuracy):
            got = type(accuracy).__name__
            if isinstance(accuracy, Accuracy_Categorical):
                got += f"(binary={accuracy.binary})"
            raise ValueError(f"{kind.__name__} goes with {wanted}, got {got}")


# An accuracy of the user's own class fits every loss: only ours are known.
def _is_categorical(accuracy: Any) -> bool:
    if isinstance(accuracy, Accuracy_Categorical):
        return not accuracy.binary
    return not isinstance(accuracy, Accuracy_Regression)


def _is_binary(accuracy: Any) -> bool:
    if isinstance(accuracy, Accuracy_Categorical):
        return accuracy.binary
    return not isinstance(accuracy, Accuracy_Regression)


def _is_regression(accuracy: Any) -> bool:
    return not isinstance(accuracy, Accuracy_Categorical)
