"""Suite `train`: whole training steps (forward, loss, backward, Adam), over nets and batches.

    book             the notes' classes, in NumPy (bench/book.py)
    <backend> layers our classes, operation by operation: `Model.train(..., engine="layers")`
    <backend> fused  the same model, a tile of samples at a time: `engine="fused"`
    torch            eager, with the optimizer's fused step
    torch.compile    the same, compiled; with CUDA graphs on a GPU
    jax              one jitted function

All start from the same parameters on the same spiral. Each is checked before it is timed: its
gradients (as the change that one step of SGD with rate 1 makes), then its loss after five steps
of Adam, against our layers on the numpy backend in float64. Ours count loss and accuracy in every
step, as the book does; peers the loss alone. A time is that of one step. On the CPU the same
operations at the peak of multiply-adds, measured in the same rounds, are a limit.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from nnfs_gpu import get_backend
from nnfs_gpu.backend import Backend
from nnfs_gpu.selftest.timing import HOST, Contender, memory

from ..peak import NAME as PEAK, Peak
from ..peers import Peers
from ..sheet import Sheet, attempt
from ..trainers import (
    RATE,
    Parameters,
    Trainer,
    flops,
    name_of,
    parameters,
    sgd_and_adam,
    trainers,
)

# (hidden widths, batches): between 2 inputs and 3 classes. What matters most comes first.
NETS: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...] = (
    ((64,), (300, 30_000, 1_000_000)),
    ((512, 512), (300, 3_000, 30_000)),
    ((64, 64), (300, 30_000)),
    ((512,), (300, 30_000)),
    ((64,), (30, 3_000, 300_000)),
    ((512, 512), (100_000,)),
    ((64, 64), (1_000_000,)),
    ((512,), (300_000,)),
)
QUICK = (((8,), (30, 300)), ((16, 16), (300,)))
BIASES = 0.1  # how far they spread at the start
STEPS = 5  # of Adam before a trainer is timed
TOLERANCE, LOSS_TOLERANCE = 2e-4, 1e-3  # of gradients to the largest, of the loss after STEPS
ROUNDING = 4e-9  # more for each sample: NumPy's and PyTorch's float32 sums of 1 M are off by 2e-3
# Steps in a timed call: so many that it takes this long, and its start does not count.
MOST_STEPS, CALL_SECONDS = 5_000, 0.03


def run(sheet: Sheet, backends: list[Backend], peers: Peers, nets: Any) -> None:
    """A row for each net and batch."""
    for hidden, batches in nets:
        for batch in batches:
            case = f"{name_of(widths_of(hidden))}, batch {batch:,}"
            if not sheet.late(case):
                _case(sheet, case, hidden, batch, backends, peers)


def widths_of(hidden: tuple[int, ...]) -> tuple[int, ...]:
    """From the spiral's points to its arms."""
    return (2, *hidden, 3)


