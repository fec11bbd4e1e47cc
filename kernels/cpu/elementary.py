"""exp, log and tanh of our own, for one number or for a register: the same bits on every machine.

The C library's differ from one version to the next and between processors, and LLVM cannot
vectorize a loop that calls them. Here they are straight-line code in LLVM's terms, every product
followed by a sum as one fma, so that nothing is left to contract or to reorder. On a GPU they are
`kernels/cuda/elementary.cuh` in CUDA C++ and this text in Numba CUDA: the same bits again.

    exp(x), log(x), tanh(x), fma(a, b, c)   in kernels, of float32 or float64 numbers
    exp_below_0(x)                          exp(x) for x <= 0 or NaN, a comparison less
    log_near_one(f)                         log(1 + f) where 1 + f lies around 1
    emit_exp, emit_log, emit_tanh ...       the same for an `Emitter`, whose values may be registers

log is for normal x > 0 alone: losses clip before they take one. NaN stays NaN.
"""

from dataclasses import dataclass

from numba.extending import intrinsic

from .vectors import Emitter


@dataclass(frozen=True)
class _Format:
    """A format of numbers, and the constants of exp and log in it.

    fraction, bias   bits behind the leading one; what is added to an exponent
    smallest, largest  exp is 0 below, infinite above
    shift            1.5 2^fraction: adding it rounds to a whole number, which then stands in the
                     low bits
    ln2_high, ln2_low  ln 2 in two parts, the first with zeros at its end: k ln2_high is exact
    exp              coefficients of exp(r) behind 1 + r, from the highest power down to r^2
    half             the bits of sqrt(1/2): exponents are counted from there, so that m lies
                     on both sides of 1
    """

    fraction: int
    bias: int
    smallest: float
    largest: float
    ln2_high: float
    ln2_low: float
    exp: tuple[float, ...]
    half: int

    @property
    def shift(self):
        return 1.5 * 2.0**self.fraction


# Best approximations of (exp(r) - 1 - r) / r^2 where |r| <= ln 2 / 2 (Remez): of exp(r) they leave
# off 3.1e-9 in float32, 3.3e-19 in float64.
_FLOAT32 = _Format(
    fraction=23,
    bias=127,
    smallest=-104.0,
    largest=89.0,
    ln2_high=0.693359375,
    ln2_low=-2.12194440e-4,
    exp=(
        1.3814581847333646e-3,
        8.36872390638175e-3,
        4.1668388756584074e-2,
        1.6666520574021054e-1,
        4.999999344388448e-1,
    ),
    half=0x3F3504F3,
)
_FLOAT64 = _Format(
    fraction=52,
    bias=1023,
    smallest=-746.0,
    largest=710.0,
    ln2_high=6.93147180369123816490e-01,
    ln2_low=1.90821492927058770002e-10,
    exp=(
        2.0953630970953113e-09,
        2.5108908337511604e-08,
        2.7557170774251895e-07,
        2.7557244414467465e-06,
        2.480158741672656e-05,
        1.9841269886118731e-04,
        1.3888888888853761e-03,
        8.333333333321535e-03,
        4.1666666666666690e-02,
        1.6666666666666677e-01,
        0.5,
    ),
    half=0x3FE6A09E667F3BCD,
)

# log(m) = m' - m'^2 / 2 + m'^3 P(m'), m' = m - 1 (Cephes, Moshier), highest power first.
_LOG_FLOAT32 = (
    7.0376836292e-2,
    -1.1514610310e-1,
    1.1676998740e-1,
    -1.2420140846e-1,
    1.4249322787e-1,
    -1.6668057665e-1,
    2.0000714765e-1,
    -2.4999993993e-1,
    3.3333331174e-1,
)
# log(m) from s = m' / (2 + m'): R(s^2), the highest power first (fdlibm's e_log.c, Sun).
_LOG_FLOAT64 = (
    1.479819860511658591e-01,
    1.531383769920937332e-01,
    1.818357216161805012e-01,
    2.222219843214978396e-01,
    2.857142874366239149e-01,
    3.999999999940941908e-01,
    6.666666666666735130e-01,
)
LOG2_E = 1.4426950408889634


