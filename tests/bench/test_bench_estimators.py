"""The suite `estimators`: what it times learns as much as scikit-learn's own; the page's figures.

Proves that a contender which learns less is not timed, and that every figure of docs/estimators.md
is made from the JSON in bench/results.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT))  # `bench` is not installed

from bench import __main__ as command, report, sheet  # noqa: E402
from bench.suites import estimators  # noqa: E402


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    """A quick run on one small data set."""
    path = tmp_path_factory.mktemp("quick") / "estimators_cpu.json"
    arguments = ["estimators", "--quick", "--peers", "none", "--backend", "numpy"]
    assert command.main([*arguments, "--json", str(path)]) == 0
    return sheet.load(path)


def test_both_are_timed_and_scored(quick):
    (row,) = quick["rows"]
    assert row["contenders"].keys() == {"scikit-learn", "nnfs_gpu numpy"} == row["scores"].keys()
    assert row["contenders"]["scikit-learn"]["role"] == "peer"
    assert min(row["scores"].values()) > 0.9
    assert (row["case"], row["samples"], row["features"]) == ("iris", 112, 4)
    assert "| iris | 112 x 4 | 100 | 100 |" in estimators.section(quick)


def test_one_that_learns_less_is_not_timed(tmp_path, monkeypatch, capsys):
    made = estimators._estimators

    def worse(*arguments):
        found = made(*arguments)
        ours = next(name for name in found if name != estimators.THEIRS)
        return found | {ours: lambda: found[ours]().set_params(learning_rate_init=0.0)}

    monkeypatch.setattr(estimators, "_estimators", worse)
    path = tmp_path / "worse.json"
    arguments = ["estimators", "--quick", "--peers", "none", "--backend", "numpy"]
    assert command.main([*arguments, "--json", str(path)]) == 1
    assert sheet.load(path)["rows"] == []
    assert "WRONG, not timed: iris, nnfs_gpu numpy: wrong result" in capsys.readouterr().err


def test_unknown_data_are_refused(capsys):
    arguments = ["estimators", "--peers", "none", "--backend", "numpy", "--sizes", "roses"]
    assert command.main(arguments) == 2
    assert "--sizes: got 'roses', expected of iris, digits" in capsys.readouterr().err


def test_every_figure_of_the_page_has_json_behind_it():
    machines = {kind: report.read(command.RESULTS, kind) for kind in report.KINDS}
    expected = report.fits(machines)
    page = (ROOT / "docs" / "estimators.md").read_text(encoding="utf-8")
    assert page.split(report.BEGIN)[1].split(report.END)[0].strip() == expected != ""


def test_a_quick_run_is_not_for_the_page(quick):
    with pytest.raises(ValueError, match="--quick run"):
        report.fits({"cpu": {"estimators": quick}})
