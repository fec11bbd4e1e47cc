"""Every CUDA kernel, compiled by NVRTC for every architecture we name; needs no GPU.

Proves: each kernels/*.cu of an operation compiles in float32 and float64 from sm_75 to sm_120,
with the definitions that its host side may give; no kernel spills registers to memory; float32
kernels hold no float64 instruction (but totals.cu and exact.cu, whose results need it); every
instruction rounds as IEEE 754 says, flushes no denormal number and is one of the text; and flat
kernels load and store each array once, 16 bytes at a time. With `-s` it prints the registers of
every kernel.

Compiler and options are those of a launch: CuPy's bindings of NVRTC, `cuda_compile.options`.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from emulation.emulator import kernels_in

from nnfs_gpu.backend.cuda import compile as cuda_compile, source as cuda_source
from nnfs_gpu.backend.cuda.softmax_plan import ROW_THREADS, VALUES

ARCHITECTURES = ("sm_75", "sm_80", "sm_86", "sm_89", "sm_90", "sm_100", "sm_120")
REFERENCE = "sm_90"
REALS = {"float": 4, "double": 8}
DTYPES = {real: dtype for dtype, real in cuda_compile.REALS.items()}
# fused_cuda/ is built for a plan and a device: test_fused_cuda_compile.py
ROOT = Path(__file__).resolve().parents[2]
FILES = sorted(p.stem for p in (ROOT / "kernels" / "cuda").glob("*.cu"))
FLOAT64_RESULTS = {"totals", "exact"}
WITHOUT_FMA = {"dense", "reductions", "softmax_jacobian"}  # no product meets a sum


def definition_sets(file: str, real: str) -> list[dict[str, int]]:
    """What the host may define; the first set needs most registers and stands for the rest."""
    values = VALUES[np.dtype({"float": "float32", "double": "float64"}[real])]
    if file == "softmax_narrow":
        return [{"C": c} for c in (values, 1, 3, 7)]
    if file == "softmax_rows":
        sets = [*((threads, values) for threads in ROW_THREADS[::-1]), (32, 2)]
        return [{"THREADS": threads, "ITEMS": items} for threads, items in sets]
    return [{}]


# ---- the compiler ----
@pytest.fixture(scope="module")
def nvrtc() -> Any:
    """CuPy's bindings, once they have answered."""
    try:
        from cupy.cuda import nvrtc

        nvrtc.getVersion()
    except Exception as error:  # each CuPy has its own for a library that is not there
        problem = f"NVRTC does not work here ({error}): pip install 'nnfs-gpu[compile]'"
        pytest.fail(problem) if os.environ.get("CI") else pytest.skip(problem)
    return nvrtc


@dataclass(frozen=True)
class Build:
    """What NVRTC made of a file."""

    what: str
    ptx: str
    log: str

    def registers(self) -> dict[str, int]:
        """Of each kernel, from the assembler's report."""
        return self._report(r"Used (\d+) registers")

    def spilled(self) -> dict[str, int]:
        """Bytes of registers that each kernel moves to memory."""
        return self._report(r"(\d+) bytes spill stores")

    def _report(self, pattern: str) -> dict[str, int]:
        found = re.findall(rf"entry function '(\w+)'.*?{pattern}", self.log, re.DOTALL)
        return {name: int(count) for name, count in found}

    def entries(self) -> dict[str, str]:
        """The PTX of each kernel."""
        parts = re.split(r"\.entry\s+(\w+)", self.ptx)
        return dict(zip(parts[1::2], parts[2::2], strict=True))


@functools.cache
def build(nvrtc: Any, file: str, real: str, architecture: str, *definitions: Any) -> Build:
    options = cuda_compile.options(DTYPES[real], architecture, dict(definitions))
    what = f"{file}.cu {' '.join(options)}"
    text = cuda_source.source(file)
    program = nvrtc.createProgram(text, f"{file}.cu", (), ())
    try:
        try:
            nvrtc.compileProgram(program, (*options, "--ptxas-options=-v"))
        except nvrtc.NVRTCError as error:
            raise AssertionError(f"{what}: {error}\n{nvrtc.getProgramLog(program)}") from error
        return Build(what, nvrtc.getPTX(program).decode(), nvrtc.getProgramLog(program))
    finally:
        nvrtc.destroyProgram(program)


def reference(nvrtc: Any, file: str, real: str) -> Iterator[Build]:
    """A build of every definition set."""
    for definitions in definition_sets(file, real):
        yield build(nvrtc, file, real, REFERENCE, *sorted(definitions.items()))


def assert_no_spills(file: str, built: Build) -> None:
    spilled = built.spilled()
    assert spilled.keys() == kernels_in(file).keys(), f"{built.what}: no report:\n{built.log}"
    registers = built.registers()
    problems = [f"{k}: {b} bytes at {registers[k]} registers" for k, b in spilled.items() if b]
    assert not problems, f"{built.what} spills: {'; '.join(problems)}"


