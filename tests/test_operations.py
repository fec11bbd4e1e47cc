"""Every operation gives the numbers of its formula, on every backend, in float32 and float64.

The formulas are written a second time here, in the most naive way: Python loops over samples
and elements, in float64, knowing nothing of the package. They run on the numpy backend in
float64 too, which validates the specification itself; on large arrays that specification is
then the oracle. Proves also what happens at the edges: huge logits, ties, kinks, denormals,
NaN and infinity, labels out of range, probabilities of exactly 0 and 1.
"""

from __future__ import annotations

import functools
import math

import numpy as np
import pytest
from helpers import (
    DTYPES,
    OPERATIONS,
    assert_close,
    philox_words,
    probabilities,
    run,
    summing,
    usable_backends,
)

from nnfs_gpu import (
    Layer_Dense,
    Optimizer_Adagrad,
    Optimizer_Adam,
    Optimizer_RMSprop,
    Optimizer_SGD,
    get_backend,
    use_backend,
)

EPS64 = np.finfo(np.float64).eps


class Expected:
    """A value, and the size of the rounding errors on the way to it (see assert_close)."""

    def __init__(self, value, magnitude=None, ulps=4.0):
        self.value, self.magnitude, self.ulps = np.array(value), magnitude, ulps
        if magnitude is not None:
            self.magnitude = np.array(magnitude)


def exact(value):
    return Expected(value, ulps=0)


def each(function, *arrays):
    """`function` of the elements of arrays of equal shape, one by one."""
    return np.array([[function(*z) for z in zip(*rows, strict=True)] for rows in _rows(*arrays)])


def each_row(function, *arrays):
    """`function` of the rows, as lists, one by one."""
    return np.array([function(*rows) for rows in _rows(*arrays)])


def _rows(*arrays):
    return zip(*(a.tolist() for a in arrays), strict=True)


# ---- the formulas ----
def linear_forward(dtype, x, w, b):
    def dot(row, column):
        return math.fsum(p * q for p, q in zip(row, column, strict=True))

    columns = w.T.tolist()
    value = [
        [dot(row, column) + bias for column, bias in zip(columns, b[0].tolist(), strict=True)]
        for row in x.tolist()
    ]
    return [Expected(value, np.abs(x) @ np.abs(w) + np.abs(b), summing(w.shape[0]))]


def linear_backward(dtype, dy, x, w):
    (dx,) = linear_forward(dtype, dy, w.T, np.zeros((1, w.shape[0])))
    (dw,) = linear_forward(dtype, x.T, dy, np.zeros((1, dy.shape[1])))
    db = [[math.fsum(column) for column in dy.T.tolist()]]
    return [dx, dw, Expected(db, np.abs(dy).sum(0, keepdims=True), summing(dy.shape[0]))]


def relu_forward(dtype, x):
    return [exact(each(lambda v: v if v > 0 else 0.0, x))]


def relu_backward(dtype, dy, x):
    return [exact(each(lambda d, v: d if v > 0 else 0.0, dy, x))]


def sigmoid_forward(dtype, x):
    def sigmoid(v):
        return 1 / (1 + math.exp(-v)) if v > 0 else math.exp(v) / (1 + math.exp(v))

    return [Expected(each(sigmoid, x))]


def sigmoid_backward(dtype, dy, y):
    return [Expected(each(lambda d, v: d * v * (1 - v), dy, y))]


def softmax_forward(dtype, x):
    def softmax(row):
        largest = max(row)
        powers = [math.exp(v - largest) for v in row]
        total = math.fsum(powers)
        return [p / total for p in powers]

    y = each_row(softmax, x)
    # exp turns the rounding of x - max, relative to x - max, into one relative to the result.
    below = x.max(axis=1, keepdims=True) - x
    growth = 2 + below + (y * below).sum(axis=1, keepdims=True)
    return [Expected(y, y * growth, summing(x.shape[1]))]


def softmax_backward(dtype, dy, y):
    """The notes' loop: the Jacobian matrix of every sample times its gradient."""
    dx = np.empty_like(dy)
    for index, (single_output, single_dvalues) in enumerate(zip(y, dy, strict=True)):
        single_output = single_output.reshape(-1, 1)
        jacobian_matrix = np.diagflat(single_output) - np.dot(single_output, single_output.T)
        dx[index] = np.dot(jacobian_matrix, single_dvalues)
    magnitude = y * (np.abs(dy) + (y * np.abs(dy)).sum(axis=1, keepdims=True))
    return [Expected(dx, magnitude, summing(y.shape[1]))]


def softmax_jacobian(dtype, y):
    def jacobian(row):
        return [[a * (i == j) - a * b for j, b in enumerate(row)] for i, a in enumerate(row)]

    def magnitude(row):
        return [[a * (i == j) + a * b for j, b in enumerate(row)] for i, a in enumerate(row)]

    return [Expected(each_row(jacobian, y), each_row(magnitude, y))]


def limits(dtype):
    """The book's clip, as numbers of the arrays' dtype: 1 - 1e-7 is 1 - 1.19e-7 in float32."""
    return float(dtype.type(1e-7)), float(dtype.type(1 - 1e-7))


def as_rows(t, classes):
    """Class indices as one-hot rows."""
    return t if t.ndim == 2 else np.array([[float(c == k) for c in range(classes)] for k in t])


def cross_entropy_forward(dtype, p, t):
    low, high = limits(dtype)

    def loss(probabilities, targets):
        return -math.fsum(
            target * math.log(min(max(probability, low), high))
            for probability, target in zip(probabilities, targets, strict=True)
            if target
        )

    t = as_rows(t, p.shape[1])
    value = each_row(loss, p, t)
    # 1 eps: a probability near 1, rounded by half an eps, moves its logarithm by as much.
    return [Expected(value, 1 + value, 2 + (summing(p.shape[1]) if (t % 1).any() else 0))]


def cross_entropy_backward(dtype, p, t):
    low, _ = limits(dtype)
    n, classes = p.shape
    gradient = each(lambda q, k: -k / max(q, low) / n, p, as_rows(t, classes))
    return [Expected(gradient)]


def softmax_cross_entropy_backward(dtype, p, t):
    n, classes = p.shape
    t = as_rows(t, classes)
    return [Expected(each(lambda q, k: (q - k) / n, p, t), (np.abs(p) + t) / n, 2)]


def binary_cross_entropy_forward(dtype, p, t):
    low, high = limits(dtype)

    def loss(probabilities, targets):
        terms = []
        for probability, target in zip(probabilities, targets, strict=True):
            q = min(max(probability, low), high)
            terms.append(-(target * math.log(q) + (1 - target) * math.log(1 - q)))
        return math.fsum(terms) / len(terms)

    value = each_row(loss, p, t)
    return [Expected(value, 1 + value, summing(p.shape[1]))]


def binary_cross_entropy_backward(dtype, p, t):
    low, high = limits(dtype)
    n, outputs = p.shape

    def terms(probability, target):
        q = min(max(probability, low), high)
        return target / q, (1 - target) / (1 - q)

    gradient = each(lambda q, k: -(terms(q, k)[0] - terms(q, k)[1]) / outputs / n, p, t)
    return [Expected(gradient, each(lambda q, k: sum(terms(q, k)), p, t) / outputs / n)]


