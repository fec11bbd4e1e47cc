"""Suite `ladder`: an operation's versions one above the other, each checked and then timed.

    python -m bench ladder [OPERATION ...] [--sizes 3,10,100]

Sizes are numbers of classes, of `training_step` (2-64-3, Adam) samples in the batch. The versions
stand in bench/ladders.py; one of a backend that is not here is named with the reason, as one is
that is not made for the size. They run in turns, so that the ratio of a version to the one above
is taken within the rounds. The limit of an operation is the addition of two arrays into a new one
on all threads (or on the GPU), for each the bytes that it has to move; of a step the multiply-adds
of bench/peak.py.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from nnfs_gpu import available_backends, get_backend
from nnfs_gpu.backend import Backend
from nnfs_gpu.selftest.timing import Contender, Stream, clock_of, threads

from ..cases import CASES
from ..ladders import LADDERS
from ..markdown import table
from ..peak import NAME as PEAK, Peak
from ..peers import Peers
from ..sheet import Row, Sheet, attempt, duration, times
from ..trainers import RATE, flops, parameters
from ..versions import Version, numpy_for
from . import train

STEP = "training_step"
CLASSES, BATCHES = (3, 10, 100), (300, 30_000)
ELEMENTS, QUICK_ELEMENTS = 3_000_000, 3_000  # of an array
WIDTHS = (2, 64, 3)  # of the training step
TOLERANCE = 2e-6  # largest error allowed against float64, relative to the largest result
LIMIT = {"numpy": "limit: add, new array", "gpu": "limit: add, new array, GPU"}
INPUTS = {
    "softmax_backward": ("dy", "y"),
    "softmax_forward": ("x",),
    "softmax_cross_entropy_backward": ("y", "t"),
}
Sizes = tuple[int, ...] | None


def run(
    sheet: Sheet,
    backends: list[Backend],
    peers: Peers,
    sizes: Sizes,
    operations: tuple[str, ...] = tuple(LADDERS),
) -> None:
    """A row for each operation and size; None: those of CLASSES and BATCHES."""
    if unknown := sorted(set(operations) - set(LADDERS)):
        raise ValueError(f"ladder: got {unknown[0]!r}, expected of {', '.join(LADDERS)}")
    usable = {"numpy": numpy_for("float32")} | {b.name: b for b in backends}
    if "numba" not in usable and available_backends()["numba"].usable:  # a GPU's ladder begins low
        usable["numba"] = get_backend("numba", dtype="float32")
    for operation in operations or LADDERS:
        for size in sizes or (BATCHES if operation == STEP else CLASSES):
            name = f"{operation} at {size:,}"
            if not sheet.late(name):
                _row(sheet, name, _case(operation, size, sheet.quick), usable)


def _case(operation: str, size: int, quick: bool) -> Case:
    if operation == STEP:
        return StepCase(size, quick)
    elements = QUICK_ELEMENTS if quick else ELEMENTS
    return OperationCase(operation, max(1, elements // size), size)


def _row(sheet: Sheet, name: str, case: Case, backends: dict[str, Any]) -> None:
    contenders: dict[str, Contender] = {}
    left_out: dict[str, str] = {}
    for version in LADDERS[case.operation]:
        if version.backend not in backends:
            gpu = version.backend in ("cupy", "numba-cuda")
            left_out[version.name] = "needs a GPU" if gpu else f"needs {version.backend}"
            continue
        backend = backends[version.backend]
        made = attempt(
            left_out,
            version.name,
            partial(case.contender, version, backend),
            lambda _: None,  # `contender` has checked it
        )
        if made is not None:
            contenders[version.name] = made
    names = list(contenders)
    sheet.measure(
        name,
        contenders | case.limits(backends),
        reference=names[-1] if names else "",
        left_out=left_out,
        say=say,
        rounds=None if sheet.quick else 5,
        operation=case.operation,
        size=case.size,
        **case.facts,
    )


class OperationCase:
    """An operation's arguments for (rows, classes), and what is right."""

    def __init__(self, operation: str, rows: int, classes: int):
        self.operation, self.size = operation, classes
        rng = np.random.default_rng(0)
        x = rng.standard_normal((rows, classes), dtype=np.float32)
        made = {
            "x": x,
            "y": numpy_for("float32").softmax_forward(x),
            "dy": rng.standard_normal((rows, classes), dtype=np.float32),
            "t": rng.integers(0, classes, rows, dtype=np.int32),
        }
        self.arrays = [made[name] for name in INPUTS[operation]]
        self.exact = self._exactly([_widened(a) for a in self.arrays])
        moved = next(case.moved for case in CASES if case.name == operation)
        self.facts: dict[str, Any] = {
            "rows": rows,
            "bytes": 4 * moved(rows, classes),
            "limit_bytes": 12 * x.size,
        }

    def _exactly(self, arrays: list[Any]) -> np.ndarray:
        found: np.ndarray = getattr(numpy_for("float64"), self.operation)(*arrays)
        return found

    def check(self, found: np.ndarray) -> None:
        """AssertionError where a result is wrong."""
        _check(found, self.exact, TOLERANCE)

    def contender(self, version: Version, backend: Backend) -> Contender:
        """What is timed. AssertionError where its result is wrong."""
        rows, classes = self.facts["rows"], self.size
        fit = version.rows(rows, classes)
        if version.widest and classes > version.widest:
            raise ValueError(f"takes up to {version.widest:,} columns")
        if fit == 0:
            raise ValueError(f"one Jacobian takes {4 * classes**2 / 2**30:.1f} GiB")
        arrays = [backend.asarray(a[:fit], a.dtype) for a in self.arrays]
        if version.jacobian:  # products of so many terms are compared where they are exact
            few = [_widened(a[: min(fit, 100)]) for a in self.arrays]
            _check(version.run(numpy_for("float64"), *few), self._exactly(few), 1e-12)
        else:
            self.check(backend.to_numpy(version.run(backend, *arrays)))
        return Contender(
            lambda: version.run(backend, *arrays), version.role, rows / fit, clock_of(backend)
        )

    def limits(self, backends: dict[str, Any]) -> dict[str, Contender]:
        """The addition into a new array, on the CPU and on the GPU that is there."""
        size = self.facts["limit_bytes"] // 12
        found = {LIMIT["numpy"]: Contender(Stream(np, size, threads()).fresh, "limit")}
        for name in ("cupy", "numba-cuda"):
            if name in backends:
                stream, clock = Stream(backends[name].xp, size), clock_of(backends[name])
                found[LIMIT["gpu"]] = Contender(stream.fresh, "limit", clock=clock)
        return found


