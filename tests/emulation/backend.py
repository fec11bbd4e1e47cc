"""The `cupy` backend without a GPU: its own code, over NumPy arrays and the emulator.

Every choice of kernel, grid and argument is the one that a GPU would get; only the array module
and the launch are exchanged.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from emulation.emulator import Emulator
from nnfs_gpu.backend.cupy_backend import CupyBackend

_emulator = Emulator()


class EmulatedCupyBackend(CupyBackend):
    """`CupyBackend` on the CPU."""

    name = "cupy-emulated"

    def _runtime(self) -> tuple[Any, Any]:
        return np, _emulator

    @classmethod
    def version(cls) -> str:
        return "kernels of the cupy backend, run by g++ and fibers"

    def synchronize(self) -> None:
        """The emulator has finished when it returns."""
