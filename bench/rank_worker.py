"""A process of the suite `ranks`: makes training steps with its kind, when it is asked to.

    python -m bench.rank_worker KIND SOCKET

    alone  our engine in one process, which no other shares a batch with
    ranks  ours over the ranks that mpiexec has started, by `SharedSteps`, as `Model.train(world=)`
    torch  PyTorch, DistributedDataParallel     } bench/rank_peers.py
    jax    JAX, one array over all processes    }

Started by rank_sets.py, which also makes the requests. Between them a process waits for its
socket, which takes no time of any core. It has one thread, and one core of those that there are.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pickle
import socket
import sys
import time
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from nnfs_gpu import Model, Optimizer_Adam, Optimizer_SGD, World, fused, get_backend
from nnfs_gpu.data.held import data_of
from nnfs_gpu.training.shared import SharedSteps

from .suites.train import BIASES, STEPS, data
from .trainers import RATE, Parameters, Trainer, network, parameters

TIMEOUT = 60.0  # seconds that a rank waits for the others


class Member(Protocol):
    """One of the processes of a set: what a kind has to offer."""

    rank: int

    def trainer(
        self, start: Parameters, X: np.ndarray, y: np.ndarray, optimizer: str, rate: float
    ) -> Trainer:
        """Whose steps are over all of X and y; this process does its share of them."""

    def meet(self) -> None:
        """Returns when all processes are here."""

    def sum(self, a: np.ndarray) -> None:
        """The sum over the processes, in place."""

    def leave(self) -> None:
        """The last call."""


# ---- ours ----
def _model(start: Parameters, optimizer: str, rate: float) -> Model:
    backend = get_backend("numba", dtype="float32", precise_dot=False, book_random=False)
    return network(
        backend, start, Optimizer_Adam(rate) if optimizer == "adam" else Optimizer_SGD(rate)
    )


class Engine:
    """Steps of one process: what `Model.train` does with a batch that nobody shares."""

    def __init__(
        self, start: Parameters, X: np.ndarray, y: np.ndarray, optimizer: str, rate: float
    ):
        self.model = _model(start, optimizer, rate)
        self._engine = fused.engine(self.model)
        self._given = self.model.checked_data(X, y, "train", False)
        self._loss = np.nan

    def run(self, steps: int) -> None:
        """See `Trainer`."""
        self._loss = float(self._engine.run(*self._given, steps)[0][-1])

    def loss(self) -> float:
        """See `Trainer`."""
        return self._loss

    def parameters(self) -> Parameters:
        """See `Trainer`."""
        return [(w.copy(), b.copy()) for w, b in self.model.get_parameters()]


class Shared(Engine):
    """Steps over the ranks of a world. `seconds` were spent in communication so far."""

    def __init__(
        self,
        start: Parameters,
        X: np.ndarray,
        y: np.ndarray,
        optimizer: str,
        rate: float,
        *,
        world: World,
    ):
        super().__init__(start, X, y, optimizer, rate)
        self._shared = SharedSteps(self._engine, world)
        self._data = data_of(self.model, X, y, "train", False)
        self._steps = 0

    def run(self, steps: int) -> None:
        """See `Trainer`."""
        shared, leaf = self._shared, self._engine.leaf
        for _ in range(steps):
            self._steps += 1
            for total, rows in self._data.shares(None, None, 0, shared.share, leaf):
                self._loss = float(shared.step(total, rows, self._steps, False, True)[0])

    @property
    def seconds(self) -> float:
        """See above."""
        return self._shared.seconds


class Alone:
    """The process that is not shared."""

    rank = 0
    trainer = Engine

    def meet(self) -> None:
        """See `Member`."""

    def sum(self, a: np.ndarray) -> None:
        """See `Member`."""

    def leave(self) -> None:
        """See `Member`."""


class OverMPI:
    """A rank of those that mpiexec has started."""

    def __init__(self) -> None:
        self.world = World.mpi(timeout=TIMEOUT)
        self.rank, self.meet, self.sum = self.world.rank, self.world.barrier, self.world.sum

    def trainer(self, *given: Any) -> Trainer:
        """See `Member`."""
        return Shared(*given, world=self.world)

    def leave(self) -> None:
        """See `Member`."""
        self.world.barrier()


def _peer(kind: str) -> Callable[[], Member]:
    def make() -> Member:
        from . import rank_peers

        member: Member = rank_peers.MEMBERS[kind]()
        return member

    return make


MEMBERS: dict[str, Callable[[], Member]] = {
    "alone": Alone,
    "ranks": OverMPI,
    "torch": _peer("torch"),
    "jax": _peer("jax"),
}


# ---- requests ----
class Requests:
    """What a member can be asked for; each answer can be pickled."""

    def __init__(self, member: Member):
        self._member = member
        self._sgd: Trainer
        self._adam: Trainer

    def make(self, widths: tuple[int, ...], samples: int) -> None:
        """A network and a batch: all other requests are about these."""
        given = parameters(widths, BIASES), *data(samples)
        self._sgd = self._member.trainer(*given, "sgd", 1.0)
        self._adam = self._member.trainer(*given, "adam", RATE)

    def check(self) -> dict[str, Any]:
        """What a step of SGD and STEPS of Adam have made; of the latter also the bits."""
        self._sgd.run(1)
        self._adam.run(STEPS)
        made = self._adam.parameters()
        bits = hashlib.sha256(b"".join(a.tobytes() for pair in made for a in pair))
        loss = self._adam.loss()
        return {
            "bits": f"{bits.hexdigest()} {loss!r}",
            "parameters": self._sgd.parameters(),
            "loss": loss,
        }

    def steps(self, times: int) -> tuple[float, float]:
        """Seconds of a step of Adam, and of the communication in it."""
        self._member.meet()
        before, begin = self._communication(), time.perf_counter()
        self._adam.run(times)
        seconds = time.perf_counter() - begin
        return seconds / times, (self._communication() - before) / times

    def _communication(self) -> float:
        return float(getattr(self._adam, "seconds", 0.0))

    def added(self, words: int) -> int:
        """The sum of the ranks' numbers, from 1 on; -1 where it is not the same in all `words`."""
        a = np.full(words, self._member.rank + 1)
        self._member.sum(a)
        return int(a.min()) if a.min() == a.max() else -1

    def sums(self, words: int, times: int) -> tuple[float, float]:
        """Seconds of a sum of so many words, twice: all of it is communication."""
        a = np.zeros(words, np.int64)
        self._member.meet()
        begin = time.perf_counter()
        for _ in range(times):
            self._member.sum(a)
        seconds = (time.perf_counter() - begin) / times
        return seconds, seconds


def serve(kind: str, address: str) -> None:
    """Answer requests until there are no more: ("", value), or (what failed, None)."""
    with contextlib.ExitStack() as stack:
        connection = stack.enter_context(socket.socket(socket.AF_UNIX))
        connection.connect(address)
        stream = stack.enter_context(connection.makefile("rwb"))

        def answer(*found: Any) -> None:
            pickle.dump(found, stream)
            stream.flush()

        try:
            member = MEMBERS[kind]()
        except Exception as error:
            answer(f"{type(error).__name__}: {error}", None)
            raise
        _settle(member.rank)
        answer("", member.rank)
        requests = Requests(member)
        with contextlib.suppress(EOFError):  # nobody asks any more
            while True:
                what, given = pickle.load(stream)
                if what == "end":
                    break
                try:
                    answer("", getattr(requests, what)(**given))
                except Exception as error:
                    answer(f"{type(error).__name__}: {error}", None)
            member.leave()


def _settle(rank: int) -> None:
    """On a core of its own, as long as there are any."""
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[rank % len(cores)]})


if __name__ == "__main__":
    serve(*sys.argv[1:])
