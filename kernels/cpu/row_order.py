"""The order in which the numbers of a row are added up, the same on every backend.

    chunk j   numbers K j ... K j + K - 1 of the row; K is that of CHUNKS
    lanes     number k of a chunk goes to lane k mod 32; each lane adds up its own, in turn
    fold      lanes join their partners at distances 16, 8, 4, 2, 1; the chunk's sum is in lane 0
    row       the sum of chunk j goes to lane j mod 32, and the lanes are folded once more

A lane begins with its first term, and a lane that has none is left out, or is -0, which changes no
sum, not even a zero's sign. A GPU's warp has 32 lanes, and a chunk is what it keeps in registers;
here the lanes are those of several vector registers. `Order` writes the loops for them: sums of
rows (`lane_sums.py`), and what softmax does along a row (`row_vectors.py`). `row_sum` is the same
for one thread that has a short row to itself. Why it is this order stands in
docs/decisions/one-answer.md.
"""

from llvmlite import ir
from numba.core import cgutils

from .common import row
from .vectors import NUMBER

LANES = 32
CHUNKS = {4: 1024, 8: 256}  # numbers of a chunk, by the bytes of one


def folded(join, registers, whole):
    """One register of `registers`, which are the first of `whole`: those that are far apart join
    first, and those without a partner stay as they are.
    """
    distance = whole // 2
    while distance:
        near, far = registers[:distance], registers[distance:]
        registers = [join(*pair) for pair in zip(near, far, strict=False)] + near[len(far) :]
        distance //= 2
    return registers[0]


class Order:
    """Emits the loops over a row: for one sum, or for several over the same numbers.

    emit     the registers that sums are kept in
    add      (sums, k, at, mask) -> the sums, with the terms of the numbers from `at` on, as many
             as a register has lanes; behind a mask, where it is not None, no others. They are
             those of register k of the 32 lanes
    join     (a, b) -> both in one
    neutral  of each sum: the register that changes nothing
    """

    def __init__(self, emit, add, join, neutral):
        self.emit, self.builder = emit, emit.builder
        self.add, self.join, self.neutral = add, join, neutral
        self.registers = max(1, LANES // emit.lanes)

    def row(self, start, stop, size):
        """The sums over start..stop-1, each a number, by chunks of `size` numbers."""
        builder, emit = self.builder, self.emit
        element = emit.element
        results = [cgutils.alloca_once(builder, element) for _ in self.neutral]
        lanes = [cgutils.alloca_once(builder, element, size=LANES) for _ in self.neutral]
        count, one = builder.sub(stop, start), NUMBER(1)
        single = builder.icmp_signed("<=", count, NUMBER(size))
        with builder.if_then(builder.not_(single)):
            self._clear(lanes)
        chunks = builder.sdiv(builder.add(count, NUMBER(size - 1)), NUMBER(size))
        with cgutils.for_range_slice(builder, NUMBER(0), chunks, one, NUMBER) as (j, _):
            first = builder.add(start, builder.mul(j, NUMBER(size)))
            last = builder.add(first, NUMBER(size))
            last = builder.select(builder.icmp_signed("<", last, stop), last, stop)
            sums = [self.number(value) for value in self.chunk(first, last)]
            with builder.if_else(single) as (then, otherwise):
                with then:
                    self._keep(sums, results)
                with otherwise:
                    lane = builder.and_(j, NUMBER(LANES - 1))
                    for value, place in zip(sums, lanes, strict=True):
                        here = builder.gep(place, [lane])
                        builder.store(self.join(builder.load(here), value), here)
        with builder.if_then(builder.not_(single)):
            self._keep([self.number(self._load(place)) for place in lanes], results)
        return [builder.load(result) for result in results]

    def chunk(self, start, stop):
        """The sums over start..stop-1 in the lanes of a register each: not folded to the end."""
        builder, emit = self.builder, self.emit
        places = [[emit.variable(n) for n in self.neutral] for _ in range(self.registers)]
        width = emit.index(emit.lanes)
        turn = emit.index(self.registers * emit.lanes)
        count = builder.sub(stop, start)
        with cgutils.for_range(builder, builder.sdiv(count, turn)) as loop:
            at = builder.add(start, builder.mul(loop.index, turn))
            for k, register in enumerate(places):
                self._turn(register, k, at, None)
                at = builder.add(at, width)
        at = builder.sub(stop, builder.srem(count, turn))
        for k, register in enumerate(places):
            left = builder.sub(stop, at)
            with builder.if_then(builder.icmp_signed(">", left, emit.index(0))):
                self._turn(register, k, at, builder.not_(emit.lanes_from(left)))
            at = builder.add(at, width)
        sums = [[builder.load(place) for place in register] for register in places]
        return [folded(self.join, list(one), self.registers) for one in zip(*sums, strict=True)]

    def number(self, value):
        """The lanes of `value` as one number: halves join until one is left."""
        width = self.emit.lanes
        while width > 1:
            width //= 2
            halves = (self.emit.shuffle(value, range(k, k + width)) for k in (0, width))
            value = self.join(*halves)
        return self.builder.extract_element(value, ir.IntType(32)(0))

    def _turn(self, places, k, at, mask):
        self._keep(self.add([self.builder.load(place) for place in places], k, at, mask), places)

    def _keep(self, values, places):
        for value, place in zip(values, places, strict=True):
            self.builder.store(value, place)

    def _clear(self, lanes):
        for place, neutral in zip(lanes, self.neutral, strict=True):
            for k in range(self.registers):
                self.emit.store(neutral, place, NUMBER(k * self.emit.lanes))

    def _load(self, place):
        loaded = [self.emit.load(place, NUMBER(k * self.emit.lanes)) for k in range(self.registers)]
        return folded(self.join, loaded, self.registers)


@row
def row_sum(add, C, i, arguments, nothing):
    """The sum of row i by one thread: add(sum, i, c, arguments) is the sum with term c.

    C is at most a chunk; nothing is -0. A loop for each fold, around that of a lane: partners are
    what the next one out adds up.
    """
    total = nothing
    for a in range(min(2, C)):
        by_2 = nothing
        for b in range(a, min(4, C), 2):
            by_4 = nothing
            for c in range(b, min(8, C), 4):
                by_8 = nothing
                for d in range(c, min(16, C), 8):
                    by_16 = nothing
                    for e in range(d, min(32, C), 16):
                        lane = nothing
                        for k in range(e, C, 32):
                            lane = add(lane, i, k, arguments)
                        by_16 += lane
                    by_8 += by_16
                by_4 += by_8
            by_2 += by_4
        total += by_2
    return total
