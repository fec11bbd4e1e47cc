"""The suite `ranks`: what it times is right, what it says of itself is so, its model fits.

Proves that processes are started, checked and asked, to rows with everything that tables, picture
and goals need; that ranks with other bits, and sums that are wrong, are never timed; that what is
missing is named and nothing fails; that the fit finds constants it was not told, and that the model
for GPUs says that it is one.
"""

import os
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
from rank_runs import check_mpiexec

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT))  # `bench` is not installed

from bench import (  # noqa: E402
    __main__ as command,
    goals,
    peers,
    rank_model,
    rank_pictures,
    rank_sets,
    rank_tables,
    report,
    sheet,
)
from bench.suites import ranks  # noqa: E402
from nnfs_gpu import get_backend  # noqa: E402

SPEEDS, OVERHEAD, ALPHA, BANDWIDTH = {"2-64-3": 5e7, "2-512-512-3": 8e4}, 4e-5, 1e-5, 2e9


# ---- processes ----
@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    """A run on small sizes without peers: folder of its JSON."""
    check_mpiexec()
    folder = tmp_path_factory.mktemp("ranks")
    arguments = ["ranks", "--quick", "--peers", "none", "--backend", "numba"]
    path = str(folder / "ranks_cpu.json")
    sizes = "8x600,8x300/rank"
    assert command.main([*arguments, "--sizes", sizes, "--json", path]) == 0
    return folder


def test_rows_hold_what_was_shared(quick):
    found = sheet.load(quick / "ranks_cpu.json")
    assert (found["state"], found["wrong"], found["skipped"]) == ("finished", [], {})
    cases = ["2-8-3, batch 600", "all-reduce of 2-8-3", "2-8-3, 300 samples a rank"]
    assert [row["case"] for row in found["rows"]] == cases
    strong, added, weak = found["rows"]
    two, one = "nnfs_gpu 2 ranks", "nnfs_gpu 1 rank"
    assert strong["ranks"] == weak["ranks"] == {ranks.ALONE: 1, one: 1, two: 2}
    assert strong["samples"] == {ranks.ALONE: 600, one: 600, two: 600}
    assert weak["samples"] == {ranks.ALONE: 300, one: 300, two: 600}
    assert (strong["reference"], added["reference"]) == (one, two)
    assert set(added["contenders"]) == {two}
    numbers = 2 * 8 + 8 + 8 * 3 + 3
    assert strong["bytes"] == added["bytes"] == 8 * (3 * numbers + 12 + 1 + 1 + 1 + 12 + 6)
    assert strong["waited"][two] > 0
    assert ranks.ALONE not in strong["waited"]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert strong["crowded"] == ([two] if cores == 1 else [])


