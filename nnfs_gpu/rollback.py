"""All or nothing: what fails in the middle leaves every object as it was.

For a call `all_or_nothing`; for a training step, which must be quick, `undo.py`. Both put back
what an object holds in the place where it lies, as others may hold that, too.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Set
from typing import Any

from .backend.interrupts import insist


@contextlib.contextmanager
def all_or_nothing(*objects: Any) -> Iterator[None]:
    """Where the block raises, whatever it is, all attributes of `objects` are as before.

    The attributes themselves are put back, not what is in them: a block that changes a list
    or an array in its place has to make a new one instead.
    """
    kept = [(held, held.copy()) for held in map(attributes, objects)]

    def put_back() -> None:
        for held, items in kept:
            refill(held, items)

    try:
        yield
    except BaseException:
        insist(put_back)
        raise


def attributes(one: Any) -> dict[str, Any]:
    """Those of an object; {} of one that keeps them in slots: they are not put back."""
    return getattr(one, "__dict__", {})


def refill(held: dict[Any, Any], items: dict[Any, Any], kept: Set[Any] = frozenset()) -> None:
    """Make `held` hold `items`, and of the rest what is `kept`.

    Without a moment in which it holds less; may be done again.
    """
    held.update(items)
    for name in held.keys() - items.keys() - kept:
        held.pop(name, None)
