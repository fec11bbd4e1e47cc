"""What the machine can do at most: memory bandwidth and arithmetic, measured, not looked up.

    copy    an array into another, 8 bytes a float32 element
    add     two arrays into a third, 12 bytes an element
    fresh   the same addition, into a new array. An operation that returns its result needs
            memory for it: where the allocator has to ask the system, each page is faulted in and
            zeroed at its first touch. Every contender pays that, so it is a limit of its own;
            `copy` and `add` write pages that were touched before.
    gemm    a large square matrix product by BLAS, the arithmetic that a program can reach

On the CPU slices of the arrays are shared out to threads; NumPy releases the interpreter's lock
inside, and its loops are vectorized, so that no kernel of ours measures itself. On a GPU CuPy
does it. Transfers between host and device are rows of their own and in no other figure.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from nnfs_gpu.backend import Backend
from nnfs_gpu.selftest.timing import Contender, Stream, clock_of, threads

from ..sheet import Row, Sheet, of_role

GEMM = 2048  # rows and columns
PAGE = mmap.PAGESIZE


def measure(sheet: Sheet, backend: Backend, elements: int) -> dict[str, Row]:
    """Rows for bandwidth, page faults and arithmetic, and on a GPU for transfers; by name."""
    clock, xp = clock_of(backend), backend.xp
    count = threads()
    all_of_them = f"{count} threads" if xp is np else "device"
    streams = {all_of_them: Stream(xp, elements, count)}
    if xp is np and count > 1:
        streams["1 thread"] = Stream(xp, elements)
    found: dict[str, Row] = {}
    for kind, width in (("copy", 8), ("add", 12), ("fresh", 12)):
        contenders = {
            name: Contender(getattr(stream, kind), "limit", clock=clock)
            for name, stream in streams.items()
        }
        row = sheet.measure(
            f"limit: {_TITLES[kind]}",
            contenders,
            reference=all_of_them,
            bytes=width * elements,
            pages=4 * elements // PAGE,
        )
        assert row is not None  # the reference is among the contenders
        found[kind] = row
    rng = np.random.default_rng(0)
    n = 256 if sheet.quick else GEMM
    a, b = (xp.asarray(rng.standard_normal((n, n), dtype=np.float32)) for _ in range(2))
    row = sheet.measure(
        f"limit: {n} x {n} matrix product",
        {all_of_them: Contender(lambda: a @ b, "limit", clock=clock)},
        reference=all_of_them,
        bytes=12 * n * n,
        flops=2 * n**3,
    )
    assert row is not None
    found["gemm"] = row
    if xp is not np:
        _transfers(sheet, xp, elements)
    return found


_TITLES = {"copy": "copy", "add": "add of two arrays", "fresh": "add into a new array"}


def _transfers(sheet: Sheet, xp: Any, elements: int) -> None:
    """Between host and device, from ordinary and from pinned memory."""
    host, device = np.ones(elements, np.float32), xp.ones(elements, np.float32)
    memory = xp.cuda.alloc_pinned_memory(host.nbytes)
    pinned = np.frombuffer(memory, np.float32, elements)
    wait = xp.cuda.get_current_stream().synchronize

    def waited(call: Callable[[], Any]) -> Callable[[], None]:
        def run() -> None:
            call()
            wait()

        return run

    for name, memory_of in (("ordinary", host), ("pinned", pinned)):
        contenders = {
            "to the device": Contender(waited(partial(device.set, memory_of)), "limit"),
            "to the host": Contender(waited(partial(device.get, out=memory_of)), "limit"),
        }
        case = f"transfer: {name} memory"
        sheet.measure(case, contenders, reference="to the device", bytes=host.nbytes)


def rate(row: Row) -> float:
    """Bytes a second of a limit's row, by its fastest contender."""
    seconds: float = row["contenders"][of_role(row, "limit")[0]]["median"]
    return float(row["bytes"] / seconds)


def page_fault(add: Row, fresh: Row) -> float:
    """Seconds that a page of a new array costs beyond the work: the difference of the rows."""
    seconds = [row["contenders"][row["reference"]]["median"] for row in (add, fresh)]
    return float(max(0.0, seconds[1] - seconds[0]) / add["pages"])
