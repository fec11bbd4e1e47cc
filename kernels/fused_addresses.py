"""Arrays at an address, and what a vector register holds: the ground of the fused step.

The kernels of the fused step get addresses in tables, not arrays: `vector` and `matrix` make
arrays of them again. They check nothing.
"""

import numpy as np
from numba import carray, types
from numba.extending import intrinsic, overload

from .common import jit
from .vectors import REGISTER_BYTES


@intrinsic
def _pointer(typing, address, like):
    """The address as a pointer to numbers of the type of `like`."""

    def generate(context, builder, signature, arguments):
        return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

    return types.CPointer(like)(types.int64, like), generate


@jit
def vector(address, size, like):
    """The `size` numbers at `address`, of the type of the number `like`."""
    return carray(_pointer(address, like), (size,))


@jit
def matrix(address, rows, columns, like):
    """The (rows, columns) matrix at `address`, of the type of the number `like`."""
    return carray(_pointer(address, like), (rows, columns))


def lanes(like):
    """Numbers of the type of `like` in a register."""
    return REGISTER_BYTES // np.dtype(type(like)).itemsize


@overload(lanes)
def _lanes(like):
    count = REGISTER_BYTES // (like.bitwidth // 8)
    return lambda like: count


@intrinsic
def stay_apart(typing):
    """Called in a function: LLVM does not copy that function into its callers.

    Blocks unrolled over registers would be compiled again for each call of each caller.
    """

    def generate(context, builder, signature, arguments):
        builder.function.attributes.add("noinline")
        return context.get_dummy_value()

    return types.void(), generate


def itemsize(like):
    """Bytes of a number of the type of `like`."""
    return np.dtype(type(like)).itemsize


@overload(itemsize)
def _itemsize(like):
    count = like.bitwidth // 8
    return lambda like: count
