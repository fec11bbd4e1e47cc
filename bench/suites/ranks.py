"""Suite `ranks`: training steps that several processes share, one thread and one core each.

    python -m bench ranks [--sizes 64x131072,64x131072/rank]   hidden widths x batch

    nnfs_gpu one process  a batch that nobody shares: what sharing costs with one rank
    nnfs_gpu R ranks      `SharedSteps` over MPI, R = 1, 2, 4: as `Model.train(world=...)`
    torch R ranks         DistributedDataParallel over Gloo
    jax R ranks           one jitted step over arrays that lie on all processes, over Gloo

Strong scaling: a fixed batch. Weak scaling ("/rank"): so many samples a rank. And the all-reduce of
each network's message alone: ours (whole numbers over MPI) and that of PyTorch for the same
bytes; JAX adds up inside of its compiled functions alone.

Right before fast: one process and the peers are compared with the specification in float64 as in
the suite `train`, and ranks with the one process: after some steps all have to have its bits.
Processes are started once and take turns (rank_sets.py). `waited` is what of a step of ours was
communication, waiting for the slower rank included. More ranks than cores take turns on these:
such contenders are named in `crowded`.
"""

from __future__ import annotations

import contextlib
import functools
import os
import statistics
from dataclasses import dataclass
from functools import partial
from typing import Any

from nnfs_gpu.backend import Backend
from nnfs_gpu.selftest.timing import Contender

from ..peers import Peers
from ..rank_model import message_bytes
from ..rank_sets import RankClock, RankSet, absent
from ..sheet import Sheet, attempt
from ..trainers import Parameters, name_of, parameters
from . import train

SIZES, QUICK_SIZES = (1, 2, 4), (1, 2)  # ranks
ALONE = "nnfs_gpu one process"
ROUNDS, MOST = 5, 1.5  # seconds that a slow contender gets in a row


@dataclass(frozen=True)
class Case:
    """Hidden widths; samples of a step, or with `each` of a rank."""

    hidden: tuple[int, ...]
    samples: int
    each: bool = False

    @property
    def widths(self) -> tuple[int, ...]:
        """Of all layers."""
        return train.widths_of(self.hidden)

    @property
    def name(self) -> str:
        """Such as "2-64-3, batch 3,000"."""
        what = f"{self.samples:,} samples a rank" if self.each else f"batch {self.samples:,}"
        return f"{name_of(self.widths)}, {what}"

    def total(self, ranks: int) -> int:
        """Samples of a step of so many ranks."""
        return self.samples * (ranks if self.each else 1)


CASES = (
    Case((64,), 1 << 17),
    Case((64,), 1 << 14),
    Case((512, 512), 3_000),
    Case((64,), 1 << 17, each=True),
    Case((64,), 1 << 20),
    Case((64, 64), 1 << 17),
    Case((512, 512), 2_000, each=True),
)
QUICK = (Case((8,), 600), Case((8,), 600, each=True))


def run(sheet: Sheet, backends: list[Backend], peers: Peers, cases: tuple[Case, ...]) -> None:
    """A row for each case, and behind a network's first one a row for its all-reduce."""
    if backends[0].name != "numba":
        sheet.skip("ranks", {backends[0].name: "ranks are measured on CPUs: --backend numba"})
        return
    missing = absent()
    sheet.found["absent"] |= missing
    for name, reason in missing.items():
        print(f"absent: {name}: {reason}")
    kinds = [*([] if missing else ["ranks"]), *(k for k in ("torch", "jax") if k in peers.modules)]
    sizes = QUICK_SIZES if sheet.quick else SIZES
    wanted = {ALONE: ("alone", 1)} | {
        name_of_set(kind, size): (kind, size) for kind in kinds for size in sizes
    }
    with contextlib.ExitStack() as stack:
        sets, left_out = _started(wanted, stack)
        added: set[tuple[int, ...]] = set()
        for case in cases:
            if not sheet.late(case.name):
                _case(sheet, case, sets, dict(left_out))
            name = f"all-reduce of {name_of(case.widths)}"
            if "ranks" in kinds and case.widths not in added and not sheet.late(name):
                _all_reduce(sheet, name, case.widths, sets, dict(left_out))
            added.add(case.widths)


def name_of_set(kind: str, size: int) -> str:
    """Such as "nnfs_gpu 2 ranks"."""
    return f"{'nnfs_gpu' if kind == 'ranks' else kind} {size} rank{'s' * (size > 1)}"


def _started(
    wanted: dict[str, tuple[str, int]], stack: contextlib.ExitStack
) -> tuple[dict[str, RankSet], dict[str, str]]:
    """The sets by name; why the others are not there."""
    sets: dict[str, RankSet] = {}
    left_out: dict[str, str] = {}
    for name, what in wanted.items():
        made = attempt(left_out, name, partial(RankSet, *what), lambda _: None)
        if made is not None:
            sets[name] = made
            stack.callback(made.close)
    return sets, left_out


