"""python -m bench report: pictures and the tables of documents, from JSON files alone.

Reads DIR/<suite>_cpu.json and DIR/<suite>_gpu.json, as far as they are there, writes pictures
beside them, DIR/tables.md with goals and every row, and what stands between the two markers of
docs/speed.md, README.md, kernels/README.md and docs/estimators.md. No figure there is written by
hand: tests make these sections anew and compare.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from nnfs_gpu.files.tensor_file import write_atomically

from . import pictures, rank_pictures, tables
from .sheet import load
from .suites import estimators, ladder

BEGIN = "<!-- bench: what follows is written by: python -m bench report -->"
END = "<!-- bench: end -->"
KINDS = {"cpu": "CPU", "gpu": "GPU"}
ELSEWHERE = "estimators"  # has a page of its own
SUITES = (
    *("train", "batches", "jacobian", "ops", "combined", "scaling", "ranks", "start", "ladder"),
    ELSEWHERE,
)
Results = dict[str, dict[str, Any]]  # of one machine, by suite

# picture: (file name, suites that it needs, how it is drawn)
PICTURES: tuple[tuple[str, tuple[str, ...], Callable[[Results], bytes]], ...] = (
    ("throughput", ("train",), lambda found: pictures.throughput(found["train"])),
    ("roofline", ("ops",), lambda found: pictures.roofline(found["ops"], found.get("train"))),
    ("jacobian", ("jacobian",), lambda found: pictures.jacobian(found["jacobian"])),
    ("scaling", ("scaling",), lambda found: pictures.scaling(found["scaling"])),
    ("ranks", ("ranks",), lambda found: rank_pictures.ranks(found["ranks"])),
)


def run(folder: Path, root: Path | None) -> int:
    """Write pictures and tables; the sections of DOCUMENTS below `root` where that is given."""
    machines = {kind: read(folder, kind) for kind in KINDS}
    if not any(machines.values()):
        raise ValueError(f"{folder}: no results there; make some with: python -m bench all")
    for kind, found in machines.items():
        for name, needed, draw in PICTURES:
            if all(found.get(suite, {}).get("rows") for suite in needed):
                write_atomically(folder / f"{name}_{kind}.png", draw(found))
                print(f"wrote {folder / f'{name}_{kind}.png'}")
    everything = "\n".join(tables.everything(found) for found in machines.values() if found)
    write_atomically(folder / "tables.md", everything.encode())
    print(f"wrote {folder / 'tables.md'}")
    if root is None:
        return 0
    for name, make in DOCUMENTS.items():
        text = (root / name).read_text(encoding="utf-8")
        changed = replaced(text, make(machines))
        if changed != text:
            write_atomically(root / name, changed.encode())
        print(f"wrote the section of figures in {root / name}")
    return 0


def read(folder: Path, kind: str) -> Results:
    """The suites' results for "cpu" or "gpu" that are in `folder`."""
    paths = {suite: folder / f"{suite}_{kind}.json" for suite in SUITES}
    return {suite: load(path) for suite, path in paths.items() if path.is_file()}


def section(machines: dict[str, Results]) -> str:
    """What stands between the markers of docs/speed.md: of full runs alone.

    Raises ValueError for a quick one.
    """
    parts = []
    for kind, suites in machines.items():
        found = {name: one for name, one in suites.items() if name != ELSEWHERE}
        _refuse_quick(kind, found)
        if found:
            parts.append(tables.summary(found, kind, KINDS[kind], drawn(found)))
    return "\n\n".join(parts)


def glance(machines: dict[str, Results]) -> str:
    """What stands between the markers of README.md: a few rows of the same runs."""
    parts = []
    for kind, found in machines.items():
        if found.get("train", {}).get("rows"):
            _refuse_quick(kind, {"train": found["train"]})
            parts.append(tables.glance(found["train"], kind, KINDS[kind], drawn(found)))
    return "\n\n".join(parts)


def ladders(machines: dict[str, Results]) -> str:
    """What stands between the markers of kernels/README.md: of full runs alone, too."""
    parts = []
    for kind, found in machines.items():
        if "ladder" in found:
            _refuse_quick(kind, {"ladder": found["ladder"]})
            parts += [tables.machine({"ladder": found["ladder"]}), *ladder.tables(found["ladder"])]
    return "\n\n".join(parts)


def fits(machines: dict[str, Results]) -> str:
    """What stands between the markers of docs/estimators.md."""
    parts = []
    for kind, found in machines.items():
        if ELSEWHERE in found:
            alone = {ELSEWHERE: found[ELSEWHERE]}
            _refuse_quick(kind, alone)
            parts += [tables.machine(alone), estimators.section(found[ELSEWHERE])]
    return "\n\n".join(parts)


def _refuse_quick(kind: str, found: Results) -> None:
    for suite, result in found.items():
        if result["quick"]:
            raise ValueError(f"{suite}_{kind}.json is of a --quick run: not for documents")


DOCUMENTS: dict[str, Callable[[dict[str, Results]], str]] = {
    "README.md": glance,
    "docs/speed.md": section,
    "kernels/README.md": ladders,
    "docs/estimators.md": fits,
}


def drawn(found: Results) -> list[str]:
    """Names of the pictures that these results give."""
    return [
        name
        for name, needed, _ in PICTURES
        if all(found.get(suite, {}).get("rows") for suite in needed)
    ]


def replaced(text: str, new: str) -> str:
    """`text` with `new` between the markers. Raises ValueError where they are not there once."""
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise ValueError(f"expected the lines {BEGIN!r} and {END!r} once each")
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n{new}\n{END}{rest.split(END)[1]}"
