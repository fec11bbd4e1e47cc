"""Arrays at an address, and what a vector register holds: the ground of the fused step.

The kernels of the fused step get addresses in tables, not arrays: `vector` and `matrix` make
arrays of them again. They check nothing.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .common import row
from .vectors import REGISTER_BYTES


def _array(ndim):
    @intrinsic
    def make(typing, address, shape, like):
        kind = types.Array(types.unliteral(like), ndim, "C")

        def generate(context, builder, signature, arguments):
            dtype = context.get_data_type(kind.dtype)
            size = context.get_abi_sizeof(dtype)
            extents = cgutils.unpack_tuple(builder, arguments[1], ndim)
            strides = [ir.Constant(ir.IntType(64), size)]
            for extent in extents[:0:-1]:
                strides.insert(0, builder.mul(strides[0], extent))
            items = extents[0]
            for extent in extents[1:]:
                items = builder.mul(items, extent)
            array = cgutils.create_struct_proxy(kind)(context, builder)
            array.data = builder.inttoptr(arguments[0], dtype.as_pointer())
            array.itemsize = ir.Constant(ir.IntType(64), size)
            array.nitems = items
            array.shape = cgutils.pack_array(builder, extents)
            array.strides = cgutils.pack_array(builder, strides)
            array.meminfo = cgutils.get_null_value(array.meminfo.type)
            array.parent = cgutils.get_null_value(array.parent.type)
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


@intrinsic
def run_at(typing, code, result, arguments):
    """What the kernel at the address `code` returns for `arguments`: a number like `result`."""
    kinds = [types.unliteral(a) for a in arguments.types]
    kind = types.unliteral(result)

    def generate(context, builder, signature, given):
        values = cgutils.unpack_tuple(builder, given[2])
        function = ir.FunctionType(context.get_value_type(kind), [v.type for v in values])
        return builder.call(builder.inttoptr(given[0], function.as_pointer()), values)

    return kind(types.int64, kind, types.Tuple(kinds)), generate


def _constant(value):
    @intrinsic
    def constant(typing, like):
        kind = types.unliteral(like)

        def generate(context, builder, signature, arguments):
            return ir.Constant(ir.IntType(64), value(kind.bitwidth // 8))

        return types.int64(like), generate

    return constant


lanes = _constant(lambda size: REGISTER_BYTES // size)
itemsize = _constant(lambda size: size)


@intrinsic
def stay_apart(typing):
    """Called in a function: LLVM does not copy that function into its callers.

    Blocks unrolled over registers would be compiled again for each call of each caller.
    """

    def generate(context, builder, signature, arguments):
        builder.function.attributes.add("noinline")
        return context.get_dummy_value()

    return types.void(), generate
