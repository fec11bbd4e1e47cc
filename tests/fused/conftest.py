"""Fixtures of the tests of fused steps."""

from __future__ import annotations

import pytest
from fused_sharing import Sharing

from nnfs_gpu.backend.cpu import workers
from nnfs_gpu.fused.cpu import calls as cpu_calls, groups
from nnfs_gpu.kernels.cpu.waiting import FOREVER


@pytest.fixture(scope="module")
def pool():
    return workers.Workers(4)


@pytest.fixture
def sharing(monkeypatch, pool):
    """One thread at first; steps are shared however small, in small groups, and followers stay."""
    sharing = Sharing(pool)
    for name, value in (
        ("SHARED_STEP", 0),
        ("WORTH_FOLLOWING", 0),
        ("WATCH", FOREVER),
        ("train", sharing.train),
    ):
        monkeypatch.setattr(cpu_calls, name, value)
    for name in ("GROUP_FLOPS", "GROUP_SAMPLES"):
        monkeypatch.setattr(groups, name, 1)
    monkeypatch.setattr(pool, "follow", sharing.follow)
    monkeypatch.setattr(workers, "_workers", pool)
    monkeypatch.setattr("numba.get_num_threads", lambda: sharing.threads)
    yield sharing
    sharing.sleep()
