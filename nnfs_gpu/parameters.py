"""Parameters: what an optimizer changes of a layer, and what lies beside it, by the book's names.

A layer has weights and biases. To each belong its gradient, the factors of L1 and L2, and the
arrays that the optimizer keeps. The names are spelled here, once; the attributes are the layer's.
"""

from __future__ import annotations

from dataclasses import dataclass
from operator import attrgetter
from typing import Any

Array = Any


@dataclass(frozen=True)
class Names:
    """Of one parameter: the layer's attributes.

    prefix  what the names of its factors and of its state begin with
    """

    prefix: str
    values: str
    gradient: str
    l1: str
    l2: str

    def state(self, kind: str) -> str:
        """The optimizer's array of a kind of `STATE`."""
        return f"{self.prefix}_{kind}"


def _names(prefix: str, values: str) -> Names:
    return Names(
        prefix, values, f"d{values}", f"{prefix}_regularizer_l1", f"{prefix}_regularizer_l2"
    )


STATE = ("momentums", "cache")  # what our optimizers keep of a parameter, at most
NAMES = (_names("weight", "weights"), _names("bias", "biases"))
PARAMETERS = tuple(one.values for one in NAMES)
REGULARIZERS = tuple(name for one in NAMES for name in (one.l1, one.l2))
STATE_ARRAYS = tuple(one.state(kind) for one in NAMES for kind in STATE)


@dataclass(frozen=True)
class Parameter:
    """Weights or biases of a layer, as they are now; None or 0 for what it does not have.

    state  the optimizer's arrays by kind, those that are there
    """

    values: Array
    gradient: Array
    l1: float
    l2: float
    state: dict[str, Array]

    @property
    def penalized(self) -> bool:
        """Whether it has a penalty."""
        return self.l1 > 0 or self.l2 > 0


def parameters_of(layer: Any) -> list[Parameter]:
    """Weights, then biases."""
    found = []
    for one in NAMES:
        state = {kind: getattr(layer, one.state(kind), None) for kind in STATE}
        found.append(
            Parameter(
                getattr(layer, one.values, None),
                getattr(layer, one.gradient, None),
                getattr(layer, one.l1, 0),
                getattr(layer, one.l2, 0),
                {kind: array for kind, array in state.items() if array is not None},
            )
        )
    return found


_factors = attrgetter(*REGULARIZERS)
NO_FACTORS = (0,) * len(REGULARIZERS)


def factors(layer: Any) -> tuple[float, ...]:
    """The factors of L1 and L2, of weights, then of biases; 0 where a layer has none."""
    try:
        return _factors(layer)
    except AttributeError:  # of the user's own
        return tuple(getattr(layer, name, 0) for name in REGULARIZERS)


def penalties(of: tuple[float, ...]) -> list[str]:
    """What `factors` gives, in words: those that are above 0."""
    names = "L1 of weights", "L2 of weights", "L1 of biases", "L2 of biases"
    return [f"{name} {factor:g}" for name, factor in zip(names, of, strict=True) if factor]


def penalized(layer: Any) -> list[Parameter]:
    """The layer's parameters that have a penalty."""
    if factors(layer) == NO_FACTORS:  # asked in every step
        return []
    return [one for one in parameters_of(layer) if one.penalized]


def add_penalties(layer: Any) -> None:
    """The penalties' gradients are added to the layer's."""
    for one in penalized(layer):
        layer.backend.regularization_step(one.gradient, one.values, one.l1, one.l2)
