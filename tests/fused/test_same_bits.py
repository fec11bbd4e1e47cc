"""Results are a function of the inputs alone.

The same runs (bits_program.py: every loss, optimizer, activation, dtype, fused and layer by layer)
in processes that differ in everything else: whether they compile the kernels or load them, what
was trained before, which processor the kernels are compiled for. Layers multiply by BLAS, whose
bits are this machine's.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import llvmlite.binding as llvm
import pytest
from processes import MODULES

PROGRAM = Path(__file__).resolve().parent / "bits_program.py"
PROCESSORS = {
    "avx2": {"NUMBA_CPU_NAME": "x86-64-v3", "NUMBA_CPU_FEATURES": "+avx2,+fma,+bmi2,+f16c"},
    "avx512": {
        "NUMBA_CPU_NAME": "skylake-avx512",
        "NUMBA_CPU_FEATURES": "+avx2,+fma,+avx512f,+avx512bw,+avx512cd,+avx512dq,+avx512vl",
    },
}


def runs_here(processor: dict[str, str]) -> bool:
    has = llvm.get_host_cpu_features()
    return all(has.get(name[1:]) for name in processor["NUMBA_CPU_FEATURES"].split(","))


def start(first: str, **environment: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-W", "error", str(PROGRAM), first],
        env=os.environ | {"PYTHONPATH": MODULES} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def hashes(process: subprocess.Popen) -> dict[str, str]:
    out, err = process.communicate()
    assert process.returncode == 0, err
    return json.loads(out)


@pytest.fixture(scope="module")
def caches(tmp_path_factory):
    """A folder for kernels that is empty at first."""
    return {"NUMBA_CACHE_DIR": str(tmp_path_factory.mktemp("kernels"))}


@pytest.fixture(scope="module")
def started(caches):
    """What compiles for long, all at once. Kernels for other processors stay in the cache of the
    tests; "cold" compiles everything, fused steps first.
    """
    processes = {
        name: start("layers", **processor)
        for name, processor in PROCESSORS.items()
        if runs_here(processor)
    }
    processes["cold"] = start("fused", **caches)
    yield processes
    for process in processes.values():
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def cold(started):
    found = hashes(started["cold"])
    assert len(set(found.values())) == len(found) >= 100
    return found


def differing(found: dict[str, str], expected: dict[str, str]) -> list[str]:
    assert found.keys() == expected.keys()
    return [name for name, value in found.items() if value != expected[name]]


def test_a_process_that_loads_the_kernels_has_the_compiler_s_bits(cold, caches):
    """In another order, too: layers before fused steps, the last run first."""
    assert differing(hashes(start("layers", **caches)), cold) == []


@pytest.mark.parametrize("name", PROCESSORS)
def test_every_processor_has_the_same_bits(started, cold, name):
    """The kernels are compiled for another processor, and run on this one."""
    if name not in started:
        pytest.skip(f"this processor cannot run code for {name}")
    assert differing(hashes(started[name]), cold) == []