# ---- steps ----
def _case(sheet: Sheet, case: Case, sets: dict[str, RankSet], left_out: dict[str, str]) -> None:
    bits: dict[int, str] = {}  # that one process makes, by the samples of a step
    ours = {case.total(ranks.size) for ranks in sets.values() if ranks.kind in ("alone", "ranks")}
    made: dict[str, RankSet] = {}
    for total in sorted(ours, reverse=True):  # the last one is what one process is timed with
        right = partial(_check, widths=case.widths, samples=total)
        one = attempt(left_out, ALONE, partial(_make, sets[ALONE], case.widths, total), right)
        if one is not None:
            bits[total] = one[0]["bits"]
            made[ALONE] = sets[ALONE]
    for name, ranks in sets.items():
        total = case.total(ranks.size)
        right = partial(_check, widths=case.widths, samples=total)
        if ranks.kind == "ranks":
            right = partial(check_bits, alone=bits.get(total))
        start = partial(_make, ranks, case.widths, total)
        if ranks.kind != "alone" and attempt(left_out, name, start, right) is not None:
            made[name] = ranks
    _measure(
        sheet,
        case.name,
        made,
        {name: RankClock(ranks, "steps") for name, ranks in made.items()},
        left_out,
        net=name_of(case.widths),
        each=case.each,
        bytes=message_bytes(case.widths),
        samples={name: case.total(ranks.size) for name, ranks in made.items()},
    )


def _make(ranks: RankSet, widths: tuple[int, ...], samples: int) -> list[dict[str, Any]]:
    """Have the ranks make a network and a batch; what they give to be checked."""
    ranks.ask("make", widths=widths, samples=samples)
    return ranks.ask("check")


class _Answer:
    """A `Trainer` that has made the steps of `train.check`, on rank 0."""

    def __init__(self, answers: list[dict[str, Any]]):
        self._found = answers[0]

    def run(self, steps: int) -> None:
        """They are made."""

    def loss(self) -> float:
        """After the steps of Adam."""
        return float(self._found["loss"])

    def parameters(self) -> Parameters:
        """After the step of SGD."""
        found: Parameters = self._found["parameters"]
        return found


def _check(answers: list[dict[str, Any]], widths: tuple[int, ...], samples: int) -> None:
    """AssertionError where rank 0 has not what the specification has in float64."""
    pair = _Answer(answers), _Answer(answers)
    train.check(pair, parameters(widths, train.BIASES), _exact(widths, samples), samples)


@functools.lru_cache(maxsize=3)  # batches of a case in turn: one for each number of ranks
def _exact(widths: tuple[int, ...], samples: int) -> tuple[Parameters, float]:
    return train.oracle(parameters(widths, train.BIASES), *train.data(samples))


def check_bits(answers: list[dict[str, Any]], alone: str | None) -> None:
    """AssertionError where a rank has other bits than one process."""
    assert alone is not None, "one process has nothing to compare with"
    for rank, answer in enumerate(answers):
        assert answer["bits"] == alone, f"rank {rank} of {len(answers)} has other bits than alone"


# ---- the all-reduce alone ----
def _all_reduce(
    sheet: Sheet,
    name: str,
    widths: tuple[int, ...],
    sets: dict[str, RankSet],
    left_out: dict[str, str],
) -> None:
    words = message_bytes(widths) // 8
    made = {}
    for one, ranks in sets.items():
        if ranks.size == 1 or ranks.kind == "jax":
            continue
        start = partial(ranks.ask, "added", words=words)
        if attempt(left_out, one, start, partial(check_sum, size=ranks.size)) is not None:
            made[one] = ranks
    clocks = {one: RankClock(ranks, "sums", words=words) for one, ranks in made.items()}
    facts = {"net": name_of(widths), "each": False, "bytes": 8 * words, "samples": {}}
    _measure(sheet, name, made, clocks, left_out, **facts)


def check_sum(answers: list[int], size: int) -> None:
    """AssertionError where a rank has another sum of 1, 2, ... size."""
    assert set(answers) == {size * (size + 1) // 2}, f"got sums {answers}"


def _measure(
    sheet: Sheet,
    case: str,
    sets: dict[str, RankSet],
    clocks: dict[str, RankClock],
    left_out: dict[str, str],
    **facts: Any,
) -> None:
    """A row: the sets take turns in what their clocks ask for."""
    contenders = {
        name: Contender(
            partial(clock.seconds, _nothing, 1), "ours" if _is_ours(name) else "peer", 1.0, clock
        )
        for name, clock in clocks.items()
    }
    ours = [name for name in contenders if _is_ours(name)]
    reference = next((name for name in ours if name != ALONE), (ours or [""])[0])
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    row = sheet.measure(
        case,
        contenders,
        reference=reference,
        left_out=left_out,
        rounds=None if sheet.quick else ROUNDS,
        most=MOST,
        ranks={name: ranks.size for name, ranks in sets.items()},
        crowded=[name for name, ranks in sets.items() if ranks.size > (cores or 1)],
        **facts,
    )
    if row is not None:
        row["waited"] = {
            name: statistics.median(clock.waited)
            for name, clock in clocks.items()
            if any(clock.waited)
        }
        sheet.write()


def _nothing() -> None:
    """A `RankClock` knows what to ask for."""


def _is_ours(name: str) -> bool:
    return name.startswith("nnfs_gpu")
