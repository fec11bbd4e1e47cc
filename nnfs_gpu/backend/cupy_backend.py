"""The GPU default: CuPy arrays, our CUDA C++ kernels, cuBLAS for matrix products.

`KERNELS` and, of softmax, `PASSES` say which kernel does what, and the head of each kernel what it
moves; operations with several kernels are methods here. Results come from CuPy's pool; nothing
waits for the device. Work goes to the current device and stream of the caller, as CuPy's own does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from . import philox as streams
from .arrays import check_bias, common_dtype, on_gpu
from .cuda.calls import Calls, blocks_for, blocks_of_rows, lanes
from .cuda.copies import on_current_device, to_device
from .cuda.errors import reported
from .cuda.probe import what_works
from .cuda.softmax_plan import PASSES
from .identity import current_device
from .kernel_backend import KernelBackend
from .numpy_backend import NumpyBackend
from .protocol import Array, DTypeLike

KERNELS = {  # and the file of kernels/cuda/ that each stands in
    "relu_forward": "elementwise",
    "relu_backward": "elementwise",
    "leaky_relu_forward": "elementwise",
    "leaky_relu_backward": "elementwise",
    "sigmoid_forward": "elementwise",
    "sigmoid_backward": "elementwise",
    "tanh_forward": "elementwise",
    "tanh_backward": "elementwise",
    "multiply": "elementwise",
    "threshold": "elementwise",
    "equal": "elementwise",
    "near": "elementwise",
    "cross_entropy_forward": "losses",
    "cross_entropy_forward_soft": "losses",
    "cross_entropy_backward": "losses",
    "cross_entropy_backward_soft": "losses",
    "softmax_cross_entropy_backward": "losses",
    "softmax_cross_entropy_backward_soft": "losses",
    "binary_cross_entropy_forward": "losses",
    "binary_cross_entropy_backward": "losses",
    "squared_error_forward": "losses",
    "squared_error_backward": "losses",
    "absolute_error_forward": "losses",
    "absolute_error_backward": "losses",
    "regularization_step": "optimizers",
    "sgd_step": "optimizers",
    "momentum_step": "optimizers",
    "adagrad_step": "optimizers",
    "rmsprop_step": "optimizers",
    "adam_step": "optimizers",
    "adamw_step": "optimizers",
    "dropout_forward": "philox",
    "random_words": "philox",
    "spiral": "philox",
}
_HOST = NumpyBackend()


@reported
class CupyBackend(KernelBackend):
    """CUDA C++ kernels on CuPy arrays, of the device that is current when this is made."""

    name = "cupy"
    _kernels = (*KERNELS, *PASSES)

    def __init__(self, dtype: DTypeLike = np.float32, **settings: Any):
        super().__init__(dtype, **settings)
        self.xp, launcher = self._runtime()
        self.device_number = current_device(self.xp)
        self.calls = Calls(self.xp, launcher, self.dtype)

    def _runtime(self) -> tuple[Any, Any]:
        """The array module and the launcher; the tests put NumPy and an emulator here."""
        import cupy

        from .cuda.launch import CudaLauncher

        return cupy, CudaLauncher()

    @classmethod
    def version(cls) -> str:
        """What does the work; raises with the first stage that fails."""
        return what_works()

    # ---- arrays ----
    def asarray(self, x: Any, dtype: DTypeLike | None = None) -> Array:
        dtype = np.dtype(self.dtype if dtype is None else dtype)
        if not isinstance(x, self.xp.ndarray) and not on_gpu(x):  # cast on the host, then one copy
            return to_device(self.xp, NumpyBackend.asarray(_HOST, x, dtype))
        return self.xp.ascontiguousarray(on_current_device(self.xp, x), dtype=dtype)

    def to_numpy(self, a: Array) -> np.ndarray:
        return self.xp.asnumpy(a) if hasattr(self.xp, "asnumpy") else np.asarray(a)

    def synchronize(self) -> None:
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
        """A thread for each of `count`; kernels take `size`."""
        if KERNELS[kernel] == "optimizers":
            self.calls.step(kernel, (outputs[0], *inputs, *outputs[1:]), *numbers)
            return
        inputs = self.calls.inputs(*inputs) if inputs else ()
        dtype = inputs[0].dtype if inputs else self.dtype
        arguments = (*inputs, *outputs, size, *numbers)
        self.calls.run(KERNELS[kernel], kernel, blocks_of_rows(count, 1), arguments, dtype=dtype)

    def _elements(
        self,
        kernel: str,
        inputs: Sequence[Array],
        numbers: Sequence[float] = (),
        result: DTypeLike | None = None,
    ) -> Array:
        return self.calls.flat(kernel, *inputs, numbers=numbers, result=result)

    def _loss(
        self, kernel: str, y: Array, t: Array, *limits: float, over: Sequence[float] = ()
    ) -> Array:
        return self.calls.loss(kernel, y, t, *limits)

    def _softmax(
        self,
        kernel: str,
        inputs: Sequence[Array],
        outputs: Sequence[Array],
        numbers: Sequence[float] = (),
    ) -> None:
        reads, others = self.calls.inputs(*inputs), outputs
        if numbers:  # of softmax_cross_entropy
            low, high, factor, _ = numbers
            numbers = (factor, low, high)
            reads, others = reads[:1], (reads[1], *outputs)
        self.calls.softmax(kernel, tuple(reads), tuple(others), tuple(numbers))

    # ---- dense layer ----
    def linear_forward(self, x: Array, w: Array, b: Array) -> Array:
        y, b = self._sums(x, w, b)
        self.calls.run("dense", "add_bias", blocks_for(y.size), (y, b, *y.shape), dtype=y.dtype)
        return y

    def _sums(self, x: Array, w: Array, b: Array) -> tuple[Array, Array]:
        """x w and the bias that fits it, both contiguous."""
        z = self.xp.ascontiguousarray(self._dot(x, w))
        check_bias(b, z)
        common_dtype(z, b)
        return z, self.xp.ascontiguousarray(b)

    def linear_relu_forward(self, x: Array, w: Array, b: Array) -> Array:
        z, b = self._sums(x, w, b)
        y = self.xp.empty(z.shape, z.dtype)
        arguments = (z, b, y, *y.shape)
        self.calls.run("dense", "bias_relu_forward", blocks_for(y.size), arguments, dtype=y.dtype)
        return y

    def _column_sums(self, dy: Array) -> Array:
        (dy,) = self.calls.inputs(dy)
        return self.calls.column_sum("reductions", "column_sum", (dy,), *dy.shape)

    def _relu_column_sums(self, dy: Array, y: Array) -> tuple[Array, Array]:
        dy, y = self.calls.reals(dy, y)
        dz = self.xp.empty(y.shape, y.dtype)
        arrays = (dy, y, dz)
        return dz, self.calls.column_sum("dense", "relu_backward_column_sum", arrays, *dz.shape)

    # ---- activations ----
    def softmax_jacobian(self, y: Array) -> Array:
        (y,) = self.calls.inputs(y)
        jacobian = self.xp.empty((*y.shape, y.shape[1]), y.dtype)
        grid, arguments = blocks_for(jacobian.size), (y, jacobian, *y.shape)
        self.calls.run("softmax_jacobian", "softmax_jacobian", grid, arguments, dtype=y.dtype)
        return jacobian

    # ---- regularization ----
    def regularization_loss(self, w: Array, l1: float, l2: float) -> Array:
        (w,) = self.calls.inputs(w)
        absolute, squared = self.calls.penalty_sums(w)
        loss = self.xp.empty((), w.dtype)
        arguments = (absolute, squared, loss, absolute.size, np.float64(l1), np.float64(l2))
        self.calls.run("totals", "regularization_final", 1, arguments, dtype=w.dtype)
        return loss

    # ---- predictions and sums ----
    def argmax(self, x: Array) -> Array:
        (x,) = self.calls.inputs(x)
        column = self.xp.empty(x.shape[0], np.int32)
        grid = blocks_of_rows(x.shape[0], lanes(x.shape[1]))
        self.calls.run("reductions", "argmax", grid, (x, column, *x.shape), dtype=x.dtype)
        return column

    def mean(self, a: Array, total: Array | None = None) -> Array:
        if a.dtype.kind in "iub":
            return self.sum(a) / a.size
        partial = self.calls.partial_sums(a) if total is None else total
        mean = self.xp.empty((), a.dtype)
        self.calls.run(
            "totals", "mean_final", 1, (partial, mean, partial.size, a.size), dtype=a.dtype
        )
        return mean

    def sum(self, a: Array) -> Array:
        if a.dtype.kind in "iu":
            return super().sum(a)
        partial, total = self.calls.partial_sums(a), self.xp.empty(())
        self.calls.run("totals", "sum_final", 1, (partial, total, partial.size))
        return total

    # ---- sums without rounding ----
    def exact_add(self, w0: Array, w1: Array, w2: Array, x: Array) -> None:
        if not self.calls.exact("exact_add", (w0, w1, w2), x):
            super().exact_add(w0, w1, w2, x)

    def exact_value(self, w0: Array, w1: Array, w2: Array) -> Array:
        value = self.xp.empty(w0.shape)
        words = tuple(map(self.xp.ascontiguousarray, (w0, w1, w2)))
        self.calls.exact("exact_value", words, value)
        return value

    # ---- random numbers ----
    @staticmethod
    def _counter(seed: int, stream: int, call: int) -> tuple[Any, Any, Any]:
        seed, stream, call = streams.counter(seed, stream, call)
        return np.uint64(seed), np.uint32(stream), np.uint32(call)
