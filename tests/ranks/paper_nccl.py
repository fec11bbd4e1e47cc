"""NCCL of paper: `cupy.cuda.nccl` for ranks that are threads, which refuses what NCCL refuses.

`Paper` stands for what all ranks have in common, `paper.library()` for the two modules as one rank
imports them. Arrays are `device_arrays.DeviceArray`s, each rank's on the device of its number
unless `devices` says otherwise.

Beyond NCCL: an address that is not on the rank's device, which NCCL follows, and counts that differ
between ranks, with which NCCL waits for ever or adds up what is not there, are errors here.
"""

from __future__ import annotations

import ctypes
import threading
from types import SimpleNamespace
from typing import Any

import numpy as np
from device_arrays import DeviceArray
from fake_cupy import FakeCupy
from paper_worlds import this_rank

IDENTITY = bytes(range(128))
CODES = dict(
    enumerate(("i1", "u1", "i4", "u4", "i8", "u8", "f2", "f4", "f8"))
)  # of ncclDataType_t, in nccl.h
HINT = "(run with NCCL_DEBUG=WARN for details)"


class NcclError(RuntimeError):
    """CuPy's own, with its texts."""


def invalid_argument():
    return NcclError(f"NCCL_ERROR_INVALID_ARGUMENT: invalid argument {HINT}")


class Paper:
    """What `size` ranks share. `devices` are the numbers of theirs."""

    def __init__(self, size: int, meeting: threading.Barrier, devices: Any = None):
        self.size, self.meeting = size, meeting
        self.devices = list(devices or range(size))
        self.calls: list[Any] = [None] * size
        self.memory: dict[int, tuple[int, int]] = {}  # device and bytes of each array
        self.reductions = 0
        self.fails: Exception | None = None  # what get_unique_id raises

    def array(self, values: Any, dtype: Any = np.int64) -> DeviceArray:
        """On this rank's device."""
        a = DeviceArray(np.array(values, dtype), self.devices[this_rank()])
        self.memory[a.data.ptr] = (self.devices[this_rank()], a.nbytes)
        return a

    def library(self) -> tuple[Any, Any]:
        """cupy and cupy.cuda.nccl."""
        cupy = FakeCupy()
        cupy.cuda.runtime.getDevice = lambda: self.devices[this_rank()]
        paper = self

        class NcclCommunicator:
            def __init__(self, ndev: int, identity: bytes, rank: int):
                assert len(identity) == 128, "CuPy asserts it"
                self.rank, self.there = rank, True
                paper.meet(rank, (ndev, identity, paper.devices[rank]))
                if len({device for _, _, device in paper.calls}) < ndev:
                    raise NcclError(f"NCCL_ERROR_INVALID_USAGE: invalid usage {HINT}")
                assert len(set(paper.calls)) == ndev, "others are not in the same communicator"

            def destroy(self) -> None:
                self.there = False

            def allReduce(self, send, recv, count, datatype, op, stream) -> None:  # noqa: N802
                if not self.there or datatype not in CODES or op != nccl.NCCL_SUM:
                    raise invalid_argument()
                device, nbytes = paper.memory.get(recv, (None, 0))
                dtype = np.dtype(CODES[datatype])
                if device != paper.devices[self.rank] or count * dtype.itemsize > nbytes:
                    raise invalid_argument()
                assert send == recv
                assert stream == cupy.cuda.get_current_stream().ptr
                paper.reduce(self.rank, recv, count, dtype)

        nccl = SimpleNamespace(
            available=True,
            NCCL_INT64=4,
            NCCL_SUM=0,
            NcclCommunicator=NcclCommunicator,
            get_unique_id=self.unique_id,
            get_version=lambda: 22707,
        )
        return cupy, nccl

    def unique_id(self) -> bytes:
        if self.fails is not None:
            raise self.fails
        return IDENTITY

    def meet(self, rank: int, call: Any) -> None:
        """All ranks come with their `calls`."""
        self.meeting.wait()
        self.calls[rank] = call
        self.meeting.wait()

    def reduce(self, rank: int, place: int, count: int, dtype: np.dtype) -> None:
        memory = (ctypes.c_char * (count * dtype.itemsize)).from_address(place)
        mine = np.frombuffer(memory, dtype)
        self.meet(rank, (mine.copy(), dtype))
        assert {(len(a), kind) for a, kind in self.calls} == {(count, dtype)}, "NCCL would hang"
        total = np.add.reduce([a for a, _ in self.calls])
        self.meeting.wait()
        mine[...] = total
        self.reductions += rank == 0
