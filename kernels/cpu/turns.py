"""Angles as whole numbers of 2^-62 turns, their sines and cosines: the same bits everywhere.

A sum of angles wraps around as an angle does, and loses no digits to the whole turns in it, so that
float32 is enough for what remains of one. What is left after whole quarters goes into polynomials
of our own. Called by `philox.py`, which draws the spiral; `kernels/cuda/philox.cu` does the same.

Angles and the numbers that make them are uint64 below 2^62, and nothing here goes beyond 2^64.
"""

import numpy as np

from .common import jit, row
from .elementary import function, polynomial

# sin(pi x) = x (pi + z P(z)), cos(pi x) = 1 + z Q(z) with z = x^2 for |x| <= 1/4, highest power
# first: interpolated at Chebyshev's points, leaving off 2e-11 and 3e-10 in float32, 8e-21 and 2e-19
# in float64. pi is two numbers, the second what the first rounds off.
_PI = {4: (3.1415927410125732, -8.742277657347586e-8), 8: (np.pi, 1.2246467991473532e-16)}
_SINE = {
    4: (0.08122957450924484, -0.5992287960538701, 2.5501635935099567, -5.167712779178267),
    8: (
        -2.1742067342478005e-05,
        0.0004662879326147481,
        -0.0073704303122948235,
        0.08214588659727676,
        -0.5992645293206478,
        2.550164039877345,
        -5.16771278004997,
    ),
}
_COSINE = {
    4: (0.23212541399123623, -1.3351378139007979, 4.058710565713736, -4.934802197496877),
    8: (
        -0.00010370082971594627,
        0.001929493874894941,
        -0.025806887964701878,
        0.23533063028399223,
        -1.3352627688538095,
        4.058712126416765,
        -4.934802200544679,
    ),
}


def emit_sinpi(emit, x):
    """sin(pi x) for |x| <= 1/4; error below 0.75 ulp."""
    builder, (high, low) = emit.builder, _PI[emit.bytes]
    z = builder.fmul(x, x)
    rest = emit.fma(z, polynomial(emit, _SINE[emit.bytes], z), emit.constant(low))
    return emit.fma(x, emit.constant(high), builder.fmul(x, rest))


def emit_cospi(emit, x):
    """cos(pi x) for |x| <= 1/4; error below 1.03 ulp."""
    z = emit.builder.fmul(x, x)
    return emit.fma(z, polynomial(emit, _COSINE[emit.bytes], z), emit.constant(1.0))


sinpi = function(emit_sinpi, "sinpi", "sin(pi x) for |x| <= 1/4, of the type of x.")
cospi = function(emit_cospi, "cospi", "cos(pi x) for |x| <= 1/4, of the type of x.")

WORD, SHIFT = np.uint64(0xFFFFFFFF), np.uint64(32)
WHOLE = np.uint64((1 << 62) - 1)  # a turn, less one
QUARTER, EIGHTH = np.uint64(60), np.uint64(1 << 59)  # 2^60 is a quarter of a turn
ONE, TWO = np.uint64(1), np.uint64(2)
HALF_TURN = 2.0**-61  # of one unit: sinpi counts in half turns
# 10 radians: without the whole turn in it, in units of 2^-64 turns, and in units of 2^-63 turns
CLASS_TURNS, RADIUS_TURNS = np.uint64(0x976FC893C3AA34E9), np.uint64(0xCBB7E449E1D51A74)
NOISE = 366986312910250153.3  # half a radian


@jit
def product_high(a, b):
    """The upper half of the product of two uint64."""
    a0, a1, b0, b1 = a & WORD, a >> SHIFT, b & WORD, b >> SHIFT
    middle = a1 * b0 + ((a0 * b0) >> SHIFT)
    other = a0 * b1 + (middle & WORD)
    return a1 * b1 + (middle >> SHIFT) + (other >> SHIFT)


@jit
def fraction(j, d):
    """j / d in units of 2^-63, rounded down, for 0 <= j <= d (j = d gives 2^63 - 1)."""
    if j >= d:
        return (ONE << np.uint64(63)) - ONE
    if d <= WORD:  # two steps of long division
        upper, lower = j << SHIFT, np.uint64(31)
        high = upper // d
        return (high << lower) | (((upper - high * d) << lower) // d)
    quotient = np.uint64(0)
    for _ in range(63):
        j, quotient = j << ONE, quotient << ONE
        if j >= d:
            j, quotient = j - d, quotient | ONE
    return quotient


@jit
def spiral_angle(c, j, last, noise):
    """10 c + 10 j / last radians, and `noise` (int64, below 2^62 either way) units."""
    low = c * (CLASS_TURNS & WORD)  # a class is below 2^31
    high = (c * (CLASS_TURNS >> SHIFT) + (low >> SHIFT)) & WORD
    arm = ((high << SHIFT) | (low & WORD)) >> TWO  # 2^-62 turns
    along = product_high(fraction(j, last), RADIUS_TURNS)
    return (arm + along + (np.uint64(noise) & WHOLE)) & WHOLE


@row
def sine_cosine(angle, unit):
    """Sine and cosine, of the type of `unit`, which is HALF_TURN."""
    quarter = (angle + EIGHTH) >> QUARTER
    rest = np.int64(angle) - np.int64(quarter << QUARTER)  # an eighth of a turn at most
    x = type(unit)(rest) * unit
    s, c = sinpi(x), cospi(x)
    turned = quarter & ONE == ONE
    sine = c if turned else s
    cosine = s if turned else c
    sine = -sine if quarter & TWO == TWO else sine
    cosine = -cosine if (quarter + ONE) & TWO == TWO else cosine
    return sine, cosine
