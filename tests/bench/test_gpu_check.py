"""`make gpu-check` without a GPU: how it runs its steps, and how it reports.

Proves: steps that fail, crash, hang or get no time are named in the report and stop nothing;
time goes to the steps in their order; what a step finds is on disk while it runs, and is there
when the check is killed; a package that is missing takes away what needs it; nothing is written
where there is no GPU; the package is found without being installed. The steps themselves:
test_gpu_check_steps.py.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT))  # `bench` is not installed

from bench.gpu_check import (  # noqa: E402
    __main__ as gpu_check,
    report as gpu_report,
)
from bench.gpu_check.plan import Step  # noqa: E402


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
states = [step["status"] for step in json.loads(report.read_text())["steps"]]
assert states[:7] == ["passed", "failed", "crashed", "timed out", "cut", "unavailable", "running"]
assert set(states[7:]) == {"waiting"}
assert "FAILS ON PURPOSE" in report.with_suffix(".md").read_text()
import nnfs_gpu.kernels, nnfs_gpu, bench.gpu_check.steps
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
        program("hang", CHILD, most=4.0),
        program("short", findings(cuts=["no time left for the rest"]) + "; sys.exit(1)"),
        Step("absent", lambda f, s: "the tool is not here", 30.0, 0.0),
        program("look", LOOK),
        program("silent", "sys.exit(3)"),
        Step("missing", lambda f, s: [str(folder / "no such program")], 30.0, 0.0),
        Step("needy", lambda f, s: ["never run"], 30.0, 0.0, None, ("json", "no_such_module")),
    ]
    try:
        return gpu_check.run(steps, folder / "out", folder / "work", 1.0), folder
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
        "needy": "unavailable",
    }
    steps = {step["name"]: step for step in results["steps"]}
    assert "signal 6" in steps["crash"]["summary"]
    assert "last words" in steps["crash"]["log_tail"]
    assert "timed out after 4 s" in steps["hang"]["problems"]
    assert "exit status 3" in steps["silent"]["summary"]
    assert steps["needy"]["summary"] == "not installed: no_such_module"


def test_a_step_that_hangs_ends_with_its_children(checked):
    (record,) = next(s for s in checked[0]["steps"] if s["name"] == "hang")["records"]
    state = Path(f"/proc/{record['pid']}/stat")
    assert not state.exists() or state.read_text().rsplit(")")[-1].split()[0] == "Z"


def test_a_step_whose_time_is_over_may_say_how_far_it_came(tmp_path):
    code = "try:\n    time.sleep(60)\nexcept KeyboardInterrupt:\n    print('came to 7')"
    (found,) = gpu_check.run(
        [program("long", code, most=10.0)], tmp_path / "out", tmp_path / "work", 1.0
    )["steps"]
    assert found["status"] == "timed out"
    assert "came to 7" in found["log_tail"]
    assert found["seconds"] < 60


def test_the_report_names_what_did_not_pass(checked):
    results, folder = checked
    assert sorted(p.suffix for p in (folder / "out").iterdir()) == [".json", ".log", ".md"]
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


def test_the_first_steps_get_their_time_and_the_last_are_cut(tmp_path):
    """A minute for steps that ask for eleven: the second keeps nothing from the first."""
    steps = [
        program("first", "pass", most=30.0, least=20.0),
        program("second", "pass", most=700.0, least=600.0),
        program("third", "pass", most=0.001),
    ]
    results = gpu_check.run(steps, tmp_path / "out", tmp_path / "work", 1.0)
    assert [step["status"] for step in results["steps"]] == ["passed", "passed", "timed out"]
    assert gpu_report.left(results) == ["third"]
    steps = [program("first", "time.sleep(60)", most=9.0), program("second", "pass")]
    results = gpu_check.run(steps, tmp_path / "out", tmp_path / "work", 6 / 60)
    assert [step["status"] for step in results["steps"]] == ["timed out", "cut"]
    assert results["steps"][1]["summary"] == "no time left"
    assert gpu_report.left(results) == ["first", "second"]
    command = f"--minutes 4 --out {tmp_path / 'out'} --only first,second"
    for text in (gpu_report.short(results), gpu_report.markdown(results)):
        assert f'make gpu-check ARGS="{command}"' in text


KILLED = """
import sys
from pathlib import Path
from bench.gpu_check import __main__ as gpu_check
from bench.gpu_check.plan import Step
code = "import json, os, sys, time\\n"
code += "found = dict(records=[dict(kind='x', pid=os.getpid())], problems=[], cuts=[], notes=[])\\n"
code += "open(sys.argv[1], 'w').write(json.dumps(found)); time.sleep(99)"
steps = [Step("slow", lambda f, s: [sys.executable, "-c", code, str(f)], 60.0, 0.0)]
steps.append(Step("later", lambda f, s: ["never run"], 60.0, 0.0))
gpu_check.run(steps, Path(sys.argv[1]), Path(sys.argv[2]), 2.0)
"""


def test_a_kill_leaves_what_a_running_step_has_found(tmp_path):
    """SIGKILL, which nothing answers, while the first step is at work."""
    folders = [str(tmp_path / "out"), str(tmp_path / "work")]
    process = subprocess.Popen([sys.executable, "-c", KILLED, *folders], cwd=ROOT, text=True)
    try:
        for _ in range(600):
            reports = list(Path(folders[0]).glob("*.json"))
            if reports and '"pid"' in reports[0].read_text():
                break
            time.sleep(0.1)
    finally:
        process.kill()
        process.wait()
    (report,) = Path(folders[0]).glob("*.json")
    results = json.loads(report.read_text())
    assert results["state"] == "unfinished"
    first, later = results["steps"]
    os.kill(first["records"][0]["pid"], signal.SIGKILL)  # nobody else is left to do it
    assert first["status"] == "running"
    assert later["status"] == "waiting"
    assert gpu_report.left(results) == ["slow", "later"]
    assert "--only slow,later" in report.with_suffix(".md").read_text()
    assert len(list(Path(folders[0]).iterdir())) <= 6


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
