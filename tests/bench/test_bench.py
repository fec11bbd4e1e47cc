"""The benchmark: what it measures is right, what it says has a measurement behind it.

Proves that ratios are taken within rounds; that a wrong result is never timed; that files are
whole at any moment and say how a run ended; that the suites run to their end on small sizes, with
peers missing, and give tables and pictures. (Commands, README: test_bench_report.py)
"""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT))  # `bench` is not installed

from bench import __main__ as command, book, ladders, peers, report, sheet, trainers  # noqa: E402
from bench.cases_torch import PEERS  # noqa: E402
from bench.suites import combined, jacobian, ladder, ops, scaling, train  # noqa: E402
from nnfs_gpu import get_backend  # noqa: E402
from nnfs_gpu.backend.protocol import Backend  # noqa: E402
from nnfs_gpu.selftest import timing as benchmark  # noqa: E402
from nnfs_gpu.selftest.timing import Clock, Contender  # noqa: E402


@pytest.fixture
def numba():
    return get_backend("numba", dtype="float32", precise_dot=False, book_random=False)


class FakeClock(Clock):
    """Gives the seconds of a list, whatever is called."""

    def __init__(self, *seconds):
        self.left, self.asked = list(seconds), []

    def seconds(self, call, times):
        call()
        self.asked.append(times)
        return self.left.pop(0)


# ---- the method ----
def test_contenders_take_turns_and_calls_fill_the_least_time():
    order = []
    clocks = {name: FakeClock(9e-4, 1e-3, 9e-3, 2e-3, 9e-3, 3e-3) for name in "ab"}
    contenders = {
        name: Contender(lambda n=name: order.append(n), clock=clocks[name]) for name in "ab"
    }
    seconds = benchmark.time_in_turns(contenders, rounds=2, least=0.01, most=5)
    assert "".join(order) == "aabb" + "aabb" * 2  # warm-ups, then rounds: untimed, timed
    assert clocks["a"].asked == [1, 1, 5, 10, 5, 10]
    assert seconds == {"a": [2e-3, 3e-3], "b": [2e-3, 3e-3]}


def test_slow_contenders_get_fewer_rounds_and_the_slowest_one_call():
    contenders = {
        "once": Contender(lambda: None, clock=FakeClock(3.0)),
        "twice": Contender(lambda: None, clock=FakeClock(2.0, 2.0, 2.1, 2.2)),
        "part": Contender(lambda: None, scale=10.0, clock=FakeClock(1.0, 0.5, *(9.0, 0.5) * 3)),
    }
    seconds = benchmark.time_in_turns(contenders, rounds=3, most=5)
    assert seconds == {"once": [3.0], "twice": [2.1, 2.2], "part": [5.0, 5.0, 5.0]}


def test_ratio_is_of_the_same_round():
    assert benchmark.ratio([2.0, 20.0, 4.0], [1.0, 10.0, 1.0]) == 2.0
    assert benchmark.ratios([6.0], [1.0, 2.0, 3.0]) == [3.0]  # one that ran once
    assert benchmark.ratios([4.0, 4.0], [1.0, 2.0, 100.0]) == [4.0, 2.0]


def test_a_cuda_device_is_timed_between_events_after_a_flush():
    """On a recorded device: the order of what CuPy would be asked for."""
    done = []

    class Event:
        def record(self):
            done.append("event")

        def synchronize(self):
            done.append("wait")

    class Buffer:
        def fill(self, value):
            done.append("flush")

    class Runtime:
        getDeviceProperties = staticmethod(lambda device: {"l2CacheSize": 1 << 20})  # noqa: N815

    device = SimpleNamespace(id=0)
    cuda = SimpleNamespace(Event=Event, runtime=Runtime, Device=lambda: device)
    cuda.get_elapsed_time = lambda start, stop: 4.0  # milliseconds
    zeros = lambda size, dtype: Buffer() if size > 2 << 20 else None  # noqa: E731
    clock = benchmark.CudaClock(SimpleNamespace(cuda=cuda, zeros=zeros))
    assert clock.seconds(lambda: done.append("call"), 3) == pytest.approx(4e-3)
    assert done == ["flush", "event", "call", "event"] * 3 + ["wait"]


