"""NumPy's global stream in a file: where it stands, as `Model.save` and checkpoints keep it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from .tensor_file import Document, Tensors

KEY = "random.key"


def add(document: Document, tensors: Tensors) -> None:
    """Note where the stream stands, which is an MT19937 unless somebody has replaced it."""
    state: Any = np.random.get_state(legacy=False)
    if state["bit_generator"] == "MT19937":
        position = {"pos": int(state["state"]["pos"]), "has_gauss": int(state["has_gauss"])}
        document["random"] = position | {"gauss": float(state["gauss"])}
        tensors[KEY] = state["state"]["key"]


def checked(position: Any, key: Any) -> tuple[str, np.ndarray, int, int, float] | None:
    """What `np.random.set_state` takes; None where the file has none.

    Raises ValueError, TypeError or KeyError for what `add` has not written.
    """
    if position is None:
        return None
    if key is None or key.shape != (624,) or key.dtype != np.uint32:
        raise ValueError(f"{KEY}: expected (624,) uint32")
    pos, has_gauss, gauss = (position[name] for name in ("pos", "has_gauss", "gauss"))
    whole = type(pos) is int and type(has_gauss) is int
    if not (whole and 0 <= pos <= 624 and has_gauss in (0, 1) and type(gauss) is float):
        raise ValueError("random: expected a position from 0 to 624, 0 or 1, and a number")
    return "MT19937", key, pos, has_gauss, gauss


@contextlib.contextmanager
def stream_kept() -> Iterator[None]:
    """Where the block raises, the stream stands where it stood."""
    before = np.random.get_state()
    try:
        yield
    except BaseException:
        np.random.set_state(before)
        raise
