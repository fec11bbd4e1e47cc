"""Operations along short and long rows, in vector registers: what softmax does three times.

    total  = combine over c of term(inputs[0][i, c], ...)        a sum or a maximum of the row
    out[i, c] = result(total, inputs[0][i, c], ...)

    shapes   inputs and out (N, C), contiguous; out may be inputs[0]
    threads  each has a range of rows
    traffic  every array once: a row stays in registers or in cache between total and result

LLVM vectorizes a loop along a row, but a row of 10 is too short for that, and one of 1,000 ends
with a wait: the sum is known when the last number has come from memory, and only then does the
next row begin to be fetched. Three ways here, by the length of a row:

    packed     C < lanes: as many whole rows as fit in a register at once. A total comes from
               shuffles: S(n)[c] is the sum of n neighbours from c on, around the row's end, and
               S(2n)[c] = S(n)[c] + S(n)[c + n].
    registers  up to 16 registers: all of the row is loaded, then used. The last register ends
               where the row ends, and the lanes that it has twice do not count.
    long       the row twice, the second time from cache. Meanwhile the next row is prefetched,
               if that cache holds both: it is there when it is needed.

Sums are added in an order that depends on C alone, so neither threads nor addresses change a
bit. Registers have 32 bytes even where there are longer ones: rows begin anywhere, and an access
of 64 bytes then straddles two lines of the cache. Measured for softmax backward on one core,
against adding two arrays into a third: 1.0 to 1.4 times as long at C = 2 to 60,000, where the
loops of softmax.py take 1.3 to 4.3.
"""

import contextlib

from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .vectors import NUMBER, Emitter

SIZE = 32  # bytes of a register
MOST = 16  # registers that hold a row, twice: what does not fit goes to the stack, still faster
MOST_CACHED = 8  # for rows in the first-level cache: from there on, twice from it is as fast
UNROLLED = 4  # registers at a time of a long row
PREFETCH = 3 << 9, 256 << 10  # bytes of a row: shorter and longer ones do not gain


def row_operation(term, combine, neutral, result, *, cached=False):
    """The intrinsic op(inputs, out, start, stop) for a tuple of arrays and rows start..stop-1.

    term     (emit, values of the inputs) -> what is combined
    combine  (emit, a, b) -> one of both; neutral: the number that changes nothing
    result   (emit, total, values of the inputs) -> the output
    cached   the rows lie in the first-level cache: less code, which is compiled sooner
    """

    @intrinsic
    def operation(typing, inputs, out, start, stop):
        def generate(context, builder, signature, arguments):
            rows = _Rows(context, builder, signature, arguments)
            rows.term, rows.combine, rows.result = term, combine, result
            rows.neutral = rows.emit.constant(neutral)
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
            self._case(jump, lengths, done, lambda count=count: self.registers(count))
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
        result = self.result(emit, self._totals(self.term(emit, *values), C), *values)
        behind = emit.lanes_from(emit.index(numbers))
        return result if numbers == emit.lanes else emit.select(behind, values[0], result)

    def _totals(self, value, C):
        """In every lane the total of its row: see S(n) above; all take that of the row's start."""
        emit, lanes = self.emit, range(self.emit.lanes)

        def around(value, by):
            end = emit.lanes // C * C  # lanes from there on belong to no whole row
            turned = [k // C * C + (k % C + by) % C if k < end else k for k in lanes]
            return emit.shuffle(value, turned)

        def neighbours(n):
            if n == 1:
                return value
            if n % 2:
                return self.combine(emit, neighbours(n - 1), around(value, n - 1))
            half = neighbours(n // 2)
            return self.combine(emit, half, around(half, n // 2))

        return emit.shuffle(neighbours(C), [k // C * C for k in lanes])

    # ---- a row in registers ----
    def registers(self, count):
        """All of a row, then its total, then the results; `count` registers hold it."""
        builder, emit = self.builder, self.emit
        last = builder.sub(self.C, emit.index(emit.lanes))
        counted = emit.lanes_from(builder.sub(emit.index(count * emit.lanes), self.C))
        with cgutils.for_range_slice(builder, self.start, self.stop, NUMBER(1), NUMBER) as (i, _):
            at = builder.mul(i, self.C)
            places = [builder.add(at, emit.index(k * emit.lanes)) for k in range(count - 1)]
            places.append(builder.add(at, last))
            values = [[emit.load(a, place) for a in self.inputs] for place in places]
            terms = [self.term(emit, *value) for value in values]
            terms[-1] = emit.select(counted, terms[-1], self.neutral)
            total = self._everywhere(self._tree(terms))
            for value, place in zip(values, places, strict=True):
                emit.store(self.result(emit, total, *value), self.out, place)

    def _tree(self, terms):
        while len(terms) > 1:
            pairs = [terms[k : k + 2] for k in range(0, len(terms), 2)]
            terms = [self.combine(self.emit, *pair) if pair[1:] else pair[0] for pair in pairs]
        return terms[0]

    def _everywhere(self, value):
        """The total of all lanes, in each of them."""
        distance = self.emit.lanes // 2
        while distance:
            crossed = self.emit.shuffle(value, [k ^ distance for k in range(self.emit.lanes)])
            value, distance = self.combine(self.emit, value, crossed), distance // 2
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
        sums = [cgutils.alloca_once(builder, emit.type) for _ in range(UNROLLED)]
        for place in sums:
            builder.store(self.neutral, place)

        def add(k, here):
            term = self.term(emit, *[emit.load(a, here) for a in self.inputs])
            builder.store(self.combine(emit, builder.load(sums[k]), term), sums[k])

        def apply(k, here):
            values = [emit.load(a, here) for a in self.inputs]
            emit.store(self.result(emit, total, *values), self.out, here)

        def soon(k, here, arrays, ahead, write):
            if prefetch and k * SIZE % 64 == 0:  # a line of the cache
                for a in arrays:
                    emit.prefetch(a, builder.add(here, ahead), write=write)

        rest = self._pieces(at, end, add, lambda k, p: soon(k, p, [self.out], emit.index(0), True))
        ends = [emit.load(a, last) for a in self.inputs]  # before they may be overwritten
        counted = emit.lanes_from(builder.sub(builder.load(rest), last))
        term = emit.select(counted, self.term(emit, *ends), self.neutral)
        total = self._everywhere(self._tree([builder.load(place) for place in sums] + [term]))
        self._pieces(at, end, apply, lambda k, p: soon(k, p, self.inputs, self.C, False))
        emit.store(self.result(emit, total, *ends), self.out, last)

    # ---- loops ----
    def _pieces(self, at, end, work, before):
        """work(k, place) for whole registers of at..end-1; the variable of where they end."""
        builder, emit = self.builder, self.emit
        here = cgutils.alloca_once(builder, NUMBER)
        builder.store(at, here)
        step, lanes = emit.index(UNROLLED * emit.lanes), emit.index(emit.lanes)
        room = builder.sub(end, emit.index(UNROLLED * emit.lanes - 1))
        with self._while(here, step, room) as place:
            for k in range(UNROLLED):
                piece = builder.add(place, emit.index(k * emit.lanes))
                before(k, piece)
                work(k, piece)
        with self._while(here, lanes, builder.sub(end, emit.index(emit.lanes - 1))) as place:
            work(0, place)
        return here

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
