"""The readable GPU version: the CPU's row functions in Numba CUDA grids, on CuPy arrays.

Each method allocates its result, chooses a grid and returns; nothing waits for the device.
A grid has one thread an element (kernels/numba_cuda/elements.py), one thread a row
(numba_cuda/grids.py), or one block a row where rows are wide (numba_cuda/blocks.py). Matrix
products are cuBLAS's, through CuPy; what is not overridden here is CuPy's array code. The `cupy`
backend is the fast one: it starts kernels with less work on the CPU, and they read 16 bytes at a
time.

Under Numba's CUDA simulator (NUMBA_ENABLE_CUDASIM=1 set before Numba is imported) the same
kernels run on NumPy arrays, without a GPU and without CuPy: slowly, to be tested and stepped
through in a debugger.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .numba_cuda.launch import SIMULATOR, array_module, what_works  # first: it may not load

# isort: split
from ..kernels.numba_cuda import (
    blocks as cuda_blocks,
    elements as cuda_elements,
    grids as cuda_grids,
)
from . import philox as streams
from .arrays import check_bias, check_shapes, mean_over
from .cuda.errors import reported
from .cupy_backend import CupyBackend
from .identity import current_device
from .numba_cuda.calls import GridCalls
from .numpy_backend import CLIP, NumpyBackend
from .protocol import Array

LOW, HIGH = CLIP, 1 - CLIP
NAN = float("nan")
WIDE = 64  # columns above which a row of softmax has a block instead of a thread


@reported
class NumbaCudaBackend(NumpyBackend):
    """Numba CUDA kernels, compiled for the device when first launched with a dtype.

    threads  of a block: a power of two
    """

    name = "numba-cuda"

    def __init__(self, dtype: Any = np.float32, *, threads: int = 256, **settings: Any):
        super().__init__(dtype, **settings)
        self.xp = array_module()
        self._device = current_device(self.xp)
        self._calls = GridCalls(self.xp, threads)

    @classmethod
    def version(cls) -> str:
        """What does the work; raises with the first thing that is missing."""
        return what_works()

    # ---- arrays: CuPy's, as in the cupy backend ----
    asarray = CupyBackend.asarray
    to_numpy = CupyBackend.to_numpy

    def synchronize(self) -> None:
        if not SIMULATOR:
            self.xp.cuda.get_current_stream().synchronize()

    # ---- dense layer: products by BLAS, the bias by kernels ----
    def linear_forward(self, x: Array, w: Array, b: Array) -> Array:
        y = self.xp.ascontiguousarray(self._dot(x, w))
        check_bias(b, y)
        self._calls.launch(cuda_blocks.add_bias, y.size, (b.reshape(-1),), (y,))
        return y

    def linear_backward(self, dy: Array, x: Array, w: Array) -> tuple[Array, Array, Array]:
        return self._dot(dy, w.T), self._dot(x.T, dy), self._calls.column_sums(dy)

    def linear_relu_forward(self, x: Array, w: Array, b: Array) -> Array:
        y = self.xp.ascontiguousarray(self._dot(x, w))
        check_bias(b, y)
        self._calls.launch(cuda_blocks.add_bias_relu, y.size, (b.reshape(-1),), (y,))
        return y

    def linear_relu_backward(
        self, dy: Array, x: Array, w: Array, y: Array
    ) -> tuple[Array, Array, Array]:
        check_shapes(dy, y)
        dz, sums = self.xp.empty(dy.shape, dy.dtype), self._calls.groups_of(dy)
        kernel = cuda_blocks.relu_backward_column_sums
        self._calls.launch(kernel, sums.size, (dy, y), (dz, sums))
        db = sums if sums.shape[0] == 1 else self._calls.column_sums(sums)
        return self._dot(dz, w.T), self._dot(x.T, dz), db

    # ---- activations ----
    def relu_forward(self, x: Array) -> Array:
        return self._calls.flat(cuda_elements.relu_forward, (x,))

    def relu_backward(self, dy: Array, x: Array) -> Array:
        return self._calls.flat(cuda_elements.relu_backward, (dy, x))

    def sigmoid_forward(self, x: Array) -> Array:
        return self._calls.flat(cuda_elements.sigmoid_forward, (x,))

    def sigmoid_backward(self, dy: Array, y: Array) -> Array:
        return self._calls.flat(cuda_elements.sigmoid_backward, (dy, y))

    def softmax_forward(self, x: Array) -> Array:
        if x.shape[1] > WIDE:
            return self._calls.wide_rows(cuda_blocks.softmax_forward_wide, (x,))
        return self._calls.rows(cuda_grids.softmax_forward, x.shape, (x,))

    def softmax_backward(self, dy: Array, y: Array) -> Array:
        if y.shape[1] > WIDE:
            return self._calls.wide_rows(cuda_blocks.softmax_backward_wide, (dy, y))
        return self._calls.rows(cuda_grids.softmax_backward, y.shape, (dy, y))

    def softmax_jacobian(self, y: Array) -> Array:
        return self._calls.rows(cuda_grids.softmax_jacobian, (*y.shape, y.shape[1]), (y,))

    # ---- losses ----
    def cross_entropy_forward(self, p: Array, t: Array) -> Array:
        shape = p.shape[:1]
        if t.ndim == 2:
            return self._calls.rows(cuda_grids.cross_entropy_forward_soft, shape, (p, t), LOW, HIGH)
        return self._calls.rows(cuda_grids.cross_entropy_forward, shape, (p, t), LOW, HIGH, NAN)

    def cross_entropy_backward(self, p: Array, t: Array) -> Array:
        n = float(p.shape[0])
        if t.ndim == 2:
            return self._calls.flat(cuda_elements.cross_entropy_backward_soft, (p, t), LOW, n)
        return self._calls.rows(cuda_grids.cross_entropy_backward, p.shape, (p, t), LOW, n, NAN)

    def softmax_cross_entropy_backward(self, p: Array, t: Array) -> Array:
        n = float(p.shape[0])
        if t.ndim == 2:
            return self._calls.flat(cuda_elements.softmax_cross_entropy_backward_soft, (p, t), n)
        return self._calls.rows(cuda_grids.softmax_cross_entropy_backward, p.shape, (p, t), n, NAN)

    def softmax_cross_entropy(
        self, x: Array, t: Array, samples: int | None = None
    ) -> tuple[Array, Array]:
        if t.ndim == 2:  # the kernels take class indices
            return super().softmax_cross_entropy(x, t, samples)
        check_shapes(x, t, indices=True)
        losses, dx = self.xp.empty(x.shape[0], x.dtype), self.xp.empty(x.shape, x.dtype)
        arrays = ((x, t), (losses, dx))
        scalars = (LOW, HIGH, float(mean_over(samples, x.shape[0])), NAN)
        if x.shape[1] > WIDE:
            kernel = cuda_blocks.softmax_cross_entropy_wide
            self._calls.launch_blocks(kernel, x.shape[0], *arrays, *scalars)
        else:
            kernel = cuda_grids.softmax_cross_entropy
            self._calls.launch(kernel, x.shape[0], *arrays, *scalars)
        return losses, dx

    def binary_cross_entropy_forward(self, p: Array, t: Array) -> Array:
        kernel = cuda_grids.binary_cross_entropy_forward
        return self._calls.rows(kernel, p.shape[:1], (p, t), LOW, HIGH)

    def binary_cross_entropy_backward(self, p: Array, t: Array) -> Array:
        n, outputs = map(float, p.shape)
        kernel = cuda_elements.binary_cross_entropy_backward
        return self._calls.flat(kernel, (p, t), LOW, HIGH, outputs, n)

    def squared_error_forward(self, y: Array, t: Array) -> Array:
        return self._calls.rows(cuda_grids.squared_error_forward, y.shape[:1], (y, t))

    def squared_error_backward(self, y: Array, t: Array) -> Array:
        n, outputs = map(float, y.shape)
        return self._calls.flat(cuda_elements.squared_error_backward, (y, t), outputs, n)

    def absolute_error_forward(self, y: Array, t: Array) -> Array:
        return self._calls.rows(cuda_grids.absolute_error_forward, y.shape[:1], (y, t))

    def absolute_error_backward(self, y: Array, t: Array) -> Array:
        n, outputs = map(float, y.shape)
        return self._calls.flat(cuda_elements.absolute_error_backward, (y, t), outputs, n)

    # ---- dropout and regularization ----
    def dropout_forward(self, x: Array, keep: float, seed: int, call: int) -> tuple[Array, Array]:
        counter = streams.counter(seed, streams.STREAM_DROPOUT, call)
        y, mask = self.xp.empty(x.shape, x.dtype), self.xp.empty(x.shape, x.dtype)
        below, scale = streams.keep_below(keep), 1.0 / x.dtype.type(keep)
        inputs = (self.xp.ascontiguousarray(x).reshape(-1),)
        outputs = (y.reshape(-1), mask.reshape(-1))
        kernel, n = cuda_grids.dropout_forward, -(-x.size // 4)
        self._calls.launch(kernel, n, inputs, outputs, below, scale, *counter)
        return y, mask

    def multiply(self, a: Array, b: Array) -> Array:
        return self._calls.flat(cuda_elements.multiply, (a, b))

    def regularization_loss(self, w: Array, l1: float, l2: float) -> Array:
        kernel = cuda_blocks.penalties
        return self._calls.total(self._calls.chunk_sums(kernel, w, w.dtype, float(l1), float(l2)))

    def regularization_step(self, dw: Array, w: Array, l1: float, l2: float) -> None:
        if not self._calls.step(cuda_elements.regularization_step, (dw,), (w,), l1, 2 * l2):
            super().regularization_step(dw, w, l1, l2)

    # ---- optimizers: where an array is not contiguous, the specification does it ----
    def sgd_step(self, w: Array, dw: Array, rate: float) -> None:
        if not self._calls.step(cuda_elements.sgd_step, (w,), (dw,), rate):
            super().sgd_step(w, dw, rate)

    def momentum_step(self, w: Array, dw: Array, m: Array, rate: float, momentum: float) -> None:
        if not self._calls.step(cuda_elements.momentum_step, (w, m), (dw,), rate, momentum):
            super().momentum_step(w, dw, m, rate, momentum)

    def adagrad_step(self, w: Array, dw: Array, cache: Array, rate: float, epsilon: float) -> None:
        if not self._calls.step(cuda_elements.adagrad_step, (w, cache), (dw,), rate, epsilon):
            super().adagrad_step(w, dw, cache, rate, epsilon)

    def rmsprop_step(
        self, w: Array, dw: Array, cache: Array, rate: float, epsilon: float, rho: float
    ) -> None:
        scalars = (rate, epsilon, rho, 1 - rho)
        if not self._calls.step(cuda_elements.rmsprop_step, (w, cache), (dw,), *scalars):
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
        corrections = 1 / (1 - beta_1**step), 1 / (1 - beta_2**step)
        scalars = (rate, epsilon, beta_1, 1 - beta_1, beta_2, 1 - beta_2, *corrections)
        if not self._calls.step(cuda_elements.adam_step, (w, m, cache), (dw,), *scalars):
            super().adam_step(w, dw, m, cache, rate, epsilon, beta_1, beta_2, step)

    # ---- predictions and sums ----
    def argmax(self, x: Array) -> Array:
        column = self.xp.empty(x.shape[0], np.int32)
        self._calls.launch(cuda_grids.argmax, column.size, (x,), (column,))
        return column

    def mean(self, a: Array, total: Array | None = None) -> Array:
        mean = (self.sum(a) if total is None else total) / a.size
        return mean.astype(a.dtype if a.dtype.kind == "f" else np.float64)

    def sum(self, a: Array) -> Array:
        return self._calls.total(self._calls.chunk_sums(cuda_blocks.sums, a, np.float64))

    # ---- random numbers ----
    def random_words(self, count: int, seed: int, stream: int, call: int = 0) -> Array:
        counter = streams.counter(seed, stream, call)
        words = self.xp.empty(count, np.uint32)
        self._calls.launch(cuda_grids.random_words, -(-words.size // 4), (), (words,), *counter)
        return words

    def spiral(
        self, samples: int, classes: int, seed: int, start: int = 0, stop: int | None = None
    ) -> tuple[Array, Array]:
        seed, stream, _ = streams.counter(seed, streams.STREAM_SPIRAL, 0)
        samples, start, stop = streams.spiral_rows(samples, classes, start, stop)
        rows = stop - start
        points = self.xp.empty((rows, 2), self.dtype)
        labels = self.xp.empty(rows, np.int32)
        scalars = (samples, start, seed, stream)
        self._calls.launch(cuda_grids.spiral, rows, (), (points, labels), *scalars)
        return points, labels
