"""Where everything of a plan lies on the CPU: the tables of kernels/fused_cpu/tables.py.

A thread has a workspace for one tile, in which each stage has places; a group of samples has
a row of gradient sums. `Layout` counts them out, chooses the tile so that the workspace stays
in a core's cache, and makes the arrays. Nothing here depends on the batch or on the threads.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...kernels.cpu.vectors import REGISTER_BYTES
from ...kernels.cpu.waiting import APART
from ...kernels.fused_cpu import pointers, tables as k
from ...kernels.fused_cpu.losses import rows_of_room
from ...kernels.fused_cpu.narrow_blocks import UNITS
from ..plan import Plan

PANEL = 4  # registers of samples, by which tiles and groups are cut, on every machine
CACHE = 1536 << 10  # bytes of a tile's workspace: products take it from the second level in panels
MOST_TILE = 3  # panels: of more, what a product of gradients uses again leaves the first level
PIECE = 4_096  # weights: their gradient stays in a core's first-level cache until the update
NARROW_TILE = 8  # panels of a narrow network, whose workspace is small
LANES_FROM = 12  # fewer outputs than this are summed lane by lane: see `_by_lanes`


class Layout:
    """The tables and sizes of a plan.

    head, table, factors, rules  as kernels/fused_cpu/tables.py names their fields
    cells, call                  where threads meet, and what a leader tells the others
    pieces, penalties            what a thread updates at a time, and the penalty of each
    packed                       a stage's weights, packed for products
    panel                        samples that a product takes at a time
    workspace                    numbers in a thread's workspace
    gradients                    numbers in a group's sums
    """

    def __init__(self, plan: Plan):
        self.plan = plan
        self.dtype = np.dtype(plan.dtype)
        self.lanes = REGISTER_BYTES // self.dtype.itemsize
        self.panel = self.lanes * PANEL
        self.head = np.zeros(k.HEAD_FIELDS, np.int64)
        self.table = np.zeros((len(plan.stages), k.TABLE_FIELDS), np.int64)
        self.factors = np.zeros((len(plan.stages), k.FACTOR_FIELDS))
        self.rules = np.zeros(k.RULE_FIELDS)
        self.cells = np.zeros(k.CELLS_FIELDS * APART, np.int64)
        self.call = np.zeros(k.CALL_FIELDS, np.int64)
        for at, a in (
            (k.TABLE, self.table),
            (k.FACTORS, self.factors),
            (k.RULES, self.rules),
            (k.CELLS, self.cells),
            (k.CALL_TABLE, self.call),
        ):
            self.head[at] = a.ctypes.data
        self._sizes()
        self._gradients()
        self._pieces()
        if plan.narrow:
            self._narrow_places(plan.n_inputs, plan.n_outputs)
            return
        self._packed()
        tile = MOST_TILE
        while True:
            self._places(tile * self.panel)
            if tile == 1 or self._tile_bytes() <= CACHE:
                break
            tile -= 1

    def make_workspace(self) -> tuple[np.ndarray, int]:
        """(the array to keep, the address of the workspace in it)."""
        room = np.zeros(self.workspace + self.lanes, self.dtype)
        start = -room.ctypes.data % REGISTER_BYTES // self.dtype.itemsize
        work = room[start : start + self.workspace]
        pitch = int(self.head[k.PITCH])
        for row in self.table[: 1 if self.plan.narrow else None]:
            # the bias is the weight of an input that is always 1
            at = int(row[k.X_AT] + row[k.INPUTS] * pitch)
            work[at : at + pitch] = 1
        return room, work.ctypes.data

    # ---- inside ----
    def _sizes(self) -> None:
        plan = self.plan
        self.head[k.STAGES] = len(plan.stages)
        self.head[k.ROOM_ROWS] = rows_of_room(plan.n_outputs)
        for row, stage in zip(self.table, plan.stages, strict=True):
            row[k.INPUTS], row[k.OUTPUTS] = stage.n_inputs, stage.n_outputs
            known = pointers.ACTIVATIONS[stage.activation]
            row[k.END], row[k.GRADIENT_END] = known.end, known.gradient_end
            row[k.BY_LANES] = self._by_lanes(stage.n_inputs, stage.n_outputs)
            row[k.PADDED] = stage.n_outputs if row[k.BY_LANES] else self._up(stage.n_outputs)

    @staticmethod
    def _by_lanes(inputs: int, outputs: int) -> bool:
        """Whether weight gradients are summed with lanes along the samples.

        Lanes along the outputs need the gradient turned into rows: worth it for many inputs.
        """
        return outputs < LANES_FROM or inputs < LANES_FROM

    def _gradients(self) -> None:
        at = 0
        for row in self.table:
            row[k.GRADIENT_AT] = at
            at += int((row[k.INPUTS] + 1) * row[k.PADDED])
        self.gradients = at
        self.head[k.GRADIENTS] = at

    def _packed(self) -> None:
        """Room for the weights as products take them, beside the layers' own."""
        self.packed = [
            np.zeros(stage.n_inputs * stage.n_outputs, self.dtype) for stage in self.plan.stages
        ]
        for row, packed in zip(self.table, self.packed, strict=True):
            row[k.PACKED] = packed.ctypes.data

    def _pieces(self) -> None:
        """Cut every stage into rows of weights; its biases go with the last."""
        pieces = []
        for s, row in enumerate(self.table):
            inputs, most = int(row[k.INPUTS]), max(1, PIECE // int(row[k.PADDED]))
            starts = range(0, inputs, most)
            pieces += [(s, first, min(first + most, inputs)) for first in starts[:-1]]
            pieces.append((s, starts[-1], inputs + 1))
        self.pieces = np.array(pieces, np.int64)
        self.penalties = np.zeros(len(pieces))
        self.head[k.PIECE_COUNT] = len(pieces)
        self.head[k.PIECES] = self.pieces.ctypes.data
        self.head[k.PENALTIES] = self.penalties.ctypes.data

    def _places(self, tile: int) -> None:
        """Give every tile its place in the workspace; `self._lanes_numbers` of it are no tile's."""
        self._at = 0
        # One more register than the tile: rows of 2^n bytes would share few sets of the cache.
        pitch = tile + self.lanes
        head, table = self.head, self.table
        head[k.TILE], head[k.PITCH] = tile, pitch
        last = len(table) - 1
        for row in table:
            row[k.X_AT] = self._reserve((row[k.INPUTS] + 1) * pitch)
        widest = max(int(row[k.OUTPUTS]) for row in table)
        d = [self._reserve(widest * pitch) for _ in range(min(2, len(table)))]
        turned = masks = 0
        for s, row in enumerate(table):
            outputs = int(row[k.OUTPUTS])
            row[k.D_AT] = d[s % 2]
            if s < last:
                row[k.DROPOUT] = self.plan.stages[s].dropout
                if row[k.DROPOUT]:
                    row[k.MASK_AT] = self._reserve(outputs * pitch)
                    masks = max(masks, outputs * tile + 8)
            if not row[k.BY_LANES]:
                # One more register, as above.
                turned = max(turned, int(row[k.PADDED] + self.lanes) * tile)
        head[k.ROOM_AT] = self._reserve(head[k.ROOM_ROWS] * pitch)
        head[k.TARGETS_AT] = self._reserve(table[last, k.OUTPUTS] * pitch)
        head[k.GATHERED_AT] = self._reserve(table[last, k.OUTPUTS] * tile)
        head[k.TURNED_AT] = self._reserve(turned)
        head[k.MASKS_AT] = self._reserve(masks)
        self._tiles = self._at
        head[k.WEIGHTS_AT] = self._reserve(tile)
        for row in table:
            if row[k.BY_LANES]:
                count = (row[k.INPUTS] + 1) * row[k.OUTPUTS] * self.lanes
                row[k.LANES_AT] = self._reserve(count)
        self.workspace = self._at

    def _narrow_places(self, inputs: int, outputs: int) -> None:
        """As `_places`, for kernels/fused_cpu/narrow.py: it keeps no tile of the hidden layer."""
        self._at = 0
        head, first, last = self.head, self.table[0], self.table[1]
        tile = NARROW_TILE * self.panel
        pitch, units = tile + self.lanes, -(-int(first[k.OUTPUTS]) // UNITS) * UNITS
        products = (inputs + 1) * outputs
        head[k.TILE], head[k.PITCH], head[k.NARROW] = tile, pitch, units
        first[k.X_AT] = self._reserve((inputs + 1) * pitch)
        last[k.D_AT] = self._reserve(outputs * pitch)
        head[k.ROOM_AT] = self._reserve(head[k.ROOM_ROWS] * pitch)
        head[k.TARGETS_AT] = self._reserve(outputs * pitch)
        head[k.GATHERED_AT] = self._reserve(outputs * tile)
        head[k.WEIGHTS_AT] = self._reserve(tile)
        head[k.ZEROS_AT] = self._reserve(pitch)
        head[k.PRODUCTS_AT] = self._reserve(products * pitch)
        head[k.GATES_AT] = self._reserve(tile * units // (8 * self.dtype.itemsize))
        head[k.FOLDED_AT] = self._reserve(products * units)
        head[k.MASKED_AT] = self._reserve(self._up(products * units) * self.lanes)
        head[k.UNITS_AT] = self._reserve((inputs + 1 + outputs) * units)
        head[k.START_AT] = self._reserve(outputs)
        head[k.MEANS_AT] = self._reserve(inputs * 8 // self.dtype.itemsize)
        first[k.LANES_AT] = self._reserve(inputs * self.lanes)
        last[k.LANES_AT] = self._reserve(outputs * self.lanes)
        self.workspace = self._at

    def _tile_bytes(self) -> int:
        return self._tiles * self.dtype.itemsize

    def _up(self, count: Any) -> int:
        return -(-int(count) // self.lanes) * self.lanes

    def _reserve(self, count: Any) -> int:
        at = self._at
        self._at += self._up(count)
        return at
