"""How threads meet inside kernels: cells in memory that one writes and others watch.

A cell is a whole number of 64 bits in an int64 array, a line of the cache away from the next
(`APART`). It holds a turn, which only grows, and a count within the turn: `turn << SHIFT` and
the count added. A thread that comes late, with an old turn, finds nothing to take and nothing
to wait for: so nobody has to wait for threads that have not begun, and no cell is ever cleared
while somebody uses it.

    claim(cells, at, turn, limit)    the next of the turn's `limit` parts, or -1: none is left
    add(cells, at, number)           one more part is done; what was written is there for all
    look(cells, at)                  its value now, with all that was written before it was put
    put(cells, at, value)            the cell becomes `value`
    reached(cells, at, value, most)  waits until the cell is at least `value`
    changed(cells, at, seen, most)   waits until the cell differs from `seen`
    clock()                          nanoseconds, of a clock that never goes back

Waits are `most` nanoseconds long at most, by the clock: looks take forty times as long on one
machine as on another (x86's pause some 40 ns, ARM's hint to yield one).

A thread that waits keeps its core, because falling asleep and being woken takes tens of
microseconds, and may end on a core that somebody else uses. After a while it offers the core to
others between looks, in case what it waits for has been put on the same one.
"""

import os
import time

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .common import jit

APART = 16  # int64 from one cell to the next: 128 bytes, two lines, as some fetch pairs
SHIFT = 24  # bits of the count
COUNTS = (1 << SHIFT) - 1
PATIENCE = 20_000  # ns, before a waiting thread offers its core
LOOKS = 16  # from one look at the clock to the next: a power of two
FOREVER = 1 << 62  # ns, 146 years

# ARM's hint to yield passes in a nanosecond; waiting for the pipeline to empty takes some ten.
_PAUSE = {"x86_64": ("llvm.x86.sse2.pause", ()), "aarch64": ("llvm.aarch64.isb", (15,))}


def _cell(context, builder, kind, cells, at):
    data = cgutils.create_struct_proxy(kind)(context, builder, cells).data
    return builder.gep(data, [at])


@intrinsic
def look(typing, cells, at):
    """cells[at], with all that was written before it was."""

    def generate(context, builder, signature, arguments):
        place = _cell(context, builder, signature.args[0], *arguments)
        return builder.load_atomic(place, "acquire", 8)

    return types.int64(cells, types.int64), generate


@intrinsic
def put(typing, cells, at, value):
    """cells[at] = value, after all that this thread has written before."""

    def generate(context, builder, signature, arguments):
        place = _cell(context, builder, signature.args[0], *arguments[:2])
        builder.store_atomic(arguments[2], place, "release", 8)
        return context.get_dummy_value()

    return types.void(cells, types.int64, types.int64), generate


@intrinsic
def add(typing, cells, at, number):
    """cells[at] += number, after all that this thread has written before."""

    def generate(context, builder, signature, arguments):
        place = _cell(context, builder, signature.args[0], *arguments[:2])
        builder.atomic_rmw("add", place, arguments[2], "acq_rel")
        return context.get_dummy_value()

    return types.void(cells, types.int64, types.int64), generate


@intrinsic
def _exchange(typing, cells, at, seen, value):
    """Whether cells[at] was `seen` and is `value` now."""

    def generate(context, builder, signature, arguments):
        place = _cell(context, builder, signature.args[0], *arguments[:2])
        pair = builder.cmpxchg(place, arguments[2], arguments[3], "acq_rel", "acquire")
        return builder.extract_value(pair, 1)

    return types.boolean(cells, types.int64, types.int64, types.int64), generate


@intrinsic
def _pause(typing):
    """Tell the processor that this is a loop that waits."""

    def generate(context, builder, signature, arguments):
        machine = llvm.get_process_triple().split("-")[0]
        if machine in _PAUSE:
            name, numbers = _PAUSE[machine]
            values = [ir.Constant(ir.IntType(32), number) for number in numbers]
            kind = ir.FunctionType(ir.VoidType(), [value.type for value in values])
            builder.call(cgutils.get_or_insert_function(builder.module, kind, name), values)
        return context.get_dummy_value()

    return types.void(), generate


if hasattr(os, "sched_yield"):
    _offer = types.ExternalFunction("sched_yield", types.int32())
else:

    @jit
    def _offer():
        _pause()


if hasattr(time, "CLOCK_MONOTONIC"):

    @intrinsic
    def clock(typing):
        """Nanoseconds, of a clock that never goes back."""

        def generate(context, builder, signature, arguments):
            whole, number = ir.IntType(64), ir.IntType(32)
            kind = ir.FunctionType(number, [number, whole.as_pointer()])
            read = cgutils.get_or_insert_function(builder.module, kind, "clock_gettime")
            found = cgutils.alloca_once(builder, whole, size=2)  # seconds and nanoseconds
            builder.call(read, [ir.Constant(number, time.CLOCK_MONOTONIC), found])
            places = (builder.gep(found, [ir.Constant(number, at)]) for at in (0, 1))
            seconds, rest = map(builder.load, places)
            return builder.add(builder.mul(seconds, ir.Constant(whole, 10**9)), rest)

        return types.int64(), generate
else:  # Windows: its clock() is the wall's, in milliseconds
    _ticks = types.ExternalFunction("clock", types.int32())

    @jit
    def clock():
        """Nanoseconds since some moment."""
        return np.int64(_ticks()) * 1_000_000


@jit
def wait(looks, began, waited):
    """A moment between two looks, of which there have been `looks`: the time since `began`.

    The clock is looked at once in LOOKS; in between it is `waited`, what it was the last time.
    """
    _pause()
    if looks & (LOOKS - 1) == 0:
        waited = clock() - began
    if waited > PATIENCE:
        _offer()
    return waited


@jit
def claim(cells, at, turn, limit):
    """The next of the turn's parts 0..limit-1, or -1: no two threads get the same."""
    while True:
        seen = look(cells, at)
        if seen >> SHIFT != turn or seen & COUNTS >= limit:
            return -1
        if _exchange(cells, at, seen, seen + 1):
            return seen & COUNTS


@jit
def reached(cells, at, value, most):
    """Wait until cells[at] is at least `value`, and see what others wrote before it was.

    False where it was not within `most` nanoseconds.
    """
    if look(cells, at) >= value:
        return True
    looks, waited, began = 0, 0, clock()
    while look(cells, at) < value:
        if waited >= most:
            return False
        waited = wait(looks, began, waited)
        looks += 1
    return True


@jit
def changed(cells, at, seen, most):
    """Wait until cells[at] is not `seen`: whether it happened within `most` nanoseconds."""
    if look(cells, at) != seen:
        return True
    looks, waited, began = 0, 0, clock()
    while look(cells, at) == seen:
        if waited >= most:
            return False
        waited = wait(looks, began, waited)
        looks += 1
    return True
