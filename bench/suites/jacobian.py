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

from typing import Any

import numpy as np

from nnfs_gpu import get_backend
from nnfs_gpu.selftest.timing import HOST, Clock, Stream, Way, clock_of, threads

from ..book import softmax_backward as loop
from ..peers import Peers, jax_operation
from ..sheet import Sheet, attempt

SIZES = (
    *((1_000_000, 3), (300_000, 10), (30_000, 100)),
    *((3_000, 1_000), (300, 10_000), (30, 100_000)),
)
QUICK = ((20_000, 3), (2_000, 10), (100, 100))
LOOP_ELEMENTS, LOOP_ROWS = 10**8, 50_000  # of Jacobians that the loop builds: half a second
MATRIX_ELEMENTS = 1 << 25  # of Jacobians at once: 128 MiB, and temporaries of that size
TOLERANCE = 2e-6  # largest error allowed against float64, relative to the largest result


def matrices(dy: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Every Jacobian of the batch, built and multiplied."""
    return (get_backend("numpy", dtype="float32").softmax_jacobian(y) @ dy[:, :, None])[:, :, 0]


def run(
    sheet: Sheet, backends: list[Any], peers: Peers, sizes: tuple[tuple[int, int], ...]
) -> None:
    """A row for each (rows, classes)."""
    for rows, classes in sizes:
        case = f"{rows:,} x {classes:,}"
        if sheet.late(case):
            continue
        rng = np.random.default_rng(0)
        x = rng.standard_normal((rows, classes), dtype=np.float32)
        y = get_backend("numpy", dtype="float32").softmax_forward(x)
        dy = rng.standard_normal((rows, classes), dtype=np.float32)
        ways, left_out, scaled = candidates(dy, y, backends, peers)
        main = backends[0]
        ways |= Stream(main.xp, dy.size, threads()).ways(clock_of(main))
        sheet.measure(
            case,
            ways,
            reference=f"nnfs_gpu {main.name}",
            left_out=left_out,
            scaled=scaled,
            rows=rows,
            classes=classes,
            bytes=12 * rows * classes,
        )


def candidates(
    dy: np.ndarray, y: np.ndarray, backends: list[Any], peers: Peers
) -> tuple[dict[str, Way], dict[str, str], dict[str, int]]:
    """The ways, each checked; why others are not there; of scaled ones the rows that are timed."""
    y64, dy64 = y.astype(np.float64), dy.astype(np.float64)
    exact = y64 * (dy64 - (y64 * dy64).sum(axis=1, keepdims=True))
    ways: dict[str, Way] = {}
    left_out: dict[str, str] = {}
    scaled: dict[str, int] = {}

    def add(name: str, call: Any, to_numpy: Any, role: str, clock: Clock) -> None:
        check = lambda call: _check(to_numpy(call()), exact)  # noqa: E731
        if attempt(left_out, name, lambda: call, check) is not None:
            ways[name] = Way(call, role, clock=clock)

    for name, way, elements in (
        ("loop", loop, min(LOOP_ELEMENTS, LOOP_ROWS * y.shape[1] ** 2)),
        ("matrices", matrices, MATRIX_ELEMENTS),
    ):
        _add_book(name, way, elements, dy, y, exact, ways, left_out, scaled)
    numpy = get_backend("numpy", dtype="float32")
    add("closed form", lambda: numpy.softmax_backward(dy, y), np.asarray, "book", HOST)
    for backend in backends:
        a, b = backend.asarray(dy), backend.asarray(y)
        add(
            f"nnfs_gpu {backend.name}",
            lambda backend=backend, a=a, b=b: backend.softmax_backward(a, b),
            backend.to_numpy,
            "ours",
            clock_of(backend),
        )
    main = backends[0]
    a, b = main.asarray(dy), main.asarray(y)
    if torch := peers.torch:
        ta, tb = torch.from_dlpack(a), torch.from_dlpack(b)
        add(
            "torch",
            lambda: torch._softmax_backward_data(ta, tb, 1, torch.float32),
            lambda t: t.cpu().numpy(),
            "peer",
            clock_of(main),
        )
    if peers.jax:
        call = jax_operation(peers.jax, "softmax_backward", {"dy": a, "y": b})
        add("jax", call, np.asarray, "peer", HOST)
    return ways, left_out, scaled


def _add_book(
    name: str,
    way: Any,
    elements: int,
    dy: np.ndarray,
    y: np.ndarray,
    exact: np.ndarray,
    ways: dict[str, Way],
    left_out: dict[str, str],
    scaled: dict[str, int],
) -> None:
    """A way that builds Jacobians, `elements` of them at most in a call."""
    rows, classes = y.shape
    fit = min(rows, elements // classes**2)
    if fit == 0:
        gib = 4 * classes**2 / 2**30
        left_out[name] = f"not tried: one Jacobian of {classes:,} classes takes {gib:.1f} GiB"
        return
    if fit < rows:
        scaled[name] = fit
    few = slice(0, max(1, min(fit, 100, 10**7 // classes**2)))  # in float64: exact
    right = [a[few].astype(np.float64) for a in (dy, y)]

    def check(_: Any) -> None:
        error = np.abs(way(*right) - exact[few]).max()
        assert error <= 1e-12, f"error {error:.2e}"

    part = slice(0, fit)
    call = attempt(left_out, name, lambda: lambda: way(dy[part], y[part]), check)
    if call is not None:
        ways[name] = Way(call, "book", scale=rows / fit)


def _check(result: np.ndarray, exact: np.ndarray) -> None:
    error = np.abs(result - exact).max() / np.abs(exact).max()
    if not error <= TOLERANCE:
        raise AssertionError(f"relative error {error:.2e}, allowed {TOLERANCE:.0e}; not timed")
