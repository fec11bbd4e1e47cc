"""Layers of the user's own, in the book's style: what they may leave out, how they are called.

The package's own layers return what they compute; a layer of the book's stores it in
`self.output` and `self.dinputs` and returns nothing. `Model` calls both kinds the same way: it
wraps what is not ours in an `OwnLayer`. `network/measures.py` does the same for losses, accuracies
and optimizers, `values.py` holds what goes in and comes out, and `own_checks.py` says at
`finalize` what a part lacks.

A part is ours where the methods in question were written in this package: a subclass of ours
that overrides one of them is the user's.

What an own part gets are arrays of the backend in the model's dtype. What it gives is converted
to that where it is handed on, so that a mask or weights which NumPy drew in float64 do not make
a float32 network one of float64.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Self

from ..backend import Backend, get_backend
from ..backend.numpy_backend import NumpyBackend
from ..parameters import PARAMETERS, REGULARIZERS
from ..reprs import described
from .values import converted, result

Array = Any

PACKAGE = __name__.partition(".")[0]
INSIDE = PACKAGE + "."  # how the names of its modules begin
NEIGHBOURS = ("prev", "next")  # what `Model.finalize` stores on a layer


class Part:
    """What the package's layers, activations, losses and accuracies have in common.

    backend  the default one when the object was made

    It is set before `__init__`, and so are the `DEFAULTS` of the class: the book's classes do
    not have them, and a subclass of ours need not call our `__init__`.
    """

    backend: Backend
    DEFAULTS: ClassVar[Mapping[str, Any]] = {}

    def __new__(cls, *arguments: Any, **options: Any) -> Self:
        """See the class. Arguments are for `__init__`; where there is none they are refused."""
        if cls.__init__ is object.__init__ and (arguments or options):
            raise TypeError(f"{cls.__name__}() takes no arguments")
        part = super().__new__(cls)
        part.backend = get_backend()
        vars(part).update(cls.DEFAULTS)
        return part

    def __repr__(self) -> str:
        return described(self)

    def __getstate__(self) -> Any:
        """Without the neighbours in a model: a layer is copied and pickled alone.

        `Model` connects its own again. (Through them one layer would take all along, and the
        chain of a deep network be followed beyond Python's limit of calls.)
        """
        state: Any = super().__getstate__()
        own, *slots = state if isinstance(state, tuple) else (state,)
        own = {name: value for name, value in own.items() if name not in NEIGHBOURS}
        return (own, *slots) if slots else own


def backend_of(part: Any, default: Backend | None = None) -> Backend:
    """The backend of a part, which one of the user's own need not have: else `default`."""
    backend = getattr(part, "backend", None)
    return backend if isinstance(backend, NumpyBackend) else default or get_backend()


def ours(part: Any, *methods: str) -> bool:
    """Whether all these methods of `part` are this package's, none overridden or replaced."""
    for method in methods:  # asked in every step: nothing slow
        module = getattr(getattr(part, method, None), "__module__", None)
        if module is None or not module.startswith(INSIDE):
            return False
    return True


def name_of(part: Any) -> str:
    """The class's name; with its module where the package has another class of that name."""
    name, kind = type(part).__name__, type(part)
    another = vars(sys.modules[PACKAGE]).get(name, kind) is not kind
    return f"{name} (of {kind.__module__})" if another else name


def is_trainable(layer: Any) -> bool:
    """Whether an optimizer changes it: the book asks for `weights`."""
    return any(getattr(layer, name, None) is not None for name in PARAMETERS)


def accepts(method: Callable[..., Any], *arguments: Any, **options: Any) -> bool:
    """Whether it can be called like this. What has no signature is taken at its word."""
    try:
        signature = inspect.signature(method)
    except (TypeError, ValueError):
        return True
    try:
        signature.bind(*arguments, **options)
    except TypeError:
        return False
    return True


def training_argument(forward: Callable[..., Any]) -> str | None:
    """How `forward(inputs, ...)` wants to know whether this is training.

    "" for the second argument, as in the book; else the name of the argument; None where it
    does not take it, as in the book before chapter 15. A second argument that has a default
    and another name, such as forward(self, inputs, slope=0.1), is left alone.
    """
    try:
        arguments = list(inspect.signature(forward).parameters.values())
    except (TypeError, ValueError):
        return ""
    for number, one in enumerate(arguments):
        if one.kind is one.VAR_POSITIONAL:
            return ""
        if "train" in one.name.lower():
            return "" if number == 1 and one.kind is not one.KEYWORD_ONLY else one.name
        if number == 1 and one.default is one.empty and one.kind < one.VAR_POSITIONAL:
            return ""
    return "training" if arguments and arguments[-1].kind is arguments[-1].VAR_KEYWORD else None


class OwnLayer:
    """A layer of the user's own, called as ours are: forward and backward return their result.

    number  its place in the chain, for messages
    """

    def __init__(self, layer: Any, number: int, backend: Backend):
        self.layer, self.backend = layer, backend
        self.what = f"layer {number} ({type(layer).__name__})"
        self.first = number == 0
        self._training = training_argument(layer.forward)
        self._shape: tuple[int, ...] = ()  # of the last inputs

    def forward(self, inputs: Array, training: bool) -> Array:
        """The layer's output for inputs (N, ...), in the model's dtype."""
        self._shape = inputs.shape
        if self._training is None:
            returned = self.layer.forward(inputs)
        elif self._training:
            returned = self.layer.forward(inputs, **{self._training: training})
        else:
            returned = self.layer.forward(inputs, training)
        output = result(returned, self.layer, "output")
        if output is None:
            raise ValueError(
                f"{self.what}: forward returned nothing and stored nothing; end it with the "
                "line: self.output = ..."
            )
        output = converted(self.backend, output, f"{self.what}, output")
        if output.shape[:1] != inputs.shape[:1]:
            raise ValueError(
                f"{self.what}: output has shape {output.shape} for inputs of shape "
                f"{inputs.shape}, expected ({inputs.shape[0]}, ...): one row a sample"
            )
        return output

    def backward(self, dvalues: Array) -> Array:
        """The gradient at its inputs; None from a first layer that computes none."""
        returned = self.layer.backward(dvalues)
        dinputs = result(returned, self.layer, "dinputs")
        if dinputs is None and not self.first:
            raise ValueError(
                f"{self.what}: backward returned nothing and stored nothing; end it with the "
                "line: self.dinputs = ..."
            )
        if is_trainable(self.layer):
            self._adopt_gradients()
        if dinputs is None:
            return None
        dinputs = converted(self.backend, dinputs, f"{self.what}, dinputs")
        if dinputs.shape != self._shape:
            raise ValueError(
                f"{self.what}: dinputs has shape {dinputs.shape}, expected {self._shape}, the "
                "shape of its inputs"
            )
        return dinputs

    def _adopt_gradients(self) -> None:
        """Gradients of its parameters in their shapes, all in the model's dtype."""
        adopt_parameters(self.layer, self.backend)
        for name in PARAMETERS:
            shape = getattr(self.layer, name).shape
            gradient = getattr(self.layer, f"d{name}", None)
            if gradient is None:
                raise ValueError(
                    f"{self.what}: backward stored no d{name}, the gradient of {name} {shape}; "
                    f"add the line: self.d{name} = ..."
                )
            fitting = converted(self.backend, gradient, f"{self.what}, d{name}")
            if fitting.shape != shape:
                raise ValueError(
                    f"{self.what}: d{name} has shape {fitting.shape}, expected {shape}, the "
                    f"shape of {name}"
                )
            if fitting is not gradient:
                _store(self.layer, f"d{name}", fitting)


def adopt_parameters(layer: Any, backend: Backend) -> None:
    """Make the parameters of an own layer arrays of the backend, in its dtype."""
    for name in PARAMETERS:
        value = getattr(layer, name, None)
        if value is not None:
            fitting = converted(backend, value, f"{type(layer).__name__} {name}")
            if fitting is not value:
                _store(layer, name, fitting)


def _store(layer: Any, name: str, value: Array) -> None:
    try:
        setattr(layer, name, value)
    except AttributeError as error:
        raise ValueError(
            f"{type(layer).__name__} {name}: the model needs an array of {value.dtype} and cannot "
            f"store it: {error}; make it one of {value.dtype}, or give the property a setter"
        ) from error


def called(layers: Sequence[Any], backend: Backend) -> list[Any]:
    """The layers as `Model` calls them: forward(inputs, training) and backward(dvalues).

    Own trainable layers get what an optimizer and a loss read and the book's earlier chapters
    do not have: `backend`, and regularization factors of 0.
    """
    calls = []
    for number, layer in enumerate(layers):
        if ours(layer, "forward", "backward"):
            calls.append(layer)
            continue
        calls.append(OwnLayer(layer, number, backend))
        if is_trainable(layer):
            adopt_parameters(layer, backend)
            for name, value in (("backend", backend), *((name, 0) for name in REGULARIZERS)):
                if not hasattr(layer, name):
                    setattr(layer, name, value)
    return calls


# ---- parameters, as Model gets and sets them ----
def get_parameters(layer: Any) -> tuple[Array, Array]:
    """(weights, biases): by the layer's own method, where it has one."""
    if hasattr(layer, "get_parameters"):
        pair: tuple[Array, Array] = layer.get_parameters()
        return pair
    return layer.weights, layer.biases


def checked_parameters(
    layer: Any, backend: Backend, weights: Any, biases: Any
) -> tuple[Array, Array]:
    """Both as arrays of the layer's dtype and device. Raises ValueError for a shape."""
    if ours(layer, "checked_parameters"):
        checked: tuple[Array, Array] = layer.checked_parameters(weights, biases)
        return checked
    pair = []
    for name, value in zip(PARAMETERS, (weights, biases), strict=True):
        what = f"{type(layer).__name__} {name}"
        value, shape = converted(backend, value, what), getattr(layer, name).shape
        if value.shape != shape:
            raise ValueError(f"{what}: got shape {value.shape}, expected {shape}")
        pair.append(value)
    return pair[0], pair[1]


def set_parameters(layer: Any, backend: Backend, weights: Array, biases: Array) -> None:
    """Take copies of checked ones: by the layer's own method, where it has one."""
    if ours(layer, "set_parameters"):
        layer.set_parameters(weights, biases)
    elif hasattr(layer, "set_parameters"):
        layer.set_parameters(backend.copy(weights), backend.copy(biases))
    else:
        layer.weights, layer.biases = backend.copy(weights), backend.copy(biases)
