"""Arrays at an address, and what a vector register holds: the ground of the fused step.

The kernels of the fused step get addresses in tables, not arrays: `vector` and `matrix` make
arrays of them again, `call` calls what lies there. They check nothing. They are emitted into
their caller: as functions, each would be compiled for every type that it is called with.
"""

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ..cpu.common import row
from ..cpu.vectors import NUMBER, REGISTER_BYTES
from . import tables as k
from .turn import SIDE_BYTES


# ---- arrays ----
def _array(ndim):
    """The intrinsic make(address, shape, like) of a contiguous array of so many dimensions."""

    @intrinsic
    def make(typing, address, shape, like):
        kind = types.Array(types.unliteral(like), ndim, "C")

        def generate(context, builder, signature, arguments):
            address, shape, _ = arguments
            number = context.get_data_type(kind.dtype)
            size = ir.Constant(NUMBER, context.get_abi_sizeof(number))
            extents = cgutils.unpack_tuple(builder, shape, ndim)
            count, strides = extents[-1], [size]
            for extent in extents[-2::-1]:
                strides.insert(0, builder.mul(count, size))
                count = builder.mul(count, extent)
            array = cgutils.create_struct_proxy(kind)(context, builder)
            array.data = builder.inttoptr(address, number.as_pointer())
            array.itemsize, array.nitems = size, count
            array.shape = cgutils.pack_array(builder, extents)
            array.strides = cgutils.pack_array(builder, strides)
            for owner in ("meminfo", "parent"):  # none: the memory is somebody else's
                setattr(array, owner, cgutils.get_null_value(getattr(array, owner).type))
            return array._getvalue()

        return kind(types.int64, types.UniTuple(types.int64, ndim), like), generate

    return make


_vector, _matrix = _array(1), _array(2)


@row
def vector(address, size, like):
    """The `size` numbers at `address`, of the type of the number `like`."""
    return _vector(address, (size,), like)


@row
def matrix(address, rows, columns, like):
    """The (rows, columns) matrix at `address`, of the type of the number `like`."""
    return _matrix(address, (rows, columns), like)


# ---- the tables (tables.py) ----
@row
def head_of(tables):
    """`head`, which lies at the address `tables`."""
    return vector(tables, k.HEAD_FIELDS, np.int64(0))


@row
def table_of(head):
    """`table`, a row a stage."""
    return matrix(head[k.TABLE], head[k.STAGES], k.TABLE_FIELDS, np.int64(0))


@row
def tile_of(head, work, at, rows, like):
    """The tile of `rows` features at place `at` of the workspace."""
    return matrix(work + at * itemsize(like), rows, head[k.PITCH], like)


# ---- numbers of a type ----
def _constant(of_size):
    """The intrinsic constant(like): a whole number that follows from the bytes of a number."""

    @intrinsic
    def constant(typing, like):
        size = types.unliteral(like).bitwidth // 8

        def generate(context, builder, signature, arguments):
            return ir.Constant(NUMBER, of_size(size))

        return types.int64(like), generate

    return constant


lanes = _constant(lambda size: REGISTER_BYTES // size)  # numbers in a register
side = _constant(lambda size: SIDE_BYTES // size)  # of a square that is turned in registers
itemsize = _constant(lambda size: size)


# ---- functions ----
@intrinsic
def call(typing, pointer, result, arguments):
    """What the C function at the address `pointer` returns: a number of the type of `result`."""
    kind = types.unliteral(result)
    kinds = types.Tuple([types.unliteral(a) for a in arguments.types])

    def generate(context, builder, signature, given):
        values = cgutils.unpack_tuple(builder, given[2])
        function = ir.FunctionType(context.get_value_type(kind), [v.type for v in values])
        return builder.call(builder.inttoptr(given[0], function.as_pointer()), values)

    return kind(types.int64, kind, kinds), generate


@intrinsic
def stay_apart(typing):
    """Called in a function: LLVM does not copy that function into its callers.

    Blocks unrolled over registers would be compiled again for each call of each caller.
    """

    def generate(context, builder, signature, arguments):
        builder.function.attributes.add("noinline")
        return context.get_dummy_value()

    return types.void(), generate
