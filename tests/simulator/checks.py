"""What a table of shapes does not show: edges, layouts, several blocks, a training run.

Each check is a function that raises; run.py calls them under the simulator.
"""

import math
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from helpers import as_tuple, assert_close, run, spiral_error, summing

from nnfs_gpu import (
    Activation_ReLU,
    Activation_Softmax_Loss_CategoricalCrossentropy,
    Layer_Dense,
    Optimizer_Adam,
    use_backend,
)
from nnfs_gpu.backend.numba_cuda_backend import NumbaCudaBackend
from nnfs_gpu.backend.numpy_backend import NumpyBackend
from nnfs_gpu.kernels.numba_cuda import blocks as cuda_blocks
from nnfs_gpu.selftest.operations import OPERATIONS

THREADS = 8
CHECKS = []


def check(function):
    CHECKS.append(function)
    return function


def backends():
    for dtype in ("float32", "float64"):
        yield NumbaCudaBackend(dtype, threads=THREADS)


def same_bits(a, b):
    return (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())


# ---- the versions that bench compares ----
@check
def versions_of_the_ladders():
    """Those of numba-cuda, rows of few columns and of more than a block has threads."""
    sys.path.append(str(Path(__file__).resolve().parents[2]))  # `bench` is not installed
    from bench.ladders import LADDERS
    from bench.suites.ladder import OperationCase

    backend, done = NumbaCudaBackend("float32", threads=THREADS), 0
    for operation, versions in LADDERS.items():
        for version in versions:
            if version.backend == "numba-cuda":
                for classes in (3, 33):
                    OperationCase(operation, 3, classes).contender(version, backend)
                    done += 1
    assert done == 10


# ---- several blocks that go on from each other ----
@check
def sums_of_several_chunks():
    """No multiple of a chunk or of a block, and one element more than a chunk."""
    for backend in backends():
        for size in (1, cuda_blocks.CHUNK + 1, cuda_blocks.CHUNK + 37):
            a = np.random.RandomState(size).randn(size).astype(backend.dtype)
            exact, large = math.fsum(a.tolist()), math.fsum(abs(a).tolist())
            squares = math.fsum(float(v) ** 2 for v in a)
            # The mean is this sum, divided.
            assert_close(backend.sum(a), exact, np.float64, magnitude=large, ulps=summing(size))
            loss = backend.regularization_loss(a, 0.5, 0.25)
            assert_close(loss, 0.5 * large + 0.25 * squares, a.dtype, ulps=summing(size))


@check
def column_sums_of_several_groups():
    rows = 2 * cuda_blocks.ROWS + 3
    for backend in backends():
        rng = np.random.RandomState(0)
        dy, x, w = (rng.randn(*s).astype(backend.dtype) for s in ((rows, 3), (rows, 2), (2, 3)))
        _, _, db = backend.linear_backward(dy, x, w)
        expected, size = dy.astype(np.float64).sum(axis=0), np.abs(dy).sum(axis=0)
        assert_close(db, expected[None], dy.dtype, magnitude=size[None], ulps=summing(rows))


@check
def nothing_to_add_up():
    for backend in backends():
        empty = np.zeros((0, 3), backend.dtype)
        assert backend.sum(empty) == 0
        assert backend.regularization_loss(empty, 1.0, 1.0) == 0
        dx, dw, db = backend.linear_backward(empty, empty, np.ones((3, 3), backend.dtype))
        assert (dx.shape, dw.any(), db.any(), db.shape) == ((0, 3), False, False, (1, 3))
        assert backend.relu_forward(empty).shape == (0, 3)


@check
def same_bits_in_every_run():
    """Threads take turns at random here: a barrier too few would show sooner or later."""
    x, dy = np.random.RandomState(1).randn(2, 2, 70).astype(np.float32)
    y = NumpyBackend().softmax_forward(x)
    for threads in (1, 16):
        backend = NumbaCudaBackend(threads=threads)
        found = [
            (backend.softmax_forward(x), backend.softmax_backward(dy, y), backend.sum(x))
            for _ in range(2)
        ]
        assert_close(found[0][0], y, np.float32, ulps=summing(70))
        assert all(same_bits(a, b) for a, b in zip(*found, strict=True))