def squared_error_forward(dtype, y, t):
    def loss(outputs, targets):
        squares = [(b - a) ** 2 for a, b in zip(outputs, targets, strict=True)]
        return math.fsum(squares) / len(squares)

    return [Expected(each_row(loss, y, t), ulps=summing(y.shape[1]))]


def squared_error_backward(dtype, y, t):
    n, outputs = y.shape
    return [Expected(each(lambda a, b: 2 * (a - b) / outputs / n, y, t))]


def absolute_error_forward(dtype, y, t):
    def loss(outputs, targets):
        return math.fsum(abs(b - a) for a, b in zip(outputs, targets, strict=True)) / len(outputs)

    return [Expected(each_row(loss, y, t), ulps=summing(y.shape[1]))]


def absolute_error_backward(dtype, y, t):
    n, outputs = y.shape
    return [Expected(each(lambda a, b: ((a > b) - (a < b)) / outputs / n, y, t))]


def dropout_forward(dtype, x, keep, seed, call):
    words = philox_words(0, x.size, seed, 1, call).reshape(x.shape)
    mask = each(lambda word: 1 / keep if word < keep * 2**32 else 0.0, words)
    return [Expected(x * mask), Expected(mask, ulps=1)]


def multiply(dtype, a, b):
    return [Expected(each(lambda p, q: p * q, a, b), ulps=1)]


def regularization_loss(dtype, w, l1, l2):
    value = math.fsum(l1 * abs(v) + l2 * v * v for row in w.tolist() for v in row)
    return [Expected(value, ulps=summing(w.size))]


def regularization_step(dtype, dw, w, l1, l2):
    def gradient(d, v):
        return d + (l1 if v >= 0 else -l1) + 2 * l2 * v

    return [Expected(each(gradient, dw, w), np.abs(dw) + l1 + 2 * l2 * np.abs(w))]


def sgd_step(dtype, w, dw, rate):
    return [Expected(each(lambda p, d: p - rate * d, w, dw), np.abs(w) + rate * np.abs(dw))]


def momentum_step(dtype, w, dw, m, rate, momentum):
    new_m = each(lambda d, v: momentum * v - rate * d, dw, m)
    size = momentum * np.abs(m) + rate * np.abs(dw)
    return [Expected(w + new_m, np.abs(w) + size), Expected(new_m, size)]


def adagrad_step(dtype, w, dw, cache, rate, epsilon):
    new_cache = each(lambda d, c: c + d * d, dw, cache)
    update = each(lambda d, c: rate * d / (math.sqrt(c) + epsilon), dw, new_cache)
    return [Expected(w - update, np.abs(w) + np.abs(update)), Expected(new_cache)]


def rmsprop_step(dtype, w, dw, cache, rate, epsilon, rho):
    new_cache = each(lambda d, c: rho * c + (1 - rho) * d * d, dw, cache)
    update = each(lambda d, c: rate * d / (math.sqrt(c) + epsilon), dw, new_cache)
    return [Expected(w - update, np.abs(w) + np.abs(update)), Expected(new_cache)]


def adam_step(dtype, w, dw, m, cache, rate, epsilon, beta_1, beta_2, step):
    new_m = each(lambda d, v: beta_1 * v + (1 - beta_1) * d, dw, m)
    new_cache = each(lambda d, c: beta_2 * c + (1 - beta_2) * d * d, dw, cache)
    size = beta_1 * np.abs(m) + (1 - beta_1) * np.abs(dw)

    def update(average, squares):
        corrected = average / (1 - beta_1**step)
        return rate * corrected / (math.sqrt(squares / (1 - beta_2**step)) + epsilon)

    moved = np.abs(each(update, size, new_cache))
    return [
        Expected(w - each(update, new_m, new_cache), np.abs(w) + moved),
        Expected(new_m, size),
        Expected(new_cache),
    ]


def argmax(dtype, x):
    return [exact(each_row(lambda row: row.index(max(row)), x))]


def threshold(dtype, x, limit):
    return [exact(each(lambda v: int(v > limit), x))]


def equal(dtype, a, b):
    return [exact(each(lambda p, q: p == q, a, b))]


def close(dtype, a, b, tolerance):
    return [exact(each(lambda p, q: abs(p - q) < tolerance, a, b))]


def mean(dtype, a):
    value = math.fsum(a.ravel().tolist()) / a.size
    return [Expected(value, np.abs(a).mean(), summing(a.size))]


def sum_(dtype, a):
    return [Expected(math.fsum(a.ravel().tolist()), np.abs(a).sum(), summing(a.size))]


def random_words(dtype, count, seed, stream, call):
    return [exact(philox_words(0, count, seed, stream, call))]


def spiral(dtype, samples, classes, seed):
    words = philox_words(0, 2 * samples * classes, seed, 2).tolist()
    points, labels, angles = [], [], []
    for c in range(classes):
        for k in range(samples):
            i = c * samples + k
            u, v = (words[2 * i] + 0.5) / 2**32, words[2 * i + 1] / 2**32
            g = math.sqrt(-2 * math.log(u)) * math.cos(2 * math.pi * v)
            r = k / (samples - 1) if samples > 1 else 0.0
            angle = 10 * c + 10 * r + 0.5 * g
            points.append([r * math.sin(angle), r * math.cos(angle)])
            labels.append(c)
            angles.append([abs(angle) + 10])
    # The angle is computed in float64; its rounding moves a point by as much.
    magnitude = 1 + np.array(angles) * EPS64 / np.finfo(dtype).eps
    return [Expected(points, magnitude, 2), exact(labels)]


def unchanged(dtype, **arguments):
    return [exact(value) for value in arguments.values()]


ORACLES = {
    "asarray": unchanged,
    "to_numpy": unchanged,
    "copy": unchanged,
    "zeros": lambda dtype, shape: [exact(np.zeros(shape))],
    "synchronize": lambda dtype: [],
    "all_finite": lambda dtype, a: [exact(True)],
    "linear_forward": linear_forward,
    "linear_backward": linear_backward,
    "relu_forward": relu_forward,
    "relu_backward": relu_backward,
    "sigmoid_forward": sigmoid_forward,
    "sigmoid_backward": sigmoid_backward,
    "softmax_forward": softmax_forward,
    "softmax_backward": softmax_backward,
    "softmax_jacobian": softmax_jacobian,
    "cross_entropy_forward": cross_entropy_forward,
    "cross_entropy_backward": cross_entropy_backward,
    "softmax_cross_entropy_backward": softmax_cross_entropy_backward,
    "binary_cross_entropy_forward": binary_cross_entropy_forward,
    "binary_cross_entropy_backward": binary_cross_entropy_backward,
    "squared_error_forward": squared_error_forward,
    "squared_error_backward": squared_error_backward,
    "absolute_error_forward": absolute_error_forward,
    "absolute_error_backward": absolute_error_backward,
    "dropout_forward": dropout_forward,
    "multiply": multiply,
    "regularization_loss": regularization_loss,
    "regularization_step": regularization_step,
    "sgd_step": sgd_step,
    "momentum_step": momentum_step,
    "adagrad_step": adagrad_step,
    "rmsprop_step": rmsprop_step,
    "adam_step": adam_step,
    "argmax": argmax,
    "threshold": threshold,
    "equal": equal,
    "close": close,
    "mean": mean,
    "sum": sum_,
    "random_words": random_words,
    "spiral": spiral,
}

