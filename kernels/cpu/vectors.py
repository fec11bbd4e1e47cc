"""Vector registers, written in LLVM's terms: for loops that LLVM does not vectorize by itself.

Numba turns a function marked `@intrinsic` into whatever instructions its `generate` emits.
`Emitter` is the vocabulary of those here: loads, stores, broadcasts, shuffles of registers of
numbers. `fused_cpu/vectors.py` makes blocks of matrix products of it, `row_vectors.py` operations
along short rows, `lane_sums.py` sums, `elementary.py` exp and log.

Registers here are logical: `REGISTER_BYTES` long whatever the processor has. LLVM splits them
where the machine's are shorter. So a sum has the same lanes, is added in the same order, and has
the same bits on every machine. The hardware decides nothing but how many registers are in use
at a time.
"""

import llvmlite.binding as llvm
from llvmlite import ir
from numba.core import cgutils
from numba.core.registry import cpu_target

NUMBER, LANE = ir.IntType(64), ir.IntType(32)
REGISTER_BYTES = 64  # logical; 16 float32 or 8 float64

_FMA = """
declare <16 x float> @llvm.fma.v16f32(<16 x float>, <16 x float>, <16 x float>)
define <16 x float> @f(<16 x float> %a, <16 x float> %b, <16 x float> %c) {
  %d = call <16 x float> @llvm.fma.v16f32(<16 x float> %a, <16 x float> %b, <16 x float> %c)
  ret <16 x float> %d
}"""


def _hardware():
    """(bytes of a vector register, whether there is an fma) of the processor that Numba compiles
    for: what LLVM makes of one for a logical register, whether features are named or implied.
    """
    triple, processor, features = cpu_target.target_context.codegen().magic_tuple()
    target = llvm.Target.from_triple(triple)
    machine = target.create_target_machine(cpu=processor, features=features)
    assembly = machine.emit_assembly(llvm.parse_assembly(_FMA))
    size = 64 if "zmm" in assembly else 32 if "ymm" in assembly else 16
    return size, "fmaf" not in assembly  # the C library's function


# Without the instruction LLVM calls a function of the C library for each number, 12 to 20 times
# slower: on such a machine products and sums round one by one, and have bits of their own.
HARDWARE_BYTES, HAS_FMA = _hardware()