@pytest.mark.parametrize("workers", [1, 3])
def test_the_limit_does_what_it_says(workers):
    stream = benchmark.Stream(np, benchmark.ONE_THREAD + 5, workers)
    stream.a[:] = np.arange(stream.size)
    stream.copy()
    np.testing.assert_array_equal(stream.c, stream.a)
    stream.add()
    np.testing.assert_array_equal(stream.c, stream.a + 1)
    before = stream.c
    stream.fresh()
    assert stream.c is before


def test_environment_names_what_a_reader_needs(numba):
    found = benchmark.environment([numba])
    assert found["processor"]
    assert found["cores"] >= 1
    assert found["backends"] == {"numba": numba.version()}
    assert found["versions"]["numpy"] == np.__version__
    assert {"threads", "commit", "load", "python", "time"} <= set(found)
    json.dumps(found)


# ---- wrong results are never timed ----
@pytest.mark.parametrize("factor", [1.001, np.nan])
def test_a_wrong_contender_is_not_timed_and_ends_with_1(monkeypatch, numba, factor, capsys):
    right = type(numba).softmax_backward
    monkeypatch.setattr(
        type(numba), "softmax_backward", lambda self, dy, y: right(self, dy, y) * np.float32(factor)
    )
    arguments = ["jacobian", "--quick", "--peers", "none", "--backend", "numba,numpy"]
    assert command.main([*arguments, "--sizes", "50x3"]) == 1
    said = capsys.readouterr()
    assert "WRONG, not timed: 50 x 3, nnfs_gpu numba: wrong result: relative error" in said.err
    assert "50 x 3: not measured: {'nnfs_gpu numba': 'wrong result" in said.out


def test_what_cannot_work_is_left_out_with_the_reason():
    left_out = {}

    def broken():
        raise RuntimeError("no compiler\nhere")

    assert sheet.attempt(left_out, "theirs", broken, lambda made: None) is None
    assert left_out == {"theirs": "RuntimeError: no compiler"}


def test_a_wrong_trainer_is_found(numba):
    X, y = train.data(60)
    start = trainers.parameters((2, 8, 3), 0.1)
    exact = train.oracle(start, X, y)
    make = trainers.trainers([numba], peers.Peers())["book"][1]
    pair = make(start, X, y, "sgd", 1.0), make(start, X, y, "adam", 0.01)
    train.check(pair, start, exact, 60)
    for rate, other in ((1.001, 0.01), (1.0, 0.02)):
        pair = make(start, X, y, "sgd", rate), make(start, X, y, "adam", other)
        with pytest.raises(AssertionError, match="relative error"):
            train.check(pair, start, exact, 60)


def test_the_books_two_contenders_agree_with_the_notes():
    outputs, targets = np.array(combined.NOTES_OUTPUTS), np.array(combined.NOTES_TARGETS)
    expected = [[-0.1, 0.0333333, 0.0666667], [0.0333333, -0.1666667, 0.1333333]]
    for derivative in (book.separate, book.combined):
        np.testing.assert_allclose(derivative(outputs, targets)[:2], expected, atol=1e-7)


def test_the_oracle_of_training_is_the_model_in_float64():
    X, y = train.data(90)
    start = trainers.parameters((2, 5, 4, 3), 0.1)
    once, loss = train.oracle(start, X, y)
    backend = get_backend("numpy", dtype="float64", precise_dot=False, book_random=False)
    sgd = trainers.Ours(start, X, y, "sgd", 1.0, backend=backend, engine="layers")
    sgd.run(1)
    for got, want in zip(sgd.parameters(), once, strict=True):
        for g, w in zip(got, want, strict=True):
            np.testing.assert_allclose(g, w, rtol=1e-10, atol=1e-12)
    adam = trainers.Ours(start, X, y, "adam", trainers.RATE, backend=backend, engine="layers")
    adam.run(train.STEPS)
    assert adam.loss() == pytest.approx(loss, rel=1e-10)


