"""Actions that happen whole or not at all, whenever Ctrl-C comes.

Python raises KeyboardInterrupt between any two instructions of the main thread, and so may a
signal handler of the user's own raise what it likes. An action that has the same effect when it
is repeated can be made whole: where it was cut off, it is done once more.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def insist(act: Callable[[], Any]) -> None:
    """Call `act` until it comes to its end, as often as Ctrl-C cuts it off; raise that then."""
    interrupt = None
    while True:
        try:
            act()
            break
        except KeyboardInterrupt as error:
            interrupt = error
    if interrupt is not None:
        raise interrupt


def new_pass(*parts: Any) -> None:
    """An epoch begins: the sums of the loss and of the accuracy are forgotten, both of them."""

    def forget() -> None:
        for part in parts:
            if part is not None:
                part.new_pass()

    try:
        forget()
    except BaseException:
        insist(forget)
        raise
