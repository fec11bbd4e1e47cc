"""The readable GPU version: the CPU's row functions in Numba CUDA grids, on CuPy arrays.

`KERNELS` says which kernel does what; nothing waits for the device. A grid has one thread an
element (kernels/numba_cuda/elements.py), one thread a row (numba_cuda/grids.py), or one block a
row where rows are wide (numba_cuda/rows.py). Matrix products are cuBLAS's, through CuPy; what has
no kernel is CuPy's array code. The `cupy` backend is the fast one: it starts kernels with less work
on the CPU, and they read 16 bytes at a time.

Under Numba's CUDA simulator (NUMBA_ENABLE_CUDASIM=1 set before Numba is imported) the same
kernels run on NumPy arrays, without a GPU and without CuPy: slowly, to be tested and stepped
through in a debugger.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .numba_cuda.launch import SIMULATOR, array_module, what_works  # first: it may not load
from .protocol import DTypeLike

# isort: split
from ..kernels.numba_cuda import (
    blocks as cuda_blocks,
    elements as cuda_elements,
    grids as cuda_grids,
    rows as cuda_rows,
)
from .arrays import check_bias
from .cuda.errors import reported
from .cupy_backend import CupyBackend
from .identity import current_device
from .kernel_backend import KernelBackend
from .numba_cuda.calls import GridCalls
from .protocol import Array

WIDE = 64  # columns above which a row that is added up has a block instead of a thread

KERNELS = {
    "relu_forward": cuda_elements.relu_forward,
    "relu_backward": cuda_elements.relu_backward,
    "leaky_relu_forward": cuda_elements.leaky_relu_forward,
    "leaky_relu_backward": cuda_elements.leaky_relu_backward,
    "sigmoid_forward": cuda_elements.sigmoid_forward,
    "sigmoid_backward": cuda_elements.sigmoid_backward,
    "tanh_forward": cuda_elements.tanh_forward,
    "tanh_backward": cuda_elements.tanh_backward,
    "softmax_forward": cuda_grids.softmax_forward,
    "softmax_backward": cuda_grids.softmax_backward,
    "softmax_jacobian": cuda_grids.softmax_jacobian,
    "cross_entropy_forward": cuda_grids.cross_entropy_forward,
    "cross_entropy_forward_soft": cuda_grids.cross_entropy_forward_soft,
    "cross_entropy_backward": cuda_grids.cross_entropy_backward,
    "cross_entropy_backward_soft": cuda_elements.cross_entropy_backward_soft,
    "softmax_cross_entropy_backward": cuda_grids.softmax_cross_entropy_backward,
    "softmax_cross_entropy_backward_soft": cuda_elements.softmax_cross_entropy_backward_soft,
    "softmax_cross_entropy": cuda_grids.softmax_cross_entropy,
    "softmax_cross_entropy_soft": cuda_grids.softmax_cross_entropy_soft,
    "binary_cross_entropy_forward": cuda_grids.binary_cross_entropy_forward,
    "binary_cross_entropy_backward": cuda_elements.binary_cross_entropy_backward,
    "squared_error_forward": cuda_grids.squared_error_forward,
    "squared_error_backward": cuda_elements.squared_error_backward,
    "absolute_error_forward": cuda_grids.absolute_error_forward,
    "absolute_error_backward": cuda_elements.absolute_error_backward,
    "dropout_forward": cuda_grids.dropout_forward,
    "multiply": cuda_elements.multiply,
    "threshold": cuda_elements.threshold,
    "equal": cuda_elements.equal,
    "near": cuda_elements.near,
    "regularization_step": cuda_elements.regularization_step,
    "sgd_step": cuda_elements.sgd_step,
    "momentum_step": cuda_elements.momentum_step,
    "adagrad_step": cuda_elements.adagrad_step,
    "rmsprop_step": cuda_elements.rmsprop_step,
    "adam_step": cuda_elements.adam_step,
    "adamw_step": cuda_elements.adamw_step,
    "random_words": cuda_grids.random_words,
    "spiral": cuda_grids.spiral,
}
WIDE_KERNELS = {  # for rows of more than WIDE columns
    "softmax_forward": cuda_rows.softmax_forward_wide,
    "softmax_backward": cuda_rows.softmax_backward_wide,
    "softmax_cross_entropy": cuda_rows.softmax_cross_entropy_wide,
    "softmax_cross_entropy_soft": cuda_rows.softmax_cross_entropy_soft_wide,
    "cross_entropy_forward_soft": cuda_rows.cross_entropy_forward_soft_wide,
    "binary_cross_entropy_forward": cuda_rows.binary_cross_entropy_forward_wide,
    "squared_error_forward": cuda_rows.squared_error_forward_wide,
    "absolute_error_forward": cuda_rows.absolute_error_forward_wide,
}


@reported
class NumbaCudaBackend(KernelBackend):
    """Numba CUDA kernels, compiled for the device when first launched with a dtype.

    threads  of a block: a power of two
    """

    name = "numba-cuda"
    _kernels = KERNELS

    def __init__(self, dtype: DTypeLike = np.float32, *, threads: int = 256, **settings: Any):
        super().__init__(dtype, **settings)
        self.xp = array_module()
        self.device_number = current_device(self.xp)
        self.calls = GridCalls(self.xp, threads)

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

    # ---- how kernels are called ----
    def _launch(
        self,
        kernel: str,
        count: int,
        size: int,
        inputs: Sequence[Array],
        outputs: Sequence[Array],
        numbers: Sequence[Any] = (),
    ) -> None:
        """A thread for each of `count`, or a block where rows are wide."""
        if kernel in WIDE_KERNELS and inputs[0].shape[1] > WIDE:
            self.calls.launch_blocks(WIDE_KERNELS[kernel], count, inputs, outputs, numbers)
        else:
            self.calls.launch(KERNELS[kernel], count, inputs, outputs, numbers)

    # ---- dense layer: products by BLAS, the bias by kernels ----
    def linear_forward(self, x: Array, w: Array, b: Array) -> Array:
        y = self.xp.ascontiguousarray(self._dot(x, w))
        check_bias(b, y)
        self.calls.launch(cuda_blocks.add_bias, y.size, (b.reshape(-1),), (y,))
        return y

    def linear_relu_forward(self, x: Array, w: Array, b: Array) -> Array:
        y = self.xp.ascontiguousarray(self._dot(x, w))
        check_bias(b, y)
        self.calls.launch(cuda_blocks.add_bias_relu, y.size, (b.reshape(-1),), (y,))
        return y

    def _column_sums(self, dy: Array) -> Array:
        return self.calls.column_sums(dy)

    def _relu_column_sums(self, dy: Array, y: Array) -> tuple[Array, Array]:
        dz, sums = self.xp.empty(dy.shape, dy.dtype), self.calls.row_chunks(dy)
        kernel = cuda_blocks.relu_backward_column_sums
        self.calls.launch(kernel, sums.size, (dy, y), (dz, sums))
        return dz, sums if sums.shape[0] == 1 else self.calls.column_sums(sums)

    # ---- what sums up ----
    def regularization_loss(self, w: Array, l1: float, l2: float) -> Array:
        sums, loss = self.calls.totals(cuda_blocks.penalties, w, 2), self.xp.empty(1, w.dtype)
        self.calls.launch(cuda_blocks.penalty, 1, sums, (loss,), (float(l1), float(l2)))
        return loss.reshape(())

    def argmax(self, x: Array) -> Array:
        column = self.xp.empty(x.shape[0], np.int32)
        self.calls.launch(cuda_grids.argmax, column.size, (x,), (column,))
        return column

    def mean(self, a: Array, total: Array | None = None) -> Array:
        total = self.sum(a) if total is None else total
        mean = self.xp.empty(1, a.dtype if a.dtype.kind == "f" else np.float64)
        self.calls.launch(cuda_blocks.mean, 1, (total.reshape(1),), (mean,), (a.size,))
        return mean.reshape(())

    def sum(self, a: Array) -> Array:
        return self.calls.totals(cuda_blocks.sums, a, 1)[0].reshape(())