def test_operations_of_a_training_step_are_counted():
    assert trainers.flops((2, 64, 3)) == 1_664
    assert trainers.flops((2, 512, 512, 3)) == 1_586_176


# ---- the suites ----
def test_every_operation_of_the_protocol_is_timed():
    not_timed = {"asarray", "to_numpy", "zeros", "copy", "synchronize", "all_finite", "version"}
    operations = {
        name for name, value in vars(Backend).items() if name[0] != "_" and callable(value)
    }
    operations |= {n for n, v in vars(Backend).items() if isinstance(v, classmethod)}
    assert {case.operation for case in ops.CASES} == operations - not_timed


def test_every_case_has_a_peer_or_says_why_not():
    assert {case.name for case in ops.CASES} == set(PEERS)
    for name, found in PEERS.items():
        assert found, name
        assert "PyTorch" in found or "torch" in found, name


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    """The suites on small sizes, without peers: folder of their JSON."""
    folder = tmp_path_factory.mktemp("quick")
    few = {"softmax_backward", "adam_step", "linear_forward", "cross_entropy_forward", "mean"}
    small = {"jacobian": "40x3,6x50", "combined": "20x3", "train": "4x30,4x60", "ops": "3"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ops, "CASES", [case for case in ops.CASES if case.name in few])
        patch.setattr(ops, "QUICK_ELEMENTS", 4096)
        for suite, sizes in small.items():
            path = folder / f"{suite}_cpu.json"
            backend = "numpy" if suite == "train" else "numba"  # compiles nothing large
            arguments = [suite, "--quick", "--peers", "none", "--backend", backend]
            assert command.main([*arguments, "--sizes", sizes, "--json", str(path)]) == 0
    return folder


def test_suites_leave_whole_rows(quick):
    for path in quick.glob("*.json"):
        found = sheet.load(path)
        assert (found["state"], found["quick"], found["cut"]) == ("finished", True, [])
        assert found["absent"]["torch"] == "not asked for (--peers)"
        assert len(found["environment"]["load_at_end"]) == 3
        for row in found["rows"]:
            assert row["reference"] in row["contenders"], row["case"]
            for contender in row["contenders"].values():
                assert 0 < contender["low"] <= contender["median"] <= contender["high"]
                assert contender["role"] in ("ours", "peer", "book", "limit")
    cases = [row["case"] for row in sheet.load(quick / "jacobian_cpu.json")["rows"]]
    assert cases == ["40 x 3", "6 x 50"]


def test_large_jacobians_are_scaled_or_left_out(numba, monkeypatch):
    loop, matrices, *others = ladders.SOFTMAX_BACKWARD
    small = replace(loop, jacobian=5 * 10**2), replace(matrices, jacobian=99)
    monkeypatch.setattr(jacobian, "SOFTMAX_BACKWARD", (*small, *others))
    case = ladder.OperationCase("softmax_backward", 20, 10)
    contenders, left_out, scaled = jacobian.candidates(case, [numba], peers.Peers())
    assert scaled == {"loop": 5}
    assert contenders["loop"].scale == 4
    assert contenders["loop"].call().shape == (5, 10)
    assert list(left_out) == ["matrices"]


def test_late_cases_are_cut_and_named(numba, tmp_path):
    path = tmp_path / "late.json"
    late = sheet.Sheet("combined", path=path, quick=True, seconds=0, backends=[numba])
    with late.finishing():
        combined.run(late, [numba], peers.Peers(), ((20, 3), (30, 3)))
    found = sheet.load(path)
    assert found["cut"] == ["20 x 3", "30 x 3"]
    assert len(found["rows"]) == 1  # the notes' own


