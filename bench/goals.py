"""python -m bench goals: what was aimed at, and what was measured, in one table.

Every goal is a line of GOALS: where it was set, the suite and the case that answer it, and what of
that case's row counts. What is measured stands in DIR/<suite>_<kind>.json; a goal whose case is not
there is "not measured". The goals for a GPU are in `make gpu-check`'s report.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .markdown import Record, goal, goal_table
from .peak import NAME as PEAK
from .rank_tables import set_of, speed_up
from .sheet import Row, duration, of_role, times

Results = dict[str, dict[str, Any]]


# ---- what of a row counts: a value, and its unit ----
def _fused(row: Row) -> str:
    """The fused engine's name in this row."""
    return next(name for name in of_role(row, "ours") if name.endswith("fused"))


def share(row: Row) -> float:
    """Percent of the time that the operations would take at the peak."""
    return 100 * times(row, PEAK, _fused(row))


def beyond_arithmetic(row: Row) -> float:
    """Microseconds of a step in which no operation at the peak runs."""
    name = _fused(row)
    return 1e6 * float(row["contenders"][name]["median"]) * (1 - times(row, PEAK, name))


def than_jax(row: Row) -> float:
    """How many times longer JAX takes."""
    return times(row, "jax", _fused(row))


def than_libraries(row: Row) -> float:
    """How many times longer the fastest library takes than the fastest of ours."""
    ours, peers = ([n for n in of_role(row, r) if "separate" not in n] for r in ("ours", "peer"))
    return times(row, peers[0], ours[0])


def seconds_of(engine: str) -> Callable[[Row], float]:
    """Of a first step with this engine."""

    def seconds(row: Row) -> float:
        name = next(name for name in of_role(row, "ours") if name.endswith(engine))
        return float(row["contenders"][name]["median"])

    return seconds


def faster_on_two(row: Row) -> float:
    """How many times as fast two ranks are as one, where each has a core."""
    two = set_of(row, "nnfs_gpu", 2)
    if two is None or two in row["crowded"]:
        raise LookupError("two ranks with a core each")
    found = speed_up(row, "nnfs_gpu", 2)
    if found is None:
        raise LookupError("one rank")
    return found


def of_sharing(row: Row) -> float:
    """Percent that one rank takes longer than one process without ranks."""
    return 100 * (times(row, "nnfs_gpu 1 rank", "nnfs_gpu one process") - 1)


@dataclass(frozen=True)
class Goal:
    """`value` of the row `case` of `suite` is to be at least or at most `bound`.

    source  what sets it: an issue and the item there, or a page
    engine  which one, where a case has a goal for each
    """

    source: str
    suite: str
    case: str
    value: Callable[[Row], float]
    bound: float
    unit: str = "% of the peak"
    at_least: bool = True
    engine: str = ""

    def found(self, results: Results) -> Record:
        """With what was measured."""
        rows = results.get(self.suite, {}).get("rows", ())
        row = next((row for row in rows if row["case"] == self.case), None)
        case = f"{self.case}, {self.engine}" if self.engine else self.case
        what = f"{self.suite}: {case} ({self.source})"
        wanted = f"{'>=' if self.at_least else '<='} {self.bound:g} {self.unit}"
        try:
            value = None if row is None else self.value(row)
        except (StopIteration, LookupError):  # the contender, or whom it is compared with
            value = None
        if value is None:
            return goal(what, wanted, "-", None)
        met = value >= self.bound if self.at_least else value <= self.bound
        text = duration(value) if self.unit == "s" else f"{value:.3g}"
        return goal(what, wanted, text, met)


_GRADIENTS = "times as long in the fastest library"
_LIMITS = (  # suite, case, percent of the peak on all threads
    ("train", "2-64-3, batch 300", 45),
    ("train", "2-64-3, batch 30,000", 80),
    ("train", "2-64-3, batch 1,000,000", 80),
    ("train", "2-512-3, batch 30,000", 80),
    ("train", "2-64-64-3, batch 30,000", 75),
    ("train", "2-512-512-3, batch 30,000", 85),
    ("batches", "784-128-128-10, batch 128", 65),
)
_SHARED, _RANKS = "docs/decisions/exact-sums-over-ranks.md", "2-64-3, batch 131,072"
GOALS: tuple[Goal, ...] = (
    *(Goal("issue 13, item 2", suite, case, share, bound) for suite, case, bound in _LIMITS),
    *(
        Goal(
            *(
                "issue 13, item 3",
                "batches",
                case,
                beyond_arithmetic,
                3.0,
                "us beyond arithmetic",
                False,
            )
        )
        for case in ("2-64-3, batch 32", "2-64-3, batch 32, shuffled")
    ),
    *(
        Goal("issue 13, item 3", "batches", case, than_jax, 1.3, "times as long in JAX")
        for case in ("784-128-128-10, batch 128", "784-128-128-10, batch 128, shuffled")
    ),
    Goal("issue 13, item 4", "combined", "1,000,000 x 3", than_libraries, 1.0, _GRADIENTS),
    *(
        Goal(
            *("issue 13, item 4", "ops", f"softmax_cross_entropy_backward at {classes}"),
            *(than_libraries, 1.0, _GRADIENTS),
        )
        for classes in ("3", "10", "1,000")
    ),
    *(
        Goal(
            *("issue 13, item 5", "start", "first step, cold", seconds_of(engine), bound, "s"),
            *(False, engine),
        )
        for engine, bound in (("fused", 5.0), ("layers", 2.5))
    ),
    Goal(_SHARED, "ranks", _RANKS, faster_on_two, 1.8, "times as fast on two ranks"),
    Goal(_SHARED, "ranks", _RANKS, of_sharing, 3.0, "% more on one rank", False),
)


def text(results: Results) -> str:
    """The table of one machine."""
    return goal_table([one.found(results) for one in GOALS])
