"""The GPU's fused step as NVRTC compiles it, with the definitions that plans get; needs no GPU.

Proves, for the networks of the performance goals and some awkward ones: the build that is
chosen for a device compiles for it, moves no register to memory, holds no float64 instruction in
float32 and stays within the device's shared memory; and that the inner loops of the tiles are
what they are meant to be: 16-byte accesses of shared memory. With `-s` it prints the registers.
"""

from __future__ import annotations

import os
import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from test_cuda_compile import assert_no_spills, build, nvrtc  # noqa: F401 - a fixture

from nnfs_gpu.fused import Plan, Stage
from nnfs_gpu.fused.cuda_kernel import LABELS, NUMBERS, Build, Device, choose

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


def plan(*widths: int, dtype: str = "float32", loss: str = "softmax_cross_entropy", **kw) -> Plan:
    """Hidden layers with ReLU, Adam, and the accuracy that fits the loss."""
    last = len(widths) - 2
    ends = {"softmax_cross_entropy": ("linear", "argmax"), "squared_error": ("linear", "close")}
    end, accuracy = ends.get(loss, ("sigmoid", "threshold"))
    dropped = kw.pop("dropout", False)
    stages = tuple(
        Stage(
            *widths[s : s + 2],
            activation=end if s == last else "relu",
            keep=0.9 if dropped and s < last else 1.0,
            dropout=dropped and s < last,
        )
        for s in range(last + 1)
    )
    return Plan(dtype=dtype, stages=stages, loss=loss, optimizer="adam", accuracy=accuracy)


GOALS = [(2, 64, 3), (2, 128, 3), (2, 64, 64, 3), (2, 128, 128, 3)]
OTHERS = [
    plan(2, 64, 1, loss="binary_cross_entropy"),
    plan(1, 64, 64, 1, loss="squared_error"),
    plan(2, 64, 64, 3, dropout=True),
    plan(128, 128, 40),
]


def chosen(of: Plan, device: Device, rows: int) -> Build:
    targets = LABELS if of.loss == "softmax_cross_entropy" else NUMBERS
    return choose(of, targets, False, rows, device)


def compiled(nvrtc, jobs):  # noqa: F811 - the fixture
    """Every (plan, architecture, rows) built; what was found of each."""

    def one(job):
        of, architecture, rows = job
        device = DEVICES[architecture]
        launch = chosen(of, device, rows)
        definitions = sorted(launch.definitions)
        built = build(nvrtc, "fused", REALS[of.dtype], architecture, *definitions)
        return of, device, dict(definitions), built

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(one, jobs))


def assert_good(of: Plan, device: Device, definitions: dict, built) -> None:
    assert_no_spills("fused", built)
    (count,) = built.registers().values()
    assert count * definitions["THREADS"] * definitions["BLOCKS"] <= 1 << 16
    if of.dtype == "float32":
        assert ".f64" not in built.ptx, f"{of.name}: float64 in {built.what}"
    fixed = re.search(r"(\d+) bytes smem", built.log)
    shared = int(fixed[1]) + definitions.get("SHARED", 0)
    assert shared <= device.shared
    print(f"{of.name} {of.dtype} {built.what.split()[1]}: {count} registers, {shared} bytes shared")


@pytest.mark.parametrize("dtype", REALS)
@pytest.mark.parametrize("rows", [SINGLE_BLOCK, MANY_BLOCKS])
def test_the_goals_networks(nvrtc, dtype, rows):  # noqa: F811
    for found in compiled(nvrtc, [(plan(*g, dtype=dtype), "sm_90", rows) for g in GOALS]):
        assert_good(*found)


def test_other_plans(nvrtc):  # noqa: F811
    for found in compiled(nvrtc, [(of, "sm_90", MANY_BLOCKS) for of in OTHERS]):
        assert_good(*found)


def test_every_architecture(nvrtc):  # noqa: F811
    _, known = nvrtc.nvrtcGetSupportedArchs()
    names = [name for name in DEVICES if int(name.removeprefix("sm_")) in known]
    assert "sm_90" in names
    plans = [plan(2, 64, 3), plan(2, 64, 64, 3)]
    for found in compiled(nvrtc, [(of, name, MANY_BLOCKS) for name in names for of in plans]):
        assert_good(*found)


def test_shared_memory_is_read_16_bytes_at_a_time(nvrtc):  # noqa: F811
    """In the products: loads that bring four numbers outnumber single ones."""
    for of in (plan(2, 64, 3), plan(2, 64, 64, 3)):
        ((*_, built),) = compiled(nvrtc, [(of, "sm_90", MANY_BLOCKS)])
        wide = len(re.findall(r"\bld\.shared\S*\.v4\.", built.ptx))
        assert wide >= 8, f"{of.name}: {wide} loads of 16 bytes"


def test_the_launch_is_within_what_a_device_has():
    """For many plans and batches: threads, blocks, shared memory, whole warps and groups."""
    for device in DEVICES.values():
        for dtype in REALS:
            for widths in (*GOALS, (2, 512, 3), (8, 100, 5), (1, 1), (128, 128), (2, 33, 7)):
                for rows in (1, 300, 4097, 30_000, 1_000_000):
                    of = plan(*widths, dtype=dtype)
                    launch = chosen(of, device, rows)
                    definitions = dict(launch.definitions)
                    assert launch.threads % 32 == 0
                    assert launch.threads <= 1024
                    assert launch.tile % launch.threads == 0 or not launch.narrow
                    assert definitions["ROOM"] <= device.shared
                    assert 1 <= launch.grid(rows) <= 2 * device.processors
                    assert launch.grid(rows) <= -(-rows // launch.tile)
