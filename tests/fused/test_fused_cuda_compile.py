"""The GPU's fused step as NVRTC compiles it, with the definitions that plans get; needs no GPU.

Proves, for every architecture, the networks of the performance goals and some awkward ones: the
build that is chosen for a device compiles for it, moves no register to memory, holds no float64
instruction in float32 and stays within the device's shared memory; that every instruction rounds
as IEEE 754 says and is one of the text, nothing approximate, flushed or contracted; that sums
without rounding, which are in float64, consist of what they need; and that the inner loops
of the tiles are what they are meant to be: 16-byte accesses of shared memory. With `-s` it prints
the registers.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest
from test_cuda_compile import (
    INEXACT,
    NOT_ROUNDED,
    assert_no_spills,
    build,
    nvrtc as nvrtc,  # a fixture
)

from nnfs_gpu.fused import Plan, Stage
from nnfs_gpu.fused.cuda.build import LABELS, NUMBERS, Build, Device, choose, end_of

REALS = {"float32": "float", "float64": "double"}
KILO = 1024
DEVICES = {  # multiprocessors, shared memory that a block can ask for
    "sm_75": Device(40, 64 * KILO),
    "sm_80": Device(108, 163 * KILO),
    "sm_86": Device(84, 99 * KILO),
    "sm_89": Device(128, 99 * KILO),
    "sm_90": Device(132, 227 * KILO),
    "sm_100": Device(148, 227 * KILO),
    "sm_120": Device(170, 99 * KILO),
}
SINGLE_BLOCK, MANY_BLOCKS = 300, 1_000_000
ARITHMETIC = re.compile(r"(?<![\w.])(?!mov|selp|setp|abs|ld|st)([a-z]+[\w.]*f64[\w.]*)\s")


def plan(*widths: int, dtype: str = "float32", loss: str = "softmax_cross_entropy", **kw) -> Plan:
    """Hidden layers with ReLU, Adam or others, and the accuracy that fits the loss."""
    last = len(widths) - 2
    ends = {"softmax_cross_entropy": ("linear", "argmax"), "squared_error": ("linear", "close")}
    end, accuracy = ends.get(loss, ("sigmoid", "threshold"))
    dropped, hidden = kw.pop("dropout", False), kw.pop("activation", "relu")
    optimizer = kw.pop("optimizer", "adam")
    stages = tuple(
        Stage(
            *widths[s : s + 2],
            activation=end if s == last else hidden,
            keep=0.9 if dropped and s < last else 1.0,
            dropout=dropped and s < last,
        )
        for s in range(last + 1)
    )
    return Plan(dtype=dtype, stages=stages, loss=loss, optimizer=optimizer, accuracy=accuracy)


GOALS = [(2, 64, 3), (2, 128, 3), (2, 64, 64, 3), (2, 128, 128, 3)]
OTHERS = [
    plan(2, 64, 1, loss="binary_cross_entropy"),
    plan(1, 64, 64, 1, loss="squared_error"),
    plan(2, 64, 64, 3, dropout=True),
    plan(2, 64, 3, activation="tanh", optimizer="adamw"),
    plan(2, 64, 64, 3, activation="tanh", dropout=True),
    plan(2, 64, 3, activation="leaky_relu"),
    plan(2, 64, 64, 3, activation="leaky_relu", optimizer="adamw"),
    plan(128, 128, 40),
]


@dataclass(frozen=True)
class Job:
    """A build as the host side would ask for it."""

    plan: Plan
    architecture: str
    rows: int
    part: bool = False
    penalties: bool = False
    file: str = "fused"
    weighted: bool = False

    def build(self) -> Build:
        targets = LABELS if self.plan.loss == "softmax_cross_entropy" else NUMBERS
        device = DEVICES[self.architecture]
        if self.file == "fused_end":
            return end_of(self.plan, self.penalties, device)
        given = self.plan, targets, self.penalties, self.rows, device
        return choose(*given, self.part, self.weighted)


def assert_good(nvrtc, jobs):
    """Every job compiles, without spills, within what its device has; registers are printed."""

    def compiled(job):
        definitions = sorted(job.build().definitions)
        return build(nvrtc, job.file, REALS[job.plan.dtype], job.architecture, *definitions)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for job, built in zip(jobs, pool.map(compiled, jobs), strict=True):
            assert_one(job, built)


def assert_one(job: Job, built) -> None:
    assert_no_spills(job.file, built)
    of, launch = job.plan, job.build()
    definitions = dict(launch.definitions)
    (count,) = built.registers().values()
    blocks = definitions["BLOCKS"] if job.file == "fused" else 1
    assert count * launch.threads * blocks <= 1 << 16
    assert not INEXACT.findall(built.ptx), f"{of.name}: {built.what}"
    lines = map(NOT_ROUNDED.match, built.ptx.splitlines())
    assert not {found[1] for found in lines if found}, f"{of.name}: {built.what}"
    if of.dtype == "float32":
        assert_exact(built.ptx, in_words=job.part, of_words=job.file == "fused_end")
    fixed = re.search(r"(\d+) bytes smem", built.log)
    shared = (int(fixed[1]) if fixed else 0) + definitions.get("SHARED", 0)
    assert shared <= DEVICES[job.architecture].shared
    what = f"{job.file} {of.name} {of.dtype} at {job.rows:,}{' in parts' * job.part}"
    what += ", weights" * job.weighted
    print(f"{job.architecture} {what}: {count} registers, {shared} bytes shared")


def assert_exact(ptx: str, in_words: bool, of_words: bool) -> None:
    """Float64 instructions are those of sums without rounding, where there are some: no product is
    contracted with a sum but where the formula of `value` says so, twice in each.
    """
    found = Counter(ARITHMETIC.findall(ptx))
    expected = set()
    if in_words:
        expected = {"cvt.f64.f32", "mul.rn.f64", "sub.rn.f64", "cvt.rni.s64.f64", "cvt.rn.f64.s64"}
    if of_words:
        expected = {"cvt.rn.f64.s64", "fma.rn.f64", "mul.rn.f64", "add.rn.f64", "cvt.rn.f32.f64"}
        assert found["fma.rn.f64"] % 2 == 0
        assert found["cvt.rn.f64.s64"] == 3 * found["fma.rn.f64"] / 2 + 1  # and the samples
    assert set(found) == expected


@pytest.mark.parametrize("architecture", DEVICES)
def test_every_architecture(nvrtc, architecture):
    """Both kinds of kernel for small and large batches, and each dtype of the deepest net."""
    known = nvrtc.getSupportedArchs()
    if int(architecture.removeprefix("sm_")) not in known:
        problem = f"this NVRTC does not know {architecture}"
        pytest.fail(problem) if os.environ.get("CI") else pytest.skip(problem)
    small, many = SINGLE_BLOCK, MANY_BLOCKS
    jobs = [Job(plan(2, 64, 3), architecture, rows) for rows in (small, many)]
    jobs += [Job(plan(2, 64, 64, 3), architecture, rows) for rows in (small, many)]
    jobs += [Job(plan(2, 128, 128, 3, dtype=dtype), architecture, many) for dtype in REALS]
    jobs += [Job(plan(2, 64, 3), architecture, many, file="fused_end")]
    parts = (plan(2, 64, 3), plan(2, 64, 64, 3), plan(2, 128, 128, 3), OTHERS[6])
    jobs += [Job(of, architecture, many, part=True) for of in parts]
    assert_good(nvrtc, jobs)


@pytest.mark.parametrize("real", REALS.values())
def test_sums_without_rounding_alone(nvrtc, real):
    """exact.cu holds nothing else, so that here float64 builds can be looked at, too."""
    for name, ptx in build(nvrtc, "exact", real, "sm_90").entries().items():
        more = {"fma.rn.f64"}
        if name == "exact_add":
            more = {"sub.rn.f64", "cvt.rni.s64.f64"} | (
                {"cvt.f64.f32"} if real == "float" else set()
            )
        assert set(ARITHMETIC.findall(ptx)) == {"mul.rn.f64", "cvt.rn.f64.s64"} | more


def test_the_goals_networks(nvrtc):
    plans = [plan(*widths, dtype=dtype) for widths in GOALS for dtype in REALS]
    assert_good(nvrtc, [Job(of, "sm_90", rows) for of in plans for rows in (300, 1_000_000)])


def test_other_plans(nvrtc):
    """Other losses, dropout, penalties, and rows that come in parts."""
    jobs = [Job(of, "sm_90", MANY_BLOCKS) for of in OTHERS]
    for of in (plan(2, 64, 3), plan(2, 64, 64, 3)):
        jobs += [Job(of, "sm_90", MANY_BLOCKS, part=True)]
        jobs += [Job(of, "sm_90", MANY_BLOCKS, penalties=True)]
        jobs += [Job(of, "sm_90", MANY_BLOCKS, penalties=True, file="fused_end")]
    assert_good(nvrtc, jobs)


def test_weights_of_samples(nvrtc):
    """Both kinds of kernel, small and large batches, parts, each dtype, each loss."""
    plans = [plan(*widths, dtype=dtype) for widths in GOALS[::2] for dtype in REALS]
    jobs = [
        Job(of, "sm_90", rows, part, weighted=True)
        for of in (*plans, OTHERS[0])
        for rows, part in ((SINGLE_BLOCK, False), (MANY_BLOCKS, False), (MANY_BLOCKS, True))
    ]
    jobs += [Job(of, "sm_90", MANY_BLOCKS, weighted=True) for of in OTHERS[1:3]]
    jobs += [Job(plan(2, 128, 128, 3), "sm_75", MANY_BLOCKS, weighted=True)]
    assert_good(nvrtc, jobs)


def test_shared_memory_is_read_16_bytes_at_a_time(nvrtc):
    """In the products: loads that bring four numbers outnumber single ones."""
    for of in (plan(2, 64, 3), plan(2, 64, 64, 3)):
        definitions = sorted(Job(of, "sm_90", MANY_BLOCKS).build().definitions)
        built = build(nvrtc, "fused", "float", "sm_90", *definitions)
        wide = len(re.findall(r"\bld\.shared\S*\.v4\.", built.ptx))
        assert wide >= 8, f"{of.name}: {wide} loads of 16 bytes"


def test_the_launch_is_within_what_a_device_has():
    """For many plans and batches: threads, blocks, shared memory, whole warps and groups."""
    for device in DEVICES.values():
        for dtype in REALS:
            for widths in (*GOALS, (2, 512, 3), (8, 100, 5), (1, 1), (128, 128), (2, 33, 7)):
                for rows in (1, 300, 4097, 30_000, 1_000_000):
                    of = plan(*widths, dtype=dtype)
                    launch = choose(of, LABELS, False, rows, device)
                    definitions = dict(launch.definitions)
                    assert launch.threads % 32 == 0
                    assert launch.threads <= 1024
                    assert launch.tile % launch.threads == 0 or not launch.narrow
                    assert definitions["ROOM"] <= device.shared
                    assert 1 <= launch.grid(rows) <= 2 * device.processors
                    assert launch.grid(rows) <= -(-rows // launch.tile)
