"""How many threads are ours by default: control groups' quotas, and what the user has said."""

from __future__ import annotations

import types

import pytest

from nnfs_gpu.backend.cpu import launch, quota

V2 = "31 23 0:27 {top} /sys/fs/cgroup rw,nosuid - cgroup2 cgroup rw,nsdelegate\n"
V1 = "32 23 0:28 {top} /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
OTHER = "33 23 0:29 {top} /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"


def system(root, cgroup, mounts, files):
    """A file system with these files."""
    for path, text in {"proc/self/cgroup": cgroup, "proc/self/mountinfo": mounts, **files}.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return root


def v1(folder, quota, period="100000"):
    base = f"sys/fs/cgroup/cpu,cpuacct{folder}"
    return {f"{base}/cpu.cfs_quota_us": f"{quota}\n", f"{base}/cpu.cfs_period_us": f"{period}\n"}


def v2(folder, text):
    return {f"sys/fs/cgroup{folder}/cpu.max": text + "\n"}


CASES = {
    "v2, in a container": ("0::/\n", V2, v2("", "200000 100000"), 2),
    "v2, none": ("0::/\n", V2, v2("", "max 100000"), None),
    "v2, a part of a core": ("0::/\n", V2, v2("", "20000 100000"), 1),
    "v2, rounded up": ("0::/\n", V2, v2("", "150000 100000"), 2),
    "v2, another period": ("0::/\n", V2, v2("", "150000 50000"), 3),
    "v2, the root's group has no file": ("0::/\n", V2, {}, None),
    "v2, of a slice above": (
        "0::/a/b\n",
        V2,
        v2("/a", "300000 100000") | v2("/a/b", "max 100000"),
        3,
    ),
    "v2, the least counts": (
        "0::/a/b\n",
        V2,
        v2("/a", "300000 100000") | v2("/a/b", "800000 100000"),
        3,
    ),
    "v2, seen from outside": ("0::/docker/1\n", V2, v2("", "200000 100000"), 2),
    "v2, mounted from a group": (
        "0::/docker/1/x\n",
        V2.format(top="/docker/1"),
        v2("/x", "400000 100000"),
        4,
    ),
    "v1": ("4:cpuset:/\n3:cpu,cpuacct:/a\n", V1 + OTHER, v1("/a", "200000"), 2),
    "v1, none": ("3:cpu,cpuacct:/a\n", V1, v1("/a", "-1") | v1("", "-1"), None),
    "v1, of a group above": ("3:cpu:/a/b\n", V1, v1("/a", "500000") | v1("/a/b", "-1"), 5),
    "v1, in a container": (
        "3:cpu,cpuacct:/docker/1\n",
        V1.format(top="/docker/1"),
        v1("", "150000", "50000"),
        3,
    ),
    "v1 and v2": ("3:cpu,cpuacct:/\n0::/\n", V1 + V2.replace("/sys", "/x"), v1("", "200000"), 2),
    "damaged": ("0::/\n", V2, v2("", "many"), None),
    "no groups": ("", "", {}, None),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_quotas_of_control_groups(tmp_path, case):
    cgroup, mounts, files, expected = case
    root = system(tmp_path, cgroup, mounts.replace("{top}", "/"), files)
    assert quota.cores(root) == expected


def test_a_system_without_control_groups_has_no_quota(tmp_path):
    assert quota.cores(tmp_path) is None


@pytest.fixture
def numba(monkeypatch):
    """Numba on 64 cores with a quota of two, where nobody has set a number of threads."""
    config = types.SimpleNamespace(NUMBA_NUM_THREADS=64, NUMBA_DEFAULT_NUM_THREADS=64)
    made = types.SimpleNamespace(config=config, get_num_threads=lambda: 64)
    monkeypatch.setattr(launch, "numba", made)
    monkeypatch.setattr(quota, "cores", lambda: 2)
    monkeypatch.delenv("NUMBA_NUM_THREADS", raising=False)
    monkeypatch.setattr(quota, "_sharing", 1)
    launch._alone.cache_clear()
    yield made
    launch._alone.cache_clear()


def test_our_default_keeps_within_the_quota(numba):
    assert launch.threads_allowed() == launch.default_threads() == 2


def test_a_quota_above_the_cores_changes_nothing(numba, monkeypatch):
    monkeypatch.setattr(quota, "cores", lambda: 100)
    assert launch.threads_allowed() == 64


@pytest.mark.parametrize(("allowed", "ranks", "threads"), [(2, 1, 2), (2, 2, 1), (100, 5, 12)])
def test_processes_on_the_same_cores_share_them(numba, monkeypatch, allowed, ranks, threads):
    monkeypatch.setattr(quota, "cores", lambda: allowed)
    quota.share(ranks)
    assert launch.threads_allowed() == launch.default_threads() == threads
    quota.share(1000)
    assert launch.threads_allowed() == 1
    numba.get_num_threads = lambda: 7  # chosen from inside
    assert launch.threads_allowed() == 7


@pytest.mark.parametrize("threads", [1, 8, 63])
def test_what_the_user_sets_from_inside_counts(numba, threads):
    numba.get_num_threads = lambda: threads
    assert launch.threads_allowed() == threads


@pytest.mark.parametrize("threads", [1, 8, 64])
def test_what_the_user_sets_from_outside_counts(numba, monkeypatch, threads):
    monkeypatch.setenv("NUMBA_NUM_THREADS", str(threads))
    numba.config.NUMBA_NUM_THREADS = threads
    numba.get_num_threads = lambda: threads
    quota.share(2)
    assert launch.threads_allowed() == launch.default_threads() == threads


def test_what_a_configuration_file_sets_counts(numba):
    numba.config.NUMBA_NUM_THREADS = 16
    numba.get_num_threads = lambda: 16
    assert launch.threads_allowed() == 16
