"""How fast are the operations on the device? Steps of `make gpu-check`.

The measure is the device's own copy: a large array into another, bytes read and bytes written.
An operation is charged with the bytes that it must move by its definition, each input read once
and each output written once; what a kernel reads twice is its own loss.

    time     selftest/timing.py: two CUDA events around each call, the cache flushed before it;
             ours, PyTorch's and the copy in turns, round after round. A ratio is taken inside a
             round and the median over the rounds is reported
    right    first and last rows of every result are compared with the specification in float64
             before anything is timed (PyTorch's optimizers excepted: they keep their own state)
"""

from __future__ import annotations

import importlib.util
import statistics
from collections.abc import Callable, Sequence
from functools import partial
from itertools import cycle
from typing import Any

import numpy as np

from nnfs_gpu.backend import Backend
from nnfs_gpu.selftest.timing import Clock, Contender, clock_of, ratio, time_in_turns

from ..cases import CASES, PERIOD, Buffers, Case, filled
from ..cases_torch import Arguments, Peer, tensors
from ..spot_check import check
from . import fused_speed
from .notebook import Notebook, numba_cuda

CLASSES = (3, 10, 100, 1_000, 10_000, 100_000)
ELEMENTS = 1 << 26  # of an array
ARRAYS = 56  # of that size that may exist at once, all told
ROUNDS = 5
LAUNCH_ROUNDS = 25
ISSUE = 1e-3  # seconds in which calls are only issued: fewer of them than the driver's queue holds
MEASURE = 2e-3  # seconds of device time in a measurement, at least
BOTH = ("softmax", "cross_entropy")  # in the name of what numba-cuda is measured on as well

Calls = Sequence[Callable[[], Any]]


def throughput_step(notebook: Notebook, backend: Backend) -> None:
    """Every operation, beside numba-cuda's softmax and PyTorch, as far as they are there."""
    free, _ = backend.xp.cuda.runtime.memGetInfo()
    elements = min(ELEMENTS, 1 << (int(free / (4 * ARRAYS)).bit_length() - 1))
    others = numba_cuda(notebook)
    torch: Any = None
    if importlib.util.find_spec("torch") is None:
        notebook.note("PyTorch is not installed: no ratios to it")
    else:
        with notebook.attempt("import torch"):
            torch = importlib.import_module("torch")
    clock = clock_of(backend)
    throughput(notebook, [backend, *others], torch, clock, elements, CLASSES, ROUNDS)


def throughput(
    notebook: Notebook,
    backends: list[Backend],
    torch: Any,
    clock: Clock,
    elements: int,
    classes: Sequence[int],
    rounds: int,
) -> None:
    """A line for the copy, then one for every operation at every number of classes.

    backends  the first is measured on everything, the others on softmax and cross-entropy
    """
    buffers = Buffers(backends[0], elements)
    copies = _copies(backends[0].xp, 2 * elements)
    seconds = _in_turns({"copy": copies}, clock, rounds)["copy"]
    copy_bytes = 16 * elements
    gbs = copy_bytes / statistics.median(seconds) / 1e9
    notebook.add("copy", bytes=copy_bytes, gbs=gbs, low=copy_bytes / max(seconds) / 1e9)
    for case in CASES:
        for c in classes if case.of.at is None else case.of.at:
            what = f"{case.name} at {c} classes"
            if notebook.late(f"throughput from {what} on"):
                return
            with notebook.attempt(what, backends[0]):
                contenders = _contenders(notebook, what, case, c, backends, torch, buffers)
                seconds_of = _in_turns(contenders | {"copy": copies}, clock, rounds)
                n = case.of.rows(elements, c)
                moved = 4 * case.moved(n, c)
                record = _compared(seconds_of, moved, copy_bytes)
                names = {"name": case.name, "rows": n, "classes": c, "bytes": moved}
                notebook.add("throughput", **names, **record)


def _copies(xp: Any, size: int) -> list[Callable[[], None]]:
    """The copy, on two pairs of arrays in turn."""
    block = np.random.default_rng(0).standard_normal(min(size, PERIOD), np.float32)
    pairs = [(filled(xp, block, size), xp.empty(size, np.float32)) for _ in range(2)]
    return [partial(xp.copyto, b, a) for a, b in pairs]


def _contenders(
    notebook: Notebook,
    what: str,
    case: Case,
    c: int,
    backends: list[Backend],
    torch: Any,
    buffers: Buffers,
) -> dict[str, Calls]:
    """Who does it, a call for each set of buffers. What is wrong is reported and not timed."""
    n = case.of.rows(buffers.size, c)
    sets = [buffers.arguments(case.of, number, n, c) for number in range(buffers.sets)]
    contenders: dict[str, Calls] = {}

    def add(name: str, calls: Callable[[], Calls], compared: bool = True) -> None:
        with notebook.attempt(f"{name}: {what}", backends[0]):
            made = calls()
            if compared:
                check(case, n, c, sets[0], made[0])
            contenders[name] = made

    for backend in backends:
        both = any(part in case.name for part in BOTH)
        if backend is backends[0] or both:
            add(backend.name, partial(_ours, case, backend, sets))
    for name, peer in case.peers.items() if torch is not None else ():
        add(name, partial(_theirs, peer, torch, sets), not case.of.writes)
    return contenders


