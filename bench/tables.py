"""Markdown from results: the page on speed, the README's few rows of it, and every row.

Ratios are medians of the ratios within a round. "Ours" is our fastest contender in a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from . import goals, rank_tables
from .cells import crossovers, faster_elsewhere, names, ratio_of, share_of_peak, short
from .markdown import table
from .peak import NAME as PEAK
from .sheet import Row, duration, of_role, times
from .suites.limits import page_fault, rate
from .suites.ops import best_percent

Results = dict[str, dict[str, Any]]
BUSY = 1.5  # load a core: the benchmark itself makes 1
SHOWN = (  # operations on the page; all are in tables.md
    *("softmax_forward", "softmax_backward", "softmax_cross_entropy", "relu_forward"),
    *("relu_backward", "dropout_forward", "linear_forward", "linear_backward", "adam_step", "sum"),
)


# ---- the README's few rows ----
def glance(train: dict[str, Any], kind: str, name: str, pictures: Sequence[str]) -> str:
    """Of one machine: the largest training step of each net, and their picture."""
    rows = largest_steps(train["rows"])
    others = names(rows, "book", "peer")
    cells = []
    for row in rows:
        best = of_role(row, "ours")[0]
        seconds = duration(row["contenders"][best]["median"])
        ratios = (ratio_of(row, name, best) for name in others)
        cells.append([row["net"], f"{row['batch']:,}", seconds, *ratios])
    head = ["net", "samples", f"nnfs_gpu, {name}", *map(short, others)]
    parts = [
        "Time of a training step over so many samples, and how many times longer others take. "
        + machine({"train": train}),
        table(head, cells),
        _nearest(train["rows"]),
    ]
    if "throughput" in pictures:
        parts.append(f"![Training steps](bench/results/throughput_{kind}.png)")
    return "\n\n".join(part for part in parts if part)


def _nearest(rows: Sequence[Row]) -> str:
    """Of all cases, the one in which another library comes nearest."""
    found = []
    for row in rows:
        ours, others = of_role(row, "ours"), of_role(row, "peer")
        if ours and others:
            found.append((times(row, others[0], ours[0]), row["case"], others[0]))
    if not found:
        return ""
    ratio, case, other = min(found)
    return f"Nearest of all {len(rows)} cases comes {other}: {ratio:.2f} at {case}."


def largest_steps(rows: Sequence[Row]) -> list[Row]:
    """Of each net the row with the largest batch."""
    largest: dict[str, Row] = {}
    for row in rows:
        if row["net"] not in largest or row["batch"] > largest[row["net"]]["batch"]:
            largest[row["net"]] = row
    return list(largest.values())


# ---- the page on speed ----
def summary(found: Results, kind: str, name: str, pictures: Sequence[str]) -> str:
    """Everything about one machine. `pictures` are those that were drawn."""
    parts = [f"## Measured on a {name}", machine(found)]
    for suite, title, text in (
        ("train", "Training steps", _train),
        ("batches", "Epochs of mini-batches", _batches),
        ("jacobian", "Softmax backward", _jacobian),
        ("combined", "Combined against separate derivatives", _combined),
        ("ops", "Operations against the limit", _ops),
        ("scaling", "From 100 samples to 100,000,000", _scaling),
        ("ranks", "Several processes", rank_tables.section),
        ("start", "Start", _start),
    ):
        if found.get(suite, {}).get("rows"):
            parts.append(f"### {title}")
            for picture in PICTURE_OF.get(suite, ()):
                if picture in pictures:
                    parts.append(f"![{title}](../bench/results/{picture}_{kind}.png)")
            parts.append(text(found[suite]))
    return "\n\n".join(part for part in parts if part)


PICTURE_OF = {
    "train": ("throughput",),
    "jacobian": ("jacobian",),
    "ops": ("roofline",),
    "scaling": ("scaling",),
    "ranks": ("ranks",),
}


def machine(found: Results) -> str:
    """Processor, versions, date and load of a run; what was absent from it."""
    result = next(iter(found.values()))
    e = result["environment"]
    versions = ", ".join(
        f"{name} {number}"
        for name, number in e["versions"].items()
        if number and name != "nnfs-gpu"
    )
    absent = sorted({name for r in found.values() for name in r["absent"]})
    load = max(r["environment"]["load"][0] for r in found.values() if r["environment"]["load"])
    commit = f", commit {e['commit']}" if e["commit"] else ""
    text = (
        f"{e['processor']}, {e['cores']} cores; {'; '.join(e['backends'].values())}; Python "
        f"{e['python']}, {versions}. {e['time'][:10]}{commit}, load up to {load:.1f}."
    )
    cut = sum(len(r["cut"]) for r in found.values())
    if absent:
        text += f" Absent: {', '.join(absent)}."
    if load > BUSY * e["cores"]:
        text += " **The machine was busy: what needs all threads at once looks worse than it is.**"
    if cut:
        text += f" The time did not suffice for {cut} cases."
    return text


def _train(result: dict[str, Any]) -> str:
    nets = list(dict.fromkeys(row["net"] for row in result["rows"]))
    rows = sorted(result["rows"], key=lambda row: (nets.index(row["net"]), row["batch"]))
    others = names(rows, "book", "peer")
    ours = names(rows, "ours")
    peak = any(PEAK in row["contenders"] for row in rows)
    cells = []
    for row in rows:
        best = of_role(row, "ours")[0]
        seconds = row["contenders"][best]["median"]
        cells.append(
            [
                row["net"],
                f"{row['batch']:,}",
                duration(seconds),
                *([share_of_peak(row, best)] if peak else []),
                short(best),
                *(ratio_of(row, name, best) for name in (*ours, *others)),
            ]
        )
    head = ["net", "batch", "a step", *(["of the peak"] if peak else []), "by"]
    head += map(short, (*ours, *others))
    text = "Time of a step by the fastest of ours; how many times longer each contender takes."
    text += f"{PEAK_NOTE if peak else ''}\n\n"
    return text + table(head, cells) + faster_elsewhere(rows) + crossovers(rows)


PEAK_NOTE = (
    " The peak: what the step's matrix products would take as multiply-adds in registers, on the "
    "same threads in the same rounds."
)


def _batches(result: dict[str, Any]) -> str:
    rows = result["rows"]
    ours, others = names(rows, "ours"), names(rows, "peer")
    cells = []
    for row in rows:
        best = of_role(row, "ours")[0]
        cells.append(
            [
                row["case"],
                duration(row["contenders"][best]["median"]),
                share_of_peak(row, best),
                short(best),
                *(ratio_of(row, name, best) for name in (*ours, *others)),
            ]
        )
    head = ["net", "a batch", "of the peak", "by", *map(short, (*ours, *others))]
    text = (
        "Time of a batch within an epoch of many; how many times longer each contender takes.\n\n"
    )
    return text + table(head, cells) + faster_elsewhere(rows)


def _jacobian(result: dict[str, Any]) -> str:
    rows = result["rows"]
    ours = names(rows, "ours")
    others = list(names(rows, "book", "peer", "limit"))
    cells = []
    for row in rows:
        cells.append(
            [
                row["case"],
                duration(row["contenders"][row["reference"]]["median"]),
                *(
                    ("~" if name in row["scaled"] else "") + ratio_of(row, name, row["reference"])
                    for name in (*ours[1:], *others)
                ),
            ]
        )
    head = ["rows x classes", short(ours[0]), *map(short, (*ours[1:], *others))]
    note = (
        "How many times longer than our kernel each contender takes; ~ is scaled from fewer rows, "
        "a dash does not fit into memory. The limit adds two arrays into a third: the same "
        "bytes.\n\n"
    )
    return note + table(head, cells) + faster_elsewhere(rows)


def _combined(result: dict[str, Any]) -> str:
    rows = result["rows"]
    kinds = dict.fromkeys(
        name.removesuffix(" separate")
        for name in names(rows, "book", "ours", "peer")
        if name.endswith(" separate")
    )
    cells = [
        [row["case"], *(ratio_of(row, f"{kind} separate", f"{kind} combined") for kind in kinds)]
        for row in rows
    ]
    note = "How many times longer the separate derivatives take. (The notes print 6.92.)\n\n"
    return note + table(["rows x classes", *map(short, kinds)], cells)


def _ops(result: dict[str, Any]) -> str:
    rows = [row for row in result["rows"] if row.get("operation") in SHOWN]
    order = {name: number for number, name in enumerate(SHOWN)}
    rows.sort(key=lambda row: (order[row["operation"]], row["classes"]))
    text = _limits_text(result["rows"])
    return (
        text
        + _operations(rows)
        + faster_elsewhere([row for row in result["rows"] if "operation" in row])
    )


def _limits_text(rows: list[Row]) -> str:
    found = {row["case"]: row for row in rows}
    copy, add, fresh = (
        found[f"limit: {name}"] for name in ("copy", "add of two arrays", "add into a new array")
    )
    text = (
        f"Copy {rate(copy) / 1e9:.1f} GB/s, add of two arrays {rate(add) / 1e9:.1f} GB/s, into a "
        f"new array {rate(fresh) / 1e9:.1f} GB/s: a page of a new array costs "
        f"{1e9 * page_fault(add, fresh):.0f} ns more than one that was touched before."
    )
    for case, row in found.items():
        if case.startswith("transfer"):
            there, back = (
                row["bytes"] / row["contenders"][f"to the {end}"]["median"] / 1e9
                for end in ("device", "host")
            )
            text += f" {case.capitalize()}: {there:.1f} GB/s to the device, {back:.1f} back."
    return text + "\n\n"


def _operations(rows: list[Row]) -> str:
    cells = []
    for row in rows:
        ours = row["reference"]
        peers = of_role(row, "peer")
        cells.append(
            [
                row["case"],
                duration(row["contenders"][ours]["median"]),
                f"{row['bytes'] / row['contenders'][ours]['median'] / 1e9:.1f}",
                f"{best_percent(row, ours):.0f} %",
                f"{best_percent(row, ours, 'limit: add'):.0f} %",
                f"{times(row, peers[0], ours):.2f} ({peers[0]})" if peers else "-",
            ]
        )
    head = ["operation at classes", "time", "GB/s", "of its limit", "of add", "best peer takes"]
    return table(head, cells)


def _scaling(result: dict[str, Any]) -> str:
    rows = [row for row in result["rows"] if "thread" not in row["case"]]
    names = list(dict.fromkeys(name for row in result["rows"] for name in row["contenders"]))

    def cell(row: Row, name: str) -> str:
        if name not in row["contenders"]:
            return "-"
        memory = row["peak"][name] / 2**20
        return f"{duration(row['contenders'][name]['median'])}, {memory:,.0f} MiB"

    head = ["samples", *map(short, names)]
    text = (
        "Time of an epoch of 2-64-3, and memory beyond the data; a dash: no room, or too long.\n\n"
    )
    text += table(head, [[f"{row['samples']:,}", *(cell(row, n) for n in names)] for row in rows])
    threads = [row for row in result["rows"] if "thread" in row["case"]]
    if threads:
        text += "\n\n" + table(
            ["samples, threads", *map(short, names)],
            [[row["case"], *(cell(row, name) for name in names)] for row in threads],
        )
    return text


def _start(result: dict[str, Any]) -> str:
    lines = []
    for row in result["rows"]:
        contenders = (
            f"{short(name)} {duration(contender['median'])}"
            for name, contender in row["contenders"].items()
        )
        lines.append(f"* {row['case']}: {', '.join(contenders)}")
    return "\n".join(lines)


# ---- every row ----
def everything(found: Results) -> str:
    """Goals, then every row of every suite, with spreads and with what was left out and why."""
    parts = [f"# goals\n\n{goals.text(found)}"]
    for suite, result in found.items():
        parts.append(f"# {suite}\n\n{machine({suite: result})} State: {result['state']}.")
        if suite == "ops":
            parts.append(_operations([row for row in result["rows"] if "operation" in row]))
        if suite == "ranks":
            parts.append(rank_tables.residuals(result))
        head = ["case", "contender", "median", "low", "high", "times the reference", "left out"]
        cells = []
        for row in result["rows"]:
            for name, contender in row["contenders"].items():
                seconds = [duration(contender[key]) for key in ("median", "low", "high")]
                cells.append(
                    [row["case"], name, *seconds, ratio_of(row, name, row["reference"]), ""]
                )
            for name, reason in row.get("left_out", {}).items():
                cells.append([row["case"], name, "-", "-", "-", "-", reason.replace("|", "/")])
        parts.append(table(head, cells))
        parts += [f"* cut: {case}" for case in result["cut"]]
    return "\n\n".join(part for part in parts if part) + "\n"
