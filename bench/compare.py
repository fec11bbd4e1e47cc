"""python -m bench compare OLD.json NEW.json: what became slower, whatever the machine did.

Two runs differ in their neighbours on the machine, and perhaps in the machine. What both share
are the other contenders of the same rounds: each of ours is compared with every peer (where
there is none, with the book, else with the limit) by the ratio within the rounds, and the
change is the ratio of the ratios: 1.20 is 20 % slower than before, beside the same libraries.
It counts as a change where it is above THRESHOLD and where the two runs' spreads do not overlap.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from pathlib import Path

from .sheet import Row, load, of_role, spread, times

THRESHOLD = 1.10


@dataclass(frozen=True)
class Change:
    """One of our contenders in one case: how much longer it takes, beside the same others."""

    case: str
    contender: str
    factor: float  # median over the others
    sure: bool  # the spreads of old and new do not overlap, for most of the others
    beside: tuple[str, ...]


def run(old_path: Path, new_path: Path) -> int:
    """Print what changed; 1 where something of ours became slower for sure, else 0."""
    old, new = load(old_path), load(new_path)
    if old["suite"] != new["suite"]:
        raise ValueError(f"compare: got suites {old['suite']} and {new['suite']}, expected one")
    if old["quick"] != new["quick"]:
        raise ValueError("compare: one run is --quick and the other is not; run both alike")
    found, missing = changes(old["rows"], new["rows"])
    for change in sorted(found, key=lambda change: -change.factor):
        if change.factor > THRESHOLD or change.factor < 1 / THRESHOLD:
            word = "slower" if change.factor > 1 else "faster"
            factor = max(change.factor, 1 / change.factor)
            sure = "" if change.sure else " (within the spread)"
            beside = ", ".join(change.beside)
            print(f"{factor:.2f}x {word}{sure}: {change.case}: {change.contender}, beside {beside}")
    for text in missing:
        print(f"not compared: {text}")
    slower = [c for c in found if c.sure and c.factor > THRESHOLD]
    middle = statistics.median(c.factor for c in found) if found else 1.0
    print(f"{len(found)} compared, {len(slower)} slower for sure; in the middle {middle:.2f}x")
    return 1 if slower else 0


def changes(old: list[Row], new: list[Row]) -> tuple[list[Change], list[str]]:
    """Every contender of ours that both runs have; what could not be compared, and why."""
    before = {row["case"]: row for row in old}
    found, missing = [], [f"{row['case']}: not in the new run" for row in old]
    for row in new:
        case = row["case"]
        if case not in before:
            missing.append(f"{case}: not in the old run")
            continue
        missing.remove(f"{case}: not in the new run")
        for contender in of_role(row, "ours"):
            others = _beside(before[case], row)
            if contender not in before[case]["contenders"] or not others:
                missing.append(f"{case}: {contender}: nothing to compare with in both runs")
                continue
            found.append(_change(before[case], row, contender, others))
    return found, missing


def _beside(old: Row, new: Row) -> tuple[str, ...]:
    for role in ("peer", "book", "limit"):
        names = [name for name in of_role(new, role) if name in old["contenders"]]
        if names:
            return tuple(names)
    return ()


def _change(old: Row, new: Row, contender: str, others: tuple[str, ...]) -> Change:
    factors = [times(new, contender, other) / times(old, contender, other) for other in others]
    apart = 0
    for other in others:
        (old_low, old_high), (new_low, new_high) = (
            spread(old, contender, other),
            spread(new, contender, other),
        )
        apart += new_low > old_high or new_high < old_low
    return Change(
        new["case"], contender, statistics.median(factors), 2 * apart > len(others), others
    )
