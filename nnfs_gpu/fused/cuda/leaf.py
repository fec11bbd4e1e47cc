"""How the GPU's engine cuts a batch that comes in parts: into leaves, each summed alone.

A leaf is what one launch of fused.cu with PART does. Its sums are rounded; leaves are then added
up without rounding (kernels/fused_cuda/exact.cuh). So the cut decides the bits, and follows from
the plan and the rows of the batch alone, never from the device, from who has which rows or from
how many processes there are. Used by `KernelSteps`; needs no GPU.

What a leaf costs beside its samples, by estimate: 3 us for the launch, some 5 us for what a
kernel does once, weights to shared memory and at the end the sums of 264 blocks, which are added up
in two rounds, and the words. Beside it 125,000 samples of 2-64-3 take 13 us on an H200 at 10 G
samples a second. So a million samples are 8 leaves, one for each of 8 GPUs, and a single one has
some 140 us in place of 105 in one launch; 100 million are 128 leaves of 78 us, for 64 GPUs still
two for each.
"""

from __future__ import annotations

from math import lcm

from ..plan import Plan
from .build import LABELS, NUMBERS, REFERENCE, choose, is_narrow

LEAST_WORK = 1 << 27  # operations of a leaf
LEAST_ROWS = 1 << 15  # whatever the work: a tile or two for every block,
LEAST_NARROW = 1 << 16  # of the narrow kernel, whose tiles have 256 samples or more
ENOUGH_ROWS = 1 << 17  # that fill a GPU, however little work they are
USUAL = 128  # leaves of a large batch: the larger it is, the larger are they,
MOST_WORK = 1 << 32  # up to this
MOST_LEAVES = 1 << 20  # that words have room for, should all their numbers be the largest that fit
COUNTED = 1 << 23  # answers of a leaf: half of those that float32 counts, whatever else


def leaf_of(plan: Plan, total: int) -> int:
    """Rows of a leaf of a batch of `total` rows: whole tiles, so that 2, 4, 8 ... processes have
    as many leaves each.
    """
    flops = plan.flops()
    narrow = any(is_narrow(plan, kind) for kind in _kinds(plan))
    fewest = LEAST_NARROW if narrow else LEAST_ROWS
    least = min(max(LEAST_WORK // flops, fewest), ENOUGH_ROWS)
    leaves = max(1, min(USUAL, total // least), total * flops // MOST_WORK)
    leaves = min(1 << (leaves.bit_length() - 1), MOST_LEAVES)
    rows = min(-(-total // leaves), COUNTED // plan.answers)
    while True:  # more rows may have a larger tile
        tile = _tile(plan, rows)
        rows = -(-rows // tile) * tile
        if _tile(plan, rows) == tile:
            return rows


def _kinds(plan: Plan) -> tuple[int, ...]:
    """What targets may be."""
    return (LABELS, NUMBERS) if plan.classes else (NUMBERS,)


def _tile(plan: Plan, rows: int) -> int:
    """Of leaves of so many rows, with targets of every kind."""
    builds = (choose(plan, kind, False, rows, REFERENCE, part=True) for kind in _kinds(plan))
    return lcm(*(build.tile for build in builds))
