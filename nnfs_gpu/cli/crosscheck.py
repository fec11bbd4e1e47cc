"""`nnfs-gpu crosscheck`: two backends against each other, on this machine."""

from __future__ import annotations

from typing import Any

import numpy as np
from rich.table import Table
from rich.text import Text

from ..backend import available_backends
from ..selftest.crosscheck import Difference, as_records, crosscheck
from .common import check_target, choose_backend, console_for, to_json, write
from .errors import InputError


def run(backend: str, against: str, json_target: str | None) -> int:
    """Compare, print a table, write JSON; 0 where all agree, 1 where something does not."""
    console = console_for(json_target)
    check_target(json_target, "--json")
    second: Any = choose_backend(against, option="--against")
    first: Any = choose_backend(backend)
    if first.name == second.name:
        raise InputError(
            f"--backend {first.name} --against {second.name}: expected two backends{_others()}"
        )
    with np.errstate(all="ignore"):
        differences = crosscheck(first, second)
    failed = [difference for difference in differences if not difference.passed]
    if json_target is not None:
        result = {
            "backend": first.name,
            "against": second.name,
            "passed": not failed,
            "differences": as_records(differences),
        }
        write(to_json(result), json_target)
    for dtype in dict.fromkeys(d.dtype for d in differences):
        console.print(_table(f"{first.name} against {second.name}, {dtype}", dtype, differences))
        console.print()
    console.print(
        f"{len(differences) - len(failed)} of {len(differences)} agree. A unit is the dtype's "
        "epsilon times the largest result, or the largest term of a sum. Same bits are promised "
        "between backends with kernels, for all but products, which a BLAS computes."
    )
    return 1 if failed else 0


def _table(title: str, dtype: str, differences: list[Difference]) -> Table:
    """The lines of one dtype in 80 columns. Whole names leave room for two differences; the
    absolute and the relative one stand in the JSON.
    """
    table = Table(title=title, title_justify="left", box=None, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("operation", no_wrap=True)
    for heading in ("ulp", "units", "limit"):
        table.add_column(heading, justify="right", no_wrap=True)
    for heading in ("same bits", ""):
        table.add_column(heading, no_wrap=True)
    for d in differences:
        if d.dtype == dtype:
            numbers = (f"{d.ulps:.3g}", f"{d.units:.2g}", f"{d.bound:g}")
            verdict = Text("pass", "green") if d.passed else Text("FAIL", "red")
            table.add_row(Text(d.operation), *numbers, _bits(d), verdict)
    return table


def _bits(d: Difference) -> Text:
    """Whether the bits are the same, and whether that is a promise."""
    if d.promised:
        return Text("promised") if d.same_bits else Text("BROKEN", "red")
    return Text("yes" if d.same_bits else "no")


def _others() -> str:
    """Why there may be no other: `auto` had to take this one."""
    missing = [f"{name}: {s.reason}" for name, s in available_backends().items() if not s.usable]
    return "; not available: " + "; ".join(missing) if missing else ""
