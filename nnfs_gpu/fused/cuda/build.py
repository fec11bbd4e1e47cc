"""Which build of kernels/fused_cuda/fused.cu a plan gets, and on how many threads it runs.

`KernelSteps` calls `choose(plan, ...)` once for each kind of batch. Everything here is
arithmetic on sizes: it needs no GPU and no CuPy. How a whole step in one launch is cut follows
from the device, too: its multiprocessors, its shared memory. That of a leaf (`leaf.py`) follows
from sizes alone: the cut is that of `REFERENCE`, whatever the device.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from ..plan import Plan
from ..vocabulary import OPTIMIZERS, CannotFuse

WIDEST = 128  # units of a layer whose tile stays in shared memory
MOST_STAGES = 5
STATIC_SHARED = 48 * 1024  # bytes; more are asked for at the launch
RESERVED = 1024  # bytes of it that the kernel itself has, and rounding
MOST_ALONE = 4096  # samples of a leaf that one block does, however little work they are
SMALL_WORK = 4_000_000  # operations of a step that one block does, so that it can do many
GROUP = 16  # blocks whose sums are added up together: GROUP of fused.cu

LABELS, BYTES, NUMBERS = 0, 1, 2  # what the targets are: int32, uint8, real


@dataclass(frozen=True)
class Device:
    """What the choice depends on.

    processors  multiprocessors
    shared      bytes of shared memory that a block can ask for
    dynamic     False where a kernel's shared memory has any size: the emulator
    """

    processors: int
    shared: int
    dynamic: bool = True


REFERENCE = Device(processors=132, shared=227 * 1024)  # of leaves: an H100 or H200
LEAST_SHARED = 64 * 1024  # that every device has which we compile for


@dataclass(frozen=True)
class Build:
    """A build and its launch; `blocks` is the most that are worth starting."""

    definitions: tuple[tuple[str, Any], ...]
    narrow: bool
    threads: int
    tile: int
    blocks: int

    def grid(self, rows: int) -> int:
        """Blocks for a step over `rows` samples: a function of the sizes alone."""
        return max(1, min(self.blocks, -(-rows // self.tile)))


def partial_rows(blocks: int) -> int:
    """Rows of scratch memory that `blocks` blocks and their groups write."""
    return blocks + -(-blocks // GROUP)


def is_narrow(plan: Plan, targets: int) -> bool:
    """True for one hidden layer between few inputs and few outputs, which has a faster kernel."""
    if len(plan.stages) != 2 or plan.stages[0].dropout:
        return False
    if _narrow_rows(plan, targets) > 16 or _is_one_class(plan):
        return False
    groups = narrow_groups(plan, targets)
    threads = _multiple(256, groups)
    return groups <= 256 and _narrow_bytes(plan, targets, threads, threads) <= STATIC_SHARED


def _is_one_class(plan: Plan) -> bool:
    return plan.classes and plan.n_outputs == 1


def choose(
    plan: Plan,
    targets: int,
    penalties: bool,
    rows: int,
    device: Device,
    part: bool = False,
    weighted: bool = False,
) -> Build:
    """The build for steps over `rows` samples, which have weights where `weighted`; with `part`,
    for leaves of that many.

    A leaf has the tile, the threads and the blocks of `REFERENCE`. Of `device` it has what changes
    no sum: whether weights stand in shared memory, and how many blocks a multiprocessor takes.

    Raises CannotFuse for a plan that does not fit the device.
    """
    make = _narrow if is_narrow(plan, targets) else _tiles
    build = make(plan, targets, penalties and not part, rows, device, part)
    more = [(name, 1) for name, wanted in (("PART", part), ("WEIGHTS", weighted)) if wanted]
    return replace(build, definitions=(*build.definitions, *more))


def end_of(plan: Plan, penalties: bool, device: Device) -> Build:
    """The build of fused_end.cu: the end of a step that came in leaves."""
    return _build(plan, LABELS, penalties, device, 0, 256, 16, 1, 1)


def _one_block(plan: Plan, rows: int, part: bool) -> bool:
    """True where one block does a step soon enough to do all steps of a launch; or a leaf."""
    return rows * plan.flops() <= SMALL_WORK and (not part or rows <= MOST_ALONE)


def _narrow(
    plan: Plan, targets: int, penalties: bool, rows: int, device: Device, part: bool
) -> Build:
    """Few samples: one block, a sample a thread. Many: up to four a thread, so that weights
    are read once for four; two blocks a multiprocessor, so that one computes while one waits.
    """
    groups = narrow_groups(plan, targets)
    if _one_block(plan, rows, part):
        threads = _multiple(512, groups)
        while _narrow_bytes(plan, targets, threads, threads) > STATIC_SHARED:
            threads = _multiple(threads // 2, groups)
        return _build(plan, targets, penalties, device, 1, threads, threads, 1, 1)
    processors = (REFERENCE if part else device).processors
    threads, each = _multiple(256, groups), 1
    while (
        2 * each * plan.itemsize <= 16
        and rows >= 4 * each * threads * processors
        and _narrow_bytes(plan, targets, threads, 2 * each * threads) <= STATIC_SHARED
    ):
        each *= 2
    blocks = 2 * processors
    return _build(plan, targets, penalties, device, 1, threads, each * threads, 2, blocks)


def _narrow_rows(plan: Plan, targets: int) -> int:
    """Numbers of a hidden unit: weights of its inputs, bias, weights to the outputs that count."""
    return plan.n_inputs + 1 + plan.n_outputs - _differences(plan, targets)


def _differences(plan: Plan, targets: int) -> bool:
    """Whether the last score counts as 0 and is not computed: where the CPU does so, too."""
    return plan.narrow is not None and plan.classes and targets != NUMBERS


def _narrow_bytes(plan: Plan, targets: int, threads: int, tile: int) -> int:
    """Shared memory that fused.cu needs at least: FIXED_SIZE + AREA there."""
    rows, groups = _narrow_rows(plan, targets), narrow_groups(plan, targets)
    lanes = 16 // plan.itemsize
    padded = groups * _narrow_units(plan, targets)
    parts = threads // 32 if groups <= 32 else threads // groups
    features = -(-(rows - 1) // lanes) * lanes
    fixed = rows * padded + threads // 32 * (rows + 2)
    return (fixed + max(tile * features, parts * rows * padded) + 128) * plan.itemsize


def _narrow_units(plan: Plan, targets: int) -> int:
    """Hidden units of a thread: UNITS of fused.cu."""
    rows = _narrow_rows(plan, targets)
    if plan.itemsize == 8:
        return 2 if rows <= 6 else 1
    return 4 if rows <= 6 else 2 if rows <= 12 else 1


def narrow_groups(plan: Plan, targets: int) -> int:
    """Threads that share the hidden units: GROUPS of fused.cu."""
    units = _narrow_units(plan, targets)
    threads = -(-plan.stages[0].n_outputs // units)
    if threads > 32:
        return -(-threads // 32) * 32
    groups = 4 // units
    while groups < threads:
        groups *= 2
    return groups


def _multiple(threads: int, groups: int) -> int:
    """The most threads up to `threads` that are whole groups and whole warps."""
    step = max(32, groups)
    return max(step, threads // step * step)


def _tiles(
    plan: Plan, targets: int, penalties: bool, rows: int, device: Device, part: bool
) -> Build:
    """The largest tile that fits, but not so large that multiprocessors have none."""
    widths = (plan.n_inputs, *(stage.n_outputs for stage in plan.stages))
    if len(plan.stages) > MOST_STAGES:
        raise CannotFuse(
            f"{plan.name} has {len(plan.stages)} dense layers, the GPU's fused step takes up "
            f"to {MOST_STAGES}"
        )
    if max(widths) > WIDEST:
        raise CannotFuse(
            f"{plan.name} has a width of {max(widths)}, the GPU's fused step takes up to {WIDEST}"
        )
    cut, shared = (REFERENCE, LEAST_SHARED) if part else (device, device.shared)
    one = _one_block(plan, rows, part)
    for tile in (64, 32, 16):
        enough = rows > tile // 2 if one else rows >= tile * cut.processors // 2
        if tile == 16 or (enough and _activations(plan, widths, tile) <= shared - RESERVED):
            break
    room, per_processor = _placed(plan, widths, tile, device)
    blocks = 1 if one else _placed(plan, widths, tile, cut)[1] * cut.processors
    return _build(plan, targets, penalties, device, 0, 256, tile, per_processor, blocks, room)


def _activations(plan: Plan, widths: tuple[int, ...], tile: int) -> int:
    """Bytes that a tile's activations take."""
    return sum(widths) * (tile + 4) * plan.itemsize


