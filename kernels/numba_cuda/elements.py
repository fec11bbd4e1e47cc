"""CUDA grids of one thread an element: activations, flat gradients, optimizer steps.

A grid has more threads than there are elements, so a thread first asks whether it has one.
Then thread k runs the CPU's loop (activations.py, losses.py, optimizers.py) over the range
k..k+1: the formula stands there, once, and the compiler removes the loop, which has one round.
Neighbouring threads touch neighbouring elements, so a warp reads one stretch of memory.
"""

from ..cpu import activations, losses, optimizers, softmax
from .device import cuda, device

# ---- activations ----

_relu = device(activations.relu)
_relu_gradient = device(activations.relu_gradient)
_leaky_relu_forward = device(activations.leaky_relu_forward)
_leaky_relu_backward = device(activations.leaky_relu_backward)
_sigmoid = device(activations.sigmoid)
_sigmoid_backward = device(activations.sigmoid_backward)
_tanh_forward = device(activations.tanh_forward)
_tanh_backward = device(activations.tanh_backward)
_multiply = device(activations.multiply)


@cuda.jit
def relu_forward(x, y):
    """y = max(x, 0). 8 bytes an element in float32."""
    k = cuda.grid(1)
    if k < y.shape[0]:
        y[k] = _relu(x[k])


@cuda.jit
def relu_backward(dy, x, dx):
    """dx = dy where x > 0, else 0. 12 bytes an element in float32."""
    k = cuda.grid(1)
    if k < dx.shape[0]:
        dx[k] = _relu_gradient(dy[k], x[k])


@cuda.jit
def leaky_relu_forward(x, slope, y):
    """y = x where x > 0, else slope x."""
    k = cuda.grid(1)
    if k < y.shape[0]:
        _leaky_relu_forward(k, k + 1, x, slope, y)


@cuda.jit
def leaky_relu_backward(dy, x, slope, dx):
    """dx = dy where x > 0, else slope dy."""
    k = cuda.grid(1)
    if k < dx.shape[0]:
        _leaky_relu_backward(k, k + 1, dy, x, slope, dx)


@cuda.jit
def sigmoid_forward(x, y):
    """y = 1 / (1 + exp(-x))."""
    k = cuda.grid(1)
    if k < y.shape[0]:
        y[k] = _sigmoid(x[k])


@cuda.jit
def sigmoid_backward(dy, y, dx):
    """dx = dy (1 - y) y."""
    k = cuda.grid(1)
    if k < dx.shape[0]:
        _sigmoid_backward(k, k + 1, dy, y, dx)


@cuda.jit
def tanh_forward(x, y):
    """y = tanh(x)."""
    k = cuda.grid(1)
    if k < y.shape[0]:
        _tanh_forward(k, k + 1, x, y)


@cuda.jit
def tanh_backward(dy, y, dx):
    """dx = dy (1 - y) (1 + y)."""
    k = cuda.grid(1)
    if k < dx.shape[0]:
        _tanh_backward(k, k + 1, dy, y, dx)


@cuda.jit
def multiply(a, b, c):
    """c = a b."""
    k = cuda.grid(1)
    if k < c.shape[0]:
        _multiply(k, k + 1, a, b, c)


# ---- comparisons ----


@cuda.jit
def threshold(x, limit, y):
    """y = 1 where x > limit, else 0."""
    k = cuda.grid(1)
    if k < y.shape[0]:
        y[k] = x[k] > limit


@cuda.jit
def equal(a, b, c):
    """c = a == b."""
    k = cuda.grid(1)
    if k < c.shape[0]:
        c[k] = a[k] == b[k]


@cuda.jit
def near(a, b, tolerance, c):
    """c = |a - b| < tolerance."""
    k = cuda.grid(1)
    if k < c.shape[0]:
        c[k] = abs(a[k] - b[k]) < tolerance


# ---- gradients of losses whose targets are a matrix like the predictions ----

_softmax_cross_entropy_soft = device(softmax.softmax_cross_entropy_backward_soft)
_cross_entropy_soft = device(losses.cross_entropy_backward_soft)
_binary_cross_entropy = device(losses.binary_cross_entropy_backward)
_squared_error = device(losses.squared_error_backward)
_absolute_error = device(losses.absolute_error_backward)


