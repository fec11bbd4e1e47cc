"""`make gpu-check` without a GPU: everything of it that can run here, runs here.

Proves: steps that fail, crash, hang or get no time are named in the report and stop nothing;
the report is on disk after every step; nothing is written where there is no GPU; the package is
found without being installed; and every step of bench/gpu_steps.py runs to its end on the
emulated backend, at tiny sizes, with a CuPy that is NumPy and a host clock, so that no wrong
name or argument is left for the machine with the GPU. Wrong results are noticed, not timed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from emulation.backend import EmulatedCupyBackend
from emulation.emulator import COMPILER, Emulator

import nnfs_gpu
from nnfs_gpu import crosscheck
from nnfs_gpu.backend.numpy_backend import NumpyBackend

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT))  # `bench` is not installed

from bench import (  # noqa: E402
    gpu_cases,
    gpu_check,
    gpu_kernels,
    gpu_plan,
    gpu_report,
    gpu_speed,
    gpu_steps,
    gpu_train,
)
from bench.gpu_plan import Step  # noqa: E402
from bench.gpu_steps import DeviceLostError, Notebook  # noqa: E402

needs_compiler = pytest.mark.skipif(COMPILER is None, reason="g++ is not installed")


# ---- a device of paper ----
class Event:
    """A CUDA event that reads the host's clock."""

    def record(self):
        self.seconds = time.perf_counter()

    def synchronize(self):
        assert self.seconds


class PaperCupy:
    """CuPy as far as the steps use it: NumPy, and what they ask of `cupy.cuda`."""

    __version__ = "0"
    freed = 0

    def __init__(self, free=1 << 50):
        properties = {"name": b"Paper", "multiProcessorCount": 1, "major": 9, "minor": 0}
        runtime = SimpleNamespace(
            memGetInfo=lambda: (free, free),
            getDeviceProperties=lambda device: properties,
            driverGetVersion=lambda: 13000,
            runtimeGetVersion=lambda: 13000,
        )
        self.cuda = SimpleNamespace(
            Event=Event,
            get_elapsed_time=lambda start, stop: 1e3 * (stop.seconds - start.seconds) + 1e-6,
            runtime=runtime,
            nvrtc=SimpleNamespace(getVersion=lambda: (13, 0)),
            set_allocator=lambda allocator: None,
        )

    def __getattr__(self, name):
        return getattr(np, name)

    def get_default_memory_pool(self):
        return SimpleNamespace(free_all_blocks=self._free)

    def _free(self):
        self.freed += 1


class Launcher(Emulator):
    """The emulator, which knows what it launched."""

    def __init__(self):
        super().__init__()
        self.launched = set()

    def launch(self, file, kernel, *arguments, **definitions):
        self.launched.add((file, kernel))
        super().launch(file, kernel, *arguments, **definitions)


class PaperBackend(EmulatedCupyBackend):
    """The cupy backend on the emulator, under its own name."""

    name = "cupy"

    def _runtime(self):
        return PaperCupy(), Launcher()


class OtherBackend(NumpyBackend):
    """In the place of numba-cuda."""

    name = "numba-cuda"


@pytest.fixture
def paper(monkeypatch):
    """The emulated backend, found under the names of the GPU's, and tiny sizes."""
    made = {"cupy": PaperBackend(), "numba-cuda": OtherBackend()}

    def get(name, **settings):
        assert settings == {"dtype": "float32", "precise_dot": False, "book_random": False}
        return made.get(name) or nnfs_gpu.get_backend(name, **settings)

    for module in (gpu_steps, gpu_kernels, gpu_speed):
        monkeypatch.setattr(module, "get_backend", get)
    monkeypatch.setitem(sys.modules, "cupy", PaperCupy())
    monkeypatch.setattr(gpu_kernels, "ELEMENTS", 10_000)
    monkeypatch.setattr(gpu_kernels, "CLASSES", (3, 33, 5_000))
    monkeypatch.setattr(gpu_kernels, "BEYOND", 1 << 12)
    monkeypatch.setattr(gpu_kernels, "SHAPES", ((50, 3), (3, 40)))
    monkeypatch.setattr(gpu_speed, "ELEMENTS", 1 << 13)
    monkeypatch.setattr(gpu_speed, "CLASSES", (3, 33, 5_000))
    monkeypatch.setattr(gpu_speed, "ROUNDS", 2)
    monkeypatch.setattr(gpu_steps, "SHAPES", ((1, 1), (7, 3)))
    monkeypatch.setattr(crosscheck, "SHAPES", ((1, 1), (7, 3)))
    monkeypatch.setattr(gpu_train, "SAMPLES", 30)
    monkeypatch.setattr(gpu_train, "EPOCHS", 3)
    monkeypatch.setattr(gpu_train, "FIRST", 2)
    monkeypatch.setattr(gpu_train, "REPEATED", 2)
    monkeypatch.setattr(gpu_speed, "LAUNCHES", 3)
    monkeypatch.setattr(gpu_speed, "LAUNCH_ROUNDS", 2)
    monkeypatch.setattr(gpu_train, "LARGE", {"cupy": (30, 2), "numba": (30, 2)})
    monkeypatch.setattr(gpu_train, "BAND", 1.0)  # three epochs teach nothing
    return made["cupy"]