class Emitter:
    """Registers that hold `lanes` numbers of `kind` (Numba's float32 or float64).

    Without lanes a value is a plain number, which LLVM may vectorize with its loop. Places in
    memory are a pointer to numbers and an index, a 64-bit integer.
    """

    has_fma = HAS_FMA

    def __init__(self, context, builder, kind, lanes):
        self.context, self.builder = context, builder
        self.element = context.get_data_type(kind)
        self.bytes = kind.bitwidth // 8
        self.lanes = lanes
        self.type = self.shaped(self.element)
        self.zero = self.constant(0.0)

    @classmethod
    def of_registers(cls, context, builder, kind, size=REGISTER_BYTES):
        """With as many lanes as `size` bytes hold."""
        return cls(context, builder, kind, size // (kind.bitwidth // 8))

    @classmethod
    def of_numbers(cls, context, builder, kind):
        """Without lanes."""
        return cls(context, builder, kind, None)

    def shaped(self, element):
        """The type of as many `element`s as there are lanes."""
        return ir.VectorType(element, self.lanes) if self.lanes else element

    # ---- whole numbers ----
    def index(self, number):
        """The constant `number`, as indices are."""
        return ir.Constant(NUMBER, number)

    def sum(self, *terms):
        """The sum of indices."""
        total = terms[0]
        for term in terms[1:]:
            total = self.builder.add(total, term)
        return total

    def times(self, number, constant):
        """An index times a constant."""
        return self.builder.mul(number, self.index(constant))

    def variable(self, value):
        """A place on the stack that holds `value`: LLVM makes registers of such places."""
        return cgutils.alloca_once_value(self.builder, value)

    # ---- arrays ----
    def array(self, kind, value):
        """(pointer, numbers from one row to the next) of an array of Numba's type `kind`."""
        array = cgutils.create_struct_proxy(kind)(self.context, self.builder, value=value)
        return array.data, self.builder.extract_value(array.shape, kind.ndim - 1)

    def load_one(self, data, at):
        """One number at `data[at]`, not a vector."""
        return self.builder.load(self.builder.gep(data, [at]))

    def load(self, data, at):
        """The lanes from `data[at]` on."""
        loaded = self.builder.load(self._place(data, at))
        loaded.align = self.bytes
        return loaded

    def load_some(self, data, at, mask, other=None):
        """The lanes of a mask; `other`, or 0, in the rest, whose memory need not exist."""
        place, other = self._place(data, at), other or ir.Constant(self.type, None)
        kind = ir.FunctionType(self.type, [place.type, LANE, mask.type, self.type])
        name = f"llvm.masked.load.v{self.lanes}{self.element.intrinsic_name}.p0"
        function = cgutils.get_or_insert_function(self.builder.module, kind, name)
        return self.builder.call(function, [place, LANE(self.bytes), mask, other])

    def store(self, value, data, at):
        """Write the lanes of `value` from `data[at]` on."""
        stored = self.builder.store(value, self._place(data, at))
        stored.align = self.bytes

    def load_integers(self, data, at):
        """As `load`, of whole numbers of the same size."""
        loaded = self.builder.load(self._place(data, at, self.integers()))
        loaded.align = self.bytes
        return loaded

    def store_some(self, value, data, at, mask):
        """Write the lanes of a mask; the memory of the others need not exist."""
        place = self._place(data, at)
        kinds = [self.type, place.type, LANE, mask.type]
        name = f"llvm.masked.store.v{self.lanes}{self.element.intrinsic_name}.p0"
        kind = ir.FunctionType(ir.VoidType(), kinds)
        function = cgutils.get_or_insert_function(self.builder.module, kind, name)
        self.builder.call(function, [value, place, LANE(self.bytes), mask])

    def store_integers(self, value, data, at):
        """As `store`, of whole numbers of the same size."""
        stored = self.builder.store(value, self._place(data, at, self.integers()))
        stored.align = self.bytes

    def prefetch(self, data, at, *, write=False):
        """Ask for the line at this place, which need not exist, to be read or written soon."""
        place = self.builder.bitcast(self.builder.gep(data, [at]), ir.IntType(8).as_pointer())
        kind = ir.FunctionType(ir.VoidType(), [place.type, LANE, LANE, LANE])
        function = self.builder.module.declare_intrinsic("llvm.prefetch", [place.type], kind)
        keep, of_data = 3, 1  # in the first-level cache; not instructions
        self.builder.call(function, [place] + [LANE(int(v)) for v in (write, keep, of_data)])

    def _place(self, data, at, kind=None):
        place = self.builder.gep(data, [at])
        return self.builder.bitcast(place, (kind or self.type).as_pointer())

    # ---- registers ----
    def constant(self, number):
        """`number` in every lane."""
        return self._constant(self.type, number)

    def integers(self):
        """The type of whole numbers of the same size, in as many lanes."""
        return self.shaped(ir.IntType(8 * self.bytes))

    def integer(self, number):
        """A whole number of the same size in every lane."""
        return self._constant(self.integers(), number)

    @property
    def no(self):
        """False in every lane, as comparisons give it."""
        return self._constant(self.shaped(ir.IntType(1)), 0)

    def _constant(self, kind, number):
        return ir.Constant(kind, [number] * self.lanes if self.lanes else number)

    def splat(self, value):
        """`value` in every lane."""
        undefined = ir.Constant(ir.VectorType(value.type, self.lanes), ir.Undefined)
        first = self.builder.insert_element(undefined, value, LANE(0))
        return self.shuffle(first, [0] * self.lanes)

    def shuffle(self, value, lanes):
        """Lane k of the result is lane lanes[k] of `value`; fewer lanes, a shorter register."""
        mask = ir.Constant(ir.VectorType(LANE, len(lanes)), list(lanes))
        return self.builder.shuffle_vector(value, value, mask)

    def shuffle_two(self, a, b, lanes):
        """Lane k of the result is lane lanes[k] of a and b in a row."""
        mask = ir.Constant(ir.VectorType(LANE, len(lanes)), lanes)
        return self.builder.shuffle_vector(a, b, mask)

    def lanes_from(self, first):
        """The lanes from number `first` (a 64-bit integer) on, for `select`."""
        numbers = ir.Constant(ir.VectorType(LANE, self.lanes), list(range(self.lanes)))
        bound = self.splat(self.builder.trunc(first, LANE))
        return self.builder.icmp_signed(">=", numbers, bound)

    def select(self, lanes, value, other):
        """`value` in these lanes, `other` in the rest."""
        return self.builder.select(lanes, value, other)

    def larger(self, a, b):
        """The larger one in each lane, b where one of them is NaN."""
        return self.builder.select(self.builder.fcmp_ordered(">", a, b), a, b)

    def within(self, a, least, most):
        """`a` within [least, most]; NaN, which compares false, stays."""
        a = self.builder.select(self.builder.fcmp_ordered("<", a, least), least, a)
        return self.builder.select(self.builder.fcmp_ordered(">", a, most), most, a)

    # ---- arithmetic ----
    def absolute(self, a):
        """|a|."""
        return self._call("fabs", a)

    def copy_sign(self, a, b):
        """|a| with the sign of b."""
        return self._call("copysign", a, b)

    def negative(self, a):
        """-a."""
        return self.builder.fneg(a)

    def fma(self, a, b, c):
        """a b + c, rounded once: the same number in every caller, which a product and a sum that
        LLVM may contract are not. Rounded twice where the machine has no such instruction.
        """
        if not self.has_fma:
            return self.builder.fadd(self.builder.fmul(a, b), c)
        return self._call("fma", a, b, c)

    def _call(self, name, *values):
        """LLVM's own function of so many values of this type."""
        kind = ir.FunctionType(self.type, [self.type] * len(values))
        name = f"llvm.{name}.{f'v{self.lanes}' if self.lanes else ''}f{8 * self.bytes}"
        function = cgutils.get_or_insert_function(self.builder.module, kind, name)
        return self.builder.call(function, values)

    def add_product(self, place, a, b):
        """The sum in the variable `place` += a b."""
        self.builder.store(self.fma(a, b, self.builder.load(place)), place)

    def sum_of_lanes(self, value):
        """The sum of the lanes of `value`, of whatever type: halves are added until one is left."""
        width = self.lanes
        while width > 1:
            width //= 2
            low, high = (self.shuffle(value, range(k, k + width)) for k in (0, width))
            value = self.builder.fadd(low, high)
        return self.builder.extract_element(value, LANE(0))
