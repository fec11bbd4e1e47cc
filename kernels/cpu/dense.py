"""Around the matrix products of a dense layer with ReLU: bias, ReLU and the bias gradient.

The products are BLAS's. What is left passes over memory once: a value gets its bias and its
ReLU while it is loaded, a gradient its mask and its place in the column's sum.
"""

import numpy as np

from .activations import relu, relu_gradient
from .common import jit
from .reductions import LANES, ROWS, join_lanes, parts_of_rows


@jit
def bias_relu_forward(start, stop, b, y):
    """y = max(y + b, 0), in place; b (O,), y (N, O). 8 bytes an element in float32."""
    for i in range(start, stop):
        for o in range(y.shape[1]):
            y[i, o] = relu(y[i, o] + b[o])


@jit
def _relu_and_add(dy, y, dz, first, last, width, sums):
    """dz, and its sums as `add_rows` has them."""
    for at in range(first, last, width):
        for k in range(min(width, last - at)):
            dz[at + k] = relu_gradient(dy[at + k], y[at + k])
            sums[k] += dz[at + k]


@jit
def relu_backward_column_sums(start, stop, dy, y, dz, partial):
    """dz = dy where y > 0, else 0; partial[j] = column sums of chunk j of its rows.

    The order is column_sum_chunks'. 12 bytes an element in float32: the bias gradient costs nothing
    more.
    """
    columns = np.uint64(dy.shape[1])
    flat, parts = dy.reshape(-1), parts_of_rows(columns)
    width, part = LANES // parts * columns, ROWS // parts * columns
    sums = np.empty(LANES * columns, dy.dtype)
    for chunk in range(start, stop):
        sums[:] = dy.dtype.type(0)
        for k in range(parts):
            first = (chunk * parts + k) * part
            last = min(first + part, np.uint64(flat.shape[0]))
            if first < last:
                here = sums[k * width :]
                _relu_and_add(flat, y.reshape(-1), dz.reshape(-1), first, last, width, here)
        join_lanes(sums, partial[chunk])
