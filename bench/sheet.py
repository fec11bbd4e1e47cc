"""What a suite measures into: one JSON file, written anew and whole after every row.

A file holds
    suite, quick, state    "finished", "unfinished" (killed) or "interrupted"
    environment            of nnfs_gpu.selftest.timing, and the load at the end
    absent                 peers and backends that are not here, each with its reason
    cut                    what the time did not suffice for
    wrong                  contenders whose result was not the specification's: exit status 1
    skipped                cases in which ours could not be timed, with the reasons
    rows                   in the order of measuring
and a row
    case                   its name, the same in every run
    reference              the contender that the printed ratios are to
    contenders             name: role, clock, seconds of all rounds, their median, low and high
    left_out               contenders that make no sense at this size, each with its reason
    ...                    what else the suite says: sizes, bytes, floating-point operations
so that everything else (tables, pictures, comparisons) is a function of such files.
"""

from __future__ import annotations

import contextlib
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from nnfs_gpu.files.tensor_file import write_atomically
from nnfs_gpu.selftest.timing import Contender, environment, ratio, ratios, time_in_turns

Row = dict[str, Any]
WRONG = "wrong result"  # how the reason begins for a contender that must not be timed


class Sheet:
    """The figures of one suite.

    path     the JSON file; None: nothing is written
    seconds  after which no new case begins
    """

    def __init__(
        self,
        suite: str,
        *,
        path: Path | None = None,
        quick: bool = False,
        seconds: float = float("inf"),
        backends: Iterable[Any] = (),
        absent: dict[str, str] | None = None,
    ):
        self.path, self.quick = path, quick
        self._end = time.monotonic() + seconds
        self.found: dict[str, Any] = {
            "suite": suite,
            "quick": quick,
            "state": "unfinished",
            "environment": environment(list(backends)),
            "absent": dict(absent or {}),
            "cut": [],
            "wrong": [],
            "skipped": {},
            "rows": [],
        }
        self.write()

    # ---- measuring ----
    def late(self, case: str) -> bool:
        """True, and `case` is noted as cut, once the time is over."""
        if time.monotonic() < self._end:
            return False
        self.found["cut"].append(case)
        return True

    def measure(
        self,
        case: str,
        contenders: dict[str, Contender],
        *,
        reference: str,
        left_out: dict[str, str] | None = None,
        rounds: int | None = None,
        most: float = 5.0,
        say: Callable[[Row], str] | None = None,
        **facts: Any,
    ) -> Row | None:
        """Time `contenders` in turns, add a row, print and write it. They have been checked.

        Without the reference there is no row: the case is named with the reasons. rounds and most:
        as in `time_in_turns`. `say` gives the row's text instead of `line`.
        """
        if reference not in contenders:
            self.skip(case, left_out or {})
            return None
        rounds = rounds or (3 if self.quick else 7)
        effort = {"least": 0.003, "most": 0.5} if self.quick else {"most": most}
        seconds = time_in_turns(contenders, rounds=rounds, **effort)
        found = {
            name: {"role": contender.role, "clock": contender.clock.name, **_spread(seconds[name])}
            for name, contender in contenders.items()
        }
        facts |= {"reference": reference, "left_out": left_out or {}}
        return self.add(case, found, say=say, **facts)

    def add(
        self,
        case: str,
        contenders: dict[str, Any],
        say: Callable[[Row], str] | None = None,
        **facts: Any,
    ) -> Row:
        """A row that something else has measured, as a process of its own."""
        row = {"case": case, **facts, "contenders": contenders}
        self.found["rows"].append(row)
        self._note_wrong(case, row.get("left_out", {}))
        print((say or line)(row), flush=True)
        self.write()
        return row

    def skip(self, case: str, left_out: dict[str, str]) -> None:
        """Name a case that has no row."""
        self.found["skipped"][case] = left_out
        self._note_wrong(case, left_out)
        print(f"  {case}: not measured: {left_out}", flush=True)
        self.write()

    def _note_wrong(self, case: str, left_out: dict[str, str]) -> None:
        for name, reason in left_out.items():
            if reason.startswith(WRONG):
                self.found["wrong"].append(f"{case}, {name}: {reason}")

    # ---- the file ----
    def write(self) -> None:
        """The file as it is now; an interrupted suite keeps what it measured."""
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self.path, (json.dumps(self.found, indent=1) + "\n").encode())

    @contextlib.contextmanager
    def finishing(self) -> Iterator[None]:
        """Writes how it ended: finished, interrupted (Ctrl-C, SIGTERM), or failed with what."""
        try:
            yield
            self.found["state"] = "finished"
        except KeyboardInterrupt:
            self.found["state"] = "interrupted"
            raise
        except BaseException as error:
            self.found["state"] = f"failed: {type(error).__name__}: {error}"
            raise
        finally:
            self.found["environment"]["load_at_end"] = environment()["load"]
            self.write()


