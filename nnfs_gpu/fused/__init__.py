"""Whole training steps in one pass over the data, a tile of samples at a time.

`engine(model)` gives the object that runs them on the model's backend, or raises `CannotFuse`
with the reason; `explain(model)` says in words what would happen. Each module of `ENGINES` has
`FusedSteps(model, plan)`, which makes one. All have the methods of `network.engine.Engine`,
`run`, and `describe`, which says for people what the engine will do.
"""

from __future__ import annotations

import importlib
from typing import Any

from ..network.network import Network
from .plan import Plan, Stage, make_plan
from .stages import StageParts, stage_parts
from .vocabulary import CannotFuse

__all__ = [
    "ENGINES",
    "CannotFuse",
    "Plan",
    "Stage",
    "StageParts",
    "chosen",
    "engine",
    "explain",
    "make_plan",
    "stage_parts",
    "takes_weights",
]

ENGINES = {  # backend: (module, what it is called in reports); imported when asked for
    "numba": ("nnfs_gpu.fused.cpu.engine", "the CPU's fused step"),
    "cupy": ("nnfs_gpu.fused.cuda.choose", "the GPU's fused step"),
    "numba-cuda": ("nnfs_gpu.fused.cuda.choose", "the GPU's fused step"),
}


def engine(model: Network) -> Any:
    """The object that runs whole steps of a model, on its backend.

    Parameters
    ----------
    model : Model
        A finalized one, with a loss, an optimizer and an accuracy.

    Returns
    -------
    FusedSteps
        Of the backend's engine.

    Raises
    ------
    CannotFuse
        Where there is none, with the reason.
    """
    name = model.backend.name
    if name not in ENGINES:
        raise CannotFuse(
            f"the backend {name!r} has no fused step; take one of {', '.join(ENGINES)}"
        )
    plan = make_plan(model)
    return importlib.import_module(ENGINES[name][0]).FusedSteps(model, plan)


def chosen(model: Network) -> str:
    """What trains a finalized model with a loss and an optimizer, and why that."""
    try:
        made = engine(model)
    except CannotFuse as reason:
        return f"layer by layer: {reason}"
    rest = "" if takes_weights(made) else "; samples with weights train layer by layer"
    return f"{ENGINES[model.backend.name][1]}: {made.describe()}{rest}"


def takes_weights(steps: Any) -> bool:
    """Whether an engine takes targets with weights."""
    return getattr(steps, "weights", False)


def explain(model: Network) -> str:
    """What `Model.explain` prints.

    Parameters
    ----------
    model : Model
        A finalized one.

    Returns
    -------
    str
        The plan with its bytes and operations a sample, and the engine chosen and why.
    """
    try:
        return f"{make_plan(model).describe()}\n{chosen(model)}"
    except CannotFuse as reason:
        return f"layer by layer: {reason}"
