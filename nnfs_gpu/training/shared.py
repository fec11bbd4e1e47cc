"""Steps over batches that several processes share: each has some leaves, all make the same update.

`RankTraining` (ranks.py) calls it once a step. What a rank has added up goes through `World.sum`
together with what all have to know: whether somebody wants to stop, and a number made of the
parameters, by which replicas that have parted are found before they train on.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np

from ..network.engine import Measured, Message, SharedEngine
from ..ranks.errors import RankError, WorldError, is_on_all, on_all
from ..ranks.failures import agree
from ..ranks.world import World, everybody

Array = Any

MOST_RANKS = 1 << 10  # see kernels/fused_cpu/exact.py
HALF = 16  # bits of a fingerprint that go into a number: sums of squares of 1,024 ranks fit
STOP, FAILED = 0, 5  # places among the extras of a message; between them two sums with squares


class ReplicasPartedError(WorldError):
    """Ranks that should have the same parameters have not."""


def share_of(rank: int, size: int, total: int, leaf: int) -> tuple[int, int]:
    """(start, stop) of the rows of a batch of `total` that a rank has: whole leaves, as many as
    the others or one more; none where there are fewer leaves than ranks.
    """
    leaves = -(-total // leaf)
    start, stop = (leaves * number // size * leaf for number in (rank, rank + 1))
    return min(start, total), min(stop, total)


class SharedSteps:
    """Steps of `engine` on batches that the ranks of `world` share.

    seconds  spent in communication: waiting for the others is part of it
    stop     whether a rank has asked to stop, as all know since the last sum
    within   whether the next sum is that of a step: its message is long, that of others short

    The update, the sums in `model.loss` and `model.accuracy` and what a step returns are the same
    bits on all ranks, for every number of them. Raises ValueError for more than 1,024.
    """

    def __init__(self, engine: SharedEngine, world: World):
        if world.size > MOST_RANKS:
            raise ValueError(
                f"world: got {world.size:,} ranks, expected at most {MOST_RANKS:,}: that many "
                "messages can be added up without overflow; give each rank more samples"
            )
        self.engine, self.world = engine, world
        self.seconds, self.stop, self.within = 0.0, False, False
        self._flags = np.zeros(Message.EXTRAS, np.int64)
        self._failed: Exception | None = None

    def share(self, total: int) -> tuple[int, int]:
        """The rows of a batch of `total` that are this rank's."""
        return share_of(self.world.rank, self.world.size, total, self.engine.leaf(total))

    def step(
        self,
        total: int,
        rows: Iterable[tuple[int, Array, Any]],
        step: int,
        stop: bool,
        last: bool,
    ) -> Measured:
        """One step over `total` rows, of which this rank has `rows`: (number, X, y) of blocks.

        step  its number, for messages
        stop  this rank asks to stop: then none makes this step, `stop` is set, and the engine has a
              batch under way that nobody finishes
        last  whether none follows before the next `agree`
        Raises ReplicasPartedError, on all ranks, where the parameters before it differ.
        """
        engine = self.engine
        self.within = True
        engine.begin(total)
        for first, X, y in () if stop else rows:
            engine.accumulate(X, y, total, first)
        self._exchange(engine.message(), step, self._marks(stop))
        self.within = not last
        return None if self.stop else engine.finish()

    def agree(self, stop: bool) -> bool:
        """Whether any rank asks to stop, between two epochs."""
        self._flags[:] = 0
        self._flags[STOP] = stop
        self._sum(self._flags)
        self._look(self._flags)
        return self.stop

    def compare(self, mark: int, step: int) -> None:
        """Raises ReplicasPartedError, on all ranks, unless all have the same number.

        mark  made of the parameters, below 2^32; step: the one that would come next
        """
        found = everybody(self.world, (mark,))[:, 0].tolist()
        usual, count = Counter(found).most_common(1)[0]
        if count == len(found):
            return
        ranks = [str(rank) for rank, one in enumerate(found) if one != usual]
        error = ReplicasPartedError(
            f"the parameters of rank {', '.join(ranks)} differ from those of the others before "
            f"step {step}: expected the same on all ranks; make the model alike everywhere "
            "(np.random.seed), change nothing in it on one rank alone, and use processors and "
            "GPUs of one kind"
        )
        raise on_all(error, self.world.rank)

    def tell(self, error: Exception) -> None:
        """Have the others know, in the sum that they wait for, that this rank has failed.

        Where that cannot be, nothing is done: whoever sees the error ends all ranks.
        """
        if self.world.size == 1 or is_on_all(error) or isinstance(error, TimeoutError):
            return
        message = self._message() if self.within else self._flags
        if message is None:
            return
        self._failed = on_all(error, self.world.rank)  # soon: each then ends by itself
        marks = [0] * FAILED + [1]
        with contextlib.suppress(RankError):  # of all ranks; this one has its own
            if self.within:
                self._exchange(message, 0, marks)
            self._flags[:] = marks
            self._sum(self._flags)
            self._look(self._flags)

    def _message(self) -> Array | None:
        """The engine's, whatever is in it; None where it has none, as no batch can begin."""
        with contextlib.suppress(Exception):  # where a batch is under way, it is that one's
            self.engine.begin(1)
        with contextlib.suppress(RuntimeError):
            return self.engine.message()
        return None

    # ---- inside a step ----
    def _exchange(self, message: Array, step: int, marks: list[int]) -> None:
        here = isinstance(message, np.ndarray)
        flags = message[-Message.EXTRAS :] if here else self._flags
        flags[:] = marks
        self._sum(message)
        if not here:
            self._sum(flags)  # on the host: nothing waits for the device
        self._look(flags)
        if any(self._differ(int(flags[k]), int(flags[k + 1])) for k in (1, 3)):
            self.compare(marks[1] + (marks[3] << HALF), step)

    def _marks(self, stop: bool) -> list[int]:
        """What this rank adds: its wish to stop, halves of its fingerprint and their squares."""
        found = self.engine.fingerprint()
        low, high = found & ((1 << HALF) - 1), found >> HALF
        return [int(stop), low, low * low, high, high * high, 0]

    def _look(self, flags: Array) -> None:
        """What all know now. Raises RankError, with its message, where a rank has failed."""
        self.stop = bool(flags[STOP])
        if flags[FAILED]:
            agree(self.world, self._failed)

    def _differ(self, total: int, squares: int) -> bool:
        """Whether numbers with this sum and sum of squares are not all the same."""
        return self.world.size * squares != total * total

    def _sum(self, a: Array) -> None:
        began = time.perf_counter()
        self.world.sum(a)
        self.seconds += time.perf_counter() - began
