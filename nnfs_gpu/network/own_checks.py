"""What a part of the user's own lacks, said when the model is finalized, with the line to add.

Called by `checks.check`. What shows only when the part is used, such as a forward that stores
no output, is said by `own/parts.py` and `own/values.py` at the first step.
"""

from __future__ import annotations

import dis
import inspect
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

from ..layers import Layer_Dense, Layer_Dropout
from ..own.parts import NEIGHBOURS, accepts, is_trainable, ours, training_argument
from ..parameters import PARAMETERS

NOT_LEARNED = (*PARAMETERS, "inputs", "output", "values")  # whose d... are no parameters'
X = object()  # stands for an array


def check(layers: Sequence[Any], loss: Any, accuracy: Any, optimizer: Any) -> None:
    """Raises ValueError for what is missing; warns of parameters that nobody will train.

    `loss`, `accuracy` and `optimizer` may be None. Without an optimizer nothing is trained, and
    no backward is needed.
    """
    trains = optimizer is not None
    for number, layer in enumerate(layers):
        what = f"layer {number} ({type(layer).__name__})"
        _check_constructed(layer, what)
        if not ours(layer, "forward", "backward"):
            _check_layer(layer, what, trains)
            _check_call(layer, "predictions", "(self, outputs)", X, what=what)
            if trains:
                _warn_untrained(layer, what, layers)
    if loss is not None:
        _check_loss(loss, trains)
    if accuracy is not None:
        for method in ("compare", "calculate"):
            _check_call(accuracy, method, "(self, predictions, y)", X, X)
        _check_call(accuracy, "init", "(self, y)", X)
    for part in (*layers, loss, accuracy):
        if part is not None and not type(part).__dictoffset__:
            raise ValueError(
                f"{type(part).__name__} has __slots__ and cannot hold what a model stores on its "
                "parts, such as prev and next; leave __slots__ out"
            )
    if trains:
        _check_optimizer(optimizer)


# What only the constructor of a class of ours can know, and the line that gives it.
NEEDED = (
    (Layer_Dense, "weights", "n_inputs, n_neurons"),
    (Layer_Dropout, "rate", "rate"),
)


def _check_constructed(layer: Any, what: str) -> None:
    """That the `__init__` of a subclass of ours has called ours, or done its work."""
    for kind, name, arguments in NEEDED:
        if isinstance(layer, kind) and ours(layer, "forward") and not hasattr(layer, name):
            raise ValueError(
                f"{what} has no {name}; begin its __init__ with the line: "
                f"super().__init__({arguments})"
            )


def _check_layer(layer: Any, what: str, trains: bool) -> None:
    name = training_argument(layer.forward)
    options = {name: True} if name else {}
    if not accepts(layer.forward, *([X, True] if name == "" else [X]), **options):
        raise ValueError(
            f"{what}: forward takes {inspect.signature(layer.forward)}, expected "
            "forward(self, inputs, training)"
        )
    if trains and not hasattr(layer, "backward"):
        raise ValueError(
            f"{what} has no backward, which training needs; add: "
            "def backward(self, dvalues): self.dinputs = dvalues * ... (the derivative)"
        )
    if trains:
        _check_call(layer, "backward", "(self, dvalues)", X, what=what)
    for has, lacks in (PARAMETERS, PARAMETERS[::-1]):
        if getattr(layer, has, None) is not None and getattr(layer, lacks, None) is None:
            raise ValueError(
                f"{what} has {has} and no {lacks}, and optimizers change both; add to its "
                f"__init__: self.{lacks} = np.zeros((1, 1)), and to its backward: "
                f"self.d{lacks} = np.zeros((1, 1))"
            )


def _check_loss(loss: Any, trains: bool) -> None:
    what = f"the loss {type(loss).__name__}"
    if not hasattr(loss, "calculate") or not ours(loss, "forward"):
        _check_call(loss, "forward", "(self, y_pred, y_true)", X, X, what=what)
    _check_call(loss, "calculate", "(self, output, y)", X, X, what=what)
    if trains and not hasattr(loss, "backward"):
        raise ValueError(
            f"{what} has no backward, which training needs; add: def backward(self, dvalues, "
            "y_true): self.dinputs = ... / len(dvalues) (the gradient of the mean loss)"
        )
    if trains:
        _check_call(loss, "backward", "(self, dvalues, y_true)", X, X, what=what)


def _check_optimizer(optimizer: Any) -> None:
    what = f"the optimizer {type(optimizer).__name__}"
    _check_call(optimizer, "update_params", "(self, layer)", X, what=what)
    for method in ("pre_update_params", "post_update_params"):
        _check_call(optimizer, method, "(self)", what=what)
    if not any(hasattr(optimizer, name) for name in ("current_learning_rate", "learning_rate")):
        raise ValueError(
            f"{what} has no current_learning_rate, which train prints; add to its __init__: "
            "self.current_learning_rate = ..."
        )


def _check_call(part: Any, method: str, form: str, *arguments: Any, what: str = "") -> None:
    """The method can be called as an engine calls it. One that is not there is no matter here."""
    call = getattr(part, method, None)
    if call is not None and not accepts(call, *arguments):
        raise ValueError(
            f"{what or type(part).__name__}: {method} takes {inspect.signature(call)} beside "
            f"self, expected {method}{form}"
        )


# ---- parameters that no optimizer sees ----
def _warn_untrained(layer: Any, what: str, layers: Sequence[Any]) -> None:
    names = _learned(layer)
    if names:
        warnings.warn(
            f"{what} computes gradients of {', '.join(names)}, but an optimizer changes weights "
            f"and biases alone: {', '.join(names)} will stay as they are. Name them weights and "
            "biases, and their gradients dweights and dbiases, to train them",
            stacklevel=5,
        )
    for name, held in _held(layer):
        if not is_trainable(layer) and not any(held is one for one in layers):
            warnings.warn(
                f"{what} holds a {type(held).__name__} in self.{name}, but an optimizer changes "
                "the layers of the model alone: its weights will stay as they are. Add it to the "
                "model as a layer, or let properties weights, biases, dweights and dbiases of "
                f"{type(layer).__name__} give those of self.{name}",
                stacklevel=5,
            )


def _held(layer: Any) -> Iterator[tuple[str, Any]]:
    """Trainable layers inside this one, with the attribute that holds them."""
    for name, value in getattr(layer, "__dict__", {}).items():
        for held in value if isinstance(value, (list, tuple)) else (value,):
            if name not in NEIGHBOURS and hasattr(held, "backward") and is_trainable(held):
                yield name, held


def _learned(layer: Any) -> list[str]:
    """Arrays p of the layer whose gradient dp its backward stores, and which it leaves to others.

    A layer whose backward changes its own arrays trains itself.
    """
    backward = getattr(layer.backward, "__func__", layer.backward)
    code = getattr(inspect.unwrap(backward), "__code__", None)
    if code is None:
        return []
    stored = {one.argval for one in dis.get_instructions(code) if one.opname == "STORE_ATTR"}
    names = [name[1:] for name in sorted(stored) if name.startswith("d")]
    return [
        name
        for name in names
        if name not in NOT_LEARNED
        and name not in stored
        and hasattr(getattr(layer, name, None), "shape")
        and not any(getattr(layer, name) is getattr(layer, p, None) for p in PARAMETERS)
    ]