# ---- the tests ----
@pytest.mark.parametrize("real", REALS)
@pytest.mark.parametrize("file", FILES)
def test_no_kernel_spills_on_any_architecture(nvrtc, file, real):
    definitions = sorted(definition_sets(file, real)[0].items())
    supported = nvrtc.getSupportedArchs()
    known = [name for name in ARCHITECTURES if int(name.removeprefix("sm_")) in supported]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        builds = pool.map(lambda a: build(nvrtc, file, real, a, *definitions), known)
        for built in builds:
            assert_no_spills(file, built)
    missing = set(ARCHITECTURES) - set(known)
    if missing:
        problem = f"this NVRTC does not know {', '.join(sorted(missing))}; the others compiled"
        pytest.fail(problem) if os.environ.get("CI") else pytest.skip(problem)


@pytest.mark.parametrize("real", REALS)
@pytest.mark.parametrize(
    "file", [file for file in FILES if len(definition_sets(file, "float")) > 1]
)
def test_no_kernel_spills_with_any_definitions(nvrtc, file, real):
    for built in reference(nvrtc, file, real):
        assert_no_spills(file, built)


@pytest.mark.parametrize("file", FILES)
def test_float32_kernels_hold_no_float64_instruction(nvrtc, file):
    for built in reference(nvrtc, file, "float"):
        found = {name for name, ptx in built.entries().items() if ".f64" in ptx}
        if file in FLOAT64_RESULTS:
            assert found == built.entries().keys(), "the exemption is wider than it needs to be"
        else:
            assert not found, f"{built.what}: float64 in {', '.join(sorted(found))}"


INEXACT = re.compile(r"\b(\w[\w.]*\.(?:ftz|approx|full)\b[\w.]*)")  # flushes denormals, or is near
# `mul.rn` and `add.rn` stay what they are; of `mul` and `add` the assembler may make one fma.
NOT_ROUNDED = re.compile(
    r"^\s*(?:@!?%p\d+\s+)?((?:mul|add|sub|mad|fma|div|rcp|sqrt)\.(?!rn\.)[\w.]*f(?:32|64))\b"
)


@pytest.mark.parametrize("real", REALS)
@pytest.mark.parametrize("file", FILES)
def test_every_instruction_rounds_as_it_is_written(nvrtc, file, real):
    """IEEE's operations, nothing approximate or flushed, and no fma that the text does not have."""
    for built in reference(nvrtc, file, real):
        assert not INEXACT.findall(built.ptx), built.what
        lines = map(NOT_ROUNDED.match, built.ptx.splitlines())
        assert not {found[1] for found in lines if found}, built.what
        assert re.search(r"\bfma\.rn\.", built.ptx) or file in WITHOUT_FMA, built.what


TRAFFIC = {  # arrays that are read and written
    "elementwise": {
        "relu_forward": (1, 1),
        "relu_backward": (2, 1),
        "leaky_relu_forward": (1, 1),
        "leaky_relu_backward": (2, 1),
        "sigmoid_forward": (1, 1),
        "sigmoid_backward": (2, 1),
        "tanh_forward": (1, 1),
        "tanh_backward": (2, 1),
        "multiply": (2, 1),
        "threshold": (1, 1),
        "equal": (2, 1),
        "near": (2, 1),
    },
    "optimizers": {
        "sgd_step": (2, 1),
        "momentum_step": (3, 2),
        "adagrad_step": (3, 2),
        "rmsprop_step": (3, 2),
        "adam_step": (4, 3),
        "adamw_step": (4, 3),
    },
    "philox": {"dropout_forward": (1, 2)},
    "dense": {"bias_relu_forward": (1, 1), "add_bias": (1, 1)},
}


@pytest.mark.parametrize("file", TRAFFIC)
def test_flat_kernels_move_each_array_once_and_16_bytes_at_a_time(nvrtc, file):
    (built,) = reference(nvrtc, file, "float")
    entries = built.entries()
    for name, expected in TRAFFIC[file].items():
        moved = (re.findall(rf"\b{op}\.global\S*\.v4\.", entries[name]) for op in ("ld", "st"))
        assert tuple(map(len, moved)) == expected, name


def test_registers_are_reported(nvrtc):
    """Seen with `pytest -s`: file, definitions, registers of each kernel."""
    for file in FILES:
        for real in REALS:
            for built in reference(nvrtc, file, real):
                counts = built.registers()
                assert counts.keys() == kernels_in(file).keys()
                assert max(counts.values()) <= 255
                listed = ", ".join(f"{name} {counts[name]}" for name in sorted(counts))
                print(f"{built.what}: {listed}")
