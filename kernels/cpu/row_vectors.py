"""Operations along short and long rows, in vector registers: what softmax does three times.

    sum   = term(inputs[0][i, 0], ...) and so on, added up along the row as row_order.py says
    total = last(sum)
    out[i, c] = result(total, inputs[0][i, c], ...)

    shapes   inputs and out (N, C), contiguous; out may be inputs[0]
    threads  each has a range of rows
    traffic  every array once: a row stays in registers or in cache between total and result

LLVM vectorizes a loop along a row, but a row of 10 is too short for that, and one of 1,000 ends
with a wait: the sum is known when the last number has come from memory, and only then does the
next row begin to be fetched. Three ways here, by the length of a row:

    packed     C < lanes: as many whole rows as fit in a register at once. Numbers meet their
               partners by shuffles within each row.
    registers  up to 16 registers: all of the row is loaded, then used. The last register ends
               where the row ends; what it adds is shuffled to its own lanes, or in longer rows
               loaded once more.
    long       the row twice, the second time from cache. Meanwhile the next row is prefetched,
               if that cache holds both: it is there when it is needed.

Neither threads nor addresses change a bit. Registers have 32 bytes even where there are longer
ones: rows begin anywhere, and an access of 64 bytes then straddles two lines of the cache.
Measured for softmax backward on one core, against adding two arrays into a third: 1.0 to 1.4 times
as long at C = 2 to 60,000, where loops over rows take 1.3 to 4.3.
"""

import contextlib
import functools

from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .row_order import CHUNKS, LANES, Order, folded
from .vectors import NUMBER, Emitter

SIZE = 32  # bytes of a register
MOST = 16  # registers that hold a row, twice: what does not fit goes to the stack, still faster
MOST_KNOWN = 4  # with a case for every length: in few registers, to load one twice takes 8 % longer
MOST_CACHED = 8  # for rows in the first-level cache: from there on, twice from it is as fast
UNROLLED = 4  # registers of a long row whose results are made at a time
PREFETCH = 3 << 9, 256 << 10  # bytes of a row: shorter and longer ones do not gain


def row_operation(term, add, join, absent, neutral, last, result, *, cached=False):
    """The intrinsic op(inputs, out, start, stop) for a tuple of arrays and rows start..stop-1.

    term     (emit, values of the inputs) -> what is added up: a sum or a maximum
    add      (emit, sum, values of the inputs) -> the sum with their term
    join     (emit, a, b) -> two sums in one
    neutral  the number that changes no sum: -0, or minus infinity
    absent   of each input the number whose term changes none
    last     (emit, sum of the row) -> the total
    result   (emit, total, values of the inputs) -> the output
    cached   the rows lie in the first-level cache: less code, which is compiled sooner
    """

    @intrinsic
    def operation(typing, inputs, out, start, stop):
        def generate(context, builder, signature, arguments):
            rows = _Rows(context, builder, signature, arguments)
            for name, emitted in (("term", term), ("add", add), ("join", join), ("last", last)):
                setattr(rows, name, functools.partial(emitted, rows.emit))
            rows.result = functools.partial(result, rows.emit)
            rows.neutral = rows.emit.constant(neutral)
            rows.absent = [rows.emit.constant(number) for number in absent]
            rows.by_length(cached)
            return context.get_dummy_value()

        return types.void(inputs, out, types.int64, types.int64), generate

    return operation