def measured(seconds: list[float], role: str = "ours", clock: str = "host") -> dict[str, Any]:
    """A contender's entry in a row, for `Sheet.add`."""
    return {"role": role, "clock": clock, **_spread(seconds)}


def _spread(seconds: list[float]) -> dict[str, Any]:
    return {
        "median": statistics.median(seconds),
        "low": min(seconds),
        "high": max(seconds),
        "rounds": seconds,
    }


def attempt(
    left_out: dict[str, str], name: str, make: Callable[[], Any], check: Callable[[Any], None]
) -> Any:
    """What `make` gives, after `check`; None with the reason in `left_out` where it cannot work.

    A wrong result (AssertionError) is not timed, since a figure beside it would be believed.
    """
    try:
        made = make()
        check(made)
        return made
    except AssertionError as error:
        left_out[name] = f"{WRONG}: {error}"
    except Exception as error:
        left_out[name] = short(f"{type(error).__name__}: {error}")
    return None


def short(text: str) -> str:
    """The first line of a message, of a length for tables."""
    text = text.strip().splitlines()[0] if text.strip() else text
    return text if len(text) <= 160 else text[:157] + "..."


# ---- reading rows ----
def load(path: Path) -> dict[str, Any]:
    """A file that a `Sheet` has written. Raises ValueError where it is something else."""
    found = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(found, dict) or not {"suite", "rows", "environment"} <= set(found):
        raise ValueError(f"{path}: no result of python -m bench")
    if any("contenders" not in row for row in found["rows"]):
        raise ValueError(f"{path}: of an older python -m bench; measure again")
    return found


def times(row: Row, slow: str, fast: str) -> float:
    """How many times longer `slow` took than `fast`: median of the rounds' ratios."""
    return ratio(row["contenders"][slow]["rounds"], row["contenders"][fast]["rounds"])


def spread(row: Row, slow: str, fast: str) -> tuple[float, float]:
    """Lowest and highest of these ratios."""
    found = ratios(row["contenders"][slow]["rounds"], row["contenders"][fast]["rounds"])
    return min(found), max(found)


def of_role(row: Row, *roles: str) -> list[str]:
    """Names of the row's contenders with one of `roles`, the fastest first."""
    names = [name for name, contender in row["contenders"].items() if contender["role"] in roles]
    return sorted(names, key=lambda name: row["contenders"][name]["median"])


def line(row: Row) -> str:
    """A row for people: every contender's median, and how many times the reference's."""
    reference = row.get("reference", "")
    cells = []
    for name, contender in row["contenders"].items():
        cell = f"{name} {duration(contender['median'])}"
        if reference in row["contenders"] and name != reference:
            cell += f" ({times(row, name, reference):.3g}x)"
        cells.append(cell)
    missing = "".join(f"\n      not {name}: {why}" for name, why in row.get("left_out", {}).items())
    return f"  {row['case']}: " + ", ".join(cells) + missing


def duration(seconds: float) -> str:
    """Three digits and a unit: "1.23 ms"."""
    units = ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"))
    unit, name = next((pair for pair in units if seconds >= pair[0]), units[-1])
    value = seconds / unit
    return f"{value:,.0f} {name}" if value >= 100 else f"{value:.3g} {name}"


def fail(message: str) -> int:
    """Say what is wrong with the command; its exit status."""
    print(f"error: {message}", file=sys.stderr)
    return 2
