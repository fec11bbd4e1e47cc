"""`nnfs-gpu warmup`: compile now what runs will need."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.table import Table

from ..backend.kept_code import cache_folders, cpu_key
from ..selftest.warmup import warm_up
from .common import check_target, choose_backend, console_for, to_json, two_columns, write
from .errors import InputError


def print_key(backend: str) -> int:
    """Print what compiled kernels depend on, for the name of a cache; nothing is compiled."""
    name = choose_backend(backend).name
    if name != "numba":
        raise InputError(
            f"--key: got the backend {name}, expected numba, whose kernels are the processor's; "
            "add --backend numba"
        )
    print(cpu_key())
    return 0


def run(backend: str, dtypes: tuple[str, ...], json_target: str | None) -> int:
    """Do it, print what it was and where it is kept, write JSON; returns the exit code."""
    console = console_for(json_target)
    check_target(json_target, "--json")
    name = choose_backend(backend).name
    folders = cache_folders(name)
    before = {folder: _files(folder) for folder in folders}
    parts: list[dict[str, Any]] = []
    with console.status(f"compiling kernels of {name}"):
        for dtype, what, seconds in warm_up(name, dtypes):
            parts.append({"dtype": dtype, "what": what, "seconds": seconds})
    caches: list[dict[str, Any]] = [
        {
            "folder": str(folder),
            "files": len(now := _files(folder)),
            "new": len(now.keys() - before[folder].keys()),
            "bytes": sum(now.values()),
        }
        for folder in folders
    ]
    if json_target is not None:
        write(to_json({"backend": name, "parts": parts, "caches": caches}), json_target)
    console.print(_table(name, parts))
    rows = {
        str(cache["folder"]): f"{cache['files']} files, {cache['new']} of them new, "
        f"{cache['bytes'] / 2**20:.1f} MiB"
        for cache in caches
        if cache["files"]
    }
    console.print(two_columns(rows or {"cache": "nothing is kept: this backend compiles nothing"}))
    return 0


def _files(folder: Path) -> dict[str, int]:
    """Sizes of the files in a cache, by name."""
    if not folder.is_dir():
        return {}
    kept = (path for path in folder.iterdir() if path.suffix in (".nbc", ".nbi", ".bin"))
    return {path.name: path.stat().st_size for path in kept}


def _table(name: str, parts: list[dict[str, Any]]) -> Table:
    table = Table(title=f"kernels of {name}, compiled or found", title_justify="left")
    table.add_column("dtype")
    table.add_column("what")
    table.add_column("seconds", justify="right")
    for part in parts:
        table.add_row(part["dtype"], part["what"], f"{part['seconds']:.1f}")
    return table
