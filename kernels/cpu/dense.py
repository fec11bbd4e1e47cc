"""Around the matrix products of a dense layer with ReLU: bias, ReLU and the bias gradient.

The products are BLAS's. What is left passes over memory once: a value gets its bias and its
ReLU while it is loaded, a gradient its mask and its place in the column's sum.
"""

from .activations import relu, relu_gradient
from .common import CHUNK, jit


@jit
def bias_relu_forward(start, stop, b, y):
    """y = max(y + b, 0), in place; b (O,), y (N, O). 8 bytes an element in float32."""
    for i in range(start, stop):
        for o in range(y.shape[1]):
            y[i, o] = relu(y[i, o] + b[o])


@jit
def relu_backward_column_sums(start, stop, dy, y, dz, partial):
    """dz = dy where y > 0, else 0; partial[j] = column sums of chunk j of its rows.

    Rows in order, so that threads cannot change the sums. 12 bytes an element in float32: the
    bias gradient costs nothing more.
    """
    for chunk in range(start, stop):
        first = chunk * CHUNK
        last = min(first + CHUNK, type(first)(dy.shape[0]))
        for o in range(dy.shape[1]):
            partial[chunk, o] = dy.dtype.type(0)
        for i in range(first, last):
            for o in range(dy.shape[1]):
                dz[i, o] = relu_gradient(dy[i, o], y[i, o])
            for o in range(dy.shape[1]):
                partial[chunk, o] += dz[i, o]
