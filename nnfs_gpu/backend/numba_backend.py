"""The CPU default: the specification's operations where a jitted kernel beats array code.

Each method allocates the result and launches a kernel of kernels/*.py, which passes once over
memory and uses all threads. What is not overridden here is done by NumPy itself, such as
large products. Arrays are NumPy's.
"""

from __future__ import annotations

import functools
from typing import Any

import numba
import numpy as np

from ..kernels.cpu import (
    activations,
    common,
    dense,
    losses,
    optimizers,
    philox,
    reductions,
    softmax,
)
from . import philox as streams
from .arrays import check_bias, check_reals, check_shapes, mean_over
from .cpu.launch import default_threads, launch
from .cpu.workers import rest
from .numpy_backend import CLIP, NumpyBackend
from .protocol import Array

LOW, HIGH = CLIP, 1 - CLIP
NAN = float("nan")

# What an element costs against one of a sum, roughly: an exponential, a root or a division.
EXP, ROOT = 4, 3


@functools.lru_cache(maxsize=2)  # all layers of a step ask for the same two
def _correction(beta: float, step: int) -> float:
    """1 / (1 - beta^step); the power is our own, whose bits are the same everywhere."""
    return 1 / (1 - optimizers.power(float(beta), step))


def _added(partial: Array) -> Array:
    """The sum of the rows, as one row. To add up a single one takes as long as a kernel."""
    if partial.shape[0] > 1:
        return partial.sum(axis=0, keepdims=True)
    partial += 0  # in a sum -0 becomes 0
    return partial


