"""python -m bench jacobian [--sizes 1000000x3,300x10000] [--quick] [--json FILE]."""

from __future__ import annotations

import argparse
import json
from typing import Any

from nnfs_gpu.storage import write_atomically

from . import jacobian
from .timing import environment

QUICK = ((100_000, 3), (10_000, 10), (1_000, 100))


def main(arguments: list[str] | None = None) -> None:
    """Run a suite, print its table, write its JSON."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("suite", choices=["jacobian"])
    parser.add_argument("--sizes", type=_sizes, help="ROWSxCLASSES, separated by commas")
    parser.add_argument("--quick", action="store_true", help="small sizes, three rounds")
    parser.add_argument("--json", metavar="FILE", help="write the figures to FILE")
    options = parser.parse_args(arguments)
    sizes = options.sizes or (QUICK if options.quick else jacobian.SIZES)
    records = jacobian.run(sizes, rounds=3 if options.quick else 7)
    print(table(records))
    if options.json:
        result = {"suite": "jacobian", "environment": environment(), "records": records}
        write_atomically(options.json, json.dumps(result, indent=1).encode())


def table(records: list[dict[str, Any]]) -> str:
    """Milliseconds of each way, and in brackets how many times the numba backend's."""
    ways = list(dict.fromkeys(name for record in records for name in record["seconds"]))
    lines = ["rows x classes".ljust(18) + "".join(way.rjust(22) for way in ways)]
    for record in records:
        cells = [f"{record['rows']} x {record['classes']}".ljust(18)]
        for way in ways:
            if way in record["seconds"]:
                median = record["seconds"][way]["median"] * 1e3
                cells.append(f"{median:.3f} ({record['times_numba'][way]:.1f}x)".rjust(22))
            else:
                cells.append("-".rjust(22))
        lines.append("".join(cells))
        lines += [f"    left out: {reason}" for reason in record["left_out"]]
    return "\n".join(lines)


def _sizes(text: str) -> tuple[tuple[int, int], ...]:
    try:
        pairs = [tuple(int(part) for part in size.split("x")) for size in text.split(",")]
        return tuple((rows, classes) for rows, classes in pairs)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"got {text!r}, expected ROWSxCLASSES like 1000000x3,300x10000"
        ) from None


if __name__ == "__main__":
    main()
