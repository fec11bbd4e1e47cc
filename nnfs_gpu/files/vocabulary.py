"""What each class is made from, and what state it gathers: the vocabulary of model files.

`describe` turns an object into its class name and constructor arguments, `construct` builds
it again, `get_state` gives what training has changed beside the parameters and the optimizer's
arrays. Only the classes in `PARTS` can be named, so that a file can build nothing else: ours, and
those of the user's own that the program has given to `register`. Activations, losses
and optimizers of ours come from the vocabulary of the fused engines.
"""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from .. import accuracy, activations, checks, layers
from ..backend import Backend
from ..backend.arrays import to_host
from ..fused import vocabulary
from ..parameters import PARAMETERS, REGULARIZERS, STATE_ARRAYS

Kind = TypeVar("Kind")


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
    own    of the user: nothing is known of its state but the names
    layer_state  arrays that it, an optimizer, keeps on a layer beside ours
    """

    make: Callable[..., Any]
    arguments: tuple[str, ...] = ()
    state: dict[str, Callable[[Any, str], Any]] = field(default_factory=dict)
    flags: tuple[str, ...] = ()
    own: bool = False
    layer_state: tuple[str, ...] = ()


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
    "Activation_Softmax": Part(activations.Activation_Softmax),
    **{one.make.__name__: Part(one.make, one.arguments) for one in vocabulary.ACTIVATIONS.values()},
    **{one.make.__name__: Part(one.make) for one in vocabulary.LOSSES.values()},
    "Accuracy_Categorical": Part(accuracy.Accuracy_Categorical, ("binary",), flags=("binary",)),
    "Accuracy_Regression": Part(accuracy.Accuracy_Regression, (), {"precision": _precision}),
    # Of two rules of a class the later one, which has the setting that tells them apart.
    **{
        one.make.__name__: _optimizer(one.make, *one.settings.values())
        for one in vocabulary.OPTIMIZERS.values()
    },
}

# The beginning of a class's name says what it can be.
ROLES = {
    "layers": ("Layer_", "Activation_"),
    "loss": ("Loss_",),
    "optimizer": ("Optimizer_",),
    "accuracy": ("Accuracy_",),
}


def register(
    *, arguments: Iterable[str] = (), state: Iterable[str] = (), layer_state: Iterable[str] = ()
) -> Callable[[type[Kind]], type[Kind]]:
    """Let model files and checkpoints hold a class of your own: a decorator.

    What is not named is not kept. The class's name begins like the book's: Layer_, Activation_,
    Loss_, Optimizer_ or Accuracy_. A program that loads the file defines and registers it first. ::

        @nnfs_gpu.register(arguments=["rate"], state=["steps"], layer_state=["weight_slow"])
        class Optimizer_Lookahead: ...

    Parameters
    ----------
    arguments : iterable of str
        Of the constructor; attributes of these names hold what was given: numbers, texts, True,
        False or None.
    state : iterable of str
        Attributes that training changes: the same, and arrays.
    layer_state : iterable of str
        Of an optimizer: the arrays that it keeps on each layer, beside those of the book's names,
        which are kept anyway.

    Returns
    -------
    callable
        What takes the class and gives it back.

    Raises
    ------
    ValueError
        For a class with another name, or one that a class here has.
    """

    def add(kind: type[Kind]) -> type[Kind]:
        name = kind.__name__
        prefixes = [prefix for role in ROLES.values() for prefix in role]
        if not name.startswith(tuple(prefixes)):
            raise ValueError(f"register: got {name}, expected a name with {', '.join(prefixes)}")
        if name in PARTS and not PARTS[name].own:
            raise ValueError(f"register: nnfs_gpu has a {name}; give yours another name")
        kept: dict[str, Callable[[Any, str], Any]] = dict.fromkeys(state, _kept)
        PARTS[name] = Part(kind, tuple(arguments), kept, own=True, layer_state=tuple(layer_state))
        return kind

    return add


def _kept(value: Any, name: str) -> Any:
    """What `get_state` gives of an attribute of the user's own."""
    array = isinstance(value, dict) and value.keys() == {"tensor"}
    if not array and not isinstance(value, (type(None), bool, int, float, str)):
        raise ValueError(f"{name}: got {reprlib.repr(value)}, expected a number, a text or None")
    return value


def kept_on_layers(optimizer: Any) -> tuple[str, ...]:
    """The arrays that belong to a layer: its parameters, and what `optimizer` keeps on it."""
    part = PARTS.get(type(optimizer).__name__)
    return (*PARAMETERS, *STATE_ARRAYS, *(part.layer_state if part else ()))