class NumbaBackend(NumpyBackend):
    """Kernels jitted for the CPU, cached on disk, on all threads."""

    name = "numba"

    @classmethod
    def version(cls) -> str:
        return f"numba {numba.__version__}, {default_threads()} threads"

    # ---- how kernels are called ----
    def _flat(self, kernel: Any, inputs: tuple, *scalars: Any, cost: int = 1) -> Array:
        """An element-wise kernel; the result is like the first input."""
        check_shapes(*inputs)
        check_reals(*inputs)
        out = np.empty(inputs[0].shape, inputs[0].dtype)
        flat = [a.reshape(-1) for a in inputs]
        launch(kernel, out.size, flat, (out.reshape(-1),), scalars, work=cost * out.size)
        return out

    def _rows(
        self, kernel: Any, shape: tuple, inputs: tuple, *scalars: Any, cost: int = 1
    ) -> Array:
        """A kernel over the rows of `inputs`; the result has `shape` and the first's dtype.

        `cost` is what one element of the result costs against one of a sum.
        """
        check_shapes(*inputs, indices=True)
        check_reals(*inputs, indices=True)
        out = np.empty(shape, inputs[0].dtype)
        launch(kernel, shape[0], inputs, (out,), scalars, work=cost * out.size)
        return out

    def _step(self, kernel: Any, written: tuple, inputs: tuple, *scalars: float) -> bool:
        """A kernel that writes `written`; False, and nothing done, where the layout forbids."""
        arrays = (*written, *inputs)
        check_shapes(*arrays)
        dtype, flat = written[0].dtype, []
        for a in arrays:
            if a.dtype != dtype or not a.flags.c_contiguous:
                return False
            flat.append(a.reshape(-1))
        n = len(written)
        reals = list(map(float, scalars))
        launch(kernel, flat[0].size, flat[n:], flat[:n], reals, work=ROOT * flat[0].size)
        return True

    @staticmethod
    def _chunks(count: int) -> int:
        return -(-count // int(common.CHUNK))

    # ---- dense layer: products by BLAS, the bias gradient by a kernel ----
    def _dot(self, a: Array, b: Array) -> Array:
        rest()  # BLAS has threads of its own
        return super()._dot(a, b)

    def linear_backward(self, dy: Array, x: Array, w: Array) -> tuple[Array, Array, Array]:
        partial = np.empty((self._chunks(dy.shape[0]), dy.shape[1]), dy.dtype)
        launch(reductions.column_sum_chunks, partial.shape[0], (dy,), (partial,), work=dy.size)
        return self._dot(dy, w.T), self._dot(x.T, dy), _added(partial)

    def linear_relu_forward(self, x: Array, w: Array, b: Array) -> Array:
        y = np.ascontiguousarray(self._dot(x, w))
        check_bias(b, y)
        launch(dense.bias_relu_forward, y.shape[0], (b.reshape(-1),), (y,), work=y.size)
        return y

    def linear_relu_backward(
        self, dy: Array, x: Array, w: Array, y: Array
    ) -> tuple[Array, Array, Array]:
        check_shapes(dy, y)
        check_reals(dy, y)
        dz = np.empty(dy.shape, dy.dtype)
        partial = np.empty((self._chunks(dy.shape[0]), dy.shape[1]), dy.dtype)
        kernel, outputs = dense.relu_backward_column_sums, (dz, partial)
        launch(kernel, partial.shape[0], (dy, y), outputs, work=dy.size)
        return self._dot(dz, w.T), self._dot(x.T, dz), _added(partial)

    # ---- activations ----
    def relu_forward(self, x: Array) -> Array:
        return self._flat(activations.relu_forward, (x,))

    def relu_backward(self, dy: Array, x: Array) -> Array:
        return self._flat(activations.relu_backward, (dy, x))

    def sigmoid_forward(self, x: Array) -> Array:
        return self._flat(activations.sigmoid_forward, (x,), cost=EXP)

    def sigmoid_backward(self, dy: Array, y: Array) -> Array:
        return self._flat(activations.sigmoid_backward, (dy, y))

    def softmax_forward(self, x: Array) -> Array:
        return self._rows(softmax.softmax_forward, x.shape, (x,), cost=EXP)

    def softmax_backward(self, dy: Array, y: Array) -> Array:
        return self._rows(softmax.softmax_backward, y.shape, (dy, y))

    def softmax_jacobian(self, y: Array) -> Array:
        return self._rows(softmax.softmax_jacobian, (*y.shape, y.shape[1]), (y,))

    # ---- losses ----
    def cross_entropy_forward(self, p: Array, t: Array) -> Array:
        shape = p.shape[:1]
        if t.ndim == 2:
            kernel, cost = losses.cross_entropy_forward_soft, EXP * p.shape[1]
            return self._rows(kernel, shape, (p, t), LOW, HIGH, cost=cost)
        return self._rows(losses.cross_entropy_forward, shape, (p, t), LOW, HIGH, NAN, cost=EXP)

    def cross_entropy_backward(self, p: Array, t: Array) -> Array:
        n = float(p.shape[0])
        if t.ndim == 2:
            return self._flat(losses.cross_entropy_backward_soft, (p, t), LOW, n)
        return self._rows(losses.cross_entropy_backward, p.shape, (p, t), LOW, n, NAN)

    def softmax_cross_entropy_backward(self, p: Array, t: Array) -> Array:
        n = float(p.shape[0])
        if t.ndim == 2:
            return self._flat(softmax.softmax_cross_entropy_backward_soft, (p, t), n)
        return self._rows(softmax.softmax_cross_entropy_backward, p.shape, (p, t), n, NAN)

    def softmax_cross_entropy(
        self, x: Array, t: Array, samples: int | None = None
    ) -> tuple[Array, Array]:
        check_shapes(x, t, indices=True)
        check_reals(x, t, indices=True)
        kernel = (
            softmax.softmax_cross_entropy_soft if t.ndim == 2 else softmax.softmax_cross_entropy
        )
        losses, dx = np.empty(x.shape[0], x.dtype), np.empty(x.shape, x.dtype)
        scalars = (LOW, HIGH, float(mean_over(samples, x.shape[0])), NAN)
        launch(kernel, x.shape[0], (x, t), (losses, dx), scalars, work=EXP * x.size)
        return losses, dx

    def binary_cross_entropy_forward(self, p: Array, t: Array) -> Array:
        kernel, cost = losses.binary_cross_entropy_forward, 2 * EXP * p.shape[1]
        return self._rows(kernel, p.shape[:1], (p, t), LOW, HIGH, cost=cost)

    def binary_cross_entropy_backward(self, p: Array, t: Array) -> Array:
        n, outputs = map(float, p.shape)
        kernel = losses.binary_cross_entropy_backward
        return self._flat(kernel, (p, t), LOW, HIGH, outputs, n, cost=ROOT)

    def squared_error_forward(self, y: Array, t: Array) -> Array:
        return self._rows(losses.squared_error_forward, y.shape[:1], (y, t), cost=y.shape[1])

    def squared_error_backward(self, y: Array, t: Array) -> Array:
        n, outputs = map(float, y.shape)
        return self._flat(losses.squared_error_backward, (y, t), outputs, n)

    def absolute_error_forward(self, y: Array, t: Array) -> Array:
        return self._rows(losses.absolute_error_forward, y.shape[:1], (y, t), cost=y.shape[1])

    def absolute_error_backward(self, y: Array, t: Array) -> Array:
        n, outputs = map(float, y.shape)
        return self._flat(losses.absolute_error_backward, (y, t), outputs, n)

    # ---- dropout and regularization ----
    def dropout_forward(self, x: Array, keep: float, seed: int, call: int) -> tuple[Array, Array]:
        counter = streams.counter(seed, streams.STREAM_DROPOUT, call)
        y, mask = np.empty(x.shape, x.dtype), np.empty(x.shape, x.dtype)
        below, scale = np.uint64(streams.keep_below(keep)), 1.0 / x.dtype.type(keep)
        launch(
            philox.dropout_forward,
            -(-x.size // 4),
            (np.ascontiguousarray(x).reshape(-1),),
            (y.reshape(-1), mask.reshape(-1)),
            (below, scale, *counter),
            work=EXP * x.size,
        )
        return y, mask

    def multiply(self, a: Array, b: Array) -> Array:
        return self._flat(activations.multiply, (a, b))

    def regularization_loss(self, w: Array, l1: float, l2: float) -> Array:
        absolute, squared = np.empty((2, self._chunks(w.size)))
        launch(
            optimizers.regularization_sums,
            absolute.size,
            (np.ascontiguousarray(w).reshape(-1),),
            (absolute, squared),
            work=w.size,
        )
        return w.dtype.type(l1 * absolute.sum() + l2 * squared.sum())

    def regularization_step(self, dw: Array, w: Array, l1: float, l2: float) -> None:
        if not self._step(optimizers.regularization_step, (dw,), (w,), float(l1), 2.0 * l2):
            super().regularization_step(dw, w, l1, l2)

    # ---- optimizers: where an array is not contiguous, the specification does it ----
    def sgd_step(self, w: Array, dw: Array, rate: float) -> None:
        if not self._step(optimizers.sgd_step, (w,), (dw,), rate):
            super().sgd_step(w, dw, rate)

    def momentum_step(self, w: Array, dw: Array, m: Array, rate: float, momentum: float) -> None:
        if not self._step(optimizers.momentum_step, (w, m), (dw,), rate, momentum):
            super().momentum_step(w, dw, m, rate, momentum)

    def adagrad_step(self, w: Array, dw: Array, cache: Array, rate: float, epsilon: float) -> None:
        if not self._step(optimizers.adagrad_step, (w, cache), (dw,), rate, epsilon):
            super().adagrad_step(w, dw, cache, rate, epsilon)

    def rmsprop_step(
        self, w: Array, dw: Array, cache: Array, rate: float, epsilon: float, rho: float
    ) -> None:
        scalars = (rate, epsilon, rho, 1 - rho)
        if not self._step(optimizers.rmsprop_step, (w, cache), (dw,), *scalars):
            super().rmsprop_step(w, dw, cache, rate, epsilon, rho)

    def adam_step(
        self,
        w: Array,
        dw: Array,
        m: Array,
        cache: Array,
        rate: float,
        epsilon: float,
        beta_1: float,
        beta_2: float,
        step: int,
    ) -> None:
        corrections = _correction(beta_1, step), _correction(beta_2, step)
        scalars = (rate, epsilon, beta_1, 1 - beta_1, beta_2, 1 - beta_2, *corrections)
        if not self._step(optimizers.adam_step, (w, m, cache), (dw,), *scalars):
            super().adam_step(w, dw, m, cache, rate, epsilon, beta_1, beta_2, step)

    # ---- predictions and sums ----
    def argmax(self, x: Array) -> Array:
        if x.shape[1] > reductions.NARROW:  # NumPy vectorizes along a row, our kernel across
            return super().argmax(x)
        columns = np.empty(x.shape[0], np.int32)
        launch(reductions.argmax, x.shape[0], (x,), (columns,), work=x.size)
        return columns

    def mean(self, a: Array, total: Array | None = None) -> Array:
        mean = (self.sum(a) if total is None else total) / a.size
        return a.dtype.type(mean) if a.dtype.kind == "f" else mean

    def sum(self, a: Array) -> Array:
        if a.dtype.kind == "b":
            return np.float64(np.count_nonzero(a))
        partial = np.empty(self._chunks(a.size))
        flat = np.ascontiguousarray(a).reshape(-1)
        launch(reductions.sum_chunks, partial.size, (flat,), (partial,), work=a.size)
        return partial[0] if partial.size == 1 else partial.sum()

    # ---- random numbers ----
    def random_words(self, count: int, seed: int, stream: int, call: int = 0) -> Array:
        counter = streams.counter(seed, stream, call)
        words = np.empty(count, np.uint32)
        launch(philox.random_words, -(-words.size // 4), (), (words,), counter, work=words.size)
        return words

    def spiral(
        self, samples: int, classes: int, seed: int, start: int = 0, stop: int | None = None
    ) -> tuple[Array, Array]:
        seed, stream, _ = streams.counter(seed, streams.STREAM_SPIRAL, 0)
        samples, start, stop = streams.spiral_rows(samples, classes, start, stop)
        rows = stop - start
        points, labels = np.empty((rows, 2), self.dtype), np.empty(rows, np.int32)
        scalars = (samples, start, seed, stream)
        launch(philox.spiral, rows, (), (points, labels), scalars, work=64 * rows)
        return points, labels
