"""Suite `batches`: epochs of mini-batches, in order and shuffled, in whole steps of Adam.

    <backend> layers, fused   `Model.train(..., batch_size=B)`
    torch                     the loop that PyTorch's tutorials write, on slices or gathered rows
    jax                       one jitted scan over the batches of an epoch

All start from the same parameters on the same data and go through them in the same order: that of
`data.order.order_of`, drawn anew in every epoch where they are shuffled. Each is checked before
it is timed: its parameters after an epoch of SGD over the first CHECKED batches against our
layers on the numpy backend in float64. (Of all 120 batches of the widest net a score or two lie so
near to a ReLU's kink that float32 rounds them to its other side, in every library.) A time is
that of one batch, with its share of what an epoch does besides.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from nnfs_gpu import get_backend
from nnfs_gpu.backend import Backend
from nnfs_gpu.data.order import order_of
from nnfs_gpu.selftest.timing import HOST, Contender

from ..peak import NAME as PEAK, Peak
from ..peers import Peers
from ..sheet import Sheet, attempt
from ..trainers import (
    RATE,
    Jax,
    Ours,
    Parameters,
    Torch,
    Trainer,
    flops,
    name_of,
    parameters,
    sgd_and_adam,
    torch_forwards,
)

SEED, TOLERANCE = 0, 1e-4
BATCHES = 120  # of an epoch
CHECKED = 6
EPOCHS = {32: 20, 128: 4}  # in a timed call
Nets = tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]
NETS: Nets = (((2, 64, 3), (32, 128)), ((784, 128, 128, 10), (32, 128)))
QUICK: Nets = (((2, 8, 3), (32,)),)


def run(sheet: Sheet, backends: list[Backend], peers: Peers, nets: Nets) -> None:
    """A row for each net and batch, shuffled and not."""
    for widths, batches in nets:
        for batch, shuffle in itertools.product(batches, (False, True)):
            case = f"{name_of(widths)}, batch {batch}{', shuffled' if shuffle else ''}"
            if not sheet.late(case):
                _case(sheet, case, widths, batch, shuffle, backends, peers)


def _case(
    sheet: Sheet,
    case: str,
    widths: tuple[int, ...],
    batch: int,
    shuffle: bool,
    backends: list[Backend],
    peers: Peers,
) -> None:
    samples, few = batch * (CHECKED if sheet.quick else BATCHES), batch * CHECKED
    rng = np.random.default_rng(0)
    X = rng.standard_normal((samples, widths[0]), dtype=np.float32)
    y = rng.integers(0, widths[-1], samples).astype(np.int32)
    start = parameters(widths)
    exact = get_backend("numpy", dtype="float64", precise_dot=False, book_random=False)
    oracle = _ours(exact, "layers", batch, shuffle)(start, X[:few], y[:few], "sgd", RATE)
    oracle.run(1)
    contenders: dict[str, Contender] = {}
    left_out: dict[str, str] = {}
    epochs = EPOCHS.get(batch, 4)
    for name, (role, make) in _trainers(backends, peers, batch, shuffle).items():
        made = attempt(
            left_out,
            name,
            partial(sgd_and_adam, make, (start, X, y), RATE, RATE, few),
            lambda pair: _check(pair[0], start, oracle),
        )
        if made is not None:
            scale = batch / (epochs * samples)
            contenders[name] = Contender(partial(made[1].run, epochs), role, scale, HOST)
    fused = [name for name in contenders if name.endswith("fused")]
    work = batch * flops(widths)
    if backends[0].name == "numba":
        contenders[PEAK] = Peak().contender(work)
    sheet.measure(
        case,
        contenders,
        reference=(fused or list(contenders) or [""])[0],
        left_out=left_out,
        net=name_of(widths),
        batch=batch,
        shuffled=shuffle,
        flops=work,
    )


def _check(trainer: Trainer, start: Parameters, oracle: Trainer) -> None:
    """AssertionError where an epoch changed the parameters otherwise than the oracle's."""
    trainer.run(1)
    for number, (got, before, want) in enumerate(
        zip(trainer.parameters(), start, oracle.parameters(), strict=True)
    ):
        for g, s, w in zip(got, before, want, strict=True):
            error = np.abs(g - w).max() / np.abs(s - w).max()
            assert error <= TOLERANCE, f"layer {number}: relative error {error:.2e} of the change"