class _Rows:
    """Emits one operation for every length of a row."""

    def __init__(self, context, builder, signature, arguments):
        self.builder = builder
        self.emit = emit = Emitter.of_registers(context, builder, signature.args[1].dtype, SIZE)
        inputs = cgutils.unpack_tuple(builder, arguments[0])
        self.inputs = [emit.array(k, a)[0] for k, a in zip(signature.args[0], inputs, strict=True)]
        self.out, self.C = emit.array(signature.args[1], arguments[1])
        self.start, self.stop = arguments[2:]

    def by_length(self, cached):
        """Jumps to the code for C."""
        builder, lanes = self.builder, self.emit.lanes
        long, done = builder.append_basic_block("long"), builder.append_basic_block("done")
        jump = builder.switch(self.C, long)
        jump.add_case(self.emit.index(0), done)
        for C in range(1, lanes):
            self._case(jump, [C], done, lambda C=C: self.packed(C))
        for count in range(1, (MOST_CACHED if cached else MOST) + 1):
            lengths = range(max(lanes, (count - 1) * lanes + 1), count * lanes + 1)
            if count <= MOST_KNOWN:
                for C in lengths:
                    self._case(jump, [C], done, lambda C=C, k=count: self.registers(k, C))
            else:
                self._case(jump, lengths, done, lambda k=count: self.registers(k))
        builder.position_at_end(long)
        if cached:
            self._each_long(prefetch=False)
        else:
            self.long()
        builder.branch(done)
        builder.position_at_end(done)

    def _case(self, jump, lengths, done, emit_rows):
        block = self.builder.append_basic_block("rows")
        for C in lengths:
            jump.add_case(self.emit.index(C), block)
        self.builder.position_at_end(block)
        emit_rows()
        self.builder.branch(done)

    # ---- several rows in a register ----
    def packed(self, C):
        """A register at a time while all of it lies in the range; the rest through copies.

        The lanes behind the last whole row belong to the next one: they get their own value.
        """
        builder, emit = self.builder, self.emit
        numbers = emit.lanes // C * C  # of whole rows
        first = builder.mul(self.start, emit.index(C))
        end = builder.mul(self.stop, emit.index(C))
        step = emit.index(numbers)
        room = builder.sub(end, emit.index(emit.lanes - 1))
        at = cgutils.alloca_once_value(builder, first)
        with builder.if_then(builder.icmp_signed("<", first, room)):
            values = [cgutils.alloca_once_value(builder, emit.load(a, first)) for a in self.inputs]
            with self._while(at, step, room) as here:
                packed = self._pack([builder.load(value) for value in values], C)
                # Loaded before the store, in case out is an input: a load of what was only just
                # stored, in part, would wait for the store.
                after = self._least(builder.add(here, step), builder.sub(room, emit.index(1)))
                for a, value in zip(self.inputs, values, strict=True):
                    builder.store(emit.load(a, after), value)
                emit.store(packed, self.out, here)
        copies = [cgutils.alloca_once(builder, emit.type, zfill=True) for _ in self.inputs]
        copies = [builder.bitcast(copy, self.out.type) for copy in copies]
        with self._while(at, step, end) as here:
            count = self._least(builder.sub(end, here), step)
            for data, copy in zip(self.inputs, copies, strict=True):
                self._copy(data, here, copy, emit.index(0), count)
            packed = self._pack([emit.load(copy, emit.index(0)) for copy in copies], C)
            emit.store(packed, copies[0], emit.index(0))
            self._copy(copies[0], emit.index(0), self.out, here, count)

    def _pack(self, values, C):
        emit = self.emit
        numbers = emit.lanes // C * C
        result = self.result(self.last(self._joined(self.term(*values), C)), *values)
        behind = emit.lanes_from(emit.index(numbers))
        return result if numbers == emit.lanes else emit.select(behind, values[0], result)

    def _joined(self, value, C):
        """In every lane the sum of its row.

        At each distance lanes meet their partners in a new register, and a lane that has none stays
        where it was. With as many columns as a power of two all lanes come to the sum.
        """
        emit, distance = self.emit, self.emit.lanes // 2
        rows = range(0, emit.lanes // C * C, C)  # their first lanes
        even = C & (C - 1) == 0
        registers, place = [value], [0] * emit.lanes  # where each lane's own is
        while distance:
            if distance < C:
                columns = range(C if even else min(distance, C - distance))
                meeting = [first + c for first in rows for c in columns]
                partners = {k: k - k % C + (k % C ^ distance) for k in meeting}
                near = self._gathered(registers, place, {k: k for k in meeting})
                far = self._gathered(registers, place, partners)
                registers.append(self.join(near, far))
                for k in meeting:
                    place[k] = len(registers) - 1
            distance //= 2
        value = registers[-1]
        if even:
            return value
        return emit.shuffle(
            value, [k // C * C if k < C * len(rows) else k for k in range(emit.lanes)]
        )

    def _gathered(self, registers, place, wanted):
        """A register whose lane k is `wanted[k]` of the register that has it; any of the others."""
        lanes = range(self.emit.lanes)
        first, *second = sorted({place[k] for k in wanted.values()})
        source = [wanted.get(k, k) for k in lanes]
        if not second:
            value = registers[first]
            return value if source == list(lanes) else self.emit.shuffle(value, source)
        (second,) = second
        later = [self.emit.lanes * (place[k] == second) + k for k in source]
        return self.emit.shuffle_two(registers[first], registers[second], later)

    # ---- a row in registers ----
    def registers(self, count, C=None):
        """All of a row, then its total, then the results; `count` registers hold it.

        C  known to the compiler: the last register's numbers are then shuffled to their lanes
        """
        builder, emit = self.builder, self.emit
        last = builder.sub(self.C, emit.index(emit.lanes))
        rest = emit.index((count - 1) * emit.lanes)
        mask = builder.not_(emit.lanes_from(builder.sub(self.C, rest)))
        with cgutils.for_range_slice(builder, self.start, self.stop, NUMBER(1), NUMBER) as (i, _):
            at = builder.mul(i, self.C)
            places = [builder.add(at, emit.index(k * emit.lanes)) for k in range(count - 1)]
            places.append(builder.add(at, last))
            values = [[emit.load(a, place) for a in self.inputs] for place in places]
            if C is None:
                sums = self._sums([*values[:-1], self._some(builder.add(at, rest), mask)])
            else:
                sums = self._sums(values)
                sums[-1] = self._shifted(sums[-1], count * emit.lanes - C)
            total = self.last(self._everywhere(folded(self.join, sums, LANES // emit.lanes)))
            for value, place in zip(values, places, strict=True):
                emit.store(self.result(total, *value), self.out, place)

    def _shifted(self, value, by):
        """The upper lanes of `value` as the first ones, and in the rest what changes nothing."""
        lanes = self.emit.lanes
        return self.emit.shuffle_two(
            value, self.neutral, [min(k + by, lanes) for k in range(lanes)]
        )

    def _some(self, at, mask):
        """The inputs from `at` on, as far as the mask goes."""
        pairs = zip(self.inputs, self.absent, strict=True)
        return [self.emit.load_some(a, at, mask, other) for a, other in pairs]

    def _sums(self, values):
        """The sums of a row's registers of inputs, in those of the 32 lanes that there are."""
        most = LANES // self.emit.lanes
        sums = [self.term(*value) for value in values[:most]]
        for k, value in enumerate(values[most:]):
            sums[k % most] = self.add(sums[k % most], *value)
        return sums

    def _everywhere(self, value):
        """The sum of all lanes, in each of them."""
        distance = self.emit.lanes // 2
        while distance:
            crossed = self.emit.shuffle(value, [k ^ distance for k in range(self.emit.lanes)])
            value, distance = self.join(value, crossed), distance // 2
        return value

    # ---- a row longer than the registers ----
    def long(self):
        """Rows with the next one prefetched, or without."""
        builder, bytes_of = self.builder, self.emit.bytes
        least, most = (self.emit.index(limit // bytes_of) for limit in PREFETCH)
        fits = builder.and_(
            builder.icmp_signed(">=", self.C, least), builder.icmp_signed("<=", self.C, most)
        )
        with builder.if_else(fits) as (then, otherwise):
            with then:
                self._each_long(prefetch=True)
            with otherwise:
                self._each_long(prefetch=False)

    def _each_long(self, prefetch):
        one = NUMBER(1)
        with cgutils.for_range_slice(self.builder, self.start, self.stop, one, NUMBER) as (i, _):
            self._long(self.builder.mul(i, self.C), prefetch)

    def _long(self, at, prefetch):
        builder, emit = self.builder, self.emit
        end = builder.add(at, self.C)
        last = builder.sub(end, emit.index(emit.lanes))

        def add(sums, k, place, mask):
            if mask is not None:
                return [self.add(*sums, *self._some(place, mask))]
            if prefetch and k * SIZE % 64 == 0:  # a line of the cache
                emit.prefetch(self.out, place, write=True)
            return [self.add(*sums, *[emit.load(a, place) for a in self.inputs])]

        def apply(k, place):
            if prefetch and k * SIZE % 64 == 0:
                for a in self.inputs:
                    emit.prefetch(a, builder.add(place, self.C))
            values = [emit.load(a, place) for a in self.inputs]
            emit.store(self.result(total, *values), self.out, place)

        order = Order(emit, add, self.join, [self.neutral])
        ends = [emit.load(a, last) for a in self.inputs]  # before they may be overwritten
        (joined,) = order.row(at, end, CHUNKS[emit.bytes])
        total = self.last(emit.splat(joined))
        self._pieces(at, end, apply)
        emit.store(self.result(total, *ends), self.out, last)

    # ---- loops ----
    def _pieces(self, at, end, work):
        """work(k, place) for whole registers of at..end-1."""
        builder, emit = self.builder, self.emit
        here = cgutils.alloca_once(builder, NUMBER)
        builder.store(at, here)
        step, lanes = emit.index(UNROLLED * emit.lanes), emit.index(emit.lanes)
        room = builder.sub(end, emit.index(UNROLLED * emit.lanes - 1))
        with self._while(here, step, room) as place:
            for k in range(UNROLLED):
                work(k, builder.add(place, emit.index(k * emit.lanes)))
        with self._while(here, lanes, builder.sub(end, emit.index(emit.lanes - 1))) as place:
            work(0, place)

    @contextlib.contextmanager
    def _while(self, at, step, end):
        """A loop while the variable `at` is below `end`; it grows by `step` after each turn."""
        builder = self.builder
        head, body, done = (builder.append_basic_block(n) for n in ("while", "body", "after"))
        builder.branch(head)
        builder.position_at_end(head)
        here = builder.load(at)
        builder.cbranch(builder.icmp_signed("<", here, end), body, done)
        builder.position_at_end(body)
        yield here
        builder.store(builder.add(here, step), at)
        builder.branch(head)
        builder.position_at_end(done)

    def _least(self, a, b):
        return self.builder.select(self.builder.icmp_signed("<", a, b), a, b)

    def _copy(self, source, first, target, begin, count):
        builder = self.builder
        with cgutils.for_range(builder, count) as loop:
            value = self.emit.load_one(source, builder.add(first, loop.index))
            builder.store(value, builder.gep(target, [builder.add(begin, loop.index)]))
