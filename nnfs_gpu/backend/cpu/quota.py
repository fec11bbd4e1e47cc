"""How many cores the system's control groups allow this process, and who shares them.

A container with a quota of two cores on a machine of 64 sees all 64, and 64 threads there stand
still most of the time: the kernel stops them all when the quota of a period is used up.

Sources: the kernel's documentation, admin-guide/cgroup-v2 (cpu.max) and scheduler/sched-bwc
(cpu.cfs_quota_us); proc(5) and proc_pid_mountinfo(5) for where a group's files lie.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

_sharing = 1


def share(processes: int) -> None:
    """So many processes of one program, this one too, run on the same cores (`ranks/cores.py`)."""
    global _sharing
    _sharing = processes


def sharing() -> int:
    """How many processes of this program run on this one's cores."""
    return _sharing


def cores(root: Path = Path("/")) -> int | None:
    """The quota in cores, rounded up; None where there is none. `root`: of the file system."""
    found = []
    with contextlib.suppress(OSError, ValueError):  # no Linux, or /proc is hidden
        for folder in _folders(root):
            with contextlib.suppress(OSError, ValueError):  # the root's group has no such file
                found.append(_quota(folder))
    least = min(found, default=math.inf)
    return None if math.isinf(least) else max(1, math.ceil(least))


def _quota(folder: Path) -> float:
    """Quota of one group: what it may use of each period, both in microseconds."""
    v2 = folder / "cpu.max"
    if v2.exists():
        quota, period = v2.read_text().split()
    else:
        quota = (folder / "cpu.cfs_quota_us").read_text()
        period = (folder / "cpu.cfs_period_us").read_text()
    if quota == "max" or int(quota) <= 0:
        return math.inf
    return int(quota) / int(period)


def _folders(root: Path) -> Iterator[Path]:
    """The folders of this process's groups that share out the processors, and of all above."""
    mounts = _mounts(root)
    for line in (root / "proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        version = "cgroup" if "cpu" in controllers.split(",") else "cgroup2"
        if version == "cgroup" or not controllers:
            for top, mounted in mounts[version]:
                yield from _upwards(root / mounted.lstrip("/"), top, path)


def _mounts(root: Path) -> dict[str, list[tuple[str, str]]]:
    """By version: (the group that is mounted, where) of the hierarchies with processors."""
    found: dict[str, list[tuple[str, str]]] = {"cgroup": [], "cgroup2": []}
    for line in (root / "proc/self/mountinfo").read_text().splitlines():
        mount, _, system = line.partition(" - ")
        kind, _, options = system.split(" ", 2)
        if kind == "cgroup2" or (kind == "cgroup" and "cpu" in options.split(",")):
            fields = mount.split(" ")
            found[kind].append((fields[3], fields[4]))
    return found


def _upwards(mounted: Path, top: str, path: str) -> Iterator[Path]:
    """From the group `path` up to the group `top`, whose folder is `mounted`."""
    with contextlib.suppress(ValueError):  # it lies elsewhere: in a container, seen from outside
        below = PurePosixPath(path).relative_to(top)
        for part in (below, *below.parents):
            if ".." not in part.parts:
                yield mounted / part
        return
    yield mounted