def data(samples: int) -> tuple[np.ndarray, np.ndarray]:
    """`samples` points of the spiral with three arms, mixed, and their classes."""
    X, y = get_backend("numpy", dtype="float32").spiral(-(-samples // 3), 3, 0)
    mixed = np.random.default_rng(1).permutation(len(X))[:samples]
    return X[mixed], y[mixed]


def _case(
    sheet: Sheet,
    case: str,
    hidden: tuple[int, ...],
    batch: int,
    backends: list[Backend],
    peers: Peers,
) -> None:
    X, y = data(batch)
    widths = widths_of(hidden)
    start = parameters(widths, BIASES)
    exact = oracle(start, X, y)
    contenders: dict[str, Contender] = {}
    left_out: dict[str, str] = {}
    needed = 4 * batch * sum(hidden) * 8  # activations, sums, gradients and their copies
    for name, (role, make) in trainers(backends, peers).items():
        reason = no_room(needed) if "fused" not in name else None
        if reason:
            left_out[name] = reason
            continue
        made = attempt(
            left_out,
            name,
            partial(sgd_and_adam, make, (start, X, y), 1.0, RATE),
            lambda pair: check(pair, start, exact, batch),
        )
        if made is not None:
            trainer, steps = made[1], steps_of_a_call(made[1])
            call = partial(trainer.run, steps)
            contenders[name] = Contender(call, role, 1 / steps, HOST)
    ours = [name for name, contender in contenders.items() if contender.role == "ours"]
    fused = [name for name in ours if "fused" in name]
    if not ours:
        sheet.skip(case, left_out)
        return
    if backends[0].name == "numba":
        contenders[PEAK] = Peak().contender(flops(widths) * batch)
    sheet.measure(
        case,
        contenders,
        reference=(fused or ours)[0],
        left_out=left_out,
        rounds=None if sheet.quick else 5,
        net=name_of(widths),
        batch=batch,
        flops=flops(widths) * batch,
        bytes=12 * batch,  # two numbers and a label a sample: what cannot be avoided
    )


def steps_of_a_call(trainer: Trainer) -> int:
    """How many steps of this trainer go into a timed call."""
    steps = 1
    while steps < MOST_STEPS:
        call = partial(trainer.run, steps)
        if min(HOST.seconds(call, 1) for _ in range(3)) >= CALL_SECONDS:
            break
        steps = min(4 * steps, MOST_STEPS)
    return steps


def no_room(needed: int) -> str | None:
    """Why an array of activations does not fit into memory; None where it does."""
    free = memory("MemAvailable")
    if free is None or needed < 0.6 * free:
        return None
    return f"needs about {needed / 2**30:.0f} GiB, {free / 2**30:.0f} GiB are free"


# ---- checking ----
def oracle(start: Parameters, X: np.ndarray, y: np.ndarray) -> tuple[Parameters, float]:
    """In float64: parameters after a step of SGD, loss of the last of STEPS steps of Adam.

    Tiles of the batch add up to its gradient, so that memory stays bounded.
    """
    oracle = get_backend("numpy", dtype="float64", precise_dot=False, book_random=False)
    w64 = [(w.astype(np.float64), b.astype(np.float64)) for w, b in start]
    _, gradients = _gradients(oracle, w64, X, y)
    once = [(w - dw, b - db) for (w, b), (dw, db) in zip(w64, gradients, strict=True)]
    state = [[(np.zeros_like(p), np.zeros_like(p)) for p in pair] for pair in w64]
    loss = np.nan
    for step in range(1, STEPS + 1):
        loss, gradients = _gradients(oracle, w64, X, y)
        for pair, derivatives, states in zip(w64, gradients, state, strict=True):
            for p, dp, (m, cache) in zip(pair, derivatives, states, strict=True):
                oracle.adam_step(p, dp, m, cache, RATE, 1e-7, 0.9, 0.999, step)
    return once, loss


def _gradients(
    oracle: Backend, layers: Parameters, X: np.ndarray, y: np.ndarray
) -> tuple[float, Parameters]:
    """(mean loss, gradients) by the specification's operations."""
    loss, sums = 0.0, [[np.zeros_like(p) for p in pair] for pair in layers]
    tile = 20_000
    for first in range(0, len(X), tile):
        x, t = X[first : first + tile].astype(np.float64), y[first : first + tile]
        inputs, scores = [x], []
        for w, b in layers:
            scores.append(oracle.linear_forward(inputs[-1], w, b))
            inputs.append(oracle.relu_forward(scores[-1]))
        p = oracle.softmax_forward(scores[-1])
        loss += float(oracle.cross_entropy_forward(p, t).sum())
        dy = oracle.softmax_cross_entropy_backward(p, t) * len(x) / len(X)
        for number in reversed(range(len(layers))):
            dx, dw, db = oracle.linear_backward(dy, inputs[number], layers[number][0])
            sums[number][0] += dw
            sums[number][1] += db
            dy = oracle.relu_backward(dx, scores[number - 1]) if number else dx
    return loss / len(X), [(dw, db) for dw, db in sums]


def check(
    pair: tuple[Trainer, Trainer],
    start: Parameters,
    exact: tuple[Parameters, float],
    samples: int,
) -> None:
    """AssertionError where a step changed the parameters otherwise than the oracle's."""
    sgd, adam = pair
    tolerance = TOLERANCE + ROUNDING * samples
    sgd.run(1)
    once, loss = exact
    for number, (got, before, want) in enumerate(zip(sgd.parameters(), start, once, strict=True)):
        for g, s, w in zip(got, before, want, strict=True):
            error = np.abs((s - g) - (s - w)).max() / np.abs(s - w).max()
            assert error <= tolerance, f"gradient of layer {number}: relative error {error:.2e}"
    adam.run(STEPS)
    error = abs(adam.loss() - loss) / loss
    assert error <= LOSS_TOLERANCE, f"loss after {STEPS} steps: relative error {error:.2e}"
