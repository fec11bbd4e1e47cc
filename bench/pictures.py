"""The pictures of a run, each a function of the suites' JSON; that of `ranks` in rank_pictures.py.

How they look, and what their axes are, stands in drawing.py.
"""

from __future__ import annotations

import statistics
from functools import partial
from typing import Any

from nnfs_gpu.show.style import FAINT, INK

from .drawing import Result, by_contender, look, picture
from .peak import NAME as PEAK
from .sheet import Row, of_role
from .tables import largest_steps


def throughput(train: Result) -> bytes:
    """Samples a second against the batch, a panel for each net."""
    nets: dict[str, list[Row]] = {}
    for row in train["rows"]:
        nets.setdefault(row["net"], []).append(row)
    nets = {net: rows for net, rows in nets.items() if len(rows) > 1}

    def draw(axes: Any, rows: list[Row]) -> None:
        for name, points in by_contender(
            rows, lambda row, contender: (row["batch"], row["batch"] / contender["median"])
        ).items():
            axes.plot(*zip(*points, strict=True), label=name, **look(name))
        axes.set_xlabel("samples in a step")
        axes.set_ylabel("samples a second")

    panels = [(net, partial(draw, rows=rows)) for net, rows in nets.items()]
    return picture("Training steps: throughput against batch", train, panels)


def jacobian(result: Result) -> bytes:
    """Nanoseconds an element of softmax backward against the number of classes."""

    def draw(axes: Any) -> None:
        for name, points in by_contender(
            result["rows"],
            lambda row, contender: (
                row["classes"],
                1e9 * contender["median"] / row["rows"] / row["classes"],
            ),
        ).items():
            axes.plot(*zip(*points, strict=True), label=name, **look(name))
        axes.set_xlabel("classes")
        axes.set_ylabel("nanoseconds an element")

    title = "Softmax backward: the notes' loop, whole Jacobians, the product alone"
    return picture(title, result, [("", draw)])


def scaling(result: Result) -> bytes:
    """Time and memory of an epoch against the number of samples."""
    rows = [row for row in result["rows"] if "thread" not in row["case"]]

    def draw_time(axes: Any) -> None:
        for name, points in by_contender(
            rows,
            lambda row, contender: (row["samples"], 1e9 * contender["median"] / row["samples"]),
        ).items():
            axes.plot(*zip(*points, strict=True), label=name, **look(name))
        axes.set_xlabel("samples")
        axes.set_ylabel("nanoseconds a sample")

    def draw_memory(axes: Any) -> None:
        names = dict.fromkeys(name for row in rows for name in row["peak"])
        for name in names:
            points = [
                (row["samples"], max(row["peak"][name], 1 << 14) / 2**20)
                for row in rows
                if name in row["peak"]
            ]
            axes.plot(*zip(*points, strict=True), label=name, **look(name))
        axes.set_xlabel("samples")
        axes.set_ylabel("MiB beyond the data")

    panels = [("Time", draw_time), ("Peak memory", draw_memory)]
    return picture("One epoch of 2-64-3: time and memory against samples", result, panels)


LEAST, MOST = 0.02, 1e6  # operations a byte, the ends of the roofline's axis

# Operations in the roofline, and where their names stand: (points right, points up).
NAMED = {
    "softmax_backward at 1,000": ("softmax backward", (-8, 4)),
    "softmax_forward at 1,000": ("softmax forward", (9, -4)),
    "softmax_cross_entropy at 1,000": ("softmax + cross-entropy", (9, -4)),
    "relu_forward at 1,000": ("ReLU", (-8, 6)),
    "adam_step at 1,000": ("Adam", (-8, 9)),
    "sum at 1,000": ("sum", (9, -4)),
    "linear_forward at 64": ("dense 64 to 64", (9, -4)),
    "linear_backward at 64": ("its backward", (9, -12)),
}