# ---- labels and numbers that make trouble ----
@check
def labels_out_of_range_give_nan_in_their_row_only():
    for backend in backends():
        p = np.full((6, 3), 1 / 3, backend.dtype)
        good, bad = np.array([0, 1, 2, 2, 1, 0], np.int32), [1, 3, 4, 5]
        t = good.copy()
        t[bad] = -1, 3, 2**31 - 1, -(2**31)
        for name in ("cross_entropy_forward", "cross_entropy_backward"):
            _nan_in(getattr(backend, name)(p, t), getattr(backend, name)(p, good), bad)
        together = backend.softmax_cross_entropy_backward
        _nan_in(together(p, t), together(p, good), bad)
        for x in (p, np.tile(p, 23)):  # a thread a row, a block a row
            for result, clean in zip(
                backend.softmax_cross_entropy(x, np.where(t == 3, 69, t)),
                backend.softmax_cross_entropy(x, good),
                strict=True,
            ):
                _nan_in(result, clean, bad)


def _nan_in(result, clean, rows):
    assert np.isnan(result[rows]).all()
    others = np.setdiff1d(np.arange(len(clean)), rows)
    assert same_bits(result[others], clean[others])


@check
def nan_stays_nan():
    """CUDA's own fmax and fmin would lose it: see kernels/numba_cuda/device.py."""
    nan = math.nan
    for backend in backends():
        for c in (3, 66):
            x = np.random.RandomState(c).rand(3, c).astype(backend.dtype)
            dirty, rows = x.copy(), [1]
            dirty[1, c - 1] = nan
            _nan_in(backend.softmax_forward(dirty), backend.softmax_forward(x), rows)
            t = np.zeros(3, np.int32)
            for result, clean in zip(
                backend.softmax_cross_entropy(dirty, t),
                backend.softmax_cross_entropy(x, t),
                strict=True,
            ):
                _nan_in(result, clean, rows)
            for dy, y in ((dirty, x), (x, dirty)):
                _nan_in(backend.softmax_backward(dy, y), backend.softmax_backward(x, x), rows)
        p = np.array([[nan, 0.5], [0.5, 0.5]], backend.dtype)
        t, soft = np.array([0, 0], np.int32), np.array([[1, 0], [1, 0]], backend.dtype)
        for targets in (t, soft):
            assert np.isnan(backend.cross_entropy_forward(p, targets)).tolist() == [True, False]
            assert np.isnan(backend.cross_entropy_backward(p, targets)[:, 0]).tolist() == [1, 0]
        assert np.isnan(backend.binary_cross_entropy_forward(p, soft)).tolist() == [True, False]
        gradient = backend.binary_cross_entropy_backward(p, soft)
        assert np.isnan(gradient).tolist() == [[True, False], [False, False]]
        for name in ("relu_forward", "sigmoid_forward"):
            assert np.isnan(getattr(backend, name)(p)).tolist() == np.isnan(p).tolist()
        x = np.array([[1, nan, 2], [nan, 1, nan], [3, 3, 2], [nan, nan, nan]], backend.dtype)
        assert backend.argmax(x).tolist() == [1, 0, 0, 0]


@check
def softmax_of_huge_equal_and_infinite_scores():
    for backend in backends():
        for c in (3, 66):
            x = np.full((4, c), -1e4, backend.dtype)
            x[0, c - 1] = 1e4
            x[2] = -np.inf
            x[3, 1] = -np.inf
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)  # inf - inf
                y = backend.softmax_forward(x)
            assert y[0].tolist() == [0] * (c - 1) + [1]
            assert_close(y[1], np.full(c, 1 / c), backend.dtype, ulps=1)
            assert np.isnan(y[2]).all()
            assert y[3, 1] == 0
            assert_close(y[3, 2:], np.full(c - 2, 1 / (c - 1)), backend.dtype, ulps=1)


@check
def the_books_choices_at_zero():
    for backend in backends():
        w, dw = np.array([0.0, -0.0, 2.0, -2.0], backend.dtype), np.full(4, 10, backend.dtype)
        backend.regularization_step(dw, w, 1, 0)  # whole numbers are numbers too
        assert dw.tolist() == [11, 11, 11, 9]
        assert backend.relu_backward(dw, w).tolist() == [0, 0, 11, 0]
        assert backend.absolute_error_backward(w[:, None], w[:, None]).any() == np.False_


