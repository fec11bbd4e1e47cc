"""`make gpu-check` without a GPU: how it runs its steps, and how it reports.

Proves: steps that fail, crash, hang or get no time are named in the report and stop nothing;
the report is on disk after every step; nothing is written where there is no GPU; the package is
found without being installed. The steps themselves: test_gpu_check_steps.py.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT))  # `bench` is not installed

from bench import gpu_check, gpu_plan, gpu_report, gpu_steps  # noqa: E402
from bench.gpu_plan import Step  # noqa: E402


# ---- the orchestrator ----
def program(name, code, most=30.0, least=0.0, read=None):
    """A step that is a Python program; `findings` is its file."""
    head = "import json, os, pathlib, sys, time; findings = pathlib.Path(sys.argv[1])\n"
    return Step(name, lambda f, s: [sys.executable, "-c", head + code, str(f)], most, least, read)


def findings(**lists):
    found = {"records": [], "problems": [], "cuts": [], "notes": []} | lists
    return f"findings.write_text({json.dumps(json.dumps(found))})"


CHILD = """
import subprocess
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
findings.write_text(json.dumps({"records": [{"kind": "child", "pid": child.pid}],
                                "problems": [], "cuts": [], "notes": []}))
time.sleep(600)
"""
LOOK = """
out = pathlib.Path(os.environ["REPORTS"])
(report,) = out.glob("gpu_check_*.json")
assert len(json.loads(report.read_text())["steps"]) == 6
assert "FAILS ON PURPOSE" in report.with_suffix(".md").read_text()
import nnfs_gpu.kernels, nnfs_gpu, bench.gpu_steps
places = [module.__file__ for module in (nnfs_gpu, nnfs_gpu.kernels)]
assert all("tree" in pathlib.Path(place).parts for place in places), places
"""


@pytest.fixture(scope="module")
def checked(tmp_path_factory):
    """A run over steps of all kinds, and where it wrote."""
    folder = tmp_path_factory.mktemp("check")
    os.environ["REPORTS"] = str(folder / "out")
    steps = [
        program("good", findings(records=[{"kind": "x"}], notes=["a note"])),
        program("bad", findings(problems=["FAILS ON PURPOSE"]) + "; sys.exit(1)"),
        program("crash", "print('last words', flush=True); os.abort()"),
        program("hang", CHILD, most=2.0),
        program("short", findings(cuts=["no time left for the rest"]) + "; sys.exit(1)"),
        Step("absent", lambda f, s: "the tool is not here", 30.0, 0.0),
        program("look", LOOK),
        program("silent", "sys.exit(3)"),
        Step("missing", lambda f, s: [str(folder / "no such program")], 30.0, 0.0),
        program("starved", "pass", most=30.0, least=0.0),
    ]
    before = program("patient", "pass", least=-1e6)  # nothing is left for it
    steps[-1:] = [before]
    try:
        return gpu_check.run(steps[:-1], folder / "out", folder / "work", 1.0), folder
    finally:
        del os.environ["REPORTS"]


def test_no_step_stops_the_others(checked):
    results, _ = checked
    assert {step["name"]: step["status"] for step in results["steps"]} == {
        "good": "passed",
        "bad": "failed",
        "crash": "crashed",
        "hang": "timed out",
        "short": "cut",
        "absent": "unavailable",
        "look": "passed",  # it found the report of the steps before it, and the package
        "silent": "crashed",
        "missing": "crashed",
    }
    steps = {step["name"]: step for step in results["steps"]}
    assert "signal 6" in steps["crash"]["summary"]
    assert "last words" in steps["crash"]["log_tail"]
    assert "timed out after 2 s" in steps["hang"]["problems"]
    assert "exit status 3" in steps["silent"]["summary"]


def test_a_step_that_hangs_ends_with_its_children(checked):
    (record,) = next(s for s in checked[0]["steps"] if s["name"] == "hang")["records"]
    state = Path(f"/proc/{record['pid']}/stat")
    assert not state.exists() or state.read_text().rsplit(")")[-1].split()[0] == "Z"


def test_the_report_names_what_did_not_pass(checked):
    results, folder = checked
    assert sorted(p.suffix for p in (folder / "out").iterdir()) == [".json", ".md"]
    (report,) = (folder / "out").glob("*.md")
    assert report.name == f"gpu_check_{report.stem.split('_')[2]}_{results['date']}.md"
    text = report.read_text()
    assert "Not passed: bad, crash, hang, short, silent, missing." in text
    for words in (
        "FAILS ON PURPOSE",
        "no time left for the rest",
        "the tool is not here",
        "a note",
    ):
        assert words in text
    short = gpu_report.short(results)
    assert all(step["name"] in short for step in results["steps"])


def test_time_is_kept_for_later_steps(tmp_path):
    steps = [
        program("first", "pass", least=0.0),
        program("second", "pass", least=600.0),
        program("third", "pass", most=0.001),
    ]
    results = gpu_check.run(steps, tmp_path / "out", tmp_path / "work", 1.0)
    assert [step["status"] for step in results["steps"]] == ["cut", "passed", "timed out"]
    assert results["steps"][0]["summary"] == "no time left"


@pytest.mark.parametrize(("status", "code"), [("passed", 0), ("failed", 1)])
def test_the_exit_status_is_the_steps(status, code, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(gpu_check, "problem_here", lambda: None)
    monkeypatch.setattr(gpu_check.signal, "signal", lambda *arguments: None)
    problems = ["no"] if status == "failed" else []
    steps = (program("one", findings(problems=problems)), program("two", "sys.exit(1)"))
    options = ["--out", str(tmp_path / "out"), "--work", str(tmp_path / "work"), "--only", "one"]
    assert gpu_check.main(options, steps) == code
    assert status in capsys.readouterr().out
    with pytest.raises(SystemExit):
        gpu_check.main(["--only", "three"], steps)


def test_without_a_gpu_it_says_so_and_writes_nothing(tmp_path):
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "bench.gpu_check",
            "--out",
            tmp_path / "o",
            "--work",
            tmp_path / "w",
        ],
        cwd=ROOT,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("gpu-check: no GPU to check: ")
    assert list(tmp_path.iterdir()) == []


# ---- how logs are read ----
def test_the_log_of_the_suite_is_read():
    log = "tests/a.py::b FAILED [ 1%]\n=== short ===\nFAILED tests/a.py::b - no\n"
    assert gpu_plan._read_tests(log + "=== 1 failed, 9 passed in 2.00s ===\n") == (
        "1 failed, 9 passed in 2.00s",
        ["FAILED tests/a.py::b - no"],
    )
    stopped = "[gw1] [ 50%] PASSED tests/a.py::a\n[gw0] [ 50%] FAILED tests/a.py::b[x y]\n"
    summary, problems = gpu_plan._read_tests(stopped)
    assert summary == "no summary in the log"
    assert problems == ["FAILED tests/a.py::b[x y]"]


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
    way = {"percent": percent, "faster_than": {"torch": faster} if faster else {}}
    return {"kind": "throughput", "name": name, "classes": classes, "ways": {"cupy": way}}


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
    assert gpu_steps.plain(value) == {"a": [1.0, "nan", [2, "x"]]}
    assert gpu_report.number("nan") == "nan"
    assert gpu_report.number(12345.6) == "12,346"