# N and C around what loops are cut and unrolled by: 1, 2 to 4, the warp, the tile of 256.
SHAPES = (
    (1, 1),
    (1, 3),
    (7, 1),
    (3, 2),
    (255, 3),
    (256, 4),
    (257, 5),
    (1000, 10),
    (3, 31),
    (5, 32),
    (7, 33),
    (257, 100),
    (3, 1025),
)


def in_float64(arguments):
    """The same numbers for the oracle: float arrays as float64, the rest as it is."""
    return {
        name: value.astype(np.float64)
        if isinstance(value, np.ndarray) and value.dtype.kind == "f"
        else value
        for name, value in arguments.items()
    }


def compare(operation, backend, n, c, arguments, expected):
    actual = run(backend, operation, arguments)
    assert len(actual) == len(expected) == len(operation.result) + len(operation.writes)
    stated = (*operation.result, *("same" for _ in operation.writes))
    for k, (result, want, dtype) in enumerate(zip(actual, expected, stated, strict=True)):
        if dtype == "python bool":
            assert result is bool(want.value)
            continue
        dtype = backend.dtype if dtype in ("same", "own") else dtype
        assert_close(
            result,
            want.value,
            dtype,
            ulps=want.ulps,
            magnitude=want.magnitude,
            what=f"{operation.id} {n}x{c}, result {k}",
        )


