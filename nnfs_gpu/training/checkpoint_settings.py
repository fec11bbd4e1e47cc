"""What a run must have in common with the checkpoint that it goes on from.

For `checkpoint.py`: the settings of a run, those in a file, and what differs in words.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..files import model_file as storage
from ..files.tensor_file import Document
from ..files.tensor_reader import MOST_SHOWN, short
from .callbacks import Callback
from .run import Run


def settings_of(run: Run) -> dict[str, Any]:
    """Everything that decides on the bits of a run, beside its start."""
    backend = run.model.backend
    callbacks = [
        {"class": type(callback).__name__} | callback.settings()
        for callback in with_memory(run.callbacks)
    ]
    return {
        "backend": backend.name,
        "precise_dot": backend.precise_dot,
        "book_random": backend.book_random,
        **storage.describe(run.model),
        **run.settings,
        "callbacks": callbacks,
    }


def settings_in(document: Document, now: dict[str, Any]) -> dict[str, Any]:
    """The settings in a checkpoint, to be compared with those of `now`.

    A dropout seed that is not given, or is the one that the checkpoint has drawn, is taken
    for the same: the one in the checkpoint is used.
    """
    settings: dict[str, Any] = document["training"]["settings"]
    states = document["state"]["layers"]
    layers = list(settings["layers"])
    for i, (new, old, state) in enumerate(zip(now["layers"], layers, states, strict=False)):
        if old["class"] == new["class"] == "Layer_Dropout" and new["seed"] in (None, state["seed"]):
            layers[i] = old | {"seed": new["seed"]}
    return settings | {"layers": layers}


def with_memory(callbacks: Sequence[Callback]) -> list[Callback]:
    """Those that keep something: the others may come and go between two starts."""
    inherited = (Callback.settings, Callback.get_state)
    return [c for c in callbacks if (type(c).settings, type(c).get_state) != inherited]


def differences(old: Any, new: Any, where: str = "") -> list[str]:
    """What differs between two trees of dicts, lists and values, in words."""
    if isinstance(old, dict) and isinstance(new, dict):
        pairs: Any = [(key, old.get(key), new.get(key)) for key in (old | new)]
    elif isinstance(old, (list, tuple)) and isinstance(new, (list, tuple)) and len(old) == len(new):
        pairs = [(i, *pair) for i, pair in enumerate(zip(old, new, strict=True))]
    else:
        if old == new:
            return []
        return [f"{where[:MOST_SHOWN]} was {_short(old)}, is now {_short(new)}"]
    dot = f"{where}." if where else ""
    return [text for key, a, b in pairs for text in differences(a, b, f"{dot}{key}")]


def _short(value: Any) -> str:
    if isinstance(value, dict) and "class" in value:
        return str(value["class"])[:60]
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return ("[" + ", ".join(_short(one) for one in value) + "]")[:MOST_SHOWN]
    return short(value)
