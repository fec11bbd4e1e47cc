"""How the CPU engine cuts a batch: into groups of samples, and the groups into calls.

A group's gradient is summed alone, in the network's dtype, and the groups' are added without
rounding. So the bits of a step depend on the samples of a group, which follow from the batch and
the plan, and not on how many groups go into a call, or which thread or process has one.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...backend.cpu import launch
from ...kernels.fused_cpu import tables as k
from .layout import Layout

Array = Any

UPDATE = 16  # operations that collecting and updating a parameter is worth
GROUP_FLOPS = 1_000_000  # a group of samples has at least so many,
GROUP_SAMPLES = 128  # and so many samples: its gradient must be added to the others';
HALF_GROUP = 16  # or half of a small batch, and so many;
FEW_GROUPS = 8  # more groups than this are made larger first, up to twice so many samples
MOST_GROUP = 8_192  # samples: longer sums in float32 would lose digits
MOST_GROUPS = 32  # of a batch, if they do not become too large: more threads find no work
MORE_GROUPS = 4  # times as many go into a call, if that is short
GROUP_BYTES = 256 << 20  # of all groups' gradients at a time
# Ctrl-C is heard between two calls. A core does some 6e10 operations a second of narrow steps,
CALL = 1_000_000_000  # many of which go into one call, and 2e11 of wide ones,
LONG_CALL = 10_000_000_000  # of which one may have to be cut into calls of so many a thread
SHORT_CALL = 2_000_000_000  # up to which a step is not cut: between two calls the threads wait


class Groups:
    """The groups of batches for one plan, and the memory for their sums."""

    def __init__(self, layout: Layout):
        self.layout = layout
        self._flops = max(1, layout.plan.flops())  # of a sample
        row = layout.gradients * layout.dtype.itemsize
        self._most = max(4, min(MOST_GROUPS, GROUP_BYTES // row))
        self._short = max(4, min(MOST_GROUPS * MORE_GROUPS, GROUP_BYTES // row))
        self._sizes: dict[int, int] = {}  # of groups, by samples of a batch
        self._room = 0  # groups that there is room for
        self.arrays: tuple[Array, ...] = ()  # their sums and totals, which the head points to

    def samples(self, n: int) -> int:
        """Samples in a group: of n and the plan alone, never of the threads."""
        if n not in self._sizes:
            self._sizes[n] = self._size(n)
        return self._sizes[n]

    def _size(self, n: int) -> int:
        worth = GROUP_FLOPS // self._flops
        most = min(max(-(-n // FEW_GROUPS), GROUP_SAMPLES), 2 * GROUP_SAMPLES)
        least = min(max(most, worth), max(HALF_GROUP, worth, -(-n // 2)))
        even = -(-n // self._most)
        size = min(max(even, least), max(MOST_GROUP, least))
        unit = self.layout.lanes if size < self.layout.panel else self.layout.panel
        return -(-size // unit) * unit

    def in_a_call(self, n: int) -> int:
        """Samples whose groups go into one call: as there is memory, and time."""
        size, groups = self.samples(n), self._most
        work = size * self._flops  # of a group
        if groups * work > LONG_CALL:
            threads = launch.threads_allowed()
            groups = min(groups, threads * max(1, LONG_CALL // work))
        else:
            groups = max(groups, min(self._short, SHORT_CALL // work))
        return size * groups

    def steps_in_a_call(self, n: int) -> int:
        """Steps over n samples that go into one call."""
        return max(1, CALL // self.work(n)) if n <= self.in_a_call(n) else 1

    def work(self, n: int) -> int:
        """Operations of a step over n samples, roughly."""
        return n * self._flops + UPDATE * self.layout.gradients

    def make_room(self, groups: int) -> None:
        """Room for the sums of so many, where there is less.

        In this order: what the head points to is alive whenever Ctrl-C comes.
        """
        if groups > self._room:
            sums = np.empty((groups, self.layout.gradients), self.layout.dtype)
            totals = np.empty((groups, k.TOTAL_FIELDS))
            before, self.arrays = self.arrays, (*self.arrays, sums, totals)
            self.layout.head[k.SUMS] = sums.ctypes.data
            self.layout.head[k.TOTALS] = totals.ctypes.data
            self._room = groups
            self.arrays = self.arrays[len(before) :]
