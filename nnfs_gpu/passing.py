"""What a pass leaves on a layer, and what is said where none has left anything.

The book's layers keep `inputs` and `output` of the last forward pass and `dinputs` of the last
backward pass. In a fused step they never exist as a whole: engines call `Network.forget_pass`
after it, and whoever reads them then is told why they are missing.
"""

from __future__ import annotations

from typing import Any

NAMES = ("inputs", "output", "dinputs", "binary_mask")


class LeftByPass:
    """An attribute that a pass assigns. Found only on a layer that does not hold it.

    It has no `__set__`: an assigned value lies on the layer and comes before it, so that
    nothing is asked in a step. AttributeError, so that `hasattr` is False and `getattr` takes
    its default; copies and pickles do not see it.
    """

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, layer: Any, owner: type) -> Any:
        if layer is None:
            return self
        way = "backward" if self.name == "dinputs" else "forward"
        raise AttributeError(
            f"{owner.__name__}.{self.name} is not there: the fused engine, which Model.train takes "
            f"where it can, keeps none, and {way} has not been called since; train with "
            f"engine='layers' to have it, or call {way}"
        )


class Passed:
    """Base of layers and activations: what passes through them is there, or says why not."""

    inputs: Any = LeftByPass()
    output: Any = LeftByPass()
    dinputs: Any = LeftByPass()