def test_a_run_gives_a_section_and_a_picture(quick):
    assert report.run(quick, None) == 0
    assert (quick / "ranks_cpu.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    text = (quick / "tables.md").read_text()
    assert "| 2-8-3, batch 600 | nnfs_gpu 2 ranks |" in text
    assert "longer than the model" in text


def test_what_fails_on_a_rank_is_named_and_the_set_goes_on_and_ends():
    check_mpiexec()
    made = rank_sets.RankSet("ranks", 2)
    try:
        with pytest.raises(RuntimeError, match="rank 0: AttributeError: 'Requests' object"):
            made.ask("nothing_like_it")
        made.ask("make", widths=(2, 8, 3), samples=60)
        assert len(made.ask("check")) == 2
    finally:
        made.close()
    assert [process.returncode for process in made._processes] == [0]


def test_a_process_that_dies_leaves_its_set_broken():
    made = rank_sets.RankSet("alone", 1)
    made._processes[0].send_signal(signal.SIGKILL)
    made._processes[0].wait()
    for _ in range(2):
        with pytest.raises(RuntimeError, match="Error"):
            made.ask("check")
    made.close()


def test_a_set_that_cannot_start_says_why():
    with pytest.raises(RuntimeError, match="KeyError: 'nobody'"):
        rank_sets.RankSet("nobody", 1)


def test_peers_share_their_steps_as_the_specification_has_them():
    """Where they are installed: checked as the suite checks them."""
    found = peers.find()
    if not found.modules:
        pytest.skip(f"no peers here: {found.absent}")
    for kind in found.modules:
        made = rank_sets.RankSet(kind, 2)
        try:
            ranks._check(ranks._make(made, (2, 8, 3), 60), (2, 8, 3), 60)
        finally:
            made.close()


# ---- what is wrong or missing ----
def test_other_bits_than_those_of_one_process_are_wrong():
    answers = [{"bits": "a"}, {"bits": "a"}]
    ranks.check_bits(answers, "a")
    with pytest.raises(AssertionError, match="rank 1 of 2 has other bits than alone"):
        ranks.check_bits([{"bits": "a"}, {"bits": "b"}], "a")
    with pytest.raises(AssertionError, match="nothing to compare with"):
        ranks.check_bits(answers, None)
    ranks.check_sum([6, 6, 6], 3)
    with pytest.raises(AssertionError, match="got sums"):
        ranks.check_sum([6, 6, -1], 3)


def test_ranks_with_other_bits_are_not_timed(monkeypatch, capsys):
    """Two ranks that make one step more than the one process they are compared with."""
    check_mpiexec()
    ask = rank_sets.RankSet.ask

    def more(self, what, **given):
        if self.kind == "ranks" and self.size == 2 and what == "check":
            ask(self, "steps", times=1)
        return ask(self, what, **given)

    monkeypatch.setattr(rank_sets.RankSet, "ask", more)
    monkeypatch.setattr(ranks, "QUICK_SIZES", (2,))
    arguments = ["ranks", "--quick", "--peers", "none", "--backend", "numba", "--sizes", "8x60"]
    assert command.main(arguments) == 1
    said = capsys.readouterr()
    assert "2-8-3, batch 60, nnfs_gpu 2 ranks: wrong result: rank 0 of 2 has other" in said.err
    assert "2-8-3, batch 60: nnfs_gpu one process" in said.out


def test_without_mpi_one_process_is_measured_and_the_rest_is_named(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(rank_sets, "launcher", lambda: None)
    path = tmp_path / "ranks_cpu.json"
    arguments = ["ranks", "--quick", "--peers", "none", "--backend", "numba", "--sizes", "8x60"]
    assert command.main([*arguments, "--json", str(path)]) == 0
    assert "absent: mpiexec: not found: pip install mpich" in capsys.readouterr().out
    found = sheet.load(path)
    assert found["absent"]["mpiexec"].startswith("not found")
    assert [list(row["contenders"]) for row in found["rows"]] == [[ranks.ALONE]]
    assert rank_model.fit(found) is None
    assert "nnfs_gpu" in rank_tables.section(found)


def test_other_backends_are_skipped_with_the_reason():
    other = sheet.Sheet("ranks", quick=True)
    ranks.run(other, [get_backend("numpy", dtype="float32")], peers.Peers(), ranks.QUICK)
    assert "ranks are measured on CPUs" in other.found["skipped"]["ranks"]["numpy"]


@pytest.mark.parametrize("sizes", ["64", "64x", "64x10/core", "/rank"])
def test_wrong_sizes_are_refused(sizes, capsys):
    assert command.main(["ranks", "--sizes", sizes]) == 2
    assert "expected WIDTHSxBATCH like 64-64x3000, or 64x3000/rank" in capsys.readouterr().err


# ---- the model ----
def _row(case, net, samples, size, seconds):
    """A row of times by the number of ranks; `seconds` a function of it."""
    names = {ranks.name_of_set("ranks", n): n for n in (1, 2, 4) if samples or n > 1}
    return {
        "case": case,
        "net": net,
        "each": False,
        "bytes": size,
        "ranks": names,
        "samples": dict.fromkeys(names, samples) if samples else {},
        "crowded": ["nnfs_gpu 4 ranks"],
        "waited": {},
        "reference": "nnfs_gpu 2 ranks",
        "contenders": {name: sheet.measured([seconds(n)] * 3) for name, n in names.items()},
    }


def _result(scale=1.0):
    """Times that follow the model, and 4 ranks on 2 cores that do not."""

    def seconds(net, samples, size):
        def of(n):
            own = samples / n / SPEEDS[net] + OVERHEAD if samples else 0.0
            shared = ALPHA + 2 * size / BANDWIDTH if n > 1 else 0.0
            return (own + shared) * (100 if n == 4 else scale)

        return of

    cases = [("2-64-3", 16_384), ("2-64-3", 131_072), ("2-512-512-3", 3_000), ("2-512-512-3", 0)]
    cases.append(("2-64-3", 0))
    sizes = {"2-64-3": 9_448, "2-512-512-3": 6_000_000}
    rows = [
        _row(f"{net}, batch {n:,}", net, n, sizes[net], seconds(net, n, sizes[net]))
        for net, n in cases
    ]
    return {"suite": "ranks", "quick": False, "environment": {}, "rows": rows}


def test_the_fit_finds_the_constants():
    found = rank_model.fit(_result())
    assert found.speeds == pytest.approx(SPEEDS)
    assert found.overhead == pytest.approx(OVERHEAD)
    assert found.alphas == pytest.approx({2: ALPHA})  # not of 4 ranks, which are crowded
    assert found.bandwidth == pytest.approx(BANDWIDTH)
    assert len(found.points) == 3 * 2 + 2
    assert max(abs(found.residual(point)) for point in found.points) < 1e-9


def test_residuals_show_what_does_not_fit():
    result = _result()
    slow = result["rows"][1]["contenders"]["nnfs_gpu 2 ranks"]
    slow["median"] *= 1.5
    found = rank_model.fit(result)
    worst = max(found.points, key=lambda point: abs(found.residual(point)))
    assert (worst.case, worst.ranks) == ("2-64-3, batch 131,072", 2)
    assert found.residual(worst) > 0.1
    text = rank_tables.residuals(result)
    assert f"| 2-64-3, batch 131,072 | 2 | {sheet.duration(slow['median'])} |" in text


def test_no_constant_is_below_0():
    """Sums that are faster the more bytes they have: no bandwidth does that, so it has none."""
    table = np.array([[1.0, 10.0], [1.0, 20.0]]) / np.array([[3.0], [2.0]])
    found = rank_model._not_negative(table)
    assert found[1] == 0
    assert 2 < found[0] < 3
    result = _result()
    result["rows"][3]["contenders"]["nnfs_gpu 2 ranks"]["median"] = 1e-7
    assert min(rank_model.fit(result).alphas.values()) >= 0
    assert rank_model.fit(result).bandwidth > 0


def test_the_model_of_gpus_is_the_formula_by_hand():
    sent = 2 * 9_552
    alone = 1e8 / 1e10 + 12e-6
    node = 1e8 / 8e10 + 12e-6 + 15e-6 + sent / 450e9
    many = 1e8 / 512e10 + 12e-6 + 15e-6 + 6 * 4.3e-6 + sent / 450e9 + sent / 50e9
    widths = (2, 64, 3)
    assert rank_model.message_bytes(widths) == 9_552
    assert rank_model.gpu_seconds(widths, 1e8, 1) == pytest.approx(alone)
    assert rank_model.gpu_seconds(widths, 1e8, 8) == pytest.approx(node)
    assert rank_model.gpu_seconds(widths, 1e8, 512) == pytest.approx(many)
    assert rank_model.gpu_efficiency(widths, 1e8, 512) == pytest.approx(alone / 512 / many)
    assert rank_model.gpu_efficiency(widths, 1e8, 1) == 1


def test_what_is_modelled_is_called_so():
    assert "**A model, not measured**" in rank_tables.modelled()
    assert "assumed constants" in rank_tables.modelled()
    drawn = []

    class Axes:
        transAxes = None  # noqa: N815 - Matplotlib's

        def __getattr__(self, name):
            return lambda *given, **_: drawn.append(given)

    rank_pictures._modelled(Axes())
    assert any("assumed constants: bench/rank_model.py" in given for given in drawn)


# ---- tables and goals ----
def test_speeds_are_in_samples_a_second():
    strong = _result()["rows"][0]
    assert rank_tables.speed_up(strong, "nnfs_gpu", 4) == pytest.approx(
        strong["contenders"]["nnfs_gpu 1 rank"]["median"]
        / strong["contenders"]["nnfs_gpu 4 ranks"]["median"]
    )
    weak = strong | {"samples": {"nnfs_gpu 1 rank": 100, "nnfs_gpu 2 ranks": 200}}
    assert rank_tables.speed_up(weak, "nnfs_gpu", 2) == pytest.approx(
        2 * rank_tables.speed_up(strong, "nnfs_gpu", 2)
    )
    assert rank_tables.speed_up(strong, "torch", 2) is None
    assert "4 ranks (crowded)" in rank_tables.measured([strong])


def test_goals_of_ranks():
    row = _row("2-64-3, batch 131,072", "2-64-3", 131_072, 9_448, lambda n: 1e-3 / n)
    row["contenders"][ranks.ALONE] = sheet.measured([0.98e-3] * 3)
    found = [
        goal.found({"ranks": {"rows": [row]}}) for goal in goals.GOALS if goal.suite == "ranks"
    ]
    assert [(one["measured"], one["met"]) for one in found] == [("2", True), ("2.04", True)]
    row["contenders"][ranks.ALONE] = sheet.measured([0.9e-3] * 3)
    row["crowded"] = ["nnfs_gpu 2 ranks"]  # one core: no goal
    found = [
        goal.found({"ranks": {"rows": [row]}}) for goal in goals.GOALS if goal.suite == "ranks"
    ]
    assert [one["met"] for one in found] == [None, False]
