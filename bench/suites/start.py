"""Suite `start`: how long until something happens. Whole processes, from start to end.

    import      an interpreter that imports a package and ends
    first step  an interpreter that trains one step of 2-64-3 on 300 samples and ends; `cold`
                with empty caches, so that kernels are compiled (once: it takes long), `cached`
                with what that has left

Every first step imports this benchmark and nnfs_gpu too, peers' as well: the import of nnfs_gpu
stands in the first row and can be subtracted.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from nnfs_gpu import get_backend
from nnfs_gpu.backend import Backend
from nnfs_gpu.selftest.timing import Contender

from .. import peers
from ..sheet import Sheet, measured, short
from ..trainers import RATE, parameters, trainers
from .train import data

PROCESS = 120.0  # seconds after which a process is given up
ROOT = Path(__file__).resolve().parents[2]
CACHES = (
    "NUMBA_CACHE_DIR",
    "TORCHINDUCTOR_CACHE_DIR",
    "CUPY_CACHE_DIR",
    "JAX_COMPILATION_CACHE_DIR",
)


def run(sheet: Sheet, backends: list[Backend], found: peers.Peers, sizes: Any = None) -> None:
    """The rows `import`, `first step, cold` and `first step, cached`."""
    rounds = 2 if sheet.quick else 5
    if not sheet.late("import"):
        codes = {"python alone": ("pass", "limit"), "numpy": ("import numpy", "book")}
        codes["nnfs_gpu"] = ("import nnfs_gpu", "ours")
        codes |= {name: (f"import {name}", "peer") for name in found.modules}
        contenders = {
            name: Contender(partial(_process, ["-c", code]), role)
            for name, (code, role) in codes.items()
        }
        sheet.measure("import", contenders, reference="nnfs_gpu", rounds=rounds)
    ours = [f"nnfs_gpu {b.name} {kind}" for b in backends for kind in ("layers", "fused")]
    theirs = [
        name for name in ("torch", "torch.compile", "jax") if name.split(".")[0] in found.modules
    ]
    with tempfile.TemporaryDirectory() as folder:
        cold: dict[str, Any] = {}
        cached: dict[str, Contender] = {}
        left_out: dict[str, str] = {}
        for name in (*ours, *theirs):
            if sheet.late(f"first step of {name}"):
                continue
            role = "ours" if name in ours else "peer"
            caches = tempfile.mkdtemp(dir=folder)
            begin = time.perf_counter()
            try:
                _first_step(name, caches)
            except subprocess.SubprocessError as error:
                said = (getattr(error, "stderr", None) or "").strip().splitlines()
                left_out[name] = short(said[-1] if said else str(error))
                continue
            cold[name] = measured([time.perf_counter() - begin], role)
            cached[name] = Contender(partial(_first_step, name, caches), role)
        reference = next((name for name in ours[::-1] if name in cold), None)
        if reference is None:
            sheet.skip("first step", left_out)
            return
        sheet.add("first step, cold", cold, reference=reference, left_out=left_out)
        if not sheet.late("first step, cached"):
            sheet.measure("first step, cached", cached, reference=reference, rounds=rounds)


def _first_step(name: str, caches: str) -> None:
    _process(["-m", "bench.suites.start", name], **dict.fromkeys(CACHES, caches))


def _process(arguments: list[str], **environment: str) -> None:
    path = os.pathsep.join(filter(None, (os.environ.get("PYTHONPATH"), str(ROOT))))
    subprocess.run(
        [sys.executable, *arguments],
        env=os.environ | environment | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=PROCESS,
        check=True,
    )


def _main(name: str) -> None:
    """In the process of its own: one step."""
    package = name.split()[0].split(".")[0]
    found = peers.find([package])
    backend = get_backend(name.split()[1] if package == "nnfs_gpu" else "numpy", dtype="float32")
    trainer = trainers([backend], found)[name][1](parameters((2, 64, 3)), *data(300), "adam", RATE)
    trainer.run(1)
    assert np.isfinite(trainer.loss())


if __name__ == "__main__":
    _main(sys.argv[1])
