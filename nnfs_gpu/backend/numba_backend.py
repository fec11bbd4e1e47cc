"""The CPU default: the specification's operations where a jitted kernel beats array code.

`KERNELS` says which kernel of kernels/cpu/ does what; each passes once over memory and uses all
threads. Operations that are neither in it nor in `NumbaBackend` are done by NumPy itself, such as
large products. Arrays are NumPy's.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
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
from ..kernels.cpu.vectors import HAS_FMA
from .arrays import check_bias
from .cpu import events, workers
from .cpu.launch import default_threads, launch
from .kernel_backend import KernelBackend
from .numpy_backend import NumpyBackend
from .protocol import Array

events.hear()

# What an element costs against one of a sum, roughly: it decides how many threads share the work.
SUM, ROOT, EXP = 1, 3, 4  # also a product; a root or a division; an exponential
ANGLE = 64  # a point of the spiral
CHUNK, ROWS = int(common.CHUNK), int(reductions.ROWS)  # elements and rows that are one sum

KERNELS = {
    "relu_forward": (activations.relu_forward, SUM),
    "relu_backward": (activations.relu_backward, SUM),
    "leaky_relu_forward": (activations.leaky_relu_forward, SUM),
    "leaky_relu_backward": (activations.leaky_relu_backward, SUM),
    "sigmoid_forward": (activations.sigmoid_forward, EXP),
    "sigmoid_backward": (activations.sigmoid_backward, SUM),
    "tanh_forward": (activations.tanh_forward, 2 * EXP),
    "tanh_backward": (activations.tanh_backward, SUM),
    "softmax_forward": (softmax.softmax_forward, EXP),
    "softmax_backward": (softmax.softmax_backward, SUM),
    "softmax_jacobian": (softmax.softmax_jacobian, SUM),
    "cross_entropy_forward": (losses.cross_entropy_forward, EXP),
    "cross_entropy_forward_soft": (losses.cross_entropy_forward_soft, EXP),
    "cross_entropy_backward": (losses.cross_entropy_backward, SUM),
    "cross_entropy_backward_soft": (losses.cross_entropy_backward_soft, SUM),
    "softmax_cross_entropy_backward": (softmax.softmax_cross_entropy_backward, SUM),
    "softmax_cross_entropy_backward_soft": (softmax.softmax_cross_entropy_backward_soft, SUM),
    "softmax_cross_entropy": (softmax.softmax_cross_entropy, EXP),
    "softmax_cross_entropy_soft": (softmax.softmax_cross_entropy_soft, EXP),
    "binary_cross_entropy_forward": (losses.binary_cross_entropy_forward, 2 * EXP),
    "binary_cross_entropy_backward": (losses.binary_cross_entropy_backward, ROOT),
    "squared_error_forward": (losses.squared_error_forward, SUM),
    "squared_error_backward": (losses.squared_error_backward, SUM),
    "absolute_error_forward": (losses.absolute_error_forward, SUM),
    "absolute_error_backward": (losses.absolute_error_backward, SUM),
    "dropout_forward": (philox.dropout_forward, EXP),
    "multiply": (activations.multiply, SUM),
    "regularization_step": (optimizers.regularization_step, ROOT),
    "sgd_step": (optimizers.sgd_step, ROOT),
    "momentum_step": (optimizers.momentum_step, ROOT),
    "adagrad_step": (optimizers.adagrad_step, ROOT),
    "rmsprop_step": (optimizers.rmsprop_step, ROOT),
    "adam_step": (optimizers.adam_step, ROOT),
    "adamw_step": (optimizers.adamw_step, ROOT),
    "random_words": (philox.random_words, SUM),
    "spiral": (philox.spiral, ANGLE),
}


def _row_chunks(dy: Array) -> Array:
    """A new array with a row for the column sums of each chunk of rows; one at least."""
    return np.empty((max(1, -(-dy.shape[0] // ROWS)), dy.shape[1]), dy.dtype)


def _joined(partial: Array) -> Array:
    """The sum of these rows, as one row."""
    if partial.shape[0] == 1:
        return partial
    total = np.empty((1, partial.shape[1]), partial.dtype)
    reductions.join_rows(partial, total)
    return total


class NumbaBackend(KernelBackend):
    """Kernels jitted for the CPU, cached on disk, on all threads."""

    name = "numba"
    one_answer = HAS_FMA  # without the instruction products and sums round one by one
    _kernels = KERNELS

    @classmethod
    def version(cls) -> str:
        return f"numba {numba.__version__}, {default_threads()} threads"

    def _launch(
        self,
        kernel: str,
        count: int,
        size: int,
        inputs: Sequence[Array],
        outputs: Sequence[Array],
        numbers: Sequence[Any] = (),
    ) -> None:
        function, cost = KERNELS[kernel]
        launch(function, count, inputs, outputs, numbers, work=cost * size)

    @staticmethod
    def _chunks(count: int) -> int:
        return max(1, -(-count // CHUNK))

    # ---- dense layer: products by BLAS, the bias gradient by a kernel ----
    def _dot(self, a: Array, b: Array) -> Array:
        workers.sleep()  # BLAS has threads of its own
        return super()._dot(a, b)

    def linear_relu_forward(self, x: Array, w: Array, b: Array) -> Array:
        y = np.ascontiguousarray(self._dot(x, w))
        check_bias(b, y)
        launch(dense.bias_relu_forward, y.shape[0], (b.reshape(-1),), (y,), work=y.size)
        return y

    def _column_sums(self, dy: Array) -> Array:
        partial = _row_chunks(dy)
        launch(reductions.column_sum_chunks, partial.shape[0], (dy,), (partial,), work=dy.size)
        return _joined(partial)

    def _relu_column_sums(self, dy: Array, y: Array) -> tuple[Array, Array]:
        dz, partial = np.empty(dy.shape, dy.dtype), _row_chunks(dy)
        kernel, outputs = dense.relu_backward_column_sums, (dz, partial)
        launch(kernel, partial.shape[0], (dy, y), outputs, work=dy.size)
        return dz, _joined(partial)

    # ---- comparisons: NumPy's ----
    threshold, equal, close = NumpyBackend.threshold, NumpyBackend.equal, NumpyBackend.close

    # ---- what sums up ----
    def regularization_loss(self, w: Array, l1: float, l2: float) -> Array:
        absolute, squared = np.empty((2, self._chunks(w.size)))
        launch(
            optimizers.regularization_sums,
            absolute.size,
            (w.reshape(-1),),
            (absolute, squared),
            work=w.size,
        )
        return w.dtype.type(optimizers.penalty(absolute, squared, float(l1), float(l2)))

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
        if launch(reductions.sum_chunks, partial.size, (a.reshape(-1),), (partial,), work=a.size):
            reductions.join(partial)
        return partial[0]

    # ---- optimizers ----
    @staticmethod
    @functools.lru_cache(maxsize=2)  # all layers of a step ask for the same two
    def _correction(beta: float, step: int) -> float:
        """The power is our own, whose bits are the same everywhere."""
        return float(1 / (1 - optimizers.power(float(beta), step)))