def emit_exp(emit, x):
    """exp(x) without branches; error below 1.02 ulp, also where the result is denormal.

    x = k ln 2 + r with |r| <= ln 2 / 2: exp(x) = 2^k exp(r), exp(r) a polynomial. 2^k is applied
    in two factors, so that denormal results round once.
    """
    most = emit.constant(_format(emit).largest)
    over = emit.builder.fcmp_ordered(">", x, most)
    return emit_exp_below_0(emit, emit.builder.select(over, most, x))


def emit_exp_below_0(emit, x):
    """The same for x <= 0 or NaN, a comparison less."""
    form, builder = _format(emit), emit.builder
    least = emit.constant(form.smallest)
    x = builder.select(builder.fcmp_ordered("<", x, least), least, x)
    less, bits = _reduced_exp(emit, form, x)
    y = builder.fadd(less, emit.constant(1.0))
    # `bits` are those of `shift` and k: k + 2 bias, which is positive, is halved.
    twice = builder.sub(bits, emit.integer(_bits(form, form.shift) - 2 * form.bias))
    low = builder.lshr(twice, emit.integer(1))
    for exponent in (low, builder.sub(twice, low)):
        y = builder.fmul(y, _power(emit, form, exponent))
    return y


def _reduced_exp(emit, form, x):
    """exp(r) - 1, and `shift` + k as its bits."""
    builder = emit.builder
    shifted = emit.fma(x, emit.constant(LOG2_E), emit.constant(form.shift))
    k = builder.fsub(shifted, emit.constant(form.shift))
    r = emit.fma(k, emit.constant(-form.ln2_high), x)
    r = emit.fma(k, emit.constant(-form.ln2_low), r)
    p = polynomial(emit, form.exp, r)
    return emit.fma(p, builder.fmul(r, r), r), builder.bitcast(shifted, emit.integers())


def _power(emit, form, exponent):
    """2^(exponent - bias)."""
    bits = emit.builder.shl(exponent, emit.integer(form.fraction))
    return emit.builder.bitcast(bits, emit.type)


def emit_log(emit, x):
    """log(x) for normal x > 0 without branches; error below 0.84 ulp.

    x = 2^e m with m in [sqrt(1/2), sqrt 2): log(x) = e ln 2 + log(m).
    """
    form, builder = _format(emit), emit.builder
    bits = builder.bitcast(x, emit.integers())
    # e + bias, so that the shift is one of a positive number
    above = builder.sub(bits, emit.integer(form.half - (form.bias << form.fraction)))
    biased = builder.lshr(above, emit.integer(form.fraction))
    whole = builder.shl(builder.sub(biased, emit.integer(form.bias)), emit.integer(form.fraction))
    m = builder.bitcast(builder.sub(bits, whole), emit.type)
    f = builder.fsub(m, emit.constant(1.0))
    # A number of this size ends in the bits of e + bias when they are put there.
    unit = 2.0**form.fraction
    number = builder.bitcast(builder.or_(biased, emit.integer(_bits(form, unit))), emit.type)
    e = builder.fsub(number, emit.constant(unit + form.bias))
    result = _log(emit, form, e, f)
    return builder.select(builder.fcmp_unordered("uno", x, x), x, result)


def emit_log_near_one(emit, f):
    """log(1 + f) for 1 + f in [sqrt(1/2), sqrt 2), as log has it: f may be what 1 + f loses."""
    return _log(emit, _format(emit), emit.zero, f)


def _log(emit, form, e, f):
    """e ln 2 + log(1 + f)."""
    return (_log_float32 if emit.bytes == 4 else _log_float64)(emit, form, e, f)


def _log_float32(emit, form, e, f):
    builder = emit.builder
    z = builder.fmul(f, f)
    p = builder.fmul(builder.fmul(polynomial(emit, _LOG_FLOAT32, f), f), z)
    y = emit.fma(emit.constant(-0.5), z, emit.fma(e, emit.constant(form.ln2_low), p))
    return emit.fma(e, emit.constant(form.ln2_high), builder.fadd(f, y))


