"""What `make gpu-check` writes: the goals with their measured values, Markdown for a reader.

Standard library alone, like `python -m bench.gpu_check`, which calls it after every step: whatever
is broken, there will be a report. `results` is what that file keeps: `device`, `date`, `state`,
`out` (where the report goes) and `steps`, each with its name, status, seconds, summary, and the
records, problems, cuts and notes of the step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ..markdown import Record, goal, goal_table, table, verdict
from . import report_fused
from .tables import Results, most, number, records

UNFINISHED = ("cut", "timed out", "running", "waiting")  # states of a step
REHEARSED = "rehearsal"  # in the place of a device's name
NO_FIGURES = "Rehearsed on the emulated device: the figures say nothing of a GPU."
NARROW = 16  # classes below which a goal asks for less


# ---- goals ----
def goals(results: Results) -> list[Record]:
    """P3 to P7 of the performance goals: what was wanted, what was measured, met or not."""
    timed = records(results, "throughput")
    found = []
    for name, narrow, wide, faster in (
        ("softmax_backward", 85, 90, 1.8),
        ("softmax_cross_entropy", 85, 85, 2.5),
    ):
        lines = [r for r in timed if r["name"] == name and "cupy" in r["contenders"]]
        below = [r for r in lines if r["classes"] < NARROW]
        above = [r for r in lines if r["classes"] >= NARROW]
        for which, part, least in (
            (f"C < {NARROW}", below, narrow),
            (f"C >= {NARROW}", above, wide),
        ):
            what = f"P3 {name}, {which}: % of the copy's rate"
            found.append(_least(what, part, lambda r: r["contenders"]["cupy"]["percent"], least))
        ratio = [r for r in lines if "torch" in r["contenders"]["cupy"]["faster_than"]]
        what = f"P3 {name}: times PyTorch eager"
        found.append(
            _least(what, ratio, lambda r: r["contenders"]["cupy"]["faster_than"]["torch"], faster)
        )
    for key, what in (("launch_us", "a launch"), ("operation_us", "a whole operation")):
        found.append(most(f"P6 CPU time of {what}, us", records(results, "launch"), key, 5.0))
    found.append(_determinism(results))
    return found + report_fused.goals(results)


def _least(
    what: str, lines: list[Record], value: Callable[[Record], float], least: float
) -> Record:
    """The worst of the lines must reach `least`."""
    wanted = f">= {least:g}"
    if not lines:
        return goal(what, wanted, "not measured", None)
    worst = min(lines, key=value)
    return goal(
        what, wanted, f"{value(worst):.3g} (C = {worst['classes']:,})", value(worst) >= least
    )


def _determinism(results: Results) -> Record:
    lines = records(results, "determinism")
    training = [r for r in lines if r["operation"].startswith("training")]
    same = sum(r["same"] for r in lines)
    what, wanted = "P7 the same bits from run to run", "all"
    if not training:  # the goal speaks of gradients: without a training run it is open
        return goal(what, wanted, f"{same} of {len(lines)}, no training run", None)
    return goal(what, wanted, f"{same} of {len(lines)}", same == len(lines))


# ---- what is left to do ----
def left(results: Results) -> list[str]:
    """Steps that a second run should take up: cut, stopped, or never reached."""
    return [s["name"] for s in results["steps"] if s["status"] in UNFINISHED]


def go_on(results: Results) -> list[str]:
    """The command that does; nothing where all was done."""
    names = left(results)
    if not names:
        return []
    arguments = f"--minutes 4 --out {results['out']} --only {','.join(names)}"
    return [f"Cut: {', '.join(names)}. To go on:", "", f'    make gpu-check ARGS="{arguments}"', ""]


# ---- tables ----
def short(results: Results) -> str:
    """For the end of the output: steps and goals in columns."""
    lines = ["", f"{'step':24}{'status':13}{'seconds':>8}  found"]
    for step in results["steps"]:
        start = f"{step['name']:24}{step['status']:13}{step['seconds']:8.1f}"
        lines.append(f"{start}  {step['summary'][:150]}")
    if results["device"] == REHEARSED:
        return "\n".join([*lines, "", NO_FIGURES, "", *go_on(results)])
    lines += ["", f"{'goal':58}{'wanted':>8}  measured"]
    for g in goals(results):
        lines.append(f"{g['goal']:58}{g['wanted']:>8}  {g['measured']}: {verdict(g)}")
    lines += ["", *go_on(results)]
    return "\n".join(lines)


def markdown(results: Results) -> str:
    """The whole report."""
    steps = results["steps"]
    bad = [step["name"] for step in steps if step["status"] not in ("passed", "unavailable")]
    lines = [
        f"# gpu-check: {results['device']}, {results['date']}",
        "",
        f"Written by `python -m bench.gpu_check` ({results['state']}). "
        + (f"Not passed: {', '.join(bad)}." if bad else "Every step that ran passed."),
        "",
        *([NO_FIGURES, ""] if results["device"] == REHEARSED else []),
        *go_on(results),
    ]
    rows = [[s["name"], s["status"], f"{s['seconds']:.1f}", s["summary"]] for s in steps]
    lines += ["## Steps", "", table(["step", "status", "seconds", "found"], rows), ""]
    lines += ["## Goals", "", goal_table(goals(results)), ""]
    for step in steps:
        for title in ("problems", "cuts", "notes"):
            if step.get(title):
                lines += [f"### {step['name']}: {title}", ""]
                lines += [*(f"* {text}" for text in step[title][:40]), ""]
    fused = report_fused.section
    for section in (_machine, fused, _throughput, _launches, _accuracy, _crosscheck, _training):
        lines += section(results)
    for step in steps:
        if step.get("log_tail"):
            lines += [f"## Log of {step['name']}, its end", "", "```", step["log_tail"], "```", ""]
    return "\n".join(lines) + "\n"


def _machine(results: Results) -> Iterator[str]:
    yield from ("## Machine", "")
    rows = []
    for kind in ("device", "software", "nvidia-smi"):
        for record in records(results, kind):
            rows += [[key, value] for key, value in record.items() if key != "kind"]
    rows += [[f"backend {r['name']}", r["found"]] for r in records(results, "backend")]
    rows += [[f"library {r['name']}", r["found"]] for r in records(results, "library")]
    yield from (table(["", ""], rows), "")


def _throughput(results: Results) -> Iterator[str]:
    yield from ("## Throughput, float32", "")
    for copy in records(results, "copy"):
        yield f"Copy of {copy['bytes'] / 2e6:,.0f} MB on the device: {number(copy['gbs'])} GB/s,"
        yield "bytes read and written. Bytes of an operation by its definition; medians over rounds"
        yield "taken in turns; in brackets the range over the rounds."
        yield ""
    rows = []
    for r in records(results, "throughput"):
        for contender, w in r["contenders"].items():
            faster = ", ".join(f"{x:.2f} ({name})" for name, x in w["faster_than"].items())
            percent = f"{w['percent']:.0f} ({w['percent_low']:.0f}-{w['percent_high']:.0f})"
            size = f"{r['rows']:,} x {r['classes']:,}"
            row = [
                r["name"],
                contender,
                size,
                f"{1e6 * w['seconds']:.1f}",
                number(w["gbs"]),
                percent,
                faster,
            ]
            rows.append(row)
    heads = ["operation", "by", "rows x classes", "us", "GB/s", "% of copy", "times faster than"]
    yield from (table(heads, rows), "")


def _launches(results: Results) -> Iterator[str]:
    yield from ("## CPU time a call, nothing waited for, us", "")
    rows = [
        [r["operation"], number(r["operation_us"]), number(r["launch_us"])]
        for r in records(results, "launch")
    ]
    yield from (table(["operation", "whole operation", "its launch"], rows), "")


def _accuracy(results: Results) -> Iterator[str]:
    yield from ("## Accuracy against float64", "")
    yield "Largest error of an element in units of eps(float32) times what it is made of."
    yield ""
    rows = [
        [
            f"{r['operation']} {r['variant']}".strip(),
            f"{r['rows']:,} x {r['classes']:,}",
            number(r["units"]),
            number(r["limit"]),
        ]
        for r in records(results, "accuracy", "accuracy")
    ]
    yield from (table(["operation", "rows x classes", "units", "allowed"], rows), "")
    rows = [
        [r["operation"], f"{r['rows']:,} x {r['classes']:,}", "right" if r["ok"] else "WRONG"]
        for r in records(results, "beyond")
    ]
    yield from (
        "Beyond 2^31 elements, against a small batch:",
        "",
        table(["operation", "rows x classes", ""], rows),
        "",
    )


def _crosscheck(results: Results) -> Iterator[str]:
    for step in [s["name"] for s in results["steps"] if s["name"].startswith("crosscheck")]:
        against = "numba" if step == "crosscheck-numba" else "numpy"
        yield from (f"## {step} against {against}, units of what an element is made of", "")
        lines: dict[str, dict[str, str]] = {}
        for r in records(results, "crosscheck", step):
            mark = "" if r["passed"] else " FAILED"
            lines.setdefault(r["operation"], {})[r["dtype"]] = f"{number(r['units'])}{mark}"
            lines[r["operation"]]["allowed"] = number(r["bound"])
            if r["promised"]:
                same = lines[r["operation"]].get("same bits", "yes") == "yes" and r["same_bits"]
                lines[r["operation"]]["same bits"] = "yes" if same else "no"
        heads = ["float32", "float64", "allowed", "same bits"]
        rows = [[name, *(found.get(head, "") for head in heads)] for name, found in lines.items()]
        yield from (table(["operation", *heads], rows), "")


def _training(results: Results) -> Iterator[str]:
    yield from ("## Training 2-64-64-3 on the spiral", "")
    rows = [
        [f"losses of the first {r['steps']} steps, largest difference", number(r["difference"])]
        for r in records(results, "losses")
    ]
    for r in records(results, "final accuracy"):
        for name, value in r["accuracy"].items():
            rows.append(
                [f"validation accuracy after {r['epochs']} epochs, {name}", number(value, 4)]
            )
        rows.append(["the best that any classifier can reach", f"{r['best_possible']:.4f}"])
    for r in records(results, "speed"):
        what = f"samples a second, layer by layer, batch {r['batch']:,}, {r['backend']}"
        rows.append([what, number(r["samples_a_second"])])
    yield from (table(["", ""], rows), "")
