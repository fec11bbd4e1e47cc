"""Suite `ops`: every operation of a backend against the machine's limit and the best peer.

Bytes are those that the operation has to move by its definition, each input read once and each
output written once (bench/cases.py): what a kernel moves beyond that is its own loss. The
arrays are larger than the last-level cache, so that they come from memory. In every round run

    ours                   the backend's operation
    torch, jax             theirs, where they have one; JAX compiles the specification's code
    limit: add             two arrays into a third, whose pages were touched before
    limit: add, new array  the same with a new result, as every operation but the optimizers has

and the achieved bandwidth is reported as a percentage of these, within the round.
"""

from __future__ import annotations

from typing import Any

from nnfs_gpu.backend import Backend
from nnfs_gpu.selftest.operations import WIDTH
from nnfs_gpu.selftest.timing import HOST, Contender, Stream, clock_of, last_level_cache, threads

from ..cases import CASES, Buffers, Case
from ..cases_torch import tensors
from ..peers import JAX_OPERATIONS, Peers, jax_operation
from ..sheet import Sheet, attempt, times
from ..spot_check import check
from . import limits

CLASSES = (3, 10, 1_000)
ELEMENTS = 1 << 24  # of an array: 64 MiB
QUICK_ELEMENTS = 1 << 16

# Floating-point operations an element; an exponential, a root or a division counts as one.
FLOPS = {
    "softmax_backward": 4,
    "softmax_forward": 5,
    "softmax_cross_entropy": 7,
    "softmax_cross_entropy_backward": 2,
    "relu_forward": 1,
    "relu_backward": 1,
    "multiply": 1,
    "sigmoid_forward": 4,
    "sigmoid_backward": 3,
    "sum": 1,
    "mean": 1,
    "squared_error_backward": 3,
    "sgd_step": 2,
    "momentum_step": 4,
    "adagrad_step": 6,
    "rmsprop_step": 8,
    "adam_step": 12,
    "linear_forward": 2 * WIDTH,
    "linear_relu_forward": 2 * WIDTH,
    "linear_backward": 4 * WIDTH,
    "linear_relu_backward": 4 * WIDTH,
}
IN_PLACE = ("_step",)  # these write into arrays that exist: no new pages


def run(sheet: Sheet, backends: list[Backend], peers: Peers, classes: tuple[int, ...]) -> None:
    """Rows for the machine's limits, then one for each operation at each number of classes."""
    main = backends[0]
    elements = QUICK_ELEMENTS if sheet.quick else max(ELEMENTS, last_level_cache() or 0)
    limits.measure(sheet, main, elements)
    buffers = Buffers(main, elements, sets=1)
    stream = Stream(main.xp, elements, threads())
    for case in CASES:
        for c in classes if case.of.at is None else case.of.at:
            name = f"{case.name} at {c:,}" if case.of.at != (1,) else case.name
            if sheet.late(name):
                continue
            n = case.of.rows(elements, c)
            arguments = buffers.arguments(case.of, 0, n, c)
            contenders, left_out = _contenders(case, n, c, arguments, backends, peers)
            reference = f"nnfs_gpu {main.name}"
            moved = 4 * case.moved(n, c)
            row = sheet.measure(
                name,
                contenders | stream.contenders(clock_of(main)),
                reference=reference,
                left_out=left_out,
                rounds=None if sheet.quick else 5,
                operation=case.name,
                rows=n,
                classes=c,
                bytes=moved,
                limit_bytes=12 * elements,
                flops=FLOPS.get(case.name, 0) * n * c,
                limit=limit_of(case),
            )
            if row is None:
                continue
            best = best_percent(row, reference)
            rate = moved / row["contenders"][reference]["median"] / 1e9
            print(f"      {rate:.1f} GB/s, {best:.0f} % of {row['limit']}")


def limit_of(case: Case) -> str:
    """The contender that is this case's limit."""
    return "limit: add" if case.operation.endswith(IN_PLACE) else "limit: add, new array"


def best_percent(row: dict[str, Any], contender: str, limit: str | None = None) -> float:
    """Percent of the limit's bandwidth that `contender` reaches, within the rounds."""
    share = times(row, limit or row["limit"], contender)
    return float(100 * share * row["bytes"] / row["limit_bytes"])


def _contenders(
    case: Case, n: int, c: int, arguments: dict[str, Any], backends: list[Backend], peers: Peers
) -> tuple[dict[str, Contender], dict[str, str]]:
    """Who can do it, each checked against the specification in float64."""
    contenders: dict[str, Contender] = {}
    left_out: dict[str, str] = {}
    clock = clock_of(backends[0])

    def add(name: str, call: Any, role: str, clock: Any, compared: bool = True) -> None:
        def right(call: Any) -> None:
            if compared:
                check(case, n, c, arguments, call)
            else:
                call()  # PyTorch's optimizers keep a state of their own

        if attempt(left_out, name, lambda: call, right) is not None:
            contenders[name] = Contender(call, role, clock=clock)

    for backend in backends:
        call = lambda backend=backend: case.run(backend, arguments)  # noqa: E731
        add(f"nnfs_gpu {backend.name}", call, "ours", clock_of(backend))
    if torch := peers.torch:
        for name, peer in case.peers.items():
            found = peer(torch, tensors(torch, arguments))
            add(name, found, "peer", clock, compared=not case.of.writes)
    if peers.jax and case.operation in JAX_OPERATIONS:
        found = jax_operation(peers.jax, case.operation, arguments)
        add("jax", found, "peer", HOST)
    return contenders, left_out
