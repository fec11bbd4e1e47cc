"""Sets of processes that make steps together, and how they are timed: for the suite `ranks`.

A set is started once, lives as long as the suite and does nothing until it is asked
(rank_worker.py): so sets take turns in being timed, as contenders in one process do. Each has its
own socket, over which requests and answers go; the ranks of a set talk by what their library has.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pickle
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from nnfs_gpu.selftest.timing import Call, Clock

from .sheet import short

ROOT = Path(__file__).resolve().parent.parent
START, ANSWER = 90.0, 150.0  # seconds until all processes are there, and until they answer
END = 10.0  # seconds that they have to end by themselves
THREADS = ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def launcher() -> str | None:
    """The mpiexec of this environment, else that of the machine."""
    beside = str(Path(sys.executable).parent)
    return shutil.which("mpiexec", path=beside) or shutil.which("mpiexec")


def absent() -> dict[str, str]:
    """What ranks need and is not here, each with what to do."""
    found = {}
    if launcher() is None:
        found["mpiexec"] = "not found: pip install mpich, or load the machine's MPI"
    if importlib.util.find_spec("mpi4py") is None:
        found["mpi4py"] = "not installed: pip install 'nnfs-gpu[mpi]'"
    return found


class RankSet:
    """`size` processes of a kind, which is one of `rank_worker.MEMBERS`.

    Raises RuntimeError with the reason where they do not start.
    """

    def __init__(self, kind: str, size: int):
        self.kind, self.size = kind, size
        self._kept = contextlib.ExitStack()
        self._broken = ""
        folder = Path(self._kept.enter_context(tempfile.TemporaryDirectory(prefix="ranks-")))
        self._said = folder / "said"
        listener = self._kept.enter_context(socket.socket(socket.AF_UNIX))
        listener.bind(str(folder / "socket"))
        listener.listen(size)
        with self._said.open("wb") as said:
            self._processes = [
                subprocess.Popen(
                    command,
                    env=os.environ | environment,
                    stdin=subprocess.DEVNULL,
                    stdout=said,
                    stderr=said,
                    start_new_session=True,  # Ctrl-C is this process's; it ends them
                )
                for command, environment in self._commands(str(folder / "socket"))
            ]
        try:
            self._streams = self._connected(listener)
        except BaseException:
            self._kill()
            raise

    def ask(self, what: str, **given: Any) -> list[Any]:
        """What the ranks answer to a request, by rank. Raises RuntimeError where one fails."""
        if self._broken:
            raise RuntimeError(self._broken)
        try:
            for stream in self._streams:
                pickle.dump((what, given), stream)
                stream.flush()
            answers = [pickle.load(stream) for stream in self._streams]
        except (OSError, EOFError, pickle.UnpicklingError) as error:
            self._broken = self._reason(f"{type(error).__name__}: {error}")
            self._kill()
            raise RuntimeError(self._broken) from error
        for rank, (failed, _) in enumerate(answers):
            if failed:
                raise RuntimeError(short(f"rank {rank}: {failed}"))
        return [value for _, value in answers]

    def close(self) -> None:
        """End the processes."""
        if not self._broken:
            with contextlib.suppress(OSError):
                for stream in self._streams:
                    pickle.dump(("end", {}), stream)
                    stream.flush()
            with contextlib.suppress(subprocess.TimeoutExpired):
                for process in self._processes:
                    process.wait(END)
        self._kill()

    # ---- starting and ending ----
    def _commands(self, address: str) -> list[tuple[list[str], dict[str, str]]]:
        """Each a process to start, and its variables."""
        worker = [sys.executable, "-m", "bench.rank_worker", self.kind, address]
        path = os.pathsep.join(filter(None, (os.environ.get("PYTHONPATH"), str(ROOT))))
        common = dict.fromkeys(THREADS, "1") | {"PYTHONPATH": path, "TF_CPP_MIN_LOG_LEVEL": "2"}
        if self.kind == "ranks":
            return [([launcher() or "mpiexec", "-n", str(self.size), *worker], common)]
        if self.kind == "alone":
            return [(worker, common)]
        common |= {"WORLD_SIZE": str(self.size), "MASTER_ADDR": "127.0.0.1"}
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            common["MASTER_PORT"] = str(free.getsockname()[1])
        return [(worker, common | {"RANK": str(rank)}) for rank in range(self.size)]

    def _connected(self, listener: socket.socket) -> list[Any]:
        """A stream to each rank, when all have said who they are."""
        found: dict[int, Any] = {}
        end = time.monotonic() + START
        listener.settimeout(0.2)
        while len(found) < self.size:
            if any(process.poll() not in (None, 0) for process in self._processes):
                raise RuntimeError(self._reason("ended before the start"))
            if time.monotonic() > end:
                raise RuntimeError(self._reason(f"did not start within {START:.0f} s"))
            try:
                connection = self._kept.enter_context(listener.accept()[0])
            except TimeoutError:
                continue
            connection.settimeout(ANSWER)
            stream = self._kept.enter_context(connection.makefile("rwb"))
            failed, rank = pickle.load(stream)
            if failed:
                raise RuntimeError(short(failed))
            found[rank] = stream
        return [found[rank] for rank in range(self.size)]

    def _reason(self, otherwise: str) -> str:
        lines = self._said.read_text(errors="replace").strip().splitlines()
        return short(lines[-1] if lines else otherwise)

    def _kill(self) -> None:
        """Where mpiexec is gone, its helpers end the ranks."""
        for process in self._processes:
            process.kill()
            process.wait()
        with contextlib.suppress(OSError):  # nobody reads what is left in a stream
            self._kept.close()


class RankClock(Clock):
    """Seconds that rank 0 needs for what it is asked; `waited` is what of it was communication.

    The ranks make the calls, as many as the request's `times` says.
    """

    name = "host, on rank 0"

    def __init__(self, ranks: RankSet, what: str, **given: Any):
        self._ranks, self._what, self._given = ranks, what, given
        self.waited: list[float] = []  # of a call, as often as it was asked

    def seconds(self, call: Call, times: int) -> float:  # noqa: ARG002 - see above
        """Of one of `times` calls. The ranks begin together."""
        seconds, waited = self._ranks.ask(self._what, times=times, **self._given)[0]
        self.waited.append(waited)
        return float(seconds)
