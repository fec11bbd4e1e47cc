"""The engines of the backends with CuPy arrays: which one a plan gets.

    engine   one kernel launch a step, or one for many; widths up to 128 (`build`)
    tiles    tiles of rows through the backend's operations, whose products are cuBLAS's

Both have step, run, accumulate, finish and describe, as the CPU's engine has them. What they
measure stays on the device; nothing waits for it.
"""

from __future__ import annotations

from ...network.network import Network
from ..plan import Plan
from ..tiles import TiledSteps
from ..vocabulary import CannotFuse
from .device import launcher_of
from .engine import KernelSteps


def FusedSteps(model: Network, plan: Plan) -> KernelSteps | TiledSteps:  # noqa: N802 - made like one
    """The engine for `plan`: one kernel a step where it fits, else tiles of rows.

    Raises CannotFuse with the reasons of both where neither takes the plan.
    """
    launcher_of(model.backend)  # raises where no kernel runs at all
    try:
        return KernelSteps(model, plan)
    except CannotFuse as narrow:
        try:
            return TiledSteps(model, plan)
        except CannotFuse as wide:
            raise CannotFuse(f"{narrow}; {wide}") from None