def _placed(plan: Plan, widths: tuple[int, ...], tile: int, device: Device) -> tuple[int, int]:
    """Bytes of shared memory for a block, with the weights where they fit; blocks that a
    multiprocessor takes. Raises CannotFuse where not even the activations fit.
    """
    limit, activations = device.shared - RESERVED, _activations(plan, widths, tile)
    if activations > limit:
        raise CannotFuse(
            f"{plan.name}: the activations of {tile} samples take {activations:,} bytes of shared "
            f"memory, this device has {limit:,}"
        )
    staged = sum((i + 1) * (-(-o // 4) * 4 + 4) for i, o in pairwise(widths))
    room = min(limit, activations + staged * plan.itemsize + 1024)
    both = 2 * (room + 2048) <= device.shared and plan.itemsize == 4
    shallow = max(widths) <= 64 and len(widths) <= 4 and tile == 64
    return room, 2 if both and shallow else 1  # registers for two without spills


def _symbol(name: str) -> str:
    """What kernels/fused_cuda/plan.cuh calls `name` of the vocabulary; one that it does not know
    stops the compiler, which says so.
    """
    return name.upper()


def _build(
    plan: Plan,
    targets: int,
    penalties: bool,
    device: Device,
    narrow: int,
    threads: int,
    tile: int,
    per_processor: int,
    blocks: int,
    room: int = STATIC_SHARED,
) -> Build:
    stages, states = plan.stages, OPTIMIZERS[plan.optimizer].states
    widths = (plan.n_inputs, *(stage.n_outputs for stage in stages))
    definitions: dict[str, Any] = {
        "WIDTHS": ",".join(map(str, widths)),
        "ACTIVATIONS": ",".join(_symbol(stage.activation) for stage in stages),
        "DROPOUTS": ",".join(str(int(stage.dropout)) for stage in stages),
        "STAGES": len(stages),
        "LOSS": _symbol(plan.loss),
        "OPTIMIZER": _symbol(plan.optimizer),
        "MOMENTUMS": int("momentums" in states),
        "CACHES": int("cache" in states),
        "ACCURACY": _symbol(plan.accuracy),
        "TARGETS": targets,
        "PENALTIES": int(penalties),
        "NARROW": narrow,
        "DIFFERENCES": int(narrow and _differences(plan, targets)),
        "THREADS": threads,
        "TILE": tile,
        "BLOCKS": per_processor,
        "ROOM": room,
    }
    if room > STATIC_SHARED and device.dynamic:
        definitions["SHARED"] = room
    return Build(tuple(definitions.items()), bool(narrow), threads, tile, blocks)