# ---- every step, to its end ----
MEASURED = {
    "environment": {"nvidia-smi", "software", "backend", "device"},
    "crosscheck-cupy": {"crosscheck"},
    "crosscheck-numba-cuda": {"crosscheck"},
    "exercise": {"exercise"},
    "accuracy": {"accuracy", "beyond"},
    "throughput": {"copy", "throughput"},
    "launches": {"launch"},
    "determinism": {"determinism"},
    "training": {"losses", "final accuracy", "speed"},
}


SECTIONS = {  # of the report, by the step that fills them
    "accuracy": "Accuracy",
    "throughput": "Throughput",
    "launches": "CPU time",
    "training": "Training",
    "crosscheck-cupy": "crosscheck",
    "crosscheck-numba-cuda": "crosscheck",
}


@pytest.fixture
def no_torch(monkeypatch):
    found = gpu_speed.importlib.util.find_spec
    spec = lambda name: None if name == "torch" else found(name)  # noqa: E731
    monkeypatch.setattr(gpu_speed.importlib.util, "find_spec", spec)


@needs_compiler
@pytest.mark.parametrize("name", MEASURED)
def test_every_step_runs_to_its_end(name, paper, no_torch, tmp_path):
    status = gpu_steps.main([name, "--json", str(tmp_path / "f.json"), "--seconds", "600"])
    found = json.loads((tmp_path / "f.json").read_text())
    problems = found["problems"]
    if name == "environment":  # it tells the truth about this machine
        problems = [text for text in problems if not text.startswith("backend ")]
    assert problems == []
    assert found["cuts"] == []
    assert {record["kind"] for record in found["records"]} == MEASURED[name]
    assert status == 0 or name == "environment"
    if name == "exercise":
        kernels = set(found["records"][0]["kernels"])
        assert {"relu_forward", "softmax_cross_entropy_narrow", "adam_step"} <= kernels
        assert not kernels & set(found["notes"][-1].split(": ")[1].split(", "))
    results = {"device": "Paper", "date": "today", "state": "finished"}
    step = {"name": name, "status": "passed", "seconds": 1.0, "summary": "", "log_tail": ""}
    text = gpu_report.markdown(results | {"steps": [step | found]})
    for part in text.split("\n## "):
        title = SECTIONS.get(name)
        assert not (title and part.startswith(title) and "(nothing measured)" in part)


def test_every_part_of_the_plan_is_a_step_that_exists():
    for step in (*gpu_plan.STEPS, *gpu_plan.EXTRA):
        command = step.command(Path("f.json"), 60.0)
        if step.name == "tests":
            assert "pytest" in command
        elif not isinstance(command, str):
            assert command[command.index("bench.gpu_steps") + 1] in MEASURED
    assert sum(step.least for step in gpu_plan.STEPS) <= 8 * 60


@needs_compiler
def test_every_operation_and_every_kernel_is_timed(paper):
    timed = {case.operation for case in gpu_cases.CASES}
    assert timed == {line[0] for line in crosscheck._TABLE} | {gpu_cases.FUSED}


@needs_compiler
def test_pytorch_computes_the_same(paper):
    torch = pytest.importorskip("torch")
    notebook = Notebook()
    timer = gpu_speed.EventTimer(paper.xp.cuda)
    gpu_speed.throughput(notebook, [paper], torch, timer, 1 << 13, (3, 33), 1)
    assert notebook.found["problems"] == []
    ratios = {
        record["name"]: record["ways"]["cupy"]["faster_than"]
        for record in notebook.found["records"]
        if record["kind"] == "throughput"
    }
    with_peer = {case.name for case in gpu_cases.CASES if case.peers}
    assert {name for name, found in ratios.items() if found} == with_peer
    assert set(ratios["adam_step"]) == {"torch", "torch foreach"}


