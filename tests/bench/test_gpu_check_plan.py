"""The plan of `make gpu-check`: the order of its steps, their time, their commands, their logs.

Proves: the first steps get what sees them through, whatever comes later; only tests of a device
are run; what a log says becomes a summary and problems; NVVM is found in several places.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT))  # `bench` is not installed

from bench.gpu_check import (  # noqa: E402
    __main__ as gpu_check,
    notebook,
    plan as gpu_plan,
    report as gpu_report,
    run as gpu_run,
)
from bench.gpu_check.plan import Step  # noqa: E402


# ---- the order and the time ----
def step(name, least):
    return Step(name, lambda f, s: "never run", 99.0, least)


def test_seconds_are_kept_for_as_many_steps_as_fit():
    steps = [step(name, 40.0) for name in "abc"]
    for seconds, kept in ((39, 0), (40, 40), (119, 80), (120, 120), (500, 120), (-3, 0)):
        assert gpu_plan.kept_for(steps, seconds) == kept
    assert gpu_plan.kept_for([], 10) == 0


@pytest.mark.parametrize("minutes", [1, 3, 9])
def test_every_step_that_is_reached_gets_what_sees_it_through(minutes, tmp_path, monkeypatch):
    """The plan itself, on a clock: where each step takes all that it gets, the first ones get at
    least their `least`, in order, and nothing is left over while a step could use it."""
    clock, given = [0.0], {}

    def take(step, seconds, *rest, **more):
        given[step.name] = seconds
        clock[0] += max(0.0, seconds)
        return gpu_run.nothing(step) | {"status": "passed" if seconds >= 5 else "cut"}

    monkeypatch.setattr(gpu_check, "run_step", take)
    monkeypatch.setattr(gpu_check.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(gpu_check, "step_environment", lambda work: {})
    results = gpu_check.run(gpu_plan.STEPS, tmp_path / "o", tmp_path / "w", minutes)
    assert clock[0] <= 60 * minutes
    leasts = np.cumsum([step.least for step in gpu_plan.STEPS])
    for step, total in zip(gpu_plan.STEPS, leasts, strict=True):
        if total <= 60 * minutes:
            assert step.least <= given[step.name] <= step.most
    assert [step["name"] for step in results["steps"]] == [step.name for step in gpu_plan.STEPS]


def test_the_order_is_that_of_the_evidence():
    assert [step.name for step in gpu_plan.STEPS] == [
        *("environment", "crosscheck-cupy", "fused-right", "accuracy", "determinism"),
        *("crosscheck-numba", "memcheck", "racecheck", "throughput", "fused-speed", "fused-book"),
        *("launches", "training", "tests", "crosscheck-numba-cuda"),
    ]


def test_the_page_tells_the_plan():
    """bench/README.md: every step with its seconds, and the commands it gives are understood."""
    text = (ROOT / "bench" / "README.md").read_text(encoding="utf-8")
    table = re.findall(r"^\| ([\w-]+) \| .* \| (\d+) \|$", text, re.MULTILINE)
    assert table == [(step.name, f"{step.most:.0f}") for step in gpu_plan.STEPS]
    leasts = np.cumsum([step.least for step in gpu_plan.STEPS])
    assert leasts[4] <= 3 * 60 < leasts[5], "the first five of three minutes"
    known = {step.name for step in (*gpu_plan.STEPS, *gpu_plan.EXTRA)}
    for steps in re.findall(r"--only ([\w,-]+)", text):
        assert set(steps.split(",")) <= known


# ---- how logs are read ----
def test_the_log_of_the_suite_is_read():
    log = "tests/a.py::b FAILED [ 1%]\n=== short ===\nFAILED tests/a.py::b - no\n"
    assert gpu_plan._read_tests(log + "=== 1 failed, 9 passed in 2.00s ===\n") == (
        "1 failed, 9 passed in 2.00s",
        ["FAILED tests/a.py::b - no"],
    )
    stopped = "[gw1] [ 50%] PASSED tests/a.py::a\n[gw0] [ 50%] FAILED tests/a.py::b[x y]\n"
    summary, problems = gpu_plan._read_tests(stopped)
    assert summary == "1 passed until then"
    assert problems == ["FAILED tests/a.py::b[x y]"]
    alone = "tests/a.py::a[x y] PASSED [ 5%]\ntests/a.py::b FAILED [ 6%]\ntests/a.py::c PASSED\n"
    assert gpu_plan._read_tests(alone) == ("2 passed until then", ["FAILED tests/a.py::b"])
    absent = "E   ModuleNotFoundError: No module named 'no_such_module'\n"
    log = (
        f"{absent}ERROR tests/c.py\nERROR tests/d.py::e - no\n=== 9 passed, 2 errors in 2.00s ===\n"
    )
    summary, problems = gpu_plan._read_tests(log)
    assert summary.endswith("; without no_such_module: 1 files of tests left out")
    assert problems == ["ERROR tests/d.py::e - no"]
    log = log.replace("no_such_module", "json")  # it is here: the file is broken
    assert len(gpu_plan._read_tests(log)[1]) == 2


def test_only_device_tests_are_run():
    """Their files are found by what stands in them; files of other tests are not even imported."""
    names = [file.stem for file in gpu_plan.device_tests()]
    assert names[0] == "test_fused_cuda_device"
    assert {"test_contract", "test_operations_softmax", "test_layers", "test_model"} <= set(names)
    assert not {"test_packaging", "test_fused_cpu", "test_gpu_check"} & set(names)


# ---- where NVVM lies ----
@pytest.mark.parametrize("nvcc", ["real", "link", "script", "elsewhere"])
def test_nvvm_is_found_though_nvcc_may_be_a_wrapper(nvcc, tmp_path):
    home, bin_ = tmp_path / "cuda-13.0", tmp_path / "bin"
    for folder in (home / "bin", home / "nvvm" / "lib64", bin_, tmp_path / "empty"):
        folder.mkdir(parents=True)
    (home / "nvvm" / "lib64" / "libnvvm.so.4").touch()
    real = home / "bin" / "nvcc"
    real.write_bytes(b"\x7fELF")
    real.chmod(0o755)
    path = {"real": home / "bin", "elsewhere": tmp_path / "empty"}.get(nvcc, bin_)
    if nvcc == "link":
        (bin_ / "nvcc").symlink_to(real)
    elif nvcc == "script":
        (bin_ / "nvcc").write_text(f'#!/bin/sh\nexec {real} "$@"\n')
        (bin_ / "nvcc").chmod(0o755)
    environment = {"PATH": str(path), "CUDA_HOME": str(tmp_path / "empty")}
    if nvcc == "elsewhere":
        environment["CUDA_PATH"] = str(home)
    assert gpu_check.toolkit(environment) == home


def test_the_log_of_the_sanitizer_is_read():
    good = "========= COMPUTE-SANITIZER\n========= ERROR SUMMARY: 0 errors\n"
    assert gpu_plan._read_sanitizer(good) == ("0 errors", [])
    bad = "========= Invalid __global__ read of size 4 bytes\n========= ERROR SUMMARY: 2 errors\n"
    assert gpu_plan._read_sanitizer(bad)[1] == ["Invalid __global__ read of size 4 bytes"]
    race = (
        "========= Error: Race reported between\n========= RACECHECK SUMMARY: 1 hazards displayed"
    )
    assert gpu_plan._read_sanitizer(race) == ("1 errors", ["Error: Race reported between"])
    assert gpu_plan._read_sanitizer("Error: Device not supported")[0].startswith("unavailable: ")
    assert gpu_plan._read_sanitizer("")[1] == ["compute-sanitizer gave no summary"]


def test_the_sanitizer_is_found_in_a_toolkit(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.setenv("CUDA_HOME", str(tmp_path))
    tool = tmp_path / "bin" / "compute-sanitizer"
    tool.parent.mkdir()
    if gpu_plan._sanitizer() is None:  # no CUDA on this machine
        assert (
            gpu_plan._memcheck(tmp_path / "f", 60.0) == "compute-sanitizer is not on this machine"
        )
        tool.touch()
        assert gpu_plan._sanitizer() == str(tool)
    assert "memcheck" in gpu_plan._memcheck(tmp_path / "f", 60.0)


# ---- goals ----
def timed(name, classes, percent, faster=None):
    found = {"percent": percent, "faster_than": {"torch": faster} if faster else {}}
    return {"kind": "throughput", "name": name, "classes": classes, "contenders": {"cupy": found}}


def goals_of(*records):
    step = {"name": "throughput", "records": list(records)}
    return {goal["goal"]: goal for goal in gpu_report.goals({"steps": [step]})}


def test_goals_are_met_missed_or_not_measured():
    found = goals_of(
        timed("softmax_backward", 3, 84.9, 1.9),
        timed("softmax_backward", 100, 95.0, 2.5),
        timed("softmax_backward", 1000, 90.0),
        {"kind": "launch", "operation": "relu", "launch_us": 4.0, "operation_us": 9.0},
        {"kind": "determinism", "operation": "relu", "same": True},
    )
    narrow = found["P3 softmax_backward, C < 16: % of the copy's rate"]
    assert (narrow["met"], narrow["measured"]) == (False, "84.9 (C = 3)")
    wide = found["P3 softmax_backward, C >= 16: % of the copy's rate"]
    assert (wide["met"], wide["measured"]) == (True, "90 (C = 1,000)")
    assert found["P3 softmax_backward: times PyTorch eager"]["met"] is True
    assert found["P3 softmax_cross_entropy: times PyTorch eager"]["met"] is None
    assert found["P6 CPU time of a launch, us"]["met"] is True
    assert found["P6 CPU time of a whole operation, us"]["met"] is False
    assert found["P7 the same bits from run to run"]["met"] is None  # no training run
    trained = {"kind": "determinism", "operation": "training, 50 steps", "same": True}
    assert goals_of(trained)["P7 the same bits from run to run"]["met"] is True
    failed = trained | {"same": False}
    assert goals_of(trained, failed)["P7 the same bits from run to run"]["met"] is False


def test_numbers_that_json_does_not_have_are_words():
    value = {"a": [np.float32(1), float("nan"), (np.int64(2), b"x")]}
    assert notebook.plain(value) == {"a": [1.0, "nan", [2, "x"]]}
    assert gpu_report.number("nan") == "nan"
    assert gpu_report.number(12345.6) == "12,346"


def test_make_takes_the_environment_that_make_train_has_made(tmp_path):
    """It has CuPy and no pytest: the steps run, and the tests are left out."""
    python = tmp_path / "venv" / "bin" / "python"
    outside = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))}
    for expected in ("python3 ", f"{python} "):
        command = ["make", "--dry-run", "gpu-check", f"VENV={tmp_path / 'venv'}"]
        said = subprocess.run(
            command, cwd=ROOT, env=outside, capture_output=True, text=True, check=True
        )
        assert said.stdout.startswith(f"{expected}-m bench.gpu_check")
        python.parent.mkdir(parents=True, exist_ok=True)
        python.touch()