# ---- layouts and what does not fit ----
@check
def any_memory_layout_gives_the_same_bits():
    layouts = (
        lambda a: np.repeat(a, 2, axis=0)[::2],
        lambda a: np.asfortranarray(a),
        lambda a: np.ascontiguousarray(a[::-1])[::-1],
        _read_only,
    )
    names = {"relu_backward", "softmax_backward", "cross_entropy_forward", "adam_step", "argmax"}
    for operation in OPERATIONS:
        if operation.name not in names | {"dropout_forward", "regularization_loss", "sum"}:
            continue
        backend = NumbaCudaBackend("float32", threads=THREADS)
        arguments = operation.arguments("float32", 5, 3)
        expected = run(backend, operation, arguments)
        for layout in layouts[: 3 if operation.writes else 4]:
            moved = {
                k: layout(v.copy()) if isinstance(v, np.ndarray) else v
                for k, v in arguments.items()
            }
            results = as_tuple(getattr(backend, operation.name)(**moved))
            results += tuple(moved[name] for name in operation.writes)
            for result, want in zip(results, expected, strict=True):
                assert_close(result, want, want.dtype, ulps=0, what=operation.id)


def _read_only(a):
    a.flags.writeable = False
    return a


@check
def what_does_not_fit_is_refused():
    for backend in backends():
        a, b = np.ones((4, 3), backend.dtype), np.ones((3, 3), backend.dtype)
        other = np.dtype("float64" if backend.dtype == np.float32 else "float32")
        with pytest.raises(ValueError, match="do not fit"):
            backend.relu_backward(a, b)
        with pytest.raises(ValueError, match="do not fit"):
            backend.cross_entropy_forward(a, np.zeros(3, np.int32))
        with pytest.raises(ValueError, match="b has shape"):
            backend.linear_forward(b, b, np.ones((1, 4), b.dtype))
        with pytest.raises(TypeError, match="one dtype"):
            backend.multiply(a, a.astype(other))
        with pytest.raises(TypeError, match="float16"):
            backend.relu_forward(a.astype(np.float16))
        with pytest.raises(ValueError, match="expected 0 to"):
            backend.random_words(4, -1, 0)
    for threads in (0, 3, 2048):
        with pytest.raises(ValueError, match="power of two"):
            NumbaCudaBackend(threads=threads)


# ---- data, masks, a training run ----
@check
def random_numbers_are_the_specifications():
    """Masks and words bit by bit, points to rounding, from any row on."""
    for backend in backends():
        specification = NumpyBackend(backend.dtype)
        for count in (1, 4, 39):
            words = backend.random_words(count, 2**63 + 1, 5, 6)
            assert same_bits(words, specification.random_words(count, 2**63 + 1, 5, 6))
        x = np.ones(39, backend.dtype)
        for one, two in zip(
            backend.dropout_forward(x, 0.7, 42, 5),
            specification.dropout_forward(x, 0.7, 42, 5),
            strict=True,
        ):
            assert same_bits(one, two)
        far = 2**32 + 1
        ranges = (0, None), (5, 12), (0, None, 4), (1, 20, 3)
        for range_ in (*((7, 3, 11, *one) for one in ranges), (2**31, 3, 5, far, far + 3)):
            points, labels = backend.spiral(*range_)
            expected, expected_labels = specification.spiral(*range_)
            ulps = spiral_error(backend.dtype, 3)
            assert_close(points, expected, backend.dtype, magnitude=1, ulps=ulps)
            assert same_bits(labels, expected_labels)


@check
def a_network_trains_as_on_the_specification():
    """2-8-3 with penalties, three steps of Adam: the same losses and the same weights."""
    for backend in backends():
        found, expected = _train(backend), _train(NumpyBackend(backend.dtype))
        assert expected[0][-1] < expected[0][0]
        for result, want in zip(found, expected, strict=True):
            # Rounding in a gradient near 0 can turn an update, which the rate bounds.
            size = np.abs(want) + 0.05
            assert_close(result, want, backend.dtype, ulps=64, magnitude=size)


def _train(backend):
    """The losses, then weights and biases of both layers."""
    np.random.seed(3)
    with use_backend(backend):
        first = Layer_Dense(2, 8, weight_regularizer_l2=5e-3, bias_regularizer_l1=5e-3)
        relu, second = Activation_ReLU(), Layer_Dense(8, 3)
        last, adam, losses = (
            Activation_Softmax_Loss_CategoricalCrossentropy(),
            Optimizer_Adam(0.02),
            [],
        )
    first.weights, second.weights = np.random.randn(2, 8), np.random.randn(8, 3)
    x, t = backend.spiral(4, 3, 7)
    for _ in range(3):
        hidden = relu.forward(first.forward(x))
        losses.append(last.forward(second.forward(hidden), t))
        first.backward(relu.backward(second.backward(last.backward(last.output, t))))
        adam.pre_update_params()
        for layer in (first, second):
            adam.update_params(layer)
        adam.post_update_params()
    losses = np.array([float(loss) for loss in losses], backend.dtype)
    return losses, first.weights, first.biases, second.weights, second.biases