def roofline(ops: Result, train: Result | None) -> bytes:
    """Arithmetic a second against arithmetic a byte, under the two limits of the machine."""
    rows = {row["case"]: row for row in ops["rows"]}
    limits = {"add": rows["limit: add of two arrays"], "copy": rows["limit: copy"]}
    bandwidth = {
        name: row["bytes"] / row["contenders"][row["reference"]]["median"]
        for name, row in limits.items()
    }
    peak, whose = _arithmetic(ops, train)

    def draw(axes: Any) -> None:
        ridge, beside = peak / bandwidth["add"], {"textcoords": "offset points", "ha": "right"}
        x = [LEAST, ridge, MOST]
        roof = [min(peak, bandwidth["add"] * one) / 1e9 for one in x]
        axes.plot(x, roof, color=INK, linewidth=2)
        axes.fill_between(x, roof, 1e-2, color=FAINT, alpha=0.45, linewidth=0)
        rates = tuple(f"{bandwidth[kind] / 1e9:.0f}" for kind in ("add", "copy"))
        memory = "memory {} GB/s:\nadding two arrays into\na third (copying: {})".format(*rates)
        place = (ridge / 2, bandwidth["add"] * ridge / 2e9)
        axes.annotate(memory, place, xytext=(-10, 0), **beside)
        arithmetic = f"arithmetic {peak / 1e9:.0f} GFLOP/s: {whose}"
        axes.annotate(arithmetic, (MOST, peak / 1e9), xytext=(-4, 8), **beside)
        for case, (name, offset) in NAMED.items():
            if case in rows and rows[case]["flops"]:
                _operation(axes, rows[case], name, offset)
        for row in largest_steps(train["rows"] if train else []):
            _step(axes, row)
        axes.set_xlim(LEAST, MOST)
        axes.set_ylim(0.02, peak / 1e9 * 3)
        axes.set_xlabel("floating-point operations a byte that has to be moved")
        axes.set_ylabel("GFLOP/s")

    return picture("Roofline: our kernels under what the machine can do", ops, [("", draw)])


def _arithmetic(ops: Result, train: Result | None) -> tuple[float, str]:
    """The roof, and whose limit it is: our loop of multiply-adds, of the rounds in which steps were
    timed; where there is none (a GPU), a matrix product of the array library.
    """
    rows = [row for row in (train["rows"] if train else []) if PEAK in row["contenders"]]
    peaks = [row["flops"] / row["contenders"][PEAK]["median"] for row in rows]
    if peaks:
        return statistics.median(peaks), "multiply-adds in registers (bench/peak.py)"
    gemm = next(row for row in ops["rows"] if row["case"].endswith("matrix product"))
    seconds = gemm["contenders"][gemm["reference"]]["median"]
    return gemm["flops"] / seconds, "the array library's matrix product"


def _operation(axes: Any, row: Row, name: str, offset: tuple[int, int]) -> None:
    from matplotlib.patheffects import withStroke

    intensity = row["flops"] / row["bytes"]
    for contender in [*of_role(row, "peer")[:1], row["reference"]]:
        y = row["flops"] / row["contenders"][contender]["median"] / 1e9
        if contender == row["reference"]:
            drawn = look("nnfs_gpu numba") | {"marker": "*", "markersize": 13}
            drawn["label"] = "nnfs_gpu, one operation"
        else:
            drawn = look(contender)
        axes.plot(intensity, y, **(drawn | {"linestyle": ""}))
    axes.annotate(
        name,
        (intensity, y),
        xytext=offset,
        textcoords="offset points",
        ha="left" if offset[0] > 0 else "right",
        fontsize=10.5,
        path_effects=[withStroke(linewidth=3, foreground="#f3f3f3")],
    )


def _step(axes: Any, row: Row) -> None:
    """A training step: all its contenders, one above the other, under the roof."""
    x, lowest = row["flops"] / row["bytes"], float("inf")
    for name in of_role(row, "ours", "book", "peer"):
        y = row["flops"] / row["contenders"][name]["median"] / 1e9
        axes.plot(x, y, **(look(name) | {"linestyle": ""}), label=name)
        lowest = min(lowest, y)
    below = {"xytext": (0, -12), "textcoords": "offset points", "rotation": 90}
    axes.annotate(f"step of {row['net']}", (x, lowest), **below, ha="center", va="top")