def test_every_operation_has_an_oracle():
    assert {operation.name for operation in OPERATIONS} == set(ORACLES)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda s: f"{s[0]}x{s[1]}")
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda o: o.id)
def test_formula(backend, operation, shape):
    n, c = shape
    if operation.name == "softmax_jacobian" and n * c * c > 10**6:
        n = max(1, 10**5 // (c * c))
    arguments = operation.arguments(backend.dtype, n, c)
    expected = ORACLES[operation.name](backend.dtype, **in_float64(arguments))
    compare(operation, backend, n, c, arguments, expected)


# ---- large arrays: several threads, several chunks ----
LARGE = (
    "linear_backward",
    "relu_backward",
    "sigmoid_forward",
    "softmax_forward",
    "softmax_backward",
    "cross_entropy_forward-sparse",
    "cross_entropy_backward-sparse",
    "softmax_cross_entropy_backward-sparse",
    "regularization_loss",
    "adam_step",
    "argmax",
    "mean",
    "sum-floats",
)


@functools.cache
def large_arguments(identity, n, c):
    operation = next(o for o in OPERATIONS if o.id == identity)
    arguments = operation.arguments("float32", n, c)
    specification = get_backend("numpy", dtype="float64", precise_dot=False, book_random=False)
    return operation, arguments, run(specification, operation, in_float64(arguments))


@pytest.mark.parametrize("shape", [(350_003, 3), (105_001, 10)], ids=lambda s: f"{s[0]}x{s[1]}")
@pytest.mark.parametrize("identity", LARGE)
def test_large_arrays_against_the_specification(backend_name, identity, shape):
    """Above 2^20 elements, where work is shared among threads, and no multiple of a chunk."""
    backend = get_backend(backend_name, dtype="float32", precise_dot=False, book_random=False)
    operation, arguments, expected = large_arguments(identity, *shape)
    for actual, want in zip(run(backend, operation, arguments), expected, strict=True):
        size, sums = np.abs(want).max(), want.size < shape[0] and identity != "argmax"
        assert_close(
            actual,
            want,
            np.float32 if actual.dtype.kind == "f" and identity != "sum-floats" else actual.dtype,
            # Coarser than test_formula, which knows each formula's terms: a row that a thread
            # has missed or mixed up is what must show here.
            ulps=summing(shape[0]) if sums else 16,
            magnitude=size + 1 if sums else np.abs(want) + 0.1 * size,
            what=identity,
        )


def test_sums_of_a_million_numbers_are_accurate(backend):
    """A running float32 sum of these would be off by about 1e-4."""
    a = np.random.RandomState(0).rand(10**6).astype(backend.dtype)
    total = math.fsum(a.tolist())
    bound = 1e-6 if backend.dtype == np.float32 else 1e-13
    moved = backend.asarray(a)
    assert abs(float(backend.sum(moved)) - total) <= bound * total
    assert abs(float(backend.mean(moved)) * 10**6 - total) <= bound * total
    penalty = float(backend.regularization_loss(moved, 1.0, 0.0))
    assert abs(penalty - total) <= bound * total


# ---- shapes ----
@pytest.mark.parametrize("shape", [(24,), (2, 3, 4), (1, 24)], ids=str)
@pytest.mark.parametrize(
    "identity",
    [
        "relu_forward",
        "relu_backward",
        "sigmoid_forward",
        "sigmoid_backward",
        "dropout_forward",
        "multiply",
        "regularization_loss",
        "regularization_step",
        "sgd_step",
        "momentum_step",
        "adagrad_step",
        "rmsprop_step",
        "adam_step",
        "threshold",
        "equal",
        "close",
        "mean",
        "sum-floats",
        "sum-int32",
        "copy",
    ],
)
def test_element_wise_operations_take_any_shape(backend, identity, shape):
    operation = next(o for o in OPERATIONS if o.id == identity)
    arguments = operation.arguments(backend.dtype, 6, 4)
    reshaped = {
        name: value.reshape(shape) if isinstance(value, np.ndarray) else value
        for name, value in arguments.items()
    }
    expected = run(backend, operation, arguments)
    for actual, want in zip(run(backend, operation, reshaped), expected, strict=True):
        assert np.shape(actual) == (shape if np.shape(want) else ())
        np.testing.assert_array_equal(np.reshape(actual, -1), np.reshape(want, -1))


def call(backend, name, *arguments):
    """One operation with NumPy arguments, its result as a NumPy array."""
    moved = [backend.asarray(a, a.dtype) if isinstance(a, np.ndarray) else a for a in arguments]
    return backend.to_numpy(getattr(backend, name)(*moved))


def array(backend, *rows):
    return np.array(rows, backend.dtype)


# ---- arrays ----
def test_asarray_takes_real_numbers_in_any_form(backend):
    for given in (
        [[1, 2], [3, 4]],
        np.array([[1, 2], [3, 4]], np.uint8),
        np.array([[1, 3], [2, 4]], np.float16).T,
        np.array([[1, 0, 2], [3, 0, 4]], np.int64)[:, ::2],
    ):
        a = backend.asarray(given)
        assert a.flags.c_contiguous
        assert_close(backend.to_numpy(a), [[1, 2], [3, 4]], backend.dtype, ulps=0)
    assert backend.asarray([True, False]).dtype == backend.dtype
    assert backend.asarray([1, 2], np.int32).dtype == np.int32
    a = backend.asarray([[1.0, 2.0]])
    assert backend.asarray(a) is a, "no copy where none is needed"


@pytest.mark.parametrize("given", [[1j], ["1"], [None], np.array(["2020-01-01"], "M8[D]")], ids=str)
def test_asarray_refuses_what_holds_no_real_numbers(backend, given):
    with pytest.raises(TypeError, match="real numbers"):
        backend.asarray(given)


def test_zeros_and_copy(backend):
    assert_close(backend.to_numpy(backend.zeros((2, 3))), np.zeros((2, 3)), backend.dtype, ulps=0)
    assert backend.zeros(4, np.int32).dtype == np.int32
    view = backend.asarray([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])[:, ::2]
    copied = backend.copy(view)
    assert copied.flags.c_contiguous
    view[0, 0] = 9.0
    assert_close(backend.to_numpy(copied), [[1, 3], [4, 6]], backend.dtype, ulps=0)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", [0, 500, 999])
def test_all_finite_finds_one_bad_element(backend, place, value):
    a = np.ones(1000, backend.dtype)
    assert backend.all_finite(backend.asarray(a)) is True
    a[place] = value
    assert backend.all_finite(backend.asarray(a)) is False


# ---- dense layer ----
def test_precise_dot_sums_in_float64(backend_name):
    """What nnfs.init() asks for: one rounding, half a unit, where a float32 sum has dozens."""
    backend = get_backend(backend_name, dtype="float32", precise_dot=True, book_random=False)
    rng = np.random.RandomState(0)
    x, w, dy = (rng.randn(*shape).astype(np.float32) for shape in ((70, 900), (900, 40), (70, 40)))
    b = np.zeros((1, 40), np.float32)
    y = call(backend, "linear_forward", x, w, b)
    moved = [backend.asarray(a) for a in (dy, x, w)]
    dx, dw, _ = (backend.to_numpy(a) for a in backend.linear_backward(*moved))
    x, w, dy = (a.astype(np.float64) for a in (x, w, dy))
    for result, expected in ((y, x @ w), (dx, dy @ w.T), (dw, x.T @ dy)):
        assert_close(result, expected, np.float32, ulps=0.5001)


def test_a_nan_sample_spoils_its_own_row_only(backend):
    x, w, b = np.ones((5, 4)), np.ones((4, 3)), np.zeros((1, 3))
    x[2, 1] = np.nan
    y = call(backend, "linear_forward", *(a.astype(backend.dtype) for a in (x, w, b)))
    assert np.isnan(y).all(axis=1).tolist() == [False, False, True, False, False]
    assert (y[[0, 1, 3, 4]] == 4).all()


# ---- ReLU and sigmoid ----
def test_relu_at_its_kink_and_at_the_ends(backend):
    tiny = float(np.finfo(backend.dtype).smallest_subnormal)
    large = float(np.finfo(backend.dtype).max)
    x = array(backend, 0.0, -0.0, tiny, -tiny, large, -large, math.inf, -math.inf, math.nan)
    expected = [0, 0, tiny, 0, large, 0, math.inf, 0, math.nan]
    assert_close(call(backend, "relu_forward", x), expected, backend.dtype, ulps=0)
    dy = array(backend, *range(1, 9))
    dx = call(backend, "relu_backward", dy, x[:8])
    assert_close(dx, [0, 0, 3, 0, 5, 0, 7, 0], backend.dtype, ulps=0)


def test_relu_backward_keeps_nan_gradients_where_they_pass(backend):
    dy = array(backend, math.nan, math.nan, 1, math.inf)
    dx = call(backend, "relu_backward", dy, array(backend, 1, -1, 1, -1))
    assert_close(dx, [math.nan, 0, 1, 0], backend.dtype, ulps=0)


def test_sigmoid_at_the_ends(backend):
    """Warnings are errors here, so an overflow would show."""
    x = array(backend, 1e4, -1e4, math.inf, -math.inf, 0.0, -0.0, math.nan, -80.0, 80.0)
    expected = [1, 0, 1, 0, 0.5, 0.5, math.nan, math.exp(-80), 1]
    assert_close(call(backend, "sigmoid_forward", x), expected, backend.dtype)


def test_sigmoid_of_denormals_and_in_the_denormal_range(backend):
    tiny = float(np.finfo(backend.dtype).smallest_subnormal)
    low = -95.0 if backend.dtype == np.float32 else -720.0
    x = array(backend, tiny, -tiny, low)
    assert_close(call(backend, "sigmoid_forward", x), [0.5, 0.5, math.exp(low)], backend.dtype)


def test_sigmoid_over_its_whole_range(backend):
    """Every power of two of x and steps between: a bad polynomial piece would show."""
    x = np.concatenate([np.linspace(-104, 20, 20_001), 2.0 ** np.arange(-30, 7)])
    x = np.concatenate([x, -x[-37:]]).astype(backend.dtype)[None]
    (expected,) = sigmoid_forward(backend.dtype, x.astype(np.float64))
    assert_close(call(backend, "sigmoid_forward", x), expected.value, backend.dtype)


def errors_in_units(actual, expected):
    """|actual - expected| in units of the last place of the float32 nearest to expected."""
    return np.abs(actual.astype(np.float64) - expected) / np.spacing(
        np.abs(expected).astype(np.float32), dtype=np.float32
    )


def test_exp_of_the_kernels_is_as_good_as_stated():
    """Below one unit in the last place; half a unit more where the result is denormal."""
    from nnfs_gpu.kernels.common import exp_in_place

    x = np.random.RandomState(0).uniform(-103.9, 88.7, 200_000).astype(np.float32)
    x = np.concatenate([x, (x / 300).astype(np.float32), np.zeros(1, np.float32)])
    y = x.copy()
    exp_in_place(y)
    expected = np.exp(x.astype(np.float64))
    denormal = expected < np.finfo(np.float32).tiny
    error = errors_in_units(y, expected)
    assert 1000 < denormal.sum() < x.size / 2
    assert error[~denormal].max() < 1
    assert error[denormal].max() < 1.5
    assert y[-1] == 1


def test_log_of_the_kernels_is_as_good_as_stated():
    """Below one unit in the last place, from the smallest normal number to 1 and above."""
    from nnfs_gpu.kernels.common import log_in_place

    rng = np.random.RandomState(0)
    x = np.concatenate([np.exp(rng.uniform(-87, 87, 200_000)), rng.uniform(0.4, 2.2, 200_000)])
    x = np.append(x, 1.0).astype(np.float32)
    y = x.copy()
    log_in_place(y)
    assert errors_in_units(y[:-1], np.log(x[:-1].astype(np.float64))).max() < 1
    assert y[-1] == 0


def test_sigmoid_backward_passes_nan_on(backend):
    dy, y = array(backend, math.nan, 1, 2), array(backend, 0.5, math.nan, 0.5)
    dx = call(backend, "sigmoid_backward", dy, y)
    assert_close(dx, [math.nan, math.nan, 0.5], backend.dtype)


# ---- softmax ----
WIDTHS = (1, 2, 3, 4, 5, 10, 31, 32, 33, 100, 1025)


@pytest.mark.parametrize("c", WIDTHS)
def test_softmax_of_equal_scores(backend, c):
    for score in (0.0, 1e4, -1e4, 1e30):
        y = call(backend, "softmax_forward", np.full((3, c), score, backend.dtype))
        assert_close(y, np.full((3, c), 1 / c), backend.dtype, ulps=1)


@pytest.mark.parametrize("c", WIDTHS[1:])
def test_softmax_of_huge_scores(backend, c):
    """Scores of +-1e4 give exact zeros and ones, wherever the largest stands."""
    for at in {0, c // 2, c - 1}:
        x = np.full((2, c), -1e4, backend.dtype)
        x[:, at] = 1e4
        y = call(backend, "softmax_forward", x)
        assert_close(y, np.eye(c)[[at, at]], backend.dtype, ulps=0)
        dy = np.random.RandomState(c).randn(2, c).astype(backend.dtype)
        dx = call(backend, "softmax_backward", dy, y)
        assert_close(dx, np.zeros((2, c)), backend.dtype, ulps=0)


@pytest.mark.parametrize("c", WIDTHS)
def test_softmax_of_shifted_rows(backend, c):
    """A constant added to a row changes nothing, and one row nothing in another."""
    x = np.random.RandomState(c).randint(-8, 9, (4, c)) / 4.0  # exact beside the shifts
    shifts = np.array([[0.0], [8192.0], [-8192.0], [64.0]])
    y = call(backend, "softmax_forward", x.astype(backend.dtype))
    shifted = call(backend, "softmax_forward", (x + shifts).astype(backend.dtype))
    assert shifted.tobytes() == y.tobytes()


@pytest.mark.parametrize("c", [2047, 2048, 2049, 5000])
def test_softmax_of_rows_longer_than_a_tile(backend, c):
    """Kernels work on tiles of 2048 elements: a row may be longer than one."""
    x = (5 * np.random.RandomState(c).randn(3, c)).astype(backend.dtype)
    (expected,) = softmax_forward(backend.dtype, x.astype(np.float64))
    y = call(backend, "softmax_forward", x)
    assert_close(y, expected.value, backend.dtype, ulps=summing(c), magnitude=expected.magnitude)


@pytest.mark.parametrize("c", WIDTHS)
def test_softmax_rows_sum_to_one_and_its_gradients_to_zero(backend, c):
    rng = np.random.RandomState(c)
    x = (10 * rng.randn(50, c)).astype(backend.dtype)
    y = call(backend, "softmax_forward", x)
    assert (y >= 0).all()
    ones = np.ones(50)
    # A sum of c roundings of at most half an eps each of its part.
    sums = y.astype(np.float64).sum(axis=1)
    assert_close(sums.astype(backend.dtype), ones, backend.dtype, ulps=summing(c))
    dy = rng.randn(50, c).astype(backend.dtype)
    dx = call(backend, "softmax_backward", dy, y).astype(np.float64).sum(axis=1)
    size = np.abs(dy).max(axis=1)
    assert_close(dx.astype(backend.dtype), 0 * ones, backend.dtype, magnitude=size, ulps=summing(c))


def test_softmax_over_the_whole_range_of_exp(backend):
    """Two scores, 0 and -d: y = exp(-d) / (1 + exp(-d)) for d from 0 into the denormals."""
    far = 103.0 if backend.dtype == np.float32 else 744.0
    d = np.linspace(0, far, 5001).astype(backend.dtype).astype(np.float64)
    x = np.stack([np.zeros_like(d), -d], axis=1)
    (expected,) = softmax_forward(backend.dtype, x)
    y = call(backend, "softmax_forward", x.astype(backend.dtype))
    # The difference of the scores is exact here, so the result is as good as exp itself.
    assert_close(y, expected.value, backend.dtype, ulps=4)


@pytest.mark.parametrize("c", WIDTHS)
def test_softmax_passes_nan_on_to_its_whole_row_only(backend, c):
    rng = np.random.RandomState(c)
    x, dy = rng.randn(2, 7, c).astype(backend.dtype)
    y = call(backend, "softmax_forward", x)
    dx = call(backend, "softmax_backward", dy, y)
    for at in {0, c // 2, c - 1}:
        for name, clean, first, second in (
            ("softmax_forward", y, x, None),
            ("softmax_backward", dx, dy, y),
            ("softmax_backward", dx, y, dy),
        ):
            bad = first.copy()
            bad[3, at] = np.nan
            arguments = [bad] if second is None else [bad, second]
            if first is y:
                arguments.reverse()
            result = call(backend, name, *arguments)
            assert np.isnan(result[3]).all(), name
            others = np.arange(7) != 3
            assert result[others].tobytes() == clean[others].tobytes(), name


@pytest.mark.parametrize("c", WIDTHS)
def test_softmax_of_infinite_scores(backend, c):
    """-inf is probability 0; a row with inf, or of -inf alone, has no answer: NaN."""
    x = np.zeros((3, c), backend.dtype)
    x[0, c - 1] = np.inf
    x[1] = -np.inf
    x[2, 1:] = -np.inf
    with np.errstate(invalid="ignore"):  # inf - inf
        y = call(backend, "softmax_forward", x)
    assert np.isnan(y[:2]).all()
    assert_close(y[2], np.eye(c)[0], backend.dtype, ulps=0)


def test_jacobian_shows_nan(backend):
    y = np.full((3, 4), 0.25, backend.dtype)
    y[1, 2] = np.nan
    jacobian = call(backend, "softmax_jacobian", y)
    expected = np.zeros((4, 4), bool)
    expected[2, :] = expected[:, 2] = True
    assert (np.isnan(jacobian[1]) >= expected).all()
    assert not np.isnan(jacobian[[0, 2]]).any()


# ---- losses ----
CROSS_ENTROPIES = (
    "cross_entropy_forward",
    "cross_entropy_backward",
    "softmax_cross_entropy_backward",
)


@pytest.mark.parametrize("name", CROSS_ENTROPIES)
@pytest.mark.parametrize("c", [2, 3, 4, 10, 33])
def test_a_label_out_of_range_is_nan_in_its_row_only(backend, name, c):
    p = probabilities(np.random.RandomState(c), 11, c).astype(backend.dtype)
    t = np.arange(11, dtype=np.int32) % c
    clean = call(backend, name, p, t)
    assert not np.isnan(clean).any()
    for label in (-1, -c, c, c + 1, 10**6, -(2**31), 2**31 - 1):
        for row in (0, 5, 10):
            wrong = t.copy()
            wrong[row] = label
            result = call(backend, name, p, wrong)
            assert np.isnan(result[row]).all(), (label, row)
            others = np.arange(11) != row
            assert result[others].tobytes() == clean[others].tobytes(), (label, row)


@pytest.mark.parametrize("name", CROSS_ENTROPIES)
def test_sparse_and_one_hot_labels_agree(backend, name):
    for c in (1, 2, 3, 4, 33):
        p = probabilities(np.random.RandomState(c), 50, c).astype(backend.dtype)
        t = np.random.RandomState(1).randint(0, c, 50).astype(np.int32)
        sparse = call(backend, name, p, t)
        one_hot = call(backend, name, p, np.eye(c)[t].astype(backend.dtype))
        assert_close(sparse, one_hot, backend.dtype, ulps=2, magnitude=1 + np.abs(one_hot))


def test_cross_entropy_of_zero_and_one(backend):
    """Clipped on both sides: no infinity, and the largest loss is -log(1e-7) = 16.118."""
    p, t = array(backend, [0, 1, 0], [0, 1, 0]), np.array([0, 1], np.int32)
    low, high = limits(backend.dtype)
    expected = [-math.log(low), -math.log(high)]
    assert abs(expected[0] - 16.118) < 1e-3
    for targets in (t, np.eye(3)[t].astype(backend.dtype)):
        losses = call(backend, "cross_entropy_forward", p, targets)
        assert_close(losses, expected, backend.dtype, ulps=2, magnitude=1 + np.array(expected))
        dp = call(backend, "cross_entropy_backward", p, targets)
        assert_close(dp, [[-0.5 / low, 0, 0], [0, -0.5, 0]], backend.dtype)
        dx = call(backend, "softmax_cross_entropy_backward", p, targets)
        assert_close(dx, [[-0.5, 0.5, 0], [0, 0, 0]], backend.dtype, ulps=0)


def test_soft_labels_keep_their_values(backend):
    """The book takes their argmax (defect B3): smoothed labels would give [-.2, .1, .1]."""
    p, t = array(backend, [0.4, 0.3, 0.3]), array(backend, [0.8, 0.1, 0.1])
    dx = call(backend, "softmax_cross_entropy_backward", p, t)
    assert_close(dx, [[-0.4, 0.2, 0.2]], backend.dtype, magnitude=1)


def test_cross_entropy_passes_nan_on(backend):
    p = probabilities(np.random.RandomState(0), 6, 4).astype(backend.dtype)
    t = np.array([0, 1, 2, 3, 0, 1], np.int32)
    one_hot = np.eye(4)[t].astype(backend.dtype)
    for column in range(4):
        bad = p.copy()
        bad[2, column] = np.nan
        # With class indices only the true class is looked at; with rows, all of them are.
        for targets, seen in ((t, column == 2), (one_hot, True)):
            losses = call(backend, "cross_entropy_forward", bad, targets)
            assert np.isnan(losses).tolist() == [False, False, seen, False, False, False]
            dp = call(backend, "cross_entropy_backward", bad, targets)
            expected = np.zeros((6, 4), bool)
            expected[2, column] = seen
            np.testing.assert_array_equal(np.isnan(dp), expected)
            dx = call(backend, "softmax_cross_entropy_backward", bad, targets)
            expected[2, column] = True
            np.testing.assert_array_equal(np.isnan(dx), expected)
    bad = one_hot.copy()
    bad[2, 1] = np.nan
    assert np.isnan(call(backend, "cross_entropy_forward", p, bad)).sum() == 1
    assert np.isnan(call(backend, "cross_entropy_backward", p, bad)).sum() == 1
    assert np.isnan(call(backend, "softmax_cross_entropy_backward", p, bad)).sum() == 1


@pytest.mark.parametrize("name", ["binary_cross_entropy", "squared_error", "absolute_error"])
@pytest.mark.parametrize("o", [1, 2, 5, 33])
def test_elementwise_losses_pass_nan_on(backend, name, o):
    p, t = np.full((5, o), 0.3, backend.dtype), np.ones((5, o), backend.dtype)
    for at in {0, o - 1}:
        for which in (0, 1):
            arguments = [p.copy(), t.copy()]
            arguments[which][3, at] = np.nan
            losses = call(backend, f"{name}_forward", *arguments)
            assert np.isnan(losses).tolist() == [False, False, False, True, False]
            gradient = call(backend, f"{name}_backward", *arguments)
            expected = np.zeros((5, o), bool)
            expected[3, at] = True
            np.testing.assert_array_equal(np.isnan(gradient), expected)


def test_binary_cross_entropy_of_zero_and_one(backend):
    p, t = array(backend, [0], [0], [1], [1]), array(backend, [0], [1], [0], [1])
    low, high = limits(backend.dtype)
    expected = np.array([-math.log(1 - low), -math.log(low), -math.log(1 - high), -math.log(high)])
    losses = call(backend, "binary_cross_entropy_forward", p, t)
    assert_close(losses, expected, backend.dtype, magnitude=1 + expected)
    gradient = call(backend, "binary_cross_entropy_backward", p, t)
    slopes = [[1 / (1 - low)], [-1 / low], [1 / (1 - high)], [-1 / high]]
    assert_close(gradient, np.array(slopes) / 4, backend.dtype)


def test_errors_that_are_infinite_stay_infinite(backend):
    y, t = array(backend, [math.inf, 0], [0, 0]), array(backend, [0, 0], [0, -math.inf])
    for name in ("squared_error_forward", "absolute_error_forward"):
        assert_close(call(backend, name, y, t), [math.inf, math.inf], backend.dtype)
    dy = call(backend, "absolute_error_backward", y, t)
    assert_close(dy, [[0.25, 0], [0, 0.25]], backend.dtype, ulps=0)


# ---- dropout ----
@pytest.mark.parametrize("keep", [0.1, 0.5, 0.9])
def test_dropout_keeps_the_stated_fraction(backend, keep):
    n = 200_001
    x = np.random.RandomState(0).randn(n).astype(backend.dtype)
    y, mask = backend.dropout_forward(backend.asarray(x), keep, 99, 3)
    y, mask = backend.to_numpy(y), backend.to_numpy(mask)
    values = np.unique(mask)
    expected = np.array([0, backend.dtype.type(1) / backend.dtype.type(keep)])
    np.testing.assert_array_equal(values, expected)
    assert y.tobytes() == (x * mask).tobytes()
    kept = np.count_nonzero(mask)
    assert abs(kept - keep * n) < 5 * math.sqrt(n * keep * (1 - keep))


def test_dropout_keeps_the_same_elements_everywhere():
    """One pattern for all backends and dtypes, element by element; another for other calls."""

    def pattern(backend, dtype, seed, call):
        one = get_backend(backend, dtype=dtype, precise_dot=False, book_random=False)
        _, mask = one.dropout_forward(one.asarray(np.ones((1237, 3))), 0.7, seed, call)
        return (one.to_numpy(mask) != 0).ravel()

    expected = philox_words(0, 1237 * 3, 42, 1, 5) < 0.7 * 2**32
    others = [pattern("numpy", "float32", *counter) for counter in ((42, 6), (43, 5), (42, 0))]
    for other in others:
        assert 0.3 < (other != expected).mean() < 0.55
    for name in usable_backends():
        for dtype in DTYPES:
            np.testing.assert_array_equal(pattern(name, dtype, 42, 5), expected)


def test_dropout_that_keeps_all(backend):
    x = np.random.RandomState(0).randn(100_003).astype(backend.dtype)
    for keep in (1.0, 1):
        y, mask = backend.dropout_forward(backend.asarray(x), keep, 1, 2)
        assert backend.to_numpy(y).tobytes() == x.tobytes()
        assert (backend.to_numpy(mask) == 1).all()


@pytest.mark.parametrize(("seed", "call"), [(-1, 0), (2**64, 0), (0, -1), (0, 2**32)])
def test_dropout_refuses_seeds_that_do_not_fit(backend, seed, call):
    with pytest.raises(ValueError, match="expected 0 to"):
        backend.dropout_forward(backend.asarray([1.0]), 0.5, seed, call)


# ---- regularization and optimizers ----
def test_penalty_at_zero_is_the_books(backend):
    """The L1 gradient at 0 and at -0.0 is +1."""
    w = array(backend, 0.0, -0.0, 2.0, -2.0)
    dw = backend.asarray(np.full(4, 10.0), backend.dtype)
    backend.regularization_step(dw, backend.asarray(w), 0.5, 0.0)
    assert_close(backend.to_numpy(dw), [10.5, 10.5, 10.5, 9.5], backend.dtype, ulps=0)
    backend.regularization_step(dw, backend.asarray(w), 0.0, 0.25)
    assert_close(backend.to_numpy(dw), [10.5, 10.5, 11.5, 8.5], backend.dtype, ulps=0)
    backend.regularization_step(dw, backend.asarray(w), 0.0, 0.0)
    assert_close(backend.to_numpy(dw), [10.5, 10.5, 11.5, 8.5], backend.dtype, ulps=0)
    for l1, l2, expected in ((0.5, 0.0, 2.0), (0.0, 0.25, 2.0), (0.0, 0.0, 0.0), (1.0, 1.0, 12.0)):
        penalty = backend.regularization_loss(backend.asarray(w), l1, l2)
        assert_close(backend.to_numpy(penalty), expected, backend.dtype, ulps=0)


@pytest.mark.parametrize(
    "identity", ["sgd_step", "momentum_step", "adagrad_step", "rmsprop_step", "adam_step"]
)
def test_steps_pass_nan_on_and_leave_the_others(backend, identity):
    operation = next(o for o in OPERATIONS if o.id == identity)
    arguments = operation.arguments(backend.dtype, 8, 5)
    clean = run(backend, operation, arguments)
    arguments["dw"][3, 2] = np.nan
    for result, want in zip(run(backend, operation, arguments), clean, strict=True):
        assert np.isnan(result[3, 2])
        result[3, 2] = want[3, 2]
        assert result.tobytes() == want.tobytes()


def textbook(rule, rate, decay, w, gradients, **k):
    """One parameter through all steps in plain numbers: its value and its rounding's size."""
    m = cache = size_m = 0.0
    size = abs(w)
    for iteration, g in enumerate(gradients):
        step_rate = rate / (1 + decay * iteration)
        if rule == "sgd":
            update, moved = step_rate * g, step_rate * abs(g)
        elif rule == "momentum":
            m = k["momentum"] * m - step_rate * g
            size_m = k["momentum"] * size_m + step_rate * abs(g)
            update, moved = -m, size_m
        elif rule == "adagrad":
            cache += g**2
            update = step_rate * g / (math.sqrt(cache) + k["epsilon"])
            moved = abs(update)
        elif rule == "rmsprop":
            cache = k["rho"] * cache + (1 - k["rho"]) * g**2
            update = step_rate * g / (math.sqrt(cache) + k["epsilon"])
            moved = abs(update)
        else:
            one, two = k["beta_1"], k["beta_2"]
            m = one * m + (1 - one) * g
            size_m = one * size_m + (1 - one) * abs(g)
            cache = two * cache + (1 - two) * g**2
            corrected = math.sqrt(cache / (1 - two ** (iteration + 1)))
            update = step_rate * m / (1 - one ** (iteration + 1)) / (corrected + k["epsilon"])
            moved = step_rate * size_m / (1 - one ** (iteration + 1)) / (corrected + k["epsilon"])
        w -= update
        size += moved
    return w, size


@pytest.mark.parametrize(
    ("rule", "make", "arguments"),
    [
        ("sgd", Optimizer_SGD, {"learning_rate": 0.5}),
        ("sgd", Optimizer_SGD, {"learning_rate": 1.0, "decay": 0.1}),
        ("momentum", Optimizer_SGD, {"learning_rate": 0.5, "decay": 0.01, "momentum": 0.9}),
        ("adagrad", Optimizer_Adagrad, {"learning_rate": 0.5, "decay": 0.01, "epsilon": 1e-7}),
        ("rmsprop", Optimizer_RMSprop, {"learning_rate": 0.02, "decay": 0.01, "epsilon": 1e-7}),
        ("rmsprop", Optimizer_RMSprop, {"learning_rate": 0.02, "rho": 0.5, "epsilon": 1e-3}),
        ("adam", Optimizer_Adam, {"learning_rate": 0.05, "decay": 0.01, "epsilon": 1e-7}),
        ("adam", Optimizer_Adam, {"learning_rate": 0.05, "beta_1": 0.5, "beta_2": 0.6}),
    ],
)
def test_optimizers_over_several_steps(backend, rule, make, arguments):
    """The public classes against the textbook, weights and biases, over twelve steps."""
    rng, steps = np.random.RandomState(3), 12
    with use_backend(backend):
        layer = Layer_Dense(5, 4)
    layer.weights, layer.biases = rng.randn(5, 4), rng.randn(1, 4)
    start = {name: np.array(backend.to_numpy(getattr(layer, name))) for name in NAMES}
    gradients = {
        "weights": rng.randn(steps, 5, 4).astype(backend.dtype),
        "biases": rng.randn(steps, 1, 4).astype(backend.dtype),
    }
    gradients["weights"][:, 1, 1] = 0.0  # a parameter that never moves
    optimizer = make(**arguments)
    for step in range(steps):
        layer.dweights = backend.asarray(gradients["weights"][step])
        layer.dbiases = backend.asarray(gradients["biases"][step])
        optimizer.pre_update_params()
        optimizer.update_params(layer)
        optimizer.post_update_params()
    assert optimizer.iterations == steps
    defaults = {"momentum": 0.0, "epsilon": 1e-7, "rho": 0.9, "beta_1": 0.9, "beta_2": 0.999}
    settings = defaults | arguments
    rate, decay = settings.pop("learning_rate"), settings.pop("decay", 0.0)
    last = rate / (1 + decay * (steps - 1))
    assert optimizer.current_learning_rate == pytest.approx(last, rel=1e-15)
    for name in NAMES:
        found = [
            textbook(rule, rate, decay, float(w), g.tolist(), **settings)
            for w, g in zip(start[name].ravel(), gradients[name].reshape(steps, -1).T, strict=True)
        ]
        expected, size = (np.array(z).reshape(start[name].shape) for z in zip(*found, strict=True))
        assert_close(
            backend.to_numpy(getattr(layer, name)),
            expected,
            backend.dtype,
            ulps=summing(steps),
            magnitude=size,
            what=name,
        )
    assert backend.to_numpy(layer.weights)[1, 1] == start["weights"][1, 1]


NAMES = ("weights", "biases")


def test_adam_after_a_million_steps(backend):
    """The corrections are 1 by then; the first step moves by the rate, whatever the gradient."""
    for step, gradient, expected in ((1, 1e-3, -0.05), (1, -1e3, 0.05), (10**6, 0.0, 0.0)):
        w, dw, m, cache = (backend.asarray([[value]]) for value in (0.0, gradient, 0.0, 0.0))
        backend.adam_step(w, dw, m, cache, 0.05, 1e-7, 0.9, 0.999, step)
        # epsilon beside a gradient of 1e-3 takes 1e-4 off.
        assert_close(
            backend.to_numpy(w),
            [[expected / (1 + 1e-7 / max(abs(gradient), 1e-7))]],
            backend.dtype,
            ulps=8,
        )


# ---- predictions ----
def test_argmax_takes_the_first_of_equals(backend):
    x = array(backend, [1, 1, 1], [0, 2, 2], [2, 0, 2], [-1, -1, -2], [0.0, -0.0, 0.0])
    assert_close(call(backend, "argmax", x), [0, 1, 0, 0, 0], np.int32)
    inf = math.inf
    x = array(backend, [-inf, -inf, -inf], [-inf, 0, -inf], [0, inf, inf])
    assert_close(call(backend, "argmax", x), [0, 1, 1], np.int32)


@pytest.mark.parametrize("c", WIDTHS)
def test_argmax_finds_every_column(backend, c):
    x = np.random.RandomState(c).rand(c, c).astype(backend.dtype)
    x[np.arange(c), np.arange(c)] = 1.5
    assert_close(call(backend, "argmax", x), np.arange(c), np.int32)


def test_comparisons_with_nan_are_false_and_argmax_is_the_specifications(backend, oracle):
    nan = math.nan
    a, b = array(backend, [1, nan, nan]), array(backend, [nan, 1, nan])
    assert not call(backend, "equal", a, b).any()
    assert not call(backend, "close", a, b, 10.0).any()
    assert not call(backend, "threshold", a[:, 1:], 0.5).any()
    x = array(backend, [1, nan, 2], [nan, 1, nan], [3, 2, nan], [nan, nan, nan])
    expected = call(oracle, "argmax", x.astype(np.float64))
    assert_close(call(backend, "argmax", x), expected, np.int32)


@pytest.mark.parametrize("name", ["mean", "sum"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_sums_pass_nan_and_infinity_on(backend, name, value):
    a = np.ones(10_000, backend.dtype)
    a[7777] = value
    result = float(getattr(backend, name)(backend.asarray(a)))
    assert math.isnan(result) if math.isnan(value) else result == value


def test_sums_of_extreme_numbers(backend):
    assert float(backend.sum(backend.asarray(np.full(5000, True), bool))) == 5000
    large = np.full(1000, 2**31 - 1, np.int32)
    assert float(backend.sum(backend.asarray(large, np.int32))) == 1000 * (2**31 - 1)
    a = np.full(100, 1e38 if backend.dtype == np.float32 else 1e300, backend.dtype)
    assert float(backend.sum(backend.asarray(a))) == pytest.approx(100 * float(a[0]), rel=1e-6)


# ---- the spiral ----
def spiral_points(backend, *arguments):
    points, labels = backend.spiral(*arguments)
    return np.array(backend.to_numpy(points)), np.array(backend.to_numpy(labels))


@pytest.mark.parametrize(("samples", "classes"), [(1, 1), (1, 5), (2, 3), (257, 3), (7, 300)])
def test_spiral_blocks_equal_the_whole(backend, samples, classes):
    """Any range of rows can be made on its own, odd and even starts included."""
    points, labels = spiral_points(backend, samples, classes, 11)
    rows = samples * classes
    assert points.shape == (rows, 2)
    assert labels.tolist() == [c for c in range(classes) for _ in range(samples)]
    cuts = sorted({0, 1, rows // 3, rows // 2, rows - 1, rows} & set(range(rows + 1)))
    for start in cuts:
        for stop in cuts:
            if start <= stop:
                part, part_labels = spiral_points(backend, samples, classes, 11, start, stop)
                assert part.tobytes() == points[start:stop].tobytes(), (start, stop)
                assert part_labels.tobytes() == labels[start:stop].tobytes(), (start, stop)


def test_spiral_blocks_far_out(backend):
    """Rows beyond 2^32 of a spiral that nobody could hold whole."""
    samples, start = 2**31, 2**32 + 1
    points, labels = spiral_points(backend, samples, 3, 5, start, start + 3)
    words = philox_words(2 * start, 6, 5, 2).tolist()
    for k in range(3):
        u, v = (words[2 * k] + 0.5) / 2**32, words[2 * k + 1] / 2**32
        g = math.sqrt(-2 * math.log(u)) * math.cos(2 * math.pi * v)
        r = (start + k - 2 * samples) / (samples - 1)
        angle = 20 + 10 * r + 0.5 * g
        expected = [r * math.sin(angle), r * math.cos(angle)]
        assert_close(points[k], expected, backend.dtype, magnitude=r * 40)
    assert labels.tolist() == [2, 2, 2]


def test_spiral_across_the_specifications_blocks(backend_name, oracle):
    """The numpy backend makes 2^20 rows at a time: the seam is not seen."""
    backend = get_backend(backend_name, dtype="float32", precise_dot=False, book_random=False)
    seam = 2**20
    points, labels = spiral_points(backend, 200_000, 6, 3, 0, seam + 100)
    part, part_labels = spiral_points(oracle, 200_000, 6, 3, seam - 100, seam + 100)
    assert_close(points[-200:], part, np.float32, magnitude=1, ulps=1)
    assert labels[-200:].tolist() == part_labels.tolist() == [5] * 200


def test_spiral_is_laid_out_as_stated(backend):
    samples, classes = 4001, 3
    points, labels = spiral_points(backend, samples, classes, 1)
    r = np.tile(np.linspace(0, 1, samples), classes)
    radius = np.hypot(*points.T.astype(np.float64))
    assert_close(radius.astype(backend.dtype), r, backend.dtype, magnitude=1)
    # The angle's distance from 10 c + 10 r, wrapped around the circle, is 0.5 g.
    angle = np.arctan2(points[:, 0], points[:, 1]) - 10 * labels - 10 * r
    g = ((angle + np.pi) % (2 * np.pi) - np.pi)[r > 0.01] / 0.5
    assert abs(g.mean()) < 5 / math.sqrt(g.size)
    assert abs(g.var() - 1) < 5 * math.sqrt(2 / g.size)
    # Kolmogorov and Smirnov: 1.95 / sqrt(n) is passed once in a thousand times.
    g.sort()
    normal = np.array([0.5 * math.erfc(-v / math.sqrt(2)) for v in g])
    assert np.abs(normal - np.arange(g.size) / g.size).max() < 1.95 / math.sqrt(g.size)


def test_spirals_of_other_seeds_differ(backend):
    one, two = (spiral_points(backend, 100, 3, seed)[0] for seed in (1, 2))
    assert (one != two).mean() > 0.9


def test_spiral_is_the_same_on_every_backend():
    """To the rounding of one float32, and of the angle in float64."""
    for dtype in DTYPES:
        made = [
            spiral_points(get_backend(name, dtype=dtype, precise_dot=False), 5001, 4, 2**63 + 9)
            for name in usable_backends()
        ]
        for points, labels in made[1:]:
            magnitude = 1 + 60 * EPS64 / np.finfo(dtype).eps
            assert_close(points, made[0][0], dtype, magnitude=magnitude, ulps=2)
            assert labels.tobytes() == made[0][1].tobytes()
