"""All or nothing: what fails in the middle leaves every object as it was."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def all_or_nothing(*objects: Any) -> Iterator[None]:
    """Where the block raises, whatever it is, all attributes of `objects` are as before.

    The attributes themselves are put back, not what is in them: a block that changes a list
    or an array in its place has to make a new one instead.
    """
    before = [(one, dict(vars(one))) for one in objects if hasattr(one, "__dict__")]
    try:
        yield
    except BaseException:
        for one, attributes in before:
            _put_back(one, attributes)
        raise


def _put_back(one: Any, attributes: dict[str, Any]) -> None:
    try:
        object.__setattr__(one, "__dict__", attributes)  # at once, whatever interrupts
    except AttributeError:  # its class allows no other, as types.SimpleNamespace
        held = vars(one)
        held.update(attributes)
        for name in held.keys() - attributes.keys():
            del held[name]