def test_an_interrupted_run_keeps_its_rows(tmp_path):
    """SIGTERM while a row is measured: the rows before are in the file, which says so."""
    path = tmp_path / "train.json"
    sizes = ",".join(["4x30"] * 400)
    command_line = ["train", "--quick", "--peers", "none", "--backend", "numpy"]
    process = subprocess.Popen(
        [sys.executable, "-m", "bench", *command_line, "--sizes", sizes, "--json", str(path)],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        if path.is_file() and len(sheet.load(path)["rows"]) >= 2:
            break
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    found = sheet.load(path)
    assert found["state"] == "interrupted"
    assert 2 <= len(found["rows"]) < 400


def test_scaling_measures_in_a_process_of_its_own():
    spec = {"contender": "nnfs_gpu numpy layers", "samples": 90_000, "backend": "numpy"}
    answer = scaling.child(spec | {"quick": True, "threads": 1})
    assert answer["seconds"]
    assert min(answer["seconds"]) > 0
    # Sums, their ReLU and the gradients of both: at least four arrays of 64 floats a sample.
    assert 4 * 64 * 90_000 * 4 < answer["peak"] < 40 * 64 * 90_000 * 4


def test_a_broken_peer_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "jax", None)  # as if it were not installed
    found = peers.find(["jax"])
    assert found.jax is None
    assert found.torch is None
    assert set(found.absent) == {"torch", "jax"}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # PyTorch's own, when it compiles
def test_torch_and_jax_do_what_ours_do(numba):
    """Where they are installed: checked as the suites check them."""
    found = peers.find()
    if not found.modules:
        pytest.skip(f"no peers here: {found.absent}")
    case = ladder.OperationCase("softmax_backward", 30, 5)
    contenders, left_out, _ = jacobian.candidates(case, [numba], found)
    assert set(found.modules) <= set(contenders), left_out
    X, y = train.data(60)
    start = trainers.parameters((2, 8, 3), 0.1)
    exact = train.oracle(start, X, y)
    for name, (_, make) in trainers.trainers([numba], found).items():
        if name in found.modules:  # torch.compile takes too long for a test
            pair = make(start, X, y, "sgd", 1.0), make(start, X, y, "adam", trainers.RATE)
            train.check(pair, start, exact, 60)


# ---- the report of what was measured ----
def test_report_from_json_alone(quick, capsys):
    assert report.run(quick, None) == 0
    for name in ("throughput", "roofline", "jacobian"):
        data = (quick / f"{name}_cpu.png").read_bytes()
        assert data[:8] == b"\x89PNG\r\n\x1a\n"
        assert len(data) > 10_000
    text = (quick / "tables.md").read_text()
    assert "| 40 x 3 | loop |" in text
    with pytest.raises(ValueError, match="quick run: not for documents"):
        report.section({"cpu": report.read(quick, "cpu")})


# ---- the installed command ----
def test_installed_suite_measures_and_checks(monkeypatch, tmp_path, capsys):
    from nnfs_gpu.cli import bench as cli_bench
    from nnfs_gpu.cli.errors import CommandError

    monkeypatch.setattr(cli_bench, "SIZES", ((200, 3),))
    monkeypatch.setattr(cli_bench, "BATCHES", (300,))
    monkeypatch.setattr(cli_bench, "ROUNDS", 2)
    path = tmp_path / "bench.json"
    assert cli_bench.run("numba", str(path)) == 0
    found = json.loads(path.read_text())
    assert [row["case"] for row in found["rows"]] == ["200 x 3", "batch 300"]
    first = next(iter(found["rows"][0]["contenders"].values()))
    assert first["times_first"] == 1
    assert "softmax backward" in capsys.readouterr().out
    backend = type(get_backend("numba"))
    monkeypatch.setattr(backend, "softmax_backward", lambda self, dy, y: 1.01 * dy * y)
    with pytest.raises(CommandError, match="not timed"):
        cli_bench.run("numba", None)


def test_the_benchmark_needs_no_peer_to_be_imported():
    code = "import sys, bench.__main__; print({'torch', 'jax', 'matplotlib'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "set()"
