"""What a step over ranks should take, and how near that is to what was measured.

    t(n, R) = n / (R c) + overhead + [R > 1] (alpha(R) + 2 B / bandwidth)

    n          samples of the step; R ranks
    c          samples a second of one core, or of one GPU; of the network
    overhead   seconds of a step that no rank can share
    alpha      seconds of an all-reduce of nothing; B bytes are sent and received once each

`fit` finds the constants of this machine's CPU by least squares in what the suite `ranks` has
measured. Nobody has measured GPUs: what `gpu_seconds` uses is assumed, and its results are
called so wherever they are shown.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nnfs_gpu.network.engine import Message

from .trainers import flops

Result = dict[str, Any]

# Assumed of H200s, eight in a node: no figure of these was measured.
NODE = 8
GPU_OVERHEAD = 12e-6  # launches, and the update
GPU_ALPHA, GPU_ALPHA_BETWEEN = 15e-6, 4.3e-6  # in a node; more for each doubling of the nodes
GPU_BANDWIDTH, GPU_BANDWIDTH_BETWEEN = 450e9, 50e9  # bytes a second
GPU_FLOPS = 27e12  # a second, of wide networks
GPU_SPEEDS: dict[tuple[int, ...], float] = {(2, 64, 3): 10e9}  # samples a second, of narrow ones
GPU_RANKS = tuple(2**k for k in range(11))


def message_bytes(widths: Sequence[int]) -> int:
    """Of what a rank sends in a step of such a network."""
    numbers = sum(i * o + o for i, o in itertools.pairwise(widths))
    return 8 * Message(numbers).size


# ---- a GPU's, assumed ----
def gpu_seconds(widths: tuple[int, ...], samples: float, ranks: int) -> float:
    """A step on so many GPUs: the model with the constants above. Not measured."""
    speed = GPU_SPEEDS.get(widths, GPU_FLOPS / flops(widths))
    seconds = samples / (ranks * speed) + GPU_OVERHEAD
    if ranks == 1:
        return seconds
    sent, nodes = 2 * message_bytes(widths), max(1.0, ranks / NODE)
    seconds += GPU_ALPHA + sent / GPU_BANDWIDTH
    if nodes > 1:
        seconds += GPU_ALPHA_BETWEEN * math.log2(nodes) + sent / GPU_BANDWIDTH_BETWEEN
    return seconds


def gpu_efficiency(widths: tuple[int, ...], samples: float, ranks: int) -> float:
    """What share of `ranks` times one GPU's speed they reach: 1 is all of it. Not measured."""
    return gpu_seconds(widths, samples, 1) / ranks / gpu_seconds(widths, samples, ranks)


# ---- this machine's, fitted ----
@dataclass(frozen=True)
class Point:
    """A measured time. net: "" where nothing but an all-reduce was measured."""

    case: str
    net: str
    samples: int
    ranks: int
    bytes: int
    seconds: float


@dataclass(frozen=True)
class Fit:
    """The constants of a machine, and the points that they were found in.

    speeds     c of each net; alphas: of each number of ranks, seconds
    overhead   seconds; bandwidth: bytes a second
    """

    speeds: dict[str, float]
    overhead: float
    alphas: dict[int, float]
    bandwidth: float
    points: tuple[Point, ...]

    def seconds(self, net: str, samples: float, ranks: int, sent: int) -> float:
        """Of a step; `net` "": of an all-reduce alone. KeyError for what was not measured."""
        own = samples / (ranks * self.speeds[net]) + self.overhead if net else 0.0
        if ranks == 1:
            return own
        return own + self.alphas[ranks] + 2 * sent / self.bandwidth

    def residual(self, point: Point) -> float:
        """By what part of it a point was longer (above 0) than the model says."""
        return point.seconds / self.seconds(point.net, point.samples, point.ranks, point.bytes) - 1


def points_of(result: Result) -> tuple[Point, ...]:
    """Ours, on as many ranks as there are cores at most: more of them take turns."""
    found = []
    for row in result["rows"]:
        for name, ranks in row["ranks"].items():
            contender = row["contenders"].get(name)
            if contender is None or contender["role"] != "ours" or name in row["crowded"]:
                continue
            if name.endswith("process"):
                continue
            samples = row["samples"].get(name, 0)
            net = row["net"] if samples else ""
            point = row["case"], net, samples, ranks, row["bytes"], contender["median"]
            found.append(Point(*point))
    return tuple(found)


def fit(result: Result) -> Fit | None:
    """Least squares of the residuals, none of the constants below 0; None without points of
    several ranks.
    """
    points = points_of(result)
    nets = list(dict.fromkeys(point.net for point in points if point.net))
    counts = sorted({point.ranks for point in points if point.ranks > 1})
    if not nets or not counts:
        return None
    columns: list[str | int] = [*nets, "overhead", *counts, "bandwidth"]
    table = np.array([[_term(column, point) for column in columns] for point in points])
    measured = np.array([point.seconds for point in points])
    found = dict(zip(columns, _not_negative(table / measured[:, None]), strict=True))
    return Fit(
        {net: 1 / found[net] if found[net] else math.inf for net in nets},
        found["overhead"],
        {count: found[count] for count in counts},
        1 / found["bandwidth"] if found["bandwidth"] else math.inf,
        points,
    )


def _term(column: str | int, point: Point) -> float:
    """What one unit of a constant adds to a point's seconds."""
    if column == "overhead":
        return float(bool(point.net))
    if column == "bandwidth":
        return 2.0 * point.bytes if point.ranks > 1 else 0.0
    if isinstance(column, int):
        return float(point.ranks == column)
    return point.samples / point.ranks if point.net == column else 0.0


def _not_negative(table: np.ndarray) -> list[float]:
    """Of table x = 1 the nearest x without a number below 0: the lowest one is taken out, as long
    as there is one.
    """
    scales = np.abs(table).max(axis=0)
    scales[scales == 0] = 1
    kept = list(range(table.shape[1]))
    while True:
        some = np.linalg.lstsq(table[:, kept] / scales[kept], np.ones(len(table)), rcond=None)[0]
        if (some >= 0).all():
            break
        kept.pop(int(some.argmin()))
    found = np.zeros(table.shape[1])
    found[kept] = some / scales[kept]
    return [float(one) for one in found]