@cuda.jit
def softmax_cross_entropy_backward_soft(p, t, n, dx):
    """dx = (p - t) / N."""
    k = cuda.grid(1)
    if k < dx.shape[0]:
        _softmax_cross_entropy_soft(k, k + 1, p, t, n, dx)


@cuda.jit
def cross_entropy_backward_soft(p, t, low, n, dp):
    """dp = -t / max(p, low) / N."""
    k = cuda.grid(1)
    if k < dp.shape[0]:
        _cross_entropy_soft(k, k + 1, p, t, low, n, dp)


@cuda.jit
def binary_cross_entropy_backward(p, t, low, high, outputs, n, dp):
    """dp = -(t / p - (1 - t) / (1 - p)) / O / N, p clipped to [low, high]."""
    k = cuda.grid(1)
    if k < dp.shape[0]:
        _binary_cross_entropy(k, k + 1, p, t, low, high, outputs, n, dp)


@cuda.jit
def squared_error_backward(y, t, outputs, n, dy):
    """dy = -2 (t - y) / O / N."""
    k = cuda.grid(1)
    if k < dy.shape[0]:
        _squared_error(k, k + 1, y, t, outputs, n, dy)


@cuda.jit
def absolute_error_backward(y, t, outputs, n, dy):
    """dy = sign(y - t) / O / N."""
    k = cuda.grid(1)
    if k < dy.shape[0]:
        _absolute_error(k, k + 1, y, t, outputs, n, dy)


# ---- optimizers: a parameter and its state are read, updated and written by one thread ----

_sgd = device(optimizers.sgd_step)
_momentum = device(optimizers.momentum_step)
_adagrad = device(optimizers.adagrad_step)
_rmsprop = device(optimizers.rmsprop_step)
_adam = device(optimizers.adam_step)
_adamw = device(optimizers.adamw_step)
_regularization = device(optimizers.regularization_step)


@cuda.jit
def sgd_step(dw, rate, w):
    """w -= rate dw."""
    k = cuda.grid(1)
    if k < w.shape[0]:
        _sgd(k, k + 1, dw, rate, w)


@cuda.jit
def momentum_step(dw, rate, momentum, w, m):
    """m = momentum m - rate dw; w += m."""
    k = cuda.grid(1)
    if k < w.shape[0]:
        _momentum(k, k + 1, dw, rate, momentum, w, m)


@cuda.jit
def adagrad_step(dw, rate, epsilon, w, cache):
    """cache += dw^2; w -= rate dw / (sqrt(cache) + epsilon)."""
    k = cuda.grid(1)
    if k < w.shape[0]:
        _adagrad(k, k + 1, dw, rate, epsilon, w, cache)


@cuda.jit
def rmsprop_step(dw, rate, epsilon, rho, rest, w, cache):
    """cache = rho cache + rest dw^2; w as in adagrad_step."""
    k = cuda.grid(1)
    if k < w.shape[0]:
        _rmsprop(k, k + 1, dw, rate, epsilon, rho, rest, w, cache)


@cuda.jit
def adam_step(dw, rate, epsilon, beta_1, rest_1, beta_2, rest_2, factor_1, factor_2, w, m, cache):
    """Moving averages m of dw and cache of dw^2; 28 bytes a parameter in float32."""
    k = cuda.grid(1)
    if k < w.shape[0]:
        scalars = (rate, epsilon, beta_1, rest_1, beta_2, rest_2, factor_1, factor_2)
        _adam(k, k + 1, dw, *scalars, w, m, cache)


@cuda.jit
def adamw_step(
    dw, rate, epsilon, beta_1, rest_1, beta_2, rest_2, factor_1, factor_2, weight_decay, w, m, cache
):
    """As adam_step, and w shrinks by rate weight_decay of itself."""
    k = cuda.grid(1)
    if k < w.shape[0]:
        scalars = (rate, epsilon, beta_1, rest_1, beta_2, rest_2, factor_1, factor_2, weight_decay)
        _adamw(k, k + 1, dw, *scalars, w, m, cache)


@cuda.jit
def regularization_step(w, l1, twice_l2, dw):
    """dw += l1 sign(w) + 2 l2 w."""
    k = cuda.grid(1)
    if k < dw.shape[0]:
        _regularization(k, k + 1, w, l1, twice_l2, dw)