class StepCase:
    """A batch of a training step, and what is right."""

    def __init__(self, batch: int, quick: bool):
        self.operation, self.size = STEP, batch
        self._X, self._y = train.data(batch)
        self._start = parameters(WIDTHS, train.BIASES)
        self._exact = train.oracle(self._start, self._X, self._y)
        self._quick = quick
        self.facts = {"batch": batch, "flops": flops(WIDTHS) * batch}

    def contender(self, version: Version, backend: Backend) -> Contender:
        """What is timed. AssertionError where a step of it is wrong."""
        given = self._start, self._X, self._y
        sgd, adam = (version.run(backend, *given, *o) for o in (("sgd", 1.0), ("adam", RATE)))
        train.check((sgd, adam), self._start, self._exact, self.size)
        steps = 3 if self._quick else train.steps_of_a_call(adam)
        return Contender(lambda: adam.run(steps), version.role, 1 / steps)

    def limits(self, _: dict[str, Any]) -> dict[str, Contender]:
        """The peak of the CPU's multiply-adds."""
        return {PEAK: Peak().contender(self.facts["flops"])}


Case = OperationCase | StepCase


def _widened(a: np.ndarray) -> np.ndarray:
    return a.astype(np.float64) if a.dtype.kind == "f" else a


def _check(found: np.ndarray, exact: np.ndarray, tolerance: float) -> None:
    error = np.abs(found - exact).max() / np.abs(exact).max()
    assert error <= tolerance, f"relative error {error:.2e}, allowed {tolerance:.0e}; not timed"


# ---- a line for people ----
def say(row: Row) -> str:
    """The ladder as text."""
    lines = [f"  {row['case']}"]
    for version in LADDERS[row["operation"]]:
        columns = "".join(f"{cell:>15}" for cell in (*cells(row, version), *[""] * 3)[:4])
        lines.append(f"    {version.name:26}{columns}  {version.changes}")
    return "\n".join(lines)


def cells(row: Row, version: Version) -> list[str]:
    """Time, rate, share of the limit, times as fast as the line above; or why there is none."""
    name = version.name
    if name not in row["contenders"]:
        return [row["left_out"].get(name, "not measured")]
    seconds = row["contenders"][name]["median"]
    found = [duration(seconds), _rate(row, seconds)]
    gpu = version.backend in ("cupy", "numba-cuda")
    limit = LIMIT["gpu" if gpu else "numpy"] if "bytes" in row else PEAK
    if limit == PEAK and gpu:
        found.append("-")  # the peak of the CPU is none of the GPU's
    else:
        share = row["bytes"] / row["limit_bytes"] if "bytes" in row else 1.0
        percent = 100 * share * times(row, limit, name)
        found.append(f"{percent:.0f} %" if percent >= 10 else f"{percent:.2g} %")
    above = _above(row, name)
    if above is not None:
        factor = times(row, above, name)
        found.append(f"{factor:,.0f}x" if factor >= 100 else f"{factor:.2g}x")
    return found


def tables(result: dict[str, Any]) -> list[str]:
    """Markdown: a title and a table for each operation, a column for each size."""
    found: dict[str, list[Row]] = {}
    for row in result["rows"]:
        found.setdefault(row["operation"], []).append(row)
    parts = []
    for operation, rows in found.items():
        what = "samples" if operation == STEP else "classes"
        head = ["version", "what it changes", "read", *(f"{r['size']:,} {what}" for r in rows)]
        lines = [
            [
                v.name,
                v.changes,
                f"`{v.read}`",
                *(", ".join(cells(r, v)) for r in rows),
            ]
            for v in LADDERS[operation]
        ]
        parts += [f"**{operation}**", table(head, lines, words=3)]
    return parts


def _rate(row: Row, seconds: float) -> str:
    amount, unit = (row["bytes"], "GB/s") if "bytes" in row else (row["flops"], "GFLOP/s")
    return f"{amount / seconds / 1e9:.3g} {unit}"


def _above(row: Row, name: str) -> str | None:
    """The version before, of those that were measured."""
    names = [v.name for v in LADDERS[row["operation"]] if v.name in row["contenders"]]
    place = names.index(name)
    return names[place - 1] if place else None
