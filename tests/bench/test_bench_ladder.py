"""Ladders and goals: every version is right, none is left out silently, tables are made of JSON.

Proves that each version that this machine can run is checked and measured, and the others named;
that a wrong one is not timed; that the CUDA C++ versions give the specification's numbers on the
emulated device (those of numba-cuda: simulator/checks.py); that a goal is met, missed or open.
"""

import sys
from dataclasses import replace
from pathlib import Path

import numba
import pytest
from emulation.emulator import COMPILER

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT))  # `bench` is not installed

from bench import __main__ as command, goals, ladders, report, sheet, trainers, versions  # noqa: E402
from bench.suites import ladder, train  # noqa: E402
from nnfs_gpu import get_backend  # noqa: E402
from nnfs_gpu.fused import engine  # noqa: E402
from nnfs_gpu.selftest.timing import HOST  # noqa: E402

GPU = ("cupy", "numba-cuda")
EVERY = [(name, version) for name, found in ladders.LADDERS.items() for version in found]
QUICK = ["--quick", "--peers", "none", "--backend", "numba"]


# ---- the command ----
@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    """Every ladder at a small size: what was found."""
    path = tmp_path_factory.mktemp("ladder") / "ladder_cpu.json"
    assert command.main(["ladder", *QUICK, "--sizes", "6", "--json", str(path)]) == 0
    return sheet.load(path)


def test_every_version_is_measured_or_named(quick):
    rows = {row["operation"]: row for row in quick["rows"]}
    assert set(rows) == set(ladders.LADDERS)
    for name, version in EVERY:
        if version.backend in GPU:
            assert rows[name]["left_out"][version.name] == "needs a GPU"
        else:
            assert version.name in rows[name]["contenders"], rows[name]["left_out"]


def test_a_ladder_as_text_and_as_a_table(quick):
    row = next(row for row in quick["rows"] if row["operation"] == "training_step")
    lines = ladder.say(row).splitlines()
    assert [line[4:30].strip() for line in lines[1:]] == [v.name for v in ladders.TRAINING_STEP]
    assert "GFLOP/s" in lines[1]
    assert lines[1].count("x") < lines[2].count("x")  # nothing stands above the first
    assert "needs a GPU" in lines[-1]
    title, table = ladder.tables(quick)[-2:]
    assert title == "**training_step**"
    assert len(table.splitlines()) == 2 + len(ladders.TRAINING_STEP)
    with pytest.raises(ValueError, match="quick run"):
        report.ladders({"cpu": {"ladder": quick}})


def test_a_wrong_version_is_not_timed(monkeypatch, capsys):
    loop, *others = ladders.SOFTMAX_BACKWARD
    wrong = replace(others[1], run=lambda numpy, dy, y: 1.001 * numpy.softmax_backward(dy, y))
    put = {"softmax_backward": (loop, others[0], wrong, *others[2:])}
    monkeypatch.setattr(ladder, "LADDERS", put)
    assert command.main(["ladder", "softmax_backward", *QUICK, "--classes", "3"]) == 1
    said = capsys.readouterr()
    assert f"WRONG, not timed: softmax_backward at 3, {wrong.name}" in said.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ladder", "softmax"], "got 'softmax', expected of softmax_backward"),
        (["ladder", "--sizes", "a"], "expected numbers"),
        (["ops", "softmax_backward"], "expected no argument after it"),
    ],
)
def test_wrong_commands_are_refused(arguments, message, capsys):
    assert command.main([*arguments, *QUICK]) == 2
    assert message in capsys.readouterr().err


# ---- the versions ----
@pytest.mark.parametrize(("name", "version"), EVERY, ids=lambda v: getattr(v, "name", v))
def test_the_file_to_read_is_there(name, version):
    assert (ROOT / version.read).is_file()


