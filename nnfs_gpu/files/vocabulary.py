"""What each class is made from, and what state it gathers: the vocabulary of model files.

`describe` turns an object into its class name and constructor arguments, `construct` builds
it again, `get_state` gives what training has changed beside the arrays. Only
the classes in `PARTS` can be named, so that a file can build nothing else.
"""

from __future__ import annotations

import reprlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .. import accuracy, activations, checks, layers, losses, optimizers
from ..parameters import REGULARIZERS


# ---- what a state may hold ----
def _count(bits: int) -> Callable[[Any, str], int]:
    """A check for a whole number from 0 that counts, in so many bits."""

    def check(value: Any, name: str) -> int:
        if checks.seed(value, name) >> bits:
            raise ValueError(f"{name}: got {value}, expected less than 2^{bits}")
        return int(value)

    return check


def _seed(value: Any, name: str) -> int | None:
    return None if value is None else checks.seed(value, name)


def _precision(value: Any, name: str) -> float | None:
    return None if value is None else checks.not_negative(value, name)


@dataclass(frozen=True)
class Part:
    """One class: its constructor's arguments and, with a check for each, its state.

    flags  arguments that are True or False: a constructor takes anything for them, a file
           must not hold anything
    """

    make: Callable[..., Any]
    arguments: tuple[str, ...] = ()
    state: dict[str, Callable[[Any, str], Any]] = field(default_factory=dict)
    flags: tuple[str, ...] = ()


def _optimizer(make: Callable[..., Any], *arguments: str) -> Part:
    state: dict[str, Callable[[Any, str], Any]] = {
        "iterations": _count(63),
        "current_learning_rate": checks.not_negative,
    }
    return Part(make, ("learning_rate", "decay", *arguments), state)


_DENSE = ("n_inputs", "n_neurons")

PARTS: dict[str, Part] = {
    "Layer_Dense": Part(layers.Layer_Dense, (*_DENSE, *REGULARIZERS)),
    "Layer_Dropout": Part(
        layers.Layer_Dropout, ("rate", "seed"), {"seed": _seed, "calls": _count(32)}
    ),
    "Activation_ReLU": Part(activations.Activation_ReLU),
    "Activation_Softmax": Part(activations.Activation_Softmax),
    "Activation_Sigmoid": Part(activations.Activation_Sigmoid),
    "Activation_Linear": Part(activations.Activation_Linear),
    "Loss_CategoricalCrossentropy": Part(losses.Loss_CategoricalCrossentropy),
    "Loss_BinaryCrossentropy": Part(losses.Loss_BinaryCrossentropy),
    "Loss_MeanSquaredError": Part(losses.Loss_MeanSquaredError),
    "Loss_MeanAbsoluteError": Part(losses.Loss_MeanAbsoluteError),
    "Accuracy_Categorical": Part(accuracy.Accuracy_Categorical, ("binary",), flags=("binary",)),
    "Accuracy_Regression": Part(accuracy.Accuracy_Regression, (), {"precision": _precision}),
    "Optimizer_SGD": _optimizer(optimizers.Optimizer_SGD, "momentum"),
    "Optimizer_Adagrad": _optimizer(optimizers.Optimizer_Adagrad, "epsilon"),
    "Optimizer_RMSprop": _optimizer(optimizers.Optimizer_RMSprop, "epsilon", "rho"),
    "Optimizer_Adam": _optimizer(optimizers.Optimizer_Adam, "epsilon", "beta_1", "beta_2"),
}

# The beginning of a class's name says what it can be.
ROLES = {
    "layers": ("Layer_", "Activation_"),
    "loss": ("Loss_",),
    "optimizer": ("Optimizer_",),
    "accuracy": ("Accuracy_",),
}


def describe(part: Any) -> dict[str, Any] | None:
    """`part` as its class name and arguments; None for None.

    Raises TypeError for an object of any other class than those in `PARTS`.
    """
    if part is None:
        return None
    name = type(part).__name__
    if name not in PARTS or type(part) is not PARTS[name].make:
        own = f" of your own ({type(part).__module__}.{name})" if name in PARTS else ""
        raise TypeError(
            f"a model file cannot hold a {name}{own}; it can hold {', '.join(PARTS)}. Use "
            "save_parameters(path), which writes the weights and biases of any layers, and "
            "load_parameters(path) into a model that your program builds in the same way"
        )
    values = {argument: _plain(getattr(part, argument)) for argument in PARTS[name].arguments}
    if name == "Layer_Dropout":
        values["rate"] = 1 - values["rate"]  # the attribute is the share that is kept
    return {"class": name} | values


def construct(description: dict[str, Any], role: str) -> Any:
    """The object that `describe` described. Raises ValueError or TypeError for anything else."""
    if not isinstance(description, dict):
        raise TypeError(f"{role}: got {type(description).__name__}, expected a class and arguments")
    arguments = dict(description)
    name = arguments.pop("class")
    if name not in PARTS or not name.startswith(ROLES[role]):
        raise ValueError(f"unknown class {reprlib.repr(name)} for {role}")
    for flag in PARTS[name].flags:
        if arguments.get(flag, False) not in (True, False):
            raise TypeError(f"{name} {flag}: got {reprlib.repr(arguments[flag])}, expected a bool")
    return PARTS[name].make(**arguments)


def checked_arguments(part: Any, description: dict[str, Any], role: str) -> dict[str, Any]:
    """Attributes for the arguments that may have changed since `part` was constructed.

    Such as a learning rate; sizes never. Raises ValueError, TypeError or KeyError for a
    description of something else than an object of the class of `part`.
    """
    name = description["class"]
    if name != type(part).__name__:
        raise ValueError(f"{role}: got {reprlib.repr(name)}, expected {type(part).__name__}")
    if name == "Layer_Dense":
        return {one: checks.not_negative(description[one], one) for one in REGULARIZERS}
    fresh, flags = construct(description, role), PARTS[name].flags
    if any(getattr(fresh, flag) != getattr(part, flag) for flag in flags):
        raise ValueError(f"{role}: {name} of another kind: {', '.join(flags)}")
    return {one: getattr(fresh, one) for one in PARTS[name].arguments}


def get_state(part: Any) -> dict[str, Any]:
    """What training has changed in `part`, its arrays left out."""
    if part is None:
        return {}
    return {name: _plain(getattr(part, name)) for name in PARTS[type(part).__name__].state}


def checked_state(part: Any, state: dict[str, Any]) -> dict[str, Any]:
    """`state` for `part`. Raises ValueError or TypeError where it is none of `get_state`."""
    known = {} if part is None else PARTS[type(part).__name__].state
    if state.keys() != known.keys():
        raise ValueError(
            f"{type(part).__name__}: got state {sorted(state)}, expected {sorted(known)}"
        )
    return {name: check(state[name], name) for name, check in known.items()}


def set_attributes(part: Any, values: dict[str, Any]) -> None:
    """Take a checked state, or checked arguments."""
    for name, value in values.items():
        setattr(part, name, value)


def _plain(value: Any) -> Any:
    """NumPy's numbers as Python's: JSON knows no others."""
    return value.item() if isinstance(value, np.generic) else value
