"""Suite `jacobian`: softmax backward, and what the batched Jacobian product is worth.

    loop         the notes' chapter 9: one Jacobian a sample, in a Python loop
    matrices     all Jacobians at once (N, C, C), then a batched product
    closed form  dx = y (dy - sum(y dy)) in NumPy: the `numpy` backend
    <backend>    the same in one pass of our kernel
    torch, jax   what these libraries do in their own backward

Beside them the limit: adding two arrays into a third moves the same 12 bytes an element. The
loop and the matrices are linear in the rows; where all rows would take minutes or gigabytes,
as many as fit are timed and the time is scaled to all ("scaled" in the row).
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from nnfs_gpu.backend import Backend
from nnfs_gpu.selftest.timing import HOST, Clock, Contender, Stream, clock_of, threads

from ..ladders import SOFTMAX_BACKWARD
from ..peers import Peers, jax_operation
from ..sheet import Sheet, attempt
from ..versions import Version, numpy_for
from .ladder import OperationCase

SIZES = (
    *((1_000_000, 3), (300_000, 10), (30_000, 100)),
    *((3_000, 1_000), (300, 10_000), (30, 100_000)),
)
QUICK = ((20_000, 3), (2_000, 10), (100, 100))


def run(
    sheet: Sheet, backends: list[Backend], peers: Peers, sizes: tuple[tuple[int, int], ...]
) -> None:
    """A row for each (rows, classes)."""
    for rows, classes in sizes:
        case = f"{rows:,} x {classes:,}"
        if sheet.late(case):
            continue
        operation = OperationCase("softmax_backward", rows, classes)
        contenders, left_out, scaled = candidates(operation, backends, peers)
        main = backends[0]
        contenders |= Stream(main.xp, rows * classes, threads()).contenders(clock_of(main))
        sheet.measure(
            case,
            contenders,
            reference=f"nnfs_gpu {main.name}",
            left_out=left_out,
            scaled=scaled,
            rows=rows,
            classes=classes,
            bytes=12 * rows * classes,
        )


def candidates(
    case: OperationCase, backends: list[Backend], peers: Peers
) -> tuple[dict[str, Contender], dict[str, str], dict[str, int]]:
    """Those that were found right; why others are not there; of scaled ones the rows timed."""
    contenders: dict[str, Contender] = {}
    left_out: dict[str, str] = {}
    numpy = numpy_for("float32")
    versions = [(version, numpy) for version in SOFTMAX_BACKWARD[:3]]
    for backend in backends:
        call = lambda backend, dy, y: backend.softmax_backward(dy, y)  # noqa: E731
        versions.append((Version(f"nnfs_gpu {backend.name}", "", "", call), backend))
    for version, backend in versions:
        made = attempt(
            left_out,
            version.name,
            partial(case.contender, version, backend),
            lambda _: None,  # `contender` has checked it
        )
        if made is not None:
            contenders[version.name] = made
    rows = case.facts["rows"]
    scaled = {name: round(rows / one.scale) for name, one in contenders.items() if one.scale != 1}
    main = backends[0]
    a, b = (main.asarray(array) for array in case.arrays)

    def add(name: str, call: Any, to_numpy: Any, clock: Clock) -> None:
        check = lambda call: case.check(to_numpy(call()))  # noqa: E731
        if attempt(left_out, name, lambda: call, check) is not None:
            contenders[name] = Contender(call, "peer", clock=clock)

    if torch := peers.torch:
        ta, tb = torch.from_dlpack(a), torch.from_dlpack(b)
        add(
            "torch",
            lambda: torch._softmax_backward_data(ta, tb, 1, torch.float32),
            lambda t: t.cpu().numpy(),
            clock_of(main),
        )
    if peers.jax:
        traced = jax_operation(peers.jax, "softmax_backward", {"dy": a, "y": b})
        add("jax", traced, np.asarray, HOST)
    return contenders, left_out, scaled
