"""How things are timed here, so that a noisy machine cannot decide the result.

All candidates run in turns, round after round; a ratio is taken inside a round, where both
saw the same neighbours, and the median over the rounds is reported with its spread.
"""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np


@dataclass(frozen=True)
class Timing:
    """Seconds a call, over the rounds."""

    median: float
    low: float
    high: float
    rounds: tuple[float, ...]


def time_in_turns(
    candidates: dict[str, Callable[[], Any]], *, rounds: int = 7, least: float = 0.02
) -> dict[str, Timing]:
    """Time every candidate once a round, each for at least `least` seconds a round.

    The first call of each is a warm-up and is not counted, unless a single call takes longer
    than a second: then the warm-up would double the run for nothing.
    """
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    calls: dict[str, int] = {}
    for name, call in candidates.items():
        first = _time(call, 1)
        if first < 1:
            first = _time(call, 1)
            calls[name] = max(1, int(least / max(first, 1e-9)))
        else:
            calls[name] = 0  # slow: this one run counts
            seconds[name].append(first)
    for _ in range(rounds):
        for name, call in candidates.items():
            if calls[name]:
                seconds[name].append(_time(call, calls[name]))
    return {
        name: Timing(statistics.median(values), min(values), max(values), tuple(values))
        for name, values in seconds.items()
    }


def ratio(slow: Timing, fast: Timing) -> float:
    """How many times longer `slow` takes: the median of the rounds' own ratios."""
    if len(slow.rounds) == len(fast.rounds):
        return statistics.median(s / f for s, f in zip(slow.rounds, fast.rounds, strict=True))
    return slow.median / fast.median


def environment() -> dict[str, Any]:
    """What a reader needs to know about the machine to judge a figure."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "numba_threads": numba.get_num_threads(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "numba": numba.__version__,
        "load": os.getloadavg() if hasattr(os, "getloadavg") else None,
    }


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as file:
            names = [line.split(":", 1)[1].strip() for line in file if "model name" in line]
        return names[0]
    except (OSError, IndexError):
        return platform.processor()


def _time(call: Callable[[], Any], times: int) -> float:
    start = time.perf_counter()
    for _ in range(times):
        call()
    return (time.perf_counter() - start) / times
