"""How speed is measured, by `nnfs-gpu bench` and by bench/ alike.

    turns    all contenders run in turns, round after round. A ratio is taken inside a round,
             where both saw the same neighbours on the machine, and the median over the rounds
             is reported with its spread: noise that lasts longer than a round cancels.
    warm-up  every contender runs once before the first round. What compiles or is checked has
             been called before that, by the caller: nothing is timed that was not found right.
    pause    before each measurement: worker threads of the one before (OpenMP, BLAS) go on
             spinning for up to 0.1 s and would take a core from the next. After it a contender
             runs untimed for a while: processor, caches and threads have cooled down.
    clock    of the host; on a CUDA device two events around each call, before which a buffer
             larger than the cache is written, so that no contender finds its arguments there.

Times are seconds a call. Nothing here knows what it measures.
"""

from __future__ import annotations

import importlib.metadata
import itertools
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

Call = Callable[[], Any]
Seconds = dict[str, list[float]]  # of each contender, round by round

PAUSE = 0.15  # seconds, see above: after 0.04 the threads of OpenBLAS still spun, after 0.2 not
ONE_THREAD = 1 << 19  # elements below which waking a second thread costs more than it saves
PACKAGES = (
    *("nnfs-gpu", "numpy", "numba", "cupy-cuda12x", "cupy-cuda13x", "torch", "jax"),
    "scikit-learn",
)


class Clock:
    """Time of the host. For what has finished when it returns."""

    name = "host"

    def seconds(self, call: Call, times: int) -> float:
        """Mean seconds of a call over `times` calls, one after the other."""
        start = time.perf_counter()
        for _ in range(times):
            call()
        return (time.perf_counter() - start) / times


HOST = Clock()


class CudaClock(Clock):
    """Time of a CUDA device, between two events on CuPy's and PyTorch's default stream.

    What runs on streams of its own (JAX) has to be waited for and timed by `HOST`.
    """

    name = "CUDA events, cache flushed"

    def __init__(self, cupy: Any):
        self._cuda = cupy.cuda
        properties = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)
        self._flush = cupy.zeros(2 * int(properties["l2CacheSize"]) + (1 << 20), "u1")

    def seconds(self, call: Call, times: int) -> float:
        """Of the device, a call; see `Clock`."""
        pairs = [(self._cuda.Event(), self._cuda.Event()) for _ in range(times)]
        for start, stop in pairs:
            self._flush.fill(0)
            start.record()
            call()
            stop.record()
        stop.synchronize()
        milliseconds: float = sum(self._cuda.get_elapsed_time(*pair) for pair in pairs)
        return milliseconds / 1e3 / times


def clock_of(backend: Any) -> Clock:
    """What measures calls of `backend`."""
    return HOST if backend.xp is np else CudaClock(backend.xp)


@dataclass(frozen=True)
class Contender:
    """One of those that do what is compared.

    call   does it, and comes back when it is done or in the queue that `clock` watches
    role   "ours", "peer" (somebody else's library), "book" (the notes' own code) or "limit"
           (what the machine can do at most)
    scale  share of a call's time that counts: 0.01 where a call is 100 steps, 50 where it does
           a fiftieth of the work (a contender that is linear in it and would take hours)
    clock  what measures it
    """

    call: Call
    role: str = "ours"
    scale: float = 1.0
    clock: Clock = HOST


