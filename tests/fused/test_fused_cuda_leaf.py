"""How a batch is cut into leaves on a GPU: by its size and the plan alone.

Proves: leaves are whole tiles, as many for 2, 4 and 8 processes, large enough to fill a device and
small enough to be shared, never so many that words overflow, never so large that float32 loses
count; no device changes a leaf's tile, threads or blocks, and every device that we compile for
has room for them.
"""

from __future__ import annotations

import pytest
from test_fused_cuda_compile import DEVICES, GOALS, OTHERS, REALS, plan

from nnfs_gpu.fused import CannotFuse
from nnfs_gpu.fused.cuda import leaf as cuda_leaf
from nnfs_gpu.fused.cuda.build import LABELS, NUMBERS, REFERENCE, Device, choose
from nnfs_gpu.fused.cuda.leaf import leaf_of

PLANS = [
    *(plan(*widths, dtype=dtype) for widths in GOALS for dtype in REALS),
    *OTHERS,
    plan(1, 1, loss="squared_error"),
    plan(3, 128, loss="squared_error"),
    plan(2, 512, 3),
    plan(128, 128, 128, 128, 128, 128),
]
TOTALS = (1, 7, 300, 4_096, 30_000, 1 << 18, 999_983, 10**6, 10**7, 10**8, 10**10, 10**12)


def kinds(of):
    wide = max(stage.n_outputs for stage in of.stages) > 128  # scores of labels alone are narrow
    return [kind for kind in (LABELS, NUMBERS) if of.classes or kind == NUMBERS][: 1 + (not wide)]


@pytest.mark.parametrize("of", PLANS, ids=lambda of: f"{of.name}-{of.dtype}")
def test_leaves_of_any_batch(of):
    for total in TOTALS:
        leaf = leaf_of(of, total)
        leaves = -(-total // leaf)
        assert leaves <= 1 << 20 or leaf * of.answers > cuda_leaf.COUNTED // 2
        assert leaf * of.answers < 1 << 24, "right answers are counted in float32"
        for kind in kinds(of):
            build = choose(of, kind, False, leaf, REFERENCE, part=True)
            assert leaf % build.tile == 0
            if leaves > 1:
                assert build.grid(leaf) >= 120, "a device stands idle"
        if leaf * of.answers < cuda_leaf.COUNTED // 2:  # a power of two, but for what is rounded up
            power = 1 << (leaves - 1).bit_length()
            assert 0.95 * power <= leaves <= power


def leaves(of, total):
    return -(-total // leaf_of(of, total))


def test_how_many():
    narrow, deep, wide = plan(2, 64, 3), plan(2, 64, 64, 3), plan(2, 128, 128, 3)
    assert [leaves(narrow, n) for n in (300, 30_000, 1 << 18, 10**6, 10**8)] == [1, 1, 2, 8, 128]
    assert [leaves(deep, n) for n in (300, 30_000, 1 << 18, 10**6, 10**8)] == [1, 1, 8, 16, 512]
    assert [leaves(wide, n) for n in (300, 30_000, 1 << 18, 10**6)] == [1, 1, 8, 16]


@pytest.mark.parametrize("of", PLANS, ids=lambda of: f"{of.name}-{of.dtype}")
def test_no_device_changes_a_leaf(of):
    """Of the definitions, those alone may differ that change no sum."""
    for rows in (16, 300, 4_097, 40_000, 130_000, 1_300_000):
        for kind in kinds(of):
            found = [choose(of, kind, True, rows, one, part=True) for one in DEVICES.values()]
            for build in found:
                assert (build.tile, build.threads) == (found[0].tile, found[0].threads)
                assert (build.blocks, build.narrow) == (found[0].blocks, found[0].narrow)
                cut, first = dict(build.definitions), dict(found[0].definitions)
                assert cut["PART"] == 1
                assert cut["PENALTIES"] == 0, "the end of the step has them"
                free = {"ROOM", "SHARED", "BLOCKS"}
                assert {k: v for k, v in cut.items() if k not in free} == {
                    k: v for k, v in first.items() if k not in free
                }


def test_a_device_with_too_little_shared_memory_is_refused():
    text = "activations of 64 samples take 36,176 bytes of shared memory, this device has 31,744"
    with pytest.raises(CannotFuse, match=text):
        choose(plan(2, 64, 64, 3), LABELS, False, 100_000, Device(132, 32 * 1024), part=True)
