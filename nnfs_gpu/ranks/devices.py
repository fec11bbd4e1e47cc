"""One GPU for each rank: which, and that no two ranks share one.

`choose_device` is called before anything lies on a GPU: arrays and models stay on the device that
was the current one when they were made. What ranks know of each other they tell by sums, so that
it works in every world.
"""

from __future__ import annotations

import numpy as np

from ..backend.cuda.probe import cuda_of_cupy
from .cores import node, number_of
from .errors import WorldError, on_all
from .failures import together
from .world import World, everybody


def choose_device(world: World) -> int | None:
    """Make a GPU of its own the current device of this rank; returns its number.

    Where a rank sees one device, the launcher has chosen, and it is that one; else the first rank
    of a node has device 0, the next one device 1. A single process keeps the device that it has:
    None, as where no rank has CUDA and CuPy.

    Parameters
    ----------
    world : World
        All ranks call this, before anything lies on a GPU.

    Returns
    -------
    int or None
        Number of the device.

    Raises
    ------
    WorldError
        On all ranks, where some have a GPU and others none, where a node has more ranks than
        devices, and where two ranks are on one device.
    """
    if world.size == 1:
        return None
    cuda = together(world, cuda_of_cupy)
    devices = together(world, lambda: cuda.runtime.getDeviceCount() if cuda else 0)
    table = everybody(world, (node(), devices))
    if not table[:, 1].any():
        return None
    numbers = [_number(table, rank) for rank in range(world.size)]
    number = numbers[world.rank]
    _refuse(world, _short(table, numbers))

    def select() -> int:
        cuda.Device(number).use()
        return number_of(f"{node()} {cuda.runtime.deviceGetPCIBusId(number)}")

    _refuse(world, _shared(everybody(world, (together(world, select),))[:, 0]))
    return number


def _number(table: np.ndarray, rank: int) -> int:
    """The device of a rank. `table`: node and devices of every rank."""
    here, devices = table[rank]
    return 0 if devices == 1 else int((table[:rank, 0] == here).sum())


def _short(table: np.ndarray, numbers: list[int]) -> str:
    """What is wrong where a rank has no device; "" else."""
    for rank, number in enumerate(numbers):
        devices = int(table[rank, 1])
        if not devices:
            return (
                f"rank {rank} has no GPU (no CUDA driver, no device or no CuPy), and rank "
                f"{int(table[:, 1].argmax())} has; run nnfs-gpu info on both machines, or start "
                "all ranks where GPUs are"
            )
        if number >= devices:
            return (
                f"rank {rank} is number {number + 1} on its machine, which has {devices} GPUs; "
                f"start at most {devices} ranks on a machine, one for each GPU"
            )
    return ""


def _shared(devices: np.ndarray) -> str:
    """What is wrong where two ranks are on one device; "" else."""
    for rank, device in enumerate(devices):
        first = int((devices == device).argmax())
        if first < rank:
            return (
                f"ranks {first} and {rank} are on one GPU; give each rank one of its own: start "
                "at most as many on a machine as it has, with srun --gpus-per-task=1, say"
            )
    return ""


def _refuse(world: World, problem: str) -> None:
    """All ranks have found the same."""
    if problem:
        raise on_all(WorldError(problem), world.rank)
