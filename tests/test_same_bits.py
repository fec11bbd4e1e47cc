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
        env=os.environ | environment,
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
def cold(caches):
    """The runs of a process that compiles everything, and fused steps first."""
    found = hashes(start("fused", **caches))
    assert len(set(found.values())) == len(found) >= 100
    return found


def differing(found: dict[str, str], expected: dict[str, str]) -> list[str]:
    assert found.keys() == expected.keys()
    return [name for name, value in found.items() if value != expected[name]]


def test_a_process_that_loads_the_kernels_has_the_compiler_s_bits(cold, caches):
    """In another order, too: layers before fused steps, the last run first."""
    warm = hashes(start("layers", **caches))
    assert differing(warm, cold) == []


@pytest.mark.parametrize("name", PROCESSORS)
def test_every_processor_has_the_same_bits(cold, name):
    """Compiled for it, and run here; these kernels stay in the cache of the tests."""
    if not runs_here(PROCESSORS[name]):
        pytest.skip(f"this processor cannot run code for {name}")
    assert differing(hashes(start("layers", **PROCESSORS[name])), cold) == []