@pytest.mark.skipif(COMPILER is None, reason="g++ is not installed")
@pytest.mark.parametrize("classes", [3, 33])
def test_cuda_versions_do_what_the_specification_does(monkeypatch, classes):
    """Each family of kernels at shapes that the plan gives to another, too."""
    from paper import PaperBackend

    monkeypatch.setattr(ladder, "clock_of", lambda backend: HOST)
    device, done = PaperBackend("float32"), 0
    for name, version in EVERY:
        if version.backend == "cupy" and name != ladder.STEP:
            case = ladder.OperationCase(name, 70, classes)
            if version.widest and classes > version.widest:
                with pytest.raises(ValueError, match="takes up to 32 columns"):
                    case.contender(version, device)
                continue
            case.contender(version, device)
            done += 1
            file = Path(version.read).stem
            assert any(launched == file for launched, _ in device.calls.launcher.launched)
    assert done == (7 if classes == 3 else 5)


def test_tiles_are_no_narrow_path():
    """The version before the narrow one runs another kernel, and leaves everything as it was."""
    X, y = train.data(60)
    backend = get_backend("numba", dtype="float32", precise_dot=False, book_random=False)
    trainer = trainers.Ours(
        trainers.parameters((2, 8, 3)), X, y, "sgd", 1.0, backend=backend, engine="fused"
    )
    threads = numba.get_num_threads()
    assert engine(trainer.model).plan.narrow
    with versions.tiles_on_one_thread():
        assert engine(trainer.model).plan.narrow is None
        assert numba.get_num_threads() == 1
    assert engine(trainer.model).plan.narrow
    assert numba.get_num_threads() == threads


# ---- the tables ----
def test_every_figure_of_the_kernels_readme_has_json_behind_it():
    """The section is what `python -m bench report` makes of bench/results."""
    expected = report.ladders({kind: report.read(command.RESULTS, kind) for kind in report.KINDS})
    assert expected, "bench/results holds no ladder: python -m bench ladder --json ..."
    text = (ROOT / "kernels" / "README.md").read_text(encoding="utf-8")
    found = text.split(report.BEGIN)[1].split(report.END)[0].strip()
    assert found == expected, "run python -m bench report"


# ---- goals ----
def _row(case, **medians):
    roles = {"nnfs_gpu numba fused": "ours", "jax": "peer", goals.PEAK: "limit"}
    made = {name: sheet.measured([seconds], roles[name]) for name, seconds in medians.items()}
    return {"case": case, "contenders": made}


FUSED = "nnfs_gpu numba fused"


@pytest.mark.parametrize(
    ("value", "medians", "bound", "at_least", "measured", "met"),
    [
        (goals.share, {FUSED: 2.0, goals.PEAK: 1.0}, 45, True, "50", True),
        (goals.share, {FUSED: 2.0, goals.PEAK: 1.0}, 60, True, "50", False),
        (goals.share, {FUSED: 2.0}, 60, True, "-", None),  # no peak on this machine
        (goals.beyond_arithmetic, {FUSED: 5e-6, goals.PEAK: 1e-6}, 3.0, False, "4", False),
        (goals.than_jax, {FUSED: 1.0, "jax": 1.5}, 1.3, True, "1.5", True),
        (goals.than_jax, {FUSED: 1.0}, 1.3, True, "-", None),
        (goals.than_libraries, {FUSED: 2.0, "jax": 1.0}, 1.0, True, "0.5", False),
        (goals.seconds_of("fused"), {FUSED: 4.0}, 5.0, False, "4", True),
        (goals.seconds_of("layers"), {FUSED: 4.0}, 5.0, False, "-", None),
    ],
)
def test_a_goal_is_met_missed_or_open(value, medians, bound, at_least, measured, met):
    one = goals.Goal("issue 0", "train", "a case", value, bound, "", at_least)
    found = one.found({"train": {"rows": [_row("a case", **medians)]}})
    assert (found["measured"], found["met"]) == (measured, met)
    assert one.found({})["met"] is None  # the case was not measured


def test_goals_are_of_cases_that_the_suites_have(capsys):
    nets = {
        f"{trainers.name_of(train.widths_of(hidden))}, batch {batch:,}"
        for hidden, b in train.NETS
        for batch in b
    }
    assert {goal.case for goal in goals.GOALS if goal.suite == "train"} <= nets
    assert command.main(["goals"]) == 0
    said = capsys.readouterr().out
    assert all(goal.case in said and goal.source in said for goal in goals.GOALS)
