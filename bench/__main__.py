"""How fast is each contender on this machine? python -m bench SUITE, report or compare.

    python -m bench all [--minutes 13] [--out DIR]      every suite, pictures, documents
    python -m bench jacobian [--sizes 300000x10,30x100000]
    python -m bench combined [--sizes 300x3]
    python -m bench ops      [--sizes 3,1000]           numbers of classes
    python -m bench train    [--sizes 64x300,64-64x30000]  hidden widths x batch
    python -m bench batches  [--sizes 2-64-3x32]        widths x batch
    python -m bench scaling  [--sizes 100,1000000]      samples
    python -m bench ladder   [OPERATION ...] [--sizes 3,10,100]  classes; of a step, samples
    python -m bench ranks    [--sizes 64x16384,64x131072/rank]  hidden widths x batch, or x a rank's
    python -m bench estimators [--sizes iris,digits]  data sets
    python -m bench start
    python -m bench report   [--out DIR]                pictures and tables from JSON
    python -m bench goals    [--out DIR]                what was aimed at beside what was measured
    python -m bench compare OLD.json NEW.json           what became slower

Results are checked against the specification in float64 before anything is timed. A suite's
JSON file is written anew after each row, so that an interrupted run keeps what it measured.
Exit status: 0; 1 where a result is wrong or `compare` finds something slower; 2 for a wrong
command; 130 after Ctrl-C.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nnfs_gpu import available_backends, get_backend
from nnfs_gpu.backend import Backend

from . import compare, goals, peers, report
from .sheet import Sheet, fail
from .suites import (
    batches,
    combined,
    estimators,
    jacobian,
    ladder,
    ops,
    ranks,
    scaling,
    start,
    train,
)

ROOT = Path(__file__).resolve().parent.parent
RESULTS, QUICK_RESULTS = ROOT / "bench" / "results", ROOT / "build" / "bench"

# suite: (module, sizes, quick sizes, its share of the time of `all`)
SUITES: dict[str, tuple[Any, Any, Any, float]] = {
    "start": (start, None, None, 0.08),
    "jacobian": (jacobian, jacobian.SIZES, jacobian.QUICK, 0.10),
    "combined": (combined, combined.SIZES, combined.QUICK, 0.05),
    "train": (train, train.NETS, train.QUICK, 0.30),
    "batches": (batches, batches.NETS, batches.QUICK, 0.12),
    "ladder": (ladder, None, None, 0.12),
    "scaling": (scaling, scaling.SIZES, scaling.QUICK, 0.18),
    "ops": (ops, ops.CLASSES, (3,), 0.17),
    "ranks": (ranks, ranks.CASES, ranks.QUICK, 0.20),
    "estimators": (estimators, tuple(estimators.CASES), estimators.QUICK, 0.05),
}


def main(arguments: list[str] | None = None) -> int:
    """The command; its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "suite", choices=[*SUITES, "all", "report", "goals", "compare"], metavar="SUITE"
    )
    parser.add_argument(
        "what", nargs="*", help="of compare: OLD.json NEW.json; of ladder: operations"
    )
    parser.add_argument("--backend", default="auto", metavar="NAME,...", help="auto: the fastest")
    parser.add_argument("--peers", default=",".join(peers.NAMES), metavar="NAME,...|none")
    parser.add_argument("--sizes", "--classes", help="as shown above")
    parser.add_argument("--quick", action="store_true", help="small sizes, few rounds")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where a suite's figures go")
    parser.add_argument("--out", type=Path, metavar="DIR", help="of all and report: JSON, pictures")
    parser.add_argument("--minutes", type=float, default=13.0, help="that suites may take")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # keeps what was measured, too
    try:
        return _run(options)
    except (ValueError, OSError, RuntimeError) as error:
        return fail(str(error))
    except KeyboardInterrupt:
        return 130