def _log_float64(emit, form, e, f):
    """log(1 + f) = f - (f^2 / 2 - s (f^2 / 2 + R)), R a polynomial in s^2 without constant."""
    builder = emit.builder
    s = builder.fdiv(f, builder.fadd(f, emit.constant(2.0)))
    z = builder.fmul(s, s)
    half = builder.fmul(emit.constant(0.5), builder.fmul(f, f))
    upper = emit.fma(polynomial(emit, _LOG_FLOAT64, z), z, half)
    small = emit.fma(e, emit.constant(form.ln2_low), builder.fmul(s, upper))
    # The product is exact: it does not matter whether a compiler makes one fma of it and the sum.
    below = builder.fsub(builder.fsub(half, small), f)
    return emit.fma(e, emit.constant(form.ln2_high), emit.negative(below))


def emit_tanh(emit, x):
    """tanh(x) without branches; error below 2 ulp (float32: 1.73); -0 and denormals stay.

    h / (h + 1) with h = (exp(2 |x|) - 1) / 2 = 2^(k - 1) (exp(r) - 1) + (2^(k - 1) - 1/2): near 0 k
    is 0, and h has all its digits. Up to h = 1, what h + 1 and the division round off is put right
    to first order: 1 / (h + 1) is 1 - tanh. From |x| = 22 on h + 1 is h, and the result 1. The
    sign comes last.
    """
    form, builder, one = _format(emit), emit.builder, emit.constant(1.0)
    size = emit.absolute(x)
    twice, most = builder.fadd(size, size), emit.constant(44.0)
    twice = builder.select(builder.fcmp_ordered(">", twice, most), most, twice)
    less, bits = _reduced_exp(emit, form, twice)
    k = builder.sub(bits, emit.integer(_bits(form, form.shift) - form.bias + 1))
    power = _power(emit, form, k)
    h = emit.fma(power, less, builder.fsub(power, emit.constant(0.5)))
    whole = builder.fadd(h, one)
    over = builder.fsub(builder.fsub(whole, one), h)
    y = builder.fdiv(h, whole)
    left = emit.fma(y, over, emit.fma(emit.negative(y), whole, h))
    better = emit.fma(left, builder.fsub(one, y), y)
    y = builder.select(builder.fcmp_ordered(">", h, one), y, better)
    sign = emit.integer(-1 << (8 * emit.bytes - 1))
    signs = builder.and_(builder.bitcast(x, emit.integers()), sign)
    return builder.bitcast(builder.or_(builder.bitcast(y, emit.integers()), signs), emit.type)


def polynomial(emit, coefficients, x):
    """Horner's scheme, the highest power first."""
    p = emit.constant(coefficients[0])
    for coefficient in coefficients[1:]:
        p = emit.fma(p, x, emit.constant(coefficient))
    return p


def _format(emit):
    return _FLOAT32 if emit.bytes == 4 else _FLOAT64


def _bits(form, power):
    """The bits of 2^fraction or 1.5 2^fraction as a whole number."""
    half = 1 << (form.fraction - 1) if power == form.shift else 0
    return ((form.bias + form.fraction) << form.fraction) + half


# ---- in kernels ----
def function(emitted, name, meaning):
    """An intrinsic of one number for what is emitted."""

    def typed(typing, x):
        def generate(context, builder, signature, arguments):
            emit = Emitter.of_numbers(context, builder, signature.return_type)
            return emitted(emit, *arguments)

        return x(x), generate

    typed.__name__, typed.__doc__ = name, meaning
    return intrinsic(typed)


exp = function(emit_exp, "exp", "exp(x), of the type of x; vectorizes.")
exp_below_0 = function(emit_exp_below_0, "exp_below_0", "exp(x) for x <= 0 or NaN; vectorizes.")
log = function(emit_log, "log", "log(x) for normal x > 0, of the type of x; vectorizes.")
log_near_one = function(emit_log_near_one, "log_near_one", "log(1 + f), 1 + f around 1; see above.")
tanh = function(emit_tanh, "tanh", "tanh(x), of the type of x; vectorizes.")


@intrinsic
def fma(typing, a, b, c):
    """a b + c, rounded once; all of one type."""

    def generate(context, builder, signature, arguments):
        return Emitter.of_numbers(context, builder, signature.return_type).fma(*arguments)

    return a(a, a, a), generate
