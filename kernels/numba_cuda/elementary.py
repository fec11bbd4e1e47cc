"""exp, log, tanh and fma for Numba CUDA, from the text that the CPU's are made of.

kernels/cpu/elementary.py and turns.py say what to compute to an `Emitter`. For a GPU that is one
that writes instructions, as on the CPU; under the simulator (NUMBA_ENABLE_CUDASIM=1) one that
computes at once, with NumPy's numbers: to be stepped through, and without a compiler. Both give the
CPU's bits. `device.py` puts these functions in the places of the CPU's.
"""

import math
from fractions import Fraction

import numba
import numpy as np

from ..cpu import elementary, turns
from ..cpu.vectors import Emitter

SIMULATOR = bool(numba.config.ENABLE_CUDASIM)


# ---- on a device ----
class _DeviceEmitter(Emitter):
    """Instructions for a GPU, which has an fma whatever the processor beside it has.

    NVVM for older devices knows neither LLVM's fneg nor its fabs.
    """

    has_fma = True

    def absolute(self, a):
        """|a|, without its sign bit."""
        size = self.integer((1 << (8 * self.bytes - 1)) - 1)
        bits = self.builder.and_(self.builder.bitcast(a, self.integers()), size)
        return self.builder.bitcast(bits, self.type)

    def negative(self, a):
        """-a, as a difference."""
        return self.builder.fsub(self.constant(-0.0), a)


def _on_device(emitted, arguments):
    """An intrinsic of so many numbers of one type, which is also its result's."""
    from numba.cuda.extending import intrinsic

    def generate(context, builder, signature, values):
        emit = _DeviceEmitter.of_numbers(context, builder, signature.return_type)
        return emitted(emit, *values)

    def one(typing, x):
        return x(x), generate

    def three(typing, a, b, c):
        return a(a, a, a), generate

    return intrinsic({1: one, 3: three}[arguments])


# ---- under the simulator ----
class _Numbers(Emitter):
    """Values are NumPy's numbers of one type, and whole numbers Python's; `builder` is the same
    object, whose methods are LLVM's names for what they compute.
    """

    def __init__(self, kind):
        self.type, self.bytes, self.builder = kind, kind(0).itemsize, self
        self.zero = kind(0)
        self._whole = np.dtype(f"u{self.bytes}").type
        self._mask = (1 << (8 * self.bytes)) - 1

    def constant(self, number):
        """A number of this type."""
        return self.type(number)

    def integer(self, number):
        """A whole number of as many bits."""
        return number & self._mask

    def integers(self):
        """The type of whole numbers."""
        return int

    def absolute(self, a):
        """|a|."""
        return abs(a)

    def fma(self, a, b, c):
        """a b + c, rounded once."""
        return exact_fma(a, b, c)

    def bitcast(self, value, kind):
        """The same bits as another type."""
        if kind is int:
            return int(np.array(value, self.type).view(self._whole))
        return np.array(value, self._whole).view(self.type)[()]

    def select(self, condition, a, b):
        """One of both."""
        return a if condition else b

    def fcmp_ordered(self, sign, a, b):
        """A comparison, false where one is NaN."""
        return bool(a < b) if sign == "<" else bool(a > b)

    def fcmp_unordered(self, _uno, a, b):
        """Whether one is NaN."""
        return bool(a != a or b != b)

    fadd = staticmethod(lambda a, b: a + b)
    fsub = staticmethod(lambda a, b: a - b)
    fmul = staticmethod(lambda a, b: a * b)
    fdiv = staticmethod(lambda a, b: a / b)
    fneg = staticmethod(lambda a: -a)
    or_ = staticmethod(lambda a, b: a | b)
    and_ = staticmethod(lambda a, b: a & b)
    lshr = staticmethod(lambda a, by: a >> by)

    def sub(self, a, b):
        """A difference that wraps around."""
        return (a - b) & self._mask

    def shl(self, a, by):
        """Shifted; what leaves the number is gone."""
        return (a << by) & self._mask


def exact_fma(a, b, c):
    """a b + c, rounded once, of NumPy's float32 or float64 numbers.

    float32: the product is exact in float64; if the sum is not, its last bit is set to 1, so that
    rounding once more goes the right way (Boldo, Melquiond: "Emulation of a FMA and correctly
    rounded sums: proved algorithms using rounding to odd", 2008). float64: as a fraction.
    """
    kind = type(a)
    if not (math.isfinite(a) and math.isfinite(b) and math.isfinite(c)):
        return a * b + c
    if kind is np.float64:
        exact = Fraction(float(a)) * Fraction(float(b)) + Fraction(float(c))
        try:
            return kind(float(exact)) if exact else a * b + c  # which zero it is
        except OverflowError:
            return kind(math.inf if exact > 0 else -math.inf)
    product, term = float(a) * float(b), float(c)
    total = product + term
    part = total - product
    error = (product - (total - part)) + (term - part)
    if error and not int(np.float64(total).view(np.uint64)) & 1:
        total = math.nextafter(total, math.copysign(math.inf, error))
    return kind(total)


def _simulated(emitted):
    """The same function in Python."""

    def function(*numbers):
        kind = next(type(a) for a in numbers if isinstance(a, np.floating))
        with np.errstate(all="ignore"):  # as a device does
            return emitted(_Numbers(kind), *(kind(a) for a in numbers))

    return function


# ---- the CPU's intrinsics, and what stands for them ----
def _emit_fma(emit, a, b, c):
    return emit.fma(a, b, c)


def _made(emitted, arguments=1):
    return _simulated(emitted) if SIMULATOR else _on_device(emitted, arguments)


FUNCTIONS = {
    elementary.exp: _made(elementary.emit_exp),
    elementary.exp_below_0: _made(elementary.emit_exp_below_0),
    elementary.log: _made(elementary.emit_log),
    elementary.log_near_one: _made(elementary.emit_log_near_one),
    elementary.tanh: _made(elementary.emit_tanh),
    elementary.fma: _made(_emit_fma, 3),
    turns.sinpi: _made(turns.emit_sinpi),
    turns.cospi: _made(turns.emit_cospi),
}
