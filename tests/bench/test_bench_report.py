"""The benchmark's command, its comparisons and the sections on speed.

Proves that wrong commands are refused with what was expected; that `compare` sees a change of ours
and not one of the machine; and that every figure of the sections is made from the JSON
files in bench/results, with none beside it.
"""

import json
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT))  # `bench` is not installed

from bench import (  # noqa: E402  # noqa: E402
    __main__ as command,
    cells,
    compare,
    report,
    sheet,
)


# ---- the command ----
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "--sizes", "64"], "expected WIDTHSxBATCH"),
        (["jacobian", "--sizes", "3"], "expected ROWSxCLASSES"),
        (["scaling", "--sizes", "a"], "expected numbers"),
        (["start", "--sizes", "3"], "start has none"),
        (["train", "--peers", "tensorflow"], "expected of torch, jax"),
        (["train", "--backend", "fast"], "unknown backend"),
        (["compare", "one.json"], "expected two files"),
        (["compare", "one.json", "two.json"], "No such file"),
        (["all", "--sizes", "3"], "belong to one suite"),
    ],
)
def test_wrong_commands_are_refused(arguments, message, capsys):
    assert command.main(arguments) == 2
    assert message in capsys.readouterr().err


# ---- compare ----
def _row(case, **contenders):
    roles = {"ours": "ours", "torch": "peer", "limit": "limit"}
    return {
        "case": case,
        "reference": "ours",
        "contenders": {
            name: sheet.measured(values, roles[name]) for name, values in contenders.items()
        },
    }


def _files(tmp_path, old, new):
    paths = []
    for name, rows in (("old", old), ("new", new)):
        found = {"suite": "x", "quick": False, "environment": {}, "rows": rows}
        paths.append(tmp_path / f"{name}.json")
        paths[-1].write_text(json.dumps(found))
    return paths


def test_compare_ignores_a_slower_machine(tmp_path, capsys):
    old = [_row("a", ours=[1.0, 1.1, 1.2], torch=[2.0, 2.2, 2.4])]
    new = [_row("a", ours=[3.0, 3.3, 3.6], torch=[6.0, 6.6, 7.2])]
    assert compare.run(*_files(tmp_path, old, new)) == 0
    assert "1 compared, 0 slower for sure; in the middle 1.00x" in capsys.readouterr().out


def test_compare_sees_ours_become_slower(tmp_path, capsys):
    old = [_row("a", ours=[1.0, 1.1, 1.2], torch=[2.0, 2.2, 2.4])]
    new = [_row("a", ours=[1.5, 1.65, 1.8], torch=[2.0, 2.2, 2.4])]
    assert compare.run(*_files(tmp_path, old, new)) == 1
    assert "1.50x slower: a: ours, beside torch" in capsys.readouterr().out
    noisy = [_row("a", ours=[0.9, 1.5, 1.8], torch=[2.0, 2.2, 2.4])]
    assert compare.run(*_files(tmp_path, old, noisy)) == 0
    assert "within the spread" in capsys.readouterr().out


def test_compare_names_what_it_cannot_compare(tmp_path, capsys):
    old = [_row("a", ours=[1.0], torch=[2.0]), _row("b", ours=[1.0], limit=[1.0])]
    new = [_row("b", ours=[1.0], limit=[1.0]), _row("c", ours=[1.0], torch=[1.0])]
    assert compare.run(*_files(tmp_path, old, new)) == 0
    out = capsys.readouterr().out
    assert "a: not in the new run" in out
    assert "c: not in the old run" in out


def test_compare_refuses_files_of_an_older_benchmark(tmp_path):
    old, new = _files(tmp_path, [_row("a", ours=[1.0])], [{"case": "a", "ways": {}}])
    with pytest.raises(ValueError, match="older python -m bench"):
        compare.run(old, new)


# ---- tables and pictures ----
def test_a_contender_that_is_faster_elsewhere_is_said():
    slow = _row("a, batch 30", ours=[2.0], torch=[1.0]) | {"net": "a", "batch": 30}
    fast = _row("a, batch 300", ours=[1.0], torch=[3.0]) | {"net": "a", "batch": 300}
    text = cells.faster_elsewhere([slow, fast])
    assert "faster in 1 of 2 cases: a, batch 30 (torch, 2.00 times as fast)" in text
    assert "a: torch from 30, ours from 300" in cells.crossovers([fast, slow])
    assert "In none of these 1 cases" in cells.faster_elsewhere([fast])


def test_markers_are_needed_once():
    text = f"a\n{report.BEGIN}\nold\n{report.END}\nb"
    assert report.replaced(text, "new") == f"a\n{report.BEGIN}\nnew\n{report.END}\nb"
    with pytest.raises(ValueError, match="once each"):
        report.replaced(text + report.END, "new")


# ---- the README, and the page on speed ----
PAGES = {"README.md": report.glance, "docs/speed.md": report.section}


def parts(page):
    """What stands between the markers of a page, and around them."""
    before, rest = (ROOT / page).read_text(encoding="utf-8").split(report.BEGIN)
    inside, after = rest.split(report.END)
    return inside.strip(), before + after


@pytest.mark.parametrize("page", PAGES)
def test_every_figure_has_json_behind_it(page):
    """The section is what `python -m bench report` makes of the files in bench/results."""
    machines = {kind: report.read(command.RESULTS, kind) for kind in report.KINDS}
    expected = PAGES[page](machines)
    assert expected, "bench/results holds no results: python -m bench all"
    assert parts(page)[0] == expected, "run python -m bench report"


@pytest.mark.parametrize("page", PAGES)
def test_no_figure_of_speed_stands_outside_the_section(page):
    claims = re.findall(
        r"\d[\d.,]*\s*(?:times (?:faster|slower|longer)|x faster|GB/s|GFLOP/s|samples/s|us\b|ms\b)",
        parts(page)[1],
    )
    assert claims == []


@pytest.mark.parametrize("page", PAGES)
def test_pictures_are_there(page):
    names = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", parts(page)[0])
    assert names
    for name in names:
        assert ((ROOT / page).parent / name).read_bytes()[:4] == b"\x89PNG"


def test_the_readme_has_a_row_for_each_net_and_the_page_has_all():
    glance, section = parts("README.md")[0], parts("docs/speed.md")[0]
    rows = report.read(command.RESULTS, "cpu")["train"]["rows"]
    nets = {row["net"] for row in rows}
    assert sum(line.startswith("| 2-") for line in glance.splitlines()) == len(nets)
    for row in rows:
        assert f"| {row['net']} | {row['batch']:,} |" in section
    assert len(glance) < len(section) / 8