# ---- trainers: run(n) makes n epochs ----
Make = Callable[[Parameters, np.ndarray, np.ndarray, str, float], Trainer]


def _trainers(
    backends: list[Backend], peers: Peers, batch: int, shuffle: bool
) -> dict[str, tuple[str, Make]]:
    found: dict[str, tuple[str, Make]] = {}
    for backend in backends:
        for engine in ("layers", "fused"):
            make = _ours(backend, engine, batch, shuffle)
            found[f"nnfs_gpu {backend.name} {engine}"] = "ours", make
    if torch := peers.torch:
        device = "cpu" if backends[0].xp is np else "cuda"
        forward = torch_forwards(torch, device)["torch"]
        found["torch"] = (
            "peer",
            lambda *given: TorchBatches(
                *given, torch=torch, device=device, forward=forward, batch=batch, shuffle=shuffle
            ),
        )
    if jax := peers.jax:
        found["jax"] = "peer", lambda *given: JaxScan(*given, jax=jax, batch=batch, shuffle=shuffle)
    return found


def _ours(backend: Backend, engine: str, batch: int, shuffle: bool) -> Make:
    return lambda *given: Ours(
        *given, backend=backend, engine=engine, batch_size=batch, shuffle=shuffle
    )


class TorchBatches(Torch):
    """Batches as slices; shuffled, of rows that are gathered once an epoch."""

    def __init__(self, *given: Any, batch: int, shuffle: bool, **settings: Any):
        super().__init__(*given, **settings)
        self._batch, self._shuffle, self._torch = batch, shuffle, settings["torch"]
        self._whole = self._X, self._y

    def run(self, epochs: int) -> None:
        X, y = self._whole
        for epoch in range(1, epochs + 1):
            if self._shuffle:
                order = self._torch.from_numpy(order_of(len(X), SEED, epoch))
                order = order.to(X.device)
                X, y = self._whole[0][order], self._whole[1][order]
            for first in range(0, len(X), self._batch):
                self._X, self._y = X[first : first + self._batch], y[first : first + self._batch]
                super().run(1)


class JaxScan(Jax):
    """An epoch is one call: a scan over its batches."""

    def __init__(self, *given: Any, jax: Any, batch: int, shuffle: bool):
        super().__init__(*given, jax=jax)
        self._shuffle = shuffle
        step, n = self._step, given[1].shape[0]
        self._order = np.arange(n)

        def epoch(state: Any, X: Any, y: Any, order: Any, count: Any) -> Any:
            if shuffle:
                X, y = X[order], y[order]

            def one(carry: Any, rows: Any) -> Any:
                state, count = carry
                state, loss = step(state, *rows, count)
                return (state, count + 1), loss

            batches = X.reshape(-1, batch, X.shape[1]), y.reshape(-1, batch)
            (state, _), losses = jax.lax.scan(one, (state, count), batches)
            return state, losses[-1]

        self._epoch, self._steps = jax.jit(epoch, donate_argnums=0), n // batch

    def run(self, epochs: int) -> None:
        loss: Any = self._last
        for number in range(1, epochs + 1):
            order = self._order
            if self._shuffle:
                order = order_of(len(order), SEED, number)
            count = float(self._count + 1)
            self._state, loss = self._epoch(self._state, self._X, self._y, order, count)
            self._count += self._steps
        self._jax.block_until_ready(self._state)
        self._last = float(loss)