# ---- wrong results ----
class Wrong(PaperBackend):
    """Mistakes of the kinds that GPUs make: nothing written, another order, wild reads."""

    calls = 0

    def relu_forward(self, x):
        return np.full_like(x, np.nan)

    def softmax_backward(self, dy, y):
        dx = super().softmax_backward(dy, y)
        dx[-1, -1] += 1e-3
        return dx

    def mean(self, a):
        Wrong.calls += 1
        return super().mean(a) * np.float32(1 + Wrong.calls * 1e-6)

    def sigmoid_forward(self, x):
        raise RuntimeError("illegal address\nmore")


@pytest.fixture
def few(monkeypatch):
    names = ("relu_forward", "softmax_backward", "mean", "sigmoid_forward", "sigmoid_backward")
    table = tuple(line for line in crosscheck._TABLE if line[0] in names)
    monkeypatch.setattr(crosscheck, "_TABLE", table)
    cases = tuple(case for case in gpu_cases.CASES if case.name in names)
    monkeypatch.setattr(gpu_speed, "CASES", cases)


@needs_compiler
def test_wrong_results_are_reported_and_not_timed(few):
    wrong, books = Wrong(), [Notebook() for _ in range(4)]
    timer = gpu_speed.EventTimer(wrong.xp.cuda)
    gpu_kernels.accuracy(books[0], wrong, 1_000, (3,))
    gpu_speed.throughput(books[1], [wrong], None, timer, 1 << 13, (3,), 1)
    gpu_kernels.determinism(books[2], wrong, ((5, 3),), 3)
    gpu_steps.cross_check(books[3], wrong, NumpyBackend())
    found = ["\n".join(book.found["problems"]) for book in books]
    for text in (found[0], found[1], found[3]):
        assert "relu_forward" in text
        assert "softmax_backward" in text
    assert "sigmoid_backward" not in "".join(found)
    assert all("RuntimeError: illegal address" in text for text in found)
    assert "mean" in found[2]
    assert "relu" not in found[2]
    timed = [r for r in books[1].found["records"] if r["kind"] == "throughput"]
    ways = {record["name"]: set(record["ways"]) for record in timed}
    assert ways["sigmoid_backward"] == {"cupy"}
    assert ways["relu_forward"] == ways["softmax_backward"] == set()


def test_nan_and_shapes_never_pass():
    one = np.ones((2, 2), np.float32)
    assert gpu_kernels.units_of(one, one, 1.0) == 0
    assert gpu_kernels.units_of(one * np.nan, one, 1.0) == np.inf
    assert gpu_kernels.units_of(one, one * np.nan, 1.0) == np.inf
    assert gpu_kernels.units_of(one + np.float32(2**-23), one, 1.0) == 1
    with pytest.raises(AssertionError, match="shape"):
        gpu_kernels.units_of(one, np.ones(2), 1.0)


def test_little_memory_and_a_late_hour_are_said(paper, monkeypatch):
    monkeypatch.setattr(paper, "xp", PaperCupy(free=1 << 16))
    monkeypatch.setattr(crosscheck, "_TABLE", crosscheck._TABLE[2:3])
    notebook = Notebook()
    gpu_kernels.accuracy_step(notebook, paper)
    assert "GiB free" in notebook.found["notes"][0]
    ticks = iter(range(100))
    notebook = Notebook(None, 2, lambda: next(ticks))
    gpu_kernels.determinism(notebook, paper, ((5, 3),) * 9, 2)
    assert len(notebook.found["records"]) == 1
    assert "determinism from" in notebook.found["cuts"][0]


def test_a_lost_device_ends_the_step():
    def raises():
        raise RuntimeError("unspecified launch failure")

    notebook = Notebook()
    with (
        pytest.raises(DeviceLostError, match="lost after relu"),
        notebook.attempt("relu", SimpleNamespace(synchronize=raises)),
    ):
        pass
    assert notebook.found["problems"] == ["relu: RuntimeError: unspecified launch failure"]


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
    assert found["P3 softmax + cross-entropy: times PyTorch eager"]["met"] is None
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
