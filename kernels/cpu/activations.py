"""ReLU, leaky ReLU, sigmoid, tanh and the element-wise product: flat arrays, one element at a time.

The function of one element is what a CUDA thread runs too; the loops below it are the CPU's.
"""

from .common import jit
from .elementary import exp, tanh


@jit
def relu(x):
    """max(x, 0); the test is x <= 0, so that NaN stays NaN."""
    zero = type(x)(0)
    return zero if x <= zero else x


@jit
def relu_gradient(dy, x):
    """dy where x > 0, else 0: the derivative at the kink is 0."""
    return type(dy)(0) if x <= type(x)(0) else dy


@jit
def leaky_relu(x, slope):
    """x where x > 0, else slope x; NaN stays NaN."""
    return slope * x if x <= type(x)(0) else x


@jit
def leaky_relu_gradient(dy, x, slope):
    """dy where x > 0, else slope dy: the derivative at the kink is the slope. y does for x."""
    return slope * dy if x <= type(x)(0) else dy


@jit
def sigmoid(x):
    """1 / (1 + exp(-x)) from e = exp(-|x|), which cannot overflow."""
    one = type(x)(1)
    e = exp(-abs(x))
    return (one if x >= type(x)(0) else e) / (one + e)


@jit
def sigmoid_gradient(dy, y):
    """dy (1 - y) y, from the sigmoid's value y."""
    return dy * (type(y)(1) - y) * y


@jit
def relu_forward(start, stop, x, y):
    """8 bytes an element in float32."""
    for k in range(start, stop):
        y[k] = relu(x[k])


@jit
def relu_backward(start, stop, dy, x, dx):
    """12 bytes an element in float32."""
    for k in range(start, stop):
        dx[k] = relu_gradient(dy[k], x[k])


@jit
def leaky_relu_forward(start, stop, x, slope, y):
    """8 bytes an element in float32."""
    for k in range(start, stop):
        y[k] = leaky_relu(x[k], slope)


@jit
def leaky_relu_backward(start, stop, dy, x, slope, dx):
    """12 bytes an element in float32."""
    for k in range(start, stop):
        dx[k] = leaky_relu_gradient(dy[k], x[k], slope)


@jit
def sigmoid_forward(start, stop, x, y):
    """8 bytes an element in float32."""
    for k in range(start, stop):
        y[k] = sigmoid(x[k])


@jit
def sigmoid_backward(start, stop, dy, y, dx):
    """dx = dy (1 - y) y."""
    for k in range(start, stop):
        dx[k] = sigmoid_gradient(dy[k], y[k])


@jit
def tanh_gradient(dy, y):
    """dy (1 - y^2), from tanh's value y."""
    return dy * (type(y)(1) - y * y)


@jit
def tanh_forward(start, stop, x, y):
    """8 bytes an element in float32."""
    for k in range(start, stop):
        y[k] = tanh(x[k])


@jit
def tanh_backward(start, stop, dy, y, dx):
    """12 bytes an element in float32."""
    for k in range(start, stop):
        dx[k] = tanh_gradient(dy[k], y[k])


@jit
def multiply(start, stop, a, b, c):
    """c = a b."""
    for k in range(start, stop):
        c[k] = a[k] * b[k]
