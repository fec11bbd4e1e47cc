"""How an object shows itself in a line: its class, and the settings that are not the defaults.

`__repr__` of layers, activations, losses, accuracies, optimizers and callbacks call `described`.
The constructor's signature says what the settings are called; attributes of these names hold
them. It never raises: a part of the user's own may have no such attribute, or a broken one.
"""

from __future__ import annotations

import inspect
import reprlib
from collections.abc import Collection
from typing import Any

import numpy as np

_UNKNOWN = object()


def described(part: Any, but: Collection[str] = ()) -> str:
    """Such as `Layer_Dense(2, 64)` or `Optimizer_Adam(learning_rate=0.01)`.

    but  settings to leave out

    Where an attribute holds something else than what was given, `SHOWN` of the class has a function
    by the setting's name: it makes of the part what was given.
    """
    words, named = [], False
    for one in _settings(type(part)):
        text = None if one.name in but else _text(_held(part, one.name))
        required = one.default is one.empty and one.kind is not one.KEYWORD_ONLY
        if text is None or text == _text(one.default):
            named = True  # from here on, places no longer say which setting it is
        elif required and not named:
            words.append(text)
        else:
            words.append(f"{one.name}={text}")
    return f"{type(part).__name__}({', '.join(words)})"


def _settings(kind: Any) -> list[inspect.Parameter]:
    """What `__init__` takes, but for `self` and what has no name."""
    try:
        _, *found = inspect.signature(kind.__init__).parameters.values()
    except (TypeError, ValueError):
        return []
    return [one for one in found if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)]


def _held(part: Any, name: str) -> Any:
    try:
        given = getattr(part, "SHOWN", {}).get(name)
        return given(part) if given else getattr(part, name, _UNKNOWN)
    except Exception:  # a property of the user's own may raise anything
        return _UNKNOWN


def _text(value: Any) -> str | None:
    """A number, a text, or a short list of them; None for all else, such as arrays."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return f"{value:.12g}"  # 0.1 for 1 - 0.9
    if value is None or isinstance(value, (bool, int, str)):
        return reprlib.repr(value)
    if isinstance(value, (tuple, list)) and all(isinstance(v, (int, float, str)) for v in value):
        return reprlib.repr(value)
    return None
