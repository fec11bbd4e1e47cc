"""Suite `scaling`: time and peak memory of one training epoch, from 100 to 100,000,000 samples.

The net is 2-64-3 on the spiral, the batch is all samples ("batches": 65,536 at a time). Each
contender runs in a process of its own, so that its memory is its own: `peak` is what the process
had at most beyond what it had before the first step, data included in neither. (On a GPU: what the
array library took from the device.) Then one size on 1, 2, 4, ... and all threads.

Processes run one after the other, not in turns: a busy machine shows here. A size that would
take too long, by the size before, or more memory than is free, is left out and named.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from nnfs_gpu import get_backend
from nnfs_gpu.backend import Backend
from nnfs_gpu.selftest.timing import threads as available_threads

from .. import peers
from ..sheet import Sheet, measured, short
from ..trainers import RATE, Make, Ours, parameters, trainers
from .train import no_room

SIZES = (100, 10_000, 1_000_000, 10_000_000, 100_000_000)
QUICK = (100, 1_000)
THREADS_AT = 1_000_000
HIDDEN = (64,)
BATCH = 65_536
LONGEST = 20.0  # seconds of an epoch: what is expected to take more is left out
PROCESS = 120.0  # seconds after which a process is given up
LEAST, MOST_ROUNDS = 0.5, 7  # seconds that a process measures for at least
BYTES = 4 * 8 * sum(HIDDEN)  # of a sample where every operation sees the whole batch
ROOT = Path(__file__).resolve().parents[2]


def run(sheet: Sheet, backends: list[Backend], found: peers.Peers, sizes: tuple[int, ...]) -> None:
    """A row a size, then a row a number of threads."""
    backend = backends[0]
    names = [
        "book",
        *(f"nnfs_gpu {backend.name} {kind}" for kind in ("layers", "batches", "fused")),
    ]
    names += [name for name in ("torch", "jax") if name in found.modules]
    last: dict[str, tuple[int, float]] = {}
    for samples in sizes:
        if not sheet.late(f"{samples:,} samples"):
            _row(sheet, f"{samples:,} samples", names, samples, available_threads(), backend, last)
    at = max(sizes) if sheet.quick else THREADS_AT
    every = available_threads()
    counts = sorted({*(2**k for k in range(every.bit_length()) if 2**k < every), every})
    if backend.xp is np and len(counts) > 1:
        for count in counts:
            case = f"{at:,} samples, {count} thread{'s' * (count > 1)}"
            if not sheet.late(case):
                _row(sheet, case, names[1:], at, count, backend, {})


def _row(
    sheet: Sheet,
    case: str,
    names: list[str],
    samples: int,
    threads: int,
    backend: Backend,
    last: dict[str, tuple[int, float]],
) -> None:
    contenders, left_out, peak = {}, {}, {}
    for name in names:
        before, seconds = last.get(name, (samples, 0.0))
        needed = BYTES * samples if name.split()[-1] not in ("fused", "batches") else 0
        reason = no_room(needed)
        if name in last and samples / before * seconds > LONGEST:
            reason = f"would take about {samples / before * seconds:.0f} s"
        if name in last and seconds == float("inf"):
            reason = "smaller sizes did not work"
        if reason:
            left_out[name] = reason
            continue
        spec = {"contender": name, "samples": samples, "backend": backend.name, "threads": threads}
        answer = child(spec | {"quick": sheet.quick})
        if "error" in answer:
            left_out[name] = answer["error"]
            last[name] = samples, float("inf")
            continue
        role = "ours" if name.startswith("nnfs_gpu") else "book" if name == "book" else "peer"
        contenders[name] = measured(answer["seconds"], role)
        peak[name] = answer["peak"]
        last[name] = samples, contenders[name]["median"]
    ours = [
        name for name in names[::-1] if name in contenders and contenders[name]["role"] == "ours"
    ]
    facts: dict[str, Any] = {
        "samples": samples,
        "threads": threads,
        "peak": peak,
        "data": 12 * samples,
    }
    if ours:
        sheet.add(case, contenders, reference=ours[0], left_out=left_out, **facts)
    else:
        sheet.skip(case, left_out)


def child(spec: dict[str, Any]) -> dict[str, Any]:
    """What `_measure` finds in a process of its own with so many threads; or {"error": ...}."""
    names = ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    environment = os.environ | dict.fromkeys(names, str(spec["threads"]))
    environment["PYTHONPATH"] = os.pathsep.join(
        filter(None, (os.environ.get("PYTHONPATH"), str(ROOT)))
    )
    try:
        done = subprocess.run(
            [sys.executable, "-m", "bench.suites.scaling", json.dumps(spec)],
            env=environment,
            capture_output=True,
            text=True,
            timeout=PROCESS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {"error": f"more than {PROCESS:.0f} s"}
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [f"ended with status {done.returncode}"]
        return {"error": short(lines[-1])}
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


# ---- in the process of its own ----
def _measure(spec: dict[str, Any]) -> dict[str, Any]:
    """Seconds of an epoch, several times, and the bytes that it took at most."""
    name, samples = spec["contender"], spec["samples"]
    if hasattr(os, "sched_setaffinity"):  # JAX has no variable for the number of its threads
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: spec["threads"]])
    backend = get_backend(spec["backend"], dtype="float32")
    wanted = [one for one in peers.NAMES if name == one]
    if name.endswith("batches"):
        made: Make = partial(Ours, backend=backend, engine="layers", batch_size=BATCH)
    else:
        made = trainers([backend], peers.find(wanted))[name][1]
    start = parameters((2, *HIDDEN, 3))
    X, y = (backend.to_numpy(a) for a in backend.spiral(-(-samples // 3), 3, 0))
    small = slice(0, min(len(X), 300))
    made(start, X[small], y[small], "adam", RATE).run(2)  # compiles
    trainer = made(start, X[:samples], y[:samples], "adam", RATE)
    before = _reset_peak(backend)
    seconds: list[float] = []
    longest = 0.05 if spec["quick"] else LEAST
    while not seconds or (sum(seconds) < longest and len(seconds) < MOST_ROUNDS):
        steps = max(1, 30_000 // samples)
        begin = time.perf_counter()
        trainer.run(steps)
        seconds.append((time.perf_counter() - begin) / steps)
    return {"seconds": seconds, "peak": max(0, _peak(backend) - before)}


def _status(line: str) -> int:
    """Bytes of VmHWM or VmRSS of this process; where the system is not Linux, its peak."""
    try:
        text = Path("/proc/self/status").read_text(encoding="utf-8")
    except OSError:
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else 1024 * peak
    return next(int(t.split()[1]) * 1024 for t in text.splitlines() if t.startswith(line))


def _reset_peak(backend: Backend) -> int:
    """Forget the peak so far; what is in use now."""
    if backend.xp is not np:
        backend.xp.get_default_memory_pool().free_all_blocks()
        return _peak(backend)
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
    except OSError:  # not Linux, or not allowed: the peak before counts, and then not twice
        return _status("VmHWM")
    return _status("VmRSS")


def _peak(backend: Backend) -> int:
    if backend.xp is np:
        return _status("VmHWM")
    pools = int(backend.xp.get_default_memory_pool().total_bytes())
    torch = sys.modules.get("torch")
    return pools + (int(torch.cuda.max_memory_allocated()) if torch else 0)


if __name__ == "__main__":
    print(json.dumps(_measure(json.loads(sys.argv[1]))))
