"""`nnfs-gpu crosscheck`: two backends against each other, on this machine."""

from __future__ import annotations

from typing import Any

import numpy as np
from rich.table import Table
from rich.text import Text

from .backend import available_backends
from .cli_common import InputError, check_target, choose_backend, console_for, to_json, write
from .crosscheck import as_records, crosscheck


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
    table = Table("operation", "dtype", title=f"{first.name} against {second.name}")
    for heading in ("absolute", "relative", "ulp", "units", "allowed"):
        table.add_column(heading, justify="right")
    table.add_column("")
    for d in differences:
        numbers = (f"{d.absolute:.1e}", f"{d.relative:.1e}", f"{d.ulps:.1f}", f"{d.units:.2f}")
        verdict = Text("pass", "green") if d.passed else Text("FAIL", "red")
        table.add_row(d.operation, d.dtype, *numbers, f"{d.bound:g}", verdict)
    console.print(table)
    console.print(
        f"{len(differences) - len(failed)} of {len(differences)} agree. A unit is the dtype's "
        "epsilon times the largest result, or the largest term of a sum."
    )
    return 1 if failed else 0


def _others() -> str:
    """Why there may be no other: `auto` had to take this one."""
    missing = [f"{name}: {s.reason}" for name, s in available_backends().items() if not s.usable]
    return "; not available: " + "; ".join(missing) if missing else ""