def tensors_of_own(layers: Sequence[str], single: Mapping[str, str | None]) -> set[str]:
    """The tensors whose shapes only classes of the user's own know, of a model of these classes."""
    found, optimizer = set(), PARTS.get(single["optimizer"] or "")
    for place, name in [*enumerate(layers), *single.items()]:
        part = PARTS.get(name or "")
        if part is not None and part.own:
            found |= {f"{place}.{one}" for one in part.state}
        if optimizer is not None and isinstance(place, int):
            found |= {f"{place}.{one}" for one in optimizer.layer_state}
    return found


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
            "load_parameters(path) into a model that your program builds in the same way, or tell "
            "files what the class keeps: nnfs_gpu.register"
        )
    values = {one: _plain(_attribute(part, one)) for one in PARTS[name].arguments}
    if name == "Layer_Dropout":
        values["rate"] = 1 - values["rate"]  # the attribute is the share that is kept
    return {"class": name} | values


def check_class(name: Any, role: str) -> None:
    """Raises ValueError for what is no class of `PARTS` that has this role."""
    if name not in PARTS or not name.startswith(ROLES[role]):
        raise ValueError(
            f"unknown class {reprlib.repr(name)} for {role}; one of your own: define it and give "
            "it to nnfs_gpu.register first"
        )


def construct(description: dict[str, Any], role: str) -> Any:
    """The object that `describe` described. Raises ValueError or TypeError for anything else."""
    if not isinstance(description, dict):
        raise TypeError(f"{role}: got {type(description).__name__}, expected a class and arguments")
    arguments = dict(description)
    name = arguments.pop("class")
    check_class(name, role)
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
    if PARTS[name].own:  # its constructor may do anything
        return {one: description[one] for one in PARTS[name].arguments}
    fresh, flags = construct(description, role), PARTS[name].flags
    if any(getattr(fresh, flag) != getattr(part, flag) for flag in flags):
        raise ValueError(f"{role}: {name} of another kind: {', '.join(flags)}")
    return {one: getattr(fresh, one) for one in PARTS[name].arguments}


def get_state(part: Any, place: str, tensors: dict[str, Any]) -> dict[str, Any]:
    """What training has changed in `part`. Arrays go to `tensors`, under its place's name."""
    if part is None:
        return {}
    known, found = PARTS[type(part).__name__], {}
    for name in known.state:
        value = _attribute(part, name, arrays=True)
        if known.own and hasattr(value, "shape"):
            key = f"{place}.{name}"
            tensors[key], value = to_host(value, name), {"tensor": key}
        found[name] = _plain(value)
    return found


def checked_state(
    part: Any, state: dict[str, Any], tensors: dict[str, Any], backend: Backend
) -> dict[str, Any]:
    """`state` for `part`. Raises ValueError or TypeError where it is none of `get_state`."""
    known = {} if part is None else PARTS[type(part).__name__].state
    if state.keys() != known.keys():
        raise ValueError(
            f"{type(part).__name__}: got state {sorted(state)}, expected {sorted(known)}"
        )
    found = {name: check(state[name], name) for name, check in known.items()}
    for name, value in found.items():
        if isinstance(value, dict):  # of the user's own
            array = tensors[value["tensor"]]
            # A number of NumPy's was one: with a dtype that Python's numbers do not have.
            found[name] = (
                backend.copy(backend.asarray(array, array.dtype)) if array.ndim else array[()]
            )
    return found


def set_attributes(part: Any, values: dict[str, Any]) -> None:
    """Take a checked state, or checked arguments."""
    for name, value in values.items():
        setattr(part, name, value)


def _attribute(part: Any, name: str, arrays: bool = False) -> Any:
    """One that a file can hold. Raises TypeError or ValueError else."""
    what = f"{type(part).__name__} {name}"
    if not hasattr(part, name):
        raise ValueError(f"{what}: registered, but there is no such attribute")
    value = getattr(part, name)
    if not isinstance(value, (type(None), bool, int, float, str, np.generic)) and not (
        arrays and hasattr(value, "shape")
    ):
        raise TypeError(
            f"{what}: a model file cannot hold a {type(value).__name__}, expected a number, a "
            f"text, None{' or an array' if arrays else ''}"
        )
    return value


def _plain(value: Any) -> Any:
    """NumPy's numbers as Python's: JSON knows no others."""
    return value.item() if isinstance(value, np.generic) else value