def _run(options: argparse.Namespace) -> int:
    out = options.out or (QUICK_RESULTS if options.quick else RESULTS)
    if options.suite == "compare":
        if len(options.what) != 2:
            return fail("compare: expected two files, OLD.json NEW.json")
        return compare.run(*map(Path, options.what))
    if options.what and options.suite != "ladder":
        return fail(f"{options.suite}: expected no argument after it, got {options.what[0]!r}")
    if options.suite == "report":
        return report.run(out, ROOT)
    if options.suite == "goals":
        for kind in report.KINDS:
            if results := report.read(out, kind):
                print(goals.text(results))
        return 0
    backends, absent = choose_backends(options.backend)
    found = peers.find([] if options.peers == "none" else options.peers.split(","))
    unknown = set(options.peers.split(",")) - {*peers.NAMES, "none"}
    if unknown:
        return fail(f"--peers: got {sorted(unknown)[0]!r}, expected of {', '.join(peers.NAMES)}")
    for name, reason in (absent | found.absent).items():
        print(f"absent: {name}: {reason}")
    names = list(SUITES) if options.suite == "all" else [options.suite]
    if options.suite == "all" and (options.sizes or options.json):
        return fail("all: --sizes and --json belong to one suite; --out is where all write")
    end, wrong = time.monotonic() + 60 * options.minutes, []
    for number, name in enumerate(names):
        module, sizes, quick, share = SUITES[name]
        left = sum(SUITES[later][3] for later in names[number:])
        seconds = (end - time.monotonic()) * share / left  # what one saves goes to the next
        path = options.json
        if options.suite == "all":
            path = out / f"{name}_{kind_of(backends)}.json"
        print(f"{name} (at most about {max(seconds, 0) / 60:.1f} minutes)", flush=True)
        sheet = Sheet(
            name,
            path=path,
            quick=options.quick,
            seconds=seconds,
            backends=backends,
            absent=absent | found.absent,
        )
        chosen = (
            PARSERS[name](options.sizes) if options.sizes else quick if options.quick else sizes
        )
        with sheet.finishing():
            module.run(sheet, backends, found, chosen, *([options.what] if options.what else []))
        wrong += sheet.found["wrong"]
    if options.suite == "all":
        report.run(out, None if options.quick else ROOT)
    for what in wrong:
        print(f"WRONG, not timed: {what}", file=sys.stderr)
    return 1 if wrong else 0


def choose_backends(names: str) -> tuple[list[Backend], dict[str, str]]:
    """Those asked for, in float32, the main one first; why others are not there.

    "auto" takes the fastest, and on a GPU both backends that have kernels for it.
    """
    status = available_backends()
    if names == "auto":
        main = get_backend("auto").name
        chosen = [main]
        if main == "cupy" and status["numba-cuda"].usable:
            chosen.append("numba-cuda")
    else:
        chosen = names.split(",")
    absent = {f"backend {name}": one.reason for name, one in status.items() if not one.usable}
    settings: dict[str, Any] = {"dtype": "float32", "precise_dot": False, "book_random": False}
    return [get_backend(name, **settings) for name in chosen], absent


def kind_of(backends: list[Backend]) -> str:
    """What stands in the names of files: "cpu" or "gpu"."""
    return "cpu" if backends[0].name in ("numpy", "numba") else "gpu"


def _pairs(text: str) -> tuple[tuple[int, int], ...]:
    try:
        pairs = [tuple(int(part) for part in size.split("x")) for size in text.split(",")]
        return tuple((rows, classes) for rows, classes in pairs)
    except ValueError:
        raise ValueError(f"--sizes: got {text!r}, expected ROWSxCLASSES like 300000x10") from None


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise ValueError(f"--sizes: got {text!r}, expected numbers like 3,1000") from None


def _nets(text: str) -> tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]:
    try:
        pairs = [size.split("x") for size in text.split(",")]
        return tuple(
            (tuple(int(w) for w in hidden.split("-")), (int(batch),)) for hidden, batch in pairs
        )
    except ValueError:
        raise ValueError(f"--sizes: got {text!r}, expected WIDTHSxBATCH like 64-64x300") from None


def _shared(text: str) -> tuple[ranks.Case, ...]:
    try:
        pairs = [(size.removesuffix("/rank"), size.endswith("/rank")) for size in text.split(",")]
        nets = [(*_nets(size)[0], each) for size, each in pairs]
    except ValueError:
        raise ValueError(
            f"--sizes: got {text!r}, expected WIDTHSxBATCH like 64-64x3000, or 64x3000/rank"
        ) from None
    return tuple(ranks.Case(hidden, batch, each) for hidden, (batch,), each in nets)


def _nothing(_: str) -> None:
    raise ValueError("--sizes: start has none")


PARSERS: dict[str, Callable[[str], Any]] = {
    "jacobian": _pairs,
    "combined": _pairs,
    "ops": _numbers,
    "train": _nets,
    "batches": _nets,
    "scaling": _numbers,
    "ladder": _numbers,
    "ranks": _shared,
    "estimators": lambda text: tuple(text.split(",")),
    "start": _nothing,
}


if __name__ == "__main__":
    sys.exit(main())