def _ours(case: Case, backend: Backend, sets: list[Arguments]) -> Calls:
    return [partial(case.run, backend, arguments) for arguments in sets]


def _theirs(peer: Peer, torch: Any, sets: list[Arguments]) -> Calls:
    return [peer(torch, tensors(torch, arguments)) for arguments in sets]


def _in_turns(contenders: dict[str, Calls], clock: Clock, rounds: int) -> dict[str, list[float]]:
    """Seconds a call, round by round; a contender's calls, one for each set of buffers, in turn."""

    def contender(calls: Calls) -> Contender:
        each = cycle(calls)
        return Contender(lambda: next(each)(), clock=clock)

    named = {name: contender(calls) for name, calls in contenders.items()}
    return time_in_turns(named, rounds=rounds, least=MEASURE)


def _compared(seconds: dict[str, list[float]], moved: float, copied: float) -> dict[str, Any]:
    """Rates, shares of the copy's rate and ratios to PyTorch's time."""
    rate = [copied / s for s in seconds["copy"]]
    record: dict[str, Any] = {"copy_gbs": statistics.median(rate) / 1e9, "contenders": {}}
    for name, values in seconds.items():
        if name == "copy":
            continue
        share = [100 * moved / s / r for s, r in zip(values, rate, strict=False)]
        record["contenders"][name] = {
            "seconds": statistics.median(values),
            "gbs": moved / statistics.median(values) / 1e9,
            "percent": statistics.median(share),
            "percent_low": min(share),
            "percent_high": max(share),
            "faster_than": {
                other: ratio(theirs, values)
                for other, theirs in seconds.items()
                if other.startswith("torch") and not name.startswith("torch")
            },
        }
    return record


# ---- what a launch costs the CPU ----
class Issuing(Clock):
    """Time of the host until calls are in the device's queue, which is empty before the first."""

    name = "host, nothing waited for"

    def __init__(self, backend: Backend):
        self._backend = backend

    def seconds(self, call: Callable[[], Any], times: int) -> float:
        """Of the host, a call; the device's queue is empty before the first."""
        self._backend.synchronize()
        return super().seconds(call, times)


def launches_step(notebook: Notebook, backend: Backend) -> None:
    """Of three operations, and of a fused training step."""
    launches(notebook, backend, LAUNCH_ROUNDS)


def launches(notebook: Notebook, backend: Backend, rounds: int) -> None:
    """Microseconds of CPU time a call, nothing waited for: whole operations with all that they
    do (checks, allocation), and their launch alone.
    """
    rng = np.random.default_rng(0)
    x = backend.asarray(rng.standard_normal((64, 64)))
    state = [backend.asarray(rng.random((64, 64))) for _ in range(4)]
    adam: dict[str, Any] = {
        "rate": 1e-3,
        "epsilon": 1e-7,
        "beta_1": 0.9,
        "beta_2": 0.999,
        "step": 3,
    }
    calls: dict[str, Callable[[], Any]] = {
        "relu_forward": lambda: backend.relu_forward(x),
        "softmax_forward": lambda: backend.softmax_forward(x),
        "adam_step": lambda: backend.adam_step(*state, **adam),
    }
    for name, call in calls.items():
        with notebook.attempt(name, backend):
            call()
            again = _launch_of(backend, call)
            _note_launch(notebook, backend, name, call, again, rounds)
    with notebook.attempt("fused step", backend):
        step, again = fused_speed.issued(backend)
        _note_launch(notebook, backend, "fused step, 2-64-3", step, again, rounds)


def _note_launch(
    notebook: Notebook,
    backend: Backend,
    name: str,
    whole: Callable[[], Any],
    alone: Callable[[], Any],
    rounds: int,
) -> None:
    clock = Issuing(backend)
    contenders = {"whole": Contender(whole, clock=clock), "alone": Contender(alone, clock=clock)}
    found = time_in_turns(contenders, rounds=rounds, least=ISSUE)
    backend.synchronize()
    notebook.add(
        "launch",
        operation=name,
        operation_us=1e6 * statistics.median(found["whole"]),
        launch_us=1e6 * statistics.median(found["alone"]),
        operation_low_us=1e6 * min(found["whole"]),
        launch_low_us=1e6 * min(found["alone"]),
    )


def _launch_of(backend: Any, call: Callable[[], Any]) -> Callable[[], None]:
    """The launch that `call` ends in, to be made again with the same arguments."""
    launcher, kept = backend.calls.launcher, []

    class Recorder:
        def launch(self, *arguments: Any, **definitions: Any) -> None:
            kept.append((arguments, definitions))
            launcher.launch(*arguments, **definitions)

    backend.calls.launcher = Recorder()
    try:
        call()
    finally:
        backend.calls.launcher = launcher
    ((arguments, definitions),) = kept
    return lambda: launcher.launch(*arguments, **definitions)
