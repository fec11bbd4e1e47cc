"""Words and cells of the tables, each a function of rows of `Sheet`s."""

from __future__ import annotations

from .peak import NAME as PEAK
from .sheet import Row, of_role, times

NEAR = 0.95  # a ratio above it is not called faster: the spread is as large


def share_of_peak(row: Row, name: str) -> str:
    """What part of a contender's time the operations would take at the peak."""
    return f"{100 * times(row, PEAK, name):.0f} %" if PEAK in row["contenders"] else "-"


def names(rows: list[Row], *roles: str) -> list[str]:
    """Contenders of these roles, in the order in which the rows first have them."""
    return list(
        dict.fromkeys(
            name
            for row in rows
            for name, contender in row["contenders"].items()
            if contender["role"] in roles
        )
    )


def short(name: str) -> str:
    """A contender's name in a table that is ours anyway."""
    return name.removeprefix("nnfs_gpu ")


def ratio_of(row: Row, slow: str, fast: str) -> str:
    """How many times longer `slow` took than `fast`; a dash where one was not measured."""
    if slow not in row["contenders"] or fast not in row["contenders"]:
        return "-"
    value = times(row, slow, fast)
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}" if value >= 10 else f"{value:.2f}"


def faster_elsewhere(rows: list[Row]) -> str:
    """Where a peer or the book beats all of ours."""
    found = []
    for row in rows:
        ours, others = of_role(row, "ours"), of_role(row, "book", "peer")
        if ours and others and times(row, others[0], ours[0]) < NEAR:
            factor = times(row, ours[0], others[0])
            found.append(f"{row['case']} ({short(others[0])}, {factor:.2f} times as fast)")
    if not found:
        return f"\n\nIn none of these {len(rows)} cases is another library faster."
    return (
        f"\n\nAnother contender is faster in {len(found)} of {len(rows)} cases: {'; '.join(found)}."
    )


def crossovers(rows: list[Row]) -> str:
    """Along the batch: from where on another contender is the fastest of all."""
    nets: dict[str, list[Row]] = {}
    for row in rows:
        nets.setdefault(row["net"], []).append(row)
    lines = []
    for net, cases in nets.items():
        cases.sort(key=lambda row: row["batch"])
        winners: list[str] = []
        last = None
        for row in cases:
            fastest = of_role(row, "ours", "book", "peer")[0]
            if fastest != last:
                winners.append(f"{short(fastest)} from {row['batch']:,}")
                last = fastest
        lines.append(f"{net}: {', '.join(winners)}")
    return f" Fastest of all by batch: {'; '.join(lines)}." if lines else ""
