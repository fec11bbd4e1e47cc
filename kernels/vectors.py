"""Vector registers, written in LLVM's terms: for loops that LLVM does not vectorize by itself.

Numba turns a function marked `@intrinsic` into whatever instructions its `generate` emits.
`Emitter` is the vocabulary of those here: loads, stores, broadcasts, shuffles of registers of
numbers. `fused_vectors.py` makes blocks of matrix products of it, `row_vectors.py` operations
along short rows. Where a machine has shorter registers than asked for, LLVM splits them:
slower, the same numbers.
"""

import llvmlite.binding as llvm
import numba
from llvmlite import ir
from numba.core import cgutils

# Whatever the machine: products may be contracted into fused multiply-adds, sums keep their order.
FLAGS = ("contract",)

NUMBER, LANE = ir.IntType(64), ir.IntType(32)


def _register():
    """(bytes of a vector register, how many there are) of the processor that Numba compiles for."""
    features = numba.config.CPU_FEATURES
    if features is None:
        found = llvm.get_host_cpu_features()
        features = ",".join(f"+{name}" for name, there in found.items() if there)
    if "+avx512f" in features:
        return 64, 32
    if "+avx" in features:
        return 32, 16
    return 16, 32 if "+neon" in features else 16


HARDWARE_BYTES, REGISTERS = _register()
REGISTER_BYTES = (
    64  # logical: the same sums on every machine; LLVM splits where registers are shorter
)


class Emitter:
    """Registers of `size` bytes that hold `lanes` numbers of `kind` (Numba's float32 or float64).

    Places in memory are a pointer to numbers and an index, a 64-bit integer.
    """

    def __init__(self, context, builder, kind, size=REGISTER_BYTES):
        self.context, self.builder = context, builder
        self.element = context.get_data_type(kind)
        self.bytes = kind.bitwidth // 8
        self.lanes = size // self.bytes
        self.type = ir.VectorType(self.element, self.lanes)
        self.zero = self.constant(0.0)

    # ---- whole numbers ----
    def index(self, number):
        return ir.Constant(NUMBER, number)

    def sum(self, *terms):
        total = terms[0]
        for term in terms[1:]:
            total = self.builder.add(total, term)
        return total

    def times(self, number, constant):
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
        return self.builder.load(self.builder.gep(data, [at]))

    def load(self, data, at):
        loaded = self.builder.load(self._place(data, at))
        loaded.align = self.bytes
        return loaded

    def store(self, value, data, at):
        stored = self.builder.store(value, self._place(data, at))
        stored.align = self.bytes

    def prefetch(self, data, at, *, write=False):
        """Ask for the line at this place, which need not exist, to be read or written soon."""
        place = self.builder.bitcast(self.builder.gep(data, [at]), ir.IntType(8).as_pointer())
        kind = ir.FunctionType(ir.VoidType(), [place.type, LANE, LANE, LANE])
        function = self.builder.module.declare_intrinsic("llvm.prefetch", [place.type], kind)
        keep, of_data = 3, 1  # in the first-level cache; not instructions
        self.builder.call(function, [place] + [LANE(int(v)) for v in (write, keep, of_data)])

    def _place(self, data, at):
        place = self.builder.gep(data, [at])
        return self.builder.bitcast(place, self.type.as_pointer())

    # ---- registers ----
    def constant(self, number):
        return ir.Constant(self.type, [number] * self.lanes)

    def splat(self, value):
        """`value` in every lane."""
        undefined = ir.Constant(ir.VectorType(value.type, self.lanes), ir.Undefined)
        first = self.builder.insert_element(undefined, value, LANE(0))
        return self.shuffle(first, [0] * self.lanes)

    def shuffle(self, value, lanes):
        """Lane k of the result is lane lanes[k] of `value`; fewer lanes, a shorter register."""
        mask = ir.Constant(ir.VectorType(LANE, len(lanes)), lanes)
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

    def fma(self, a, b, c):
        """a b + c, rounded once."""
        kind = ir.FunctionType(self.type, [self.type] * 3)
        name = f"llvm.fma.v{self.lanes}f{8 * self.bytes}"
        fma = cgutils.get_or_insert_function(self.builder.module, kind, name)
        return self.builder.call(fma, [a, b, c])

    def add_product(self, place, a, b):
        """The sum in the variable `place` += a b."""
        self.builder.store(self.fma(a, b, self.builder.load(place)), place)
