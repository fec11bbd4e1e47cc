"""What the fused engines know by name: activations, losses, optimizers and accuracies, once.

A plan holds these names, and each engine finds by them what it has of its own:

    name                 on the CPU, kernels/fused_cpu/pointers.py     in CUDA, plan.cuh
    "relu"               ACTIVATIONS["relu"]                           RELU
    "squared_error"      LOSSES["squared_error"]                       SQUARED_ERROR
    "adam"               UPDATES["adam"]                               ADAM
    "close"              what the loss counts as right                 CLOSE

and the tiles of rows (`tiles.py`), the backend's operations: `relu_forward`, `relu_backward`. So
there are no numbers to keep equal. A name that stands here but not there is refused: on the CPU
and for tiles with `CannotFuse` when the engine is made, in CUDA by the compiler. `plan.py` reads
the tables to make plans, the engines to fill theirs, `files/vocabulary.py` to save and load,
`estimators/` for the choices of their settings, `selftest/warmup.py` to compile all of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .. import accuracy, activations, losses, optimizers


class CannotFuse(ValueError):  # noqa: N818 - what it says, not an error in the data
    """The network trains layer by layer; the message says what stands in the way."""


@dataclass(frozen=True)
class Activation:
    """An activation behind a dense layer.

    make         its class
    constant     its attribute, if it has one, that is a number to the kernels and an argument of
                 its class
    from_output  the gradient follows from the outputs: engines keep no inputs
    narrow       it is linear on both sides of 0, and 0 below: kernels/fused_cpu/narrow.py can
                 have it in the hidden layer
    gain         I times the variance that a layer's first weights should have before it, so that
                 what passes through keeps its size
    """

    make: type[Any]
    constant: str | None = None
    from_output: bool = True
    narrow: bool = False
    gain: float = 1.0

    @property
    def arguments(self) -> tuple[str, ...]:
        """What its class is made from."""
        return () if self.constant is None else (self.constant,)

    def constants(self, activation: Any) -> tuple[float, ...]:
        """Their values on an object now."""
        return tuple(float(getattr(activation, name)) for name in self.arguments)


@dataclass(frozen=True)
class Loss:
    """The end of a network.

    make        its class
    output      the class of the layer before it
    activation  what stays of that layer in the last stage: a softmax belongs to the loss
    classes     targets are classes, of which a sample has one; else a number an output
    """

    make: type[Any]
    output: type[Any]
    activation: str
    classes: bool = False


@dataclass(frozen=True)
class Optimizer:
    """A rule that turns gradients into updates.

    make      its class
    settings  its attributes by what they are to the kernels: "epsilon", "first" (how much of the
              first state stays), "second" (of the second), "weight_decay"
    states    what it keeps for each parameter: "momentums" (the first state), "cache" (the second)
    when      an attribute that has to be set for it: one class may have two rules
    """

    make: type[Any]
    settings: dict[str, str] = field(default_factory=dict)
    states: tuple[str, ...] = ()
    when: str | None = None


@dataclass(frozen=True)
class Accuracy:
    """A comparison of outputs with targets.

    make    its class
    losses  those that it fits
    binary  whether it compares yes or no
    """

    make: type[Any] | None
    losses: tuple[str, ...]
    binary: bool = False


ACTIVATIONS = {
    "linear": Activation(activations.Activation_Linear),
    "relu": Activation(activations.Activation_ReLU, narrow=True, gain=2.0),
    "leaky_relu": Activation(activations.Activation_LeakyReLU, constant="negative_slope", gain=2.0),
    "sigmoid": Activation(activations.Activation_Sigmoid),
    "tanh": Activation(activations.Activation_Tanh),
}
LOSSES = {
    "softmax_cross_entropy": Loss(
        losses.Loss_CategoricalCrossentropy, activations.Activation_Softmax, "linear", classes=True
    ),
    "binary_cross_entropy": Loss(
        losses.Loss_BinaryCrossentropy, activations.Activation_Sigmoid, "sigmoid"
    ),
    "squared_error": Loss(losses.Loss_MeanSquaredError, activations.Activation_Linear, "linear"),
    "absolute_error": Loss(losses.Loss_MeanAbsoluteError, activations.Activation_Linear, "linear"),
}
OPTIMIZERS = {
    "sgd": Optimizer(optimizers.Optimizer_SGD),
    "momentum": Optimizer(
        optimizers.Optimizer_SGD, {"first": "momentum"}, ("momentums",), when="momentum"
    ),
    "adagrad": Optimizer(optimizers.Optimizer_Adagrad, {"epsilon": "epsilon"}, ("cache",)),
    "rmsprop": Optimizer(
        optimizers.Optimizer_RMSprop, {"epsilon": "epsilon", "second": "rho"}, ("cache",)
    ),
    "adam": Optimizer(
        optimizers.Optimizer_Adam,
        {"epsilon": "epsilon", "first": "beta_1", "second": "beta_2"},
        ("momentums", "cache"),
    ),
    "adamw": Optimizer(
        optimizers.Optimizer_AdamW,
        {
            "epsilon": "epsilon",
            "first": "beta_1",
            "second": "beta_2",
            "weight_decay": "weight_decay",
        },
        ("momentums", "cache"),
    ),
}
ACCURACIES = {
    "none": Accuracy(None, tuple(LOSSES)),
    "argmax": Accuracy(accuracy.Accuracy_Categorical, ("softmax_cross_entropy",)),
    "threshold": Accuracy(accuracy.Accuracy_Categorical, ("binary_cross_entropy",), binary=True),
    "close": Accuracy(accuracy.Accuracy_Regression, ("squared_error", "absolute_error")),
}


def accuracy_for(loss: str) -> Any:
    """A new accuracy that fits the loss of this name."""
    known = next(one for one in ACCURACIES.values() if one.make and loss in one.losses)
    make: Any = known.make
    return make(binary=True) if known.binary else make()


def name_in(table: dict[str, Any], thing: Any) -> str | None:
    """The name that `table` has for an object; None where it has none.

    Classes are compared exactly: a subclass may compute something else.
    """
    kind = type(thing)
    names = {
        getattr(known, "when", None): name for name, known in table.items() if known.make is kind
    }
    for when, name in names.items():
        if when is not None and getattr(thing, when):
            return name
    return names.get(None)


def refuse_unknown(engine: str, what: str, name: str, known: Any) -> None:
    """Raises CannotFuse where an engine has nothing for a name of this vocabulary."""
    if name not in known:
        raise CannotFuse(f"{engine} has no kernel for the {what} {name!r}")
