"""Suite `combined`: the notes' timing experiment, combined against separate derivatives.

The gradient of cross-entropy behind softmax, from the softmax's output: once by the loss's and
the softmax's derivatives one after the other, once by their combination (p - t) / N. The notes
measure it on 3 x 3 numbers, where it is the cost of calling that is measured, and print 6.92;
real batches show what the arithmetic is worth. Float64 at the notes' size, as there.

    book        the notes' classes (bench/book.py), their Python loop included
    <backend>   our classes, made once; labels are checked before, as in `Model.train`
    torch, jax  the same formulas; JAX compiles each of the two into one program
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nnfs_gpu import (
    Activation_Softmax,
    Activation_Softmax_Loss_CategoricalCrossentropy,
    Labels,
    Loss_CategoricalCrossentropy,
    get_backend,
    use_backend,
)
from nnfs_gpu.backend import Backend
from nnfs_gpu.selftest.timing import HOST, Contender, clock_of

from .. import book
from ..cases_torch import less_one
from ..peers import Peers, jax_operation
from ..sheet import Sheet, attempt, times

NOTES_OUTPUTS = ((0.7, 0.1, 0.2), (0.1, 0.5, 0.4), (0.02, 0.9, 0.08))
NOTES_TARGETS = (0, 1, 1)
SIZES = ((300, 3), (30_000, 3), (30_000, 10), (10_000, 100), (1_000_000, 3))
QUICK = ((300, 3), (3_000, 10))


def run(
    sheet: Sheet, backends: list[Backend], peers: Peers, sizes: tuple[tuple[int, int], ...]
) -> None:
    """The notes' case, then a row for each (rows, classes)."""
    _case(
        sheet,
        "3 x 3, the notes' numbers",
        np.array(NOTES_OUTPUTS),
        np.array(NOTES_TARGETS, np.int32),
        [get_backend(backend.name, dtype="float64") for backend in backends],
        Peers(absent=peers.absent),
    )
    rng = np.random.default_rng(0)
    for rows, classes in sizes:
        case = f"{rows:,} x {classes:,}"
        if sheet.late(case):
            continue
        scores = rng.standard_normal((rows, classes), dtype=np.float32)
        p = get_backend("numpy", dtype="float32").softmax_forward(scores)
        t = rng.integers(0, classes, rows, dtype=np.int32)
        _case(sheet, case, p, t, backends, peers)


def _case(
    sheet: Sheet, case: str, p: np.ndarray, t: np.ndarray, backends: list[Backend], peers: Peers
) -> None:
    exact = get_backend("numpy", dtype="float64").softmax_cross_entropy_backward(
        p.astype(np.float64), t
    )
    tolerance = 1e-5 if p.dtype == np.float32 else 1e-12
    contenders: dict[str, Contender] = {}
    left_out: dict[str, str] = {}

    def add(name: str, call: Any, role: str, to_numpy: Any = np.asarray, clock: Any = HOST) -> None:
        def check(call: Any) -> None:
            error = np.abs(to_numpy(call()) - exact).max() / np.abs(exact).max()
            assert error <= tolerance, f"relative error {error:.2e}; not timed"

        if attempt(left_out, name, lambda: call, check) is not None:
            contenders[name] = Contender(call, role, clock=clock)

    add("book separate", lambda: book.separate(p, t), "book")
    add("book combined", lambda: book.combined(p, t), "book")
    for backend in backends:
        for kind, call in _ours(backend, p, t).items():
            clock = clock_of(backend)
            add(f"nnfs_gpu {backend.name} {kind}", call, "ours", backend.to_numpy, clock)
    main = backends[0]
    on_device = {"p": main.asarray(p), "t": main.asarray(t, np.int32)}
    for kind, call in _torch(peers.torch, on_device).items():
        add(f"torch {kind}", call, "peer", lambda r: r.cpu().numpy(), clock_of(main))
    for kind, call in _jax(peers.jax, on_device).items():
        add(f"jax {kind}", call, "peer")
    row = sheet.measure(
        case,
        contenders,
        reference=f"nnfs_gpu {main.name} combined",
        left_out=left_out,
        rows=len(p),
        classes=p.shape[1],
    )
    if row is None:
        return
    pairs = {
        name.removesuffix(" separate"): times(row, name, name.replace("separate", "combined"))
        for name in contenders
        if name.endswith("separate") and name.replace("separate", "combined") in contenders
    }
    print("      separate / combined: " + ", ".join(f"{k} {v:.2f}" for k, v in pairs.items()))


def _ours(backend: Backend, p: np.ndarray, t: np.ndarray) -> dict[str, Any]:
    with use_backend(backend):
        loss, activation = Loss_CategoricalCrossentropy(), Activation_Softmax()
        both = Activation_Softmax_Loss_CategoricalCrossentropy()
    outputs = backend.asarray(p)
    labels = Labels.of(t, p.shape[1], backend, len(t))

    def separate() -> Any:
        activation.output = outputs
        return activation.backward(loss.backward(outputs, labels))

    return {"separate": separate, "combined": lambda: both.backward(outputs, labels)}


def _torch(torch: Any, arrays: dict[str, Any]) -> dict[str, Any]:
    if torch is None:
        return {}
    a = {name: torch.from_dlpack(array) for name, array in arrays.items()}
    p, rows = a["p"], a["t"].long()[:, None]

    def separate() -> Any:
        dp = torch.zeros_like(p).scatter_(1, rows, -1 / p.gather(1, rows) / len(p))
        return torch._softmax_backward_data(dp, p, 1, p.dtype)

    return {
        "separate": separate,
        "combined": less_one(torch, a),
    }


def _jax(jax: Any, arrays: dict[str, Any]) -> dict[str, Any]:
    if jax is None:
        return {}
    return {
        "separate": jax_operation(jax, "softmax_cross_entropy_separate", arrays),
        "combined": jax_operation(jax, "softmax_cross_entropy_backward", arrays),
    }
