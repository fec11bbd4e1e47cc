"""Which of a model's objects form a stage: a dense layer, its activation, the dropout after it.

What no fused step can do is refused here with `CannotFuse`: layers in another order, layers of
other classes, and objects of ours on which somebody has replaced a method.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .. import activations, layers
from ..network.network import Network
from ..own.parts import name_of, ours
from .vocabulary import ACTIVATIONS, CannotFuse


@dataclass(frozen=True)
class StageParts:
    """The model's objects behind one stage."""

    dense: Any
    activation: Any | None  # None: no activation object, which is linear
    dropout: Any | None


_DROPOUT = layers.Layer_Dropout


def _layers() -> set[type[Any]]:
    """The classes that a network may have."""
    known = {activation.make for activation in ACTIVATIONS.values()}
    return known | {_DROPOUT, layers.Layer_Dense, activations.Activation_Softmax}


def stage_parts(model: Network) -> tuple[StageParts, ...]:
    """The objects of each stage, in order. Raises CannotFuse for layers that form no stages."""
    found: list[list[Any]] = []
    known = _layers()
    for number, layer in enumerate(model.layers):
        kind = type(layer)
        last = number == len(model.layers) - 1
        if kind not in known:
            raise CannotFuse(f"layer {number} is a {name_of(layer)}, which no fused step knows")
        check_unchanged(layer, f"layer {number}", "forward", "backward")
        if kind is layers.Layer_Dense:
            found.append([layer, None, None])
            continue
        if not found:
            raise CannotFuse(f"the first layer is {kind.__name__}, expected a Layer_Dense")
        stage = found[-1]
        if kind is _DROPOUT:
            if last:
                raise CannotFuse("dropout is the last layer")
            if stage[2] is not None:
                raise CannotFuse(f"layer {number} is a second dropout in a row")
            stage[2] = layer
        elif kind is activations.Activation_Softmax and not last:
            raise CannotFuse(f"layer {number} is a softmax inside the network")
        elif stage[1] is not None:
            raise CannotFuse(f"layer {number} is a second activation of the same dense layer")
        elif stage[2] is not None:
            raise CannotFuse(f"layer {number} is an activation after a dropout")
        else:
            stage[1] = layer
    if not found:
        raise CannotFuse("the network has no dense layer")
    return tuple(StageParts(*stage) for stage in found)


def check_unchanged(part: Any, what: str, *methods: str) -> None:
    """An engine computes what our methods do: one that somebody has replaced it cannot know."""
    for method in methods:
        if not ours(part, method):
            raise CannotFuse(f"{what} ({name_of(part)}) has another {method} than the package's")