def time_in_turns(
    contenders: Mapping[str, Contender], *, rounds: int = 7, least: float = 0.03, most: float = 5.0
) -> Seconds:
    """Seconds of every contender, once a round.

    least  seconds that a contender runs in a round at least, by repeating the call
    most   seconds that a slow one gets over all rounds: it stays out of the last ones. One whose
           first call takes half of that is not run again, and its first call counts.
    """
    seconds: Seconds = {name: [] for name in contenders}
    calls: dict[str, int] = {}
    shares: dict[str, int] = {}
    for name, contender in contenders.items():
        first = contender.clock.seconds(contender.call, 1)
        if first >= most / 2:
            seconds[name].append(contender.scale * first)
            continue
        second = contender.clock.seconds(contender.call, 1)
        calls[name] = max(1, min(100_000, int(least / max(second, 1e-9))))
        shares[name] = max(1, min(rounds, int(most / max(second, least))))
    for turn in range(rounds):
        for name, count in calls.items():
            if turn < shares[name]:
                contender = contenders[name]
                time.sleep(PAUSE)
                if shares[name] == rounds:  # not one of the slow ones
                    contender.clock.seconds(contender.call, max(1, count // 2))
                seconds[name].append(
                    contender.scale * contender.clock.seconds(contender.call, count)
                )
    return seconds


def ratios(slow: Sequence[float], fast: Sequence[float]) -> list[float]:
    """How many times longer `slow` took, round by round; of its median where one ran once."""
    if len(slow) == 1 or len(fast) == 1:
        return [statistics.median(slow) / statistics.median(fast)]
    return [s / f for s, f in zip(slow, fast, strict=False)]


def ratio(slow: Sequence[float], fast: Sequence[float]) -> float:
    """The median of `ratios`."""
    return statistics.median(ratios(slow, fast))


# ---- the machine's limit: bandwidth of memory ----
def threads() -> int:
    """As many as Numba uses: NUMBA_NUM_THREADS, else all cores."""
    asked = os.environ.get("NUMBA_NUM_THREADS", "")
    if asked.isdigit() and int(asked) > 0:
        return int(asked)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Stream:
    """Three arrays of `size` float32 elements, and passes over them.

    xp       NumPy or CuPy
    workers  threads that share a pass, on the CPU
    """

    def __init__(self, xp: Any, size: int, workers: int = 1):
        self.xp, self.size = xp, size
        self.a, self.b, self.c = (xp.ones(size, np.float32) for _ in range(3))
        self.c.fill(0)  # touches every page
        self._workers = workers if xp is np and size >= ONE_THREAD else 1
        self._pool = ThreadPoolExecutor(max(1, self._workers - 1))
        cuts = [size * k // self._workers for k in range(self._workers + 1)]
        self._parts = [slice(*cut) for cut in itertools.pairwise(cuts)]

    def _share(self, work: Callable[[slice], Any]) -> None:
        others = [self._pool.submit(work, part) for part in self._parts[1:]]
        work(self._parts[0])
        for other in others:
            other.result()

    def copy(self) -> None:
        """The copy c = a."""
        self._share(lambda part: self.xp.copyto(self.c[part], self.a[part]))

    def add(self) -> None:
        """The sum c = a + b."""
        self._add(self.c)

    def fresh(self) -> None:
        """The sum a + b in a new array."""
        self._add(self.xp.empty(self.size, np.float32))

    def _add(self, out: Any) -> None:
        self._share(lambda part: self.xp.add(self.a[part], self.b[part], out=out[part]))

    def contenders(self, clock: Clock) -> dict[str, Contender]:
        """Two to run beside others: "limit: add" and "limit: add, new array"."""
        return {
            "limit: add": Contender(self.add, "limit", clock=clock),
            "limit: add, new array": Contender(self.fresh, "limit", clock=clock),
        }


# ---- what a reader needs to know about the machine ----
def environment(backends: Sequence[Any] = ()) -> dict[str, Any]:
    """Processor, memory, threads, versions, commit and load, as they are now."""
    import threadpoolctl

    return {
        "time": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        "cores_of_machine": os.cpu_count(),
        "last_level_cache": last_level_cache(),
        "memory": memory("MemTotal"),
        "huge_pages": _read("/sys/kernel/mm/transparent_hugepage/enabled"),
        "backends": {backend.name: backend.version() for backend in backends},
        "threads": {
            pool["internal_api"]: pool["num_threads"] for pool in threadpoolctl.threadpool_info()
        },
        "thread_variables": {k: v for k, v in os.environ.items() if k.endswith("_NUM_THREADS")},
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {name: version(name) for name in PACKAGES},
        "commit": _commit(),
        "load": list(os.getloadavg()) if hasattr(os, "getloadavg") else None,
    }


def version(package: str) -> str | None:
    """Of an installed package; None where it is missing."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def last_level_cache() -> int | None:
    """Bytes of the largest cache of the first core; None where the system does not say."""
    sizes = [
        _read(str(path)) for path in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size")
    ]
    units = {"K": 1 << 10, "M": 1 << 20}
    found = [int(size[:-1]) * units[size[-1]] for size in sizes if size and size[-1] in units]
    return max(found, default=None)


def memory(line: str) -> int | None:
    """Bytes that Linux gives in /proc/meminfo, as for "MemAvailable"; None elsewhere."""
    for text in (_read("/proc/meminfo") or "").splitlines():
        if text.startswith(f"{line}:"):
            return int(text.split()[1]) * 1024
    return None


def _processor() -> str:
    for line in (_read("/proc/cpuinfo") or "").splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError:
        return None


def _commit() -> str | None:
    """Of the sources that are running, with "+" where they were changed since."""
    folder = Path(__file__).resolve().parents[1]

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(folder), *arguments]
        return subprocess.run(
            command, capture_output=True, text=True, timeout=20, check=True
        ).stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")) != folder.parent:
            return None  # installed inside somebody else's repository
        changed = git("status", "--porcelain", "--untracked-files=no")
        return git("rev-parse", "--short=12", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.SubprocessError):
        return None
