"""What a step of `make gpu-check` has found: on disk after every line."""

from __future__ import annotations

import json
import math
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from nnfs_gpu import get_backend
from nnfs_gpu.backend import BackendUnavailableError


class DeviceLostError(RuntimeError):
    """The device answers nothing any more: after a wild read, say. Only a new process helps."""


class Notebook:
    """What a step has found so far, on disk after every line.

    records   what was measured: a dictionary with a `kind` each
    problems  what failed, a sentence each; with one of them the step has failed
    cuts      what there was no time for
    notes     what a reader should know
    """

    def __init__(
        self,
        path: Path | None = None,
        seconds: float = math.inf,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.found: dict[str, list[Any]] = {"records": [], "problems": [], "cuts": [], "notes": []}
        self._path, self._clock = path, clock
        self._end = clock() + seconds

    def add(self, kind: str, **values: Any) -> None:
        """A measurement. Numbers that JSON does not have become words."""
        self._put("records", {"kind": kind} | {key: plain(value) for key, value in values.items()})

    def problem(self, text: str) -> None:
        """Something that is wrong."""
        print(f"PROBLEM: {text}", flush=True)
        self._put("problems", text)

    def note(self, text: str) -> None:
        """Something worth reading."""
        self._put("notes", text)

    def unavailable(self, reason: str, step: str) -> None:
        """The step cannot run here. A problem where it is about the cupy backend: that is what
        is checked; the other may lack a package that fits.
        """
        if step == "crosscheck-numba-cuda":
            self.found["unavailable"] = [reason]
            self.note(reason)
        else:
            self.problem(reason)

    def late(self, what: str) -> bool:
        """True when the time is over: `what` is then noted as left out."""
        if self._clock() < self._end:
            return False
        self._put("cuts", f"no time left for {what}")
        return True

    @contextmanager
    def attempt(self, what: str, backend: Any = None) -> Iterator[None]:
        """What raises inside is a problem of `what` and stops nothing else.

        The device is waited for, so that its errors fall on the operation that made them.
        Raises DeviceLostError when it does not answer after that.
        """
        try:
            yield
            if backend is not None:
                backend.synchronize()
        except DeviceLostError:
            raise
        except Exception as error:
            traceback.print_exc()
            first = (str(error).strip() or "no message").splitlines()[0]
            self.problem(f"{what}: {type(error).__name__}: {first}")
            try:
                if backend is not None:
                    backend.synchronize()
            except Exception as lost:
                raise DeviceLostError(f"the device is lost after {what}") from lost

    def _put(self, where: str, what: Any) -> None:
        self.found[where].append(what)
        if self._path is not None:
            temporary = self._path.with_suffix(".tmp")
            temporary.write_text(json.dumps(self.found), encoding="utf-8")
            temporary.replace(self._path)


def numba_cuda(notebook: Notebook) -> list[Any]:
    """The readable GPU backend, to be measured beside cupy; none where it cannot work here."""
    try:
        return [get_backend("numba-cuda", dtype="float32", precise_dot=False, book_random=False)]
    except BackendUnavailableError as error:
        notebook.note(f"without numba-cuda: {error}")
        return []


def plain(value: Any) -> Any:
    """`value` as JSON has it: NumPy's scalars as Python's, NaN and infinity as words."""
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
