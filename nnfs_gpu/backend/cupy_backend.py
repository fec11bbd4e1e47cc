"""The GPU default: CuPy arrays, our CUDA C++ kernels, cuBLAS for matrix products.

Each method allocates its result from CuPy's pool, chooses a launch and returns; nothing waits
for the device. What each kernel does, and what it moves, stands at its head in kernels/*.cu.
Work goes to the current device and stream of the caller, as CuPy's own does.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from . import philox as streams
from .arrays import check_bias, common_dtype, mean_over, on_gpu
from .cuda.calls import Calls, blocks_for, blocks_of_rows, lanes, parts_of
from .cuda.copies import on_current_device, to_device
from .cuda.errors import reported
from .cuda.probe import what_works
from .identity import current_device
from .numpy_backend import CLIP, NumpyBackend
from .protocol import Array

LOW, HIGH = CLIP, 1 - CLIP
_HOST = NumpyBackend()


@reported
class CupyBackend(NumpyBackend):
    """CUDA C++ kernels on CuPy arrays, of the device that is current when this is made."""

    name = "cupy"

    def __init__(self, dtype: Any = np.float32, **settings: Any):
        super().__init__(dtype, **settings)
        self.xp, launcher = self._runtime()
        self._device = current_device(self.xp)
        self._calls = Calls(self.xp, launcher, self.dtype)

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
    def asarray(self, x: Any, dtype: Any = None) -> Array:
        dtype = np.dtype(self.dtype if dtype is None else dtype)
        if not isinstance(x, self.xp.ndarray) and not on_gpu(x):  # cast on the host, then one copy
            return to_device(self.xp, NumpyBackend.asarray(_HOST, x, dtype))
        return self.xp.ascontiguousarray(on_current_device(self.xp, x), dtype=dtype)

    def to_numpy(self, a: Array) -> np.ndarray:
        return self.xp.asnumpy(a) if hasattr(self.xp, "asnumpy") else np.asarray(a)

    def synchronize(self) -> None:
        self.xp.cuda.get_current_stream().synchronize()

    # ---- dense layer ----
    def linear_forward(self, x: Array, w: Array, b: Array) -> Array:
        y, b = self._sums(x, w, b)
        self._calls.run("dense", "add_bias", blocks_for(y.size), (y, b, *y.shape), dtype=y.dtype)
        return y

    def _sums(self, x: Array, w: Array, b: Array) -> tuple[Array, Array]:
        """x w and the bias that fits it, both contiguous."""
        z = self.xp.ascontiguousarray(self._dot(x, w))
        check_bias(b, z)
        common_dtype(z, b)
        return z, self.xp.ascontiguousarray(b)

    def linear_backward(self, dy: Array, x: Array, w: Array) -> tuple[Array, Array, Array]:
        (dy,) = self._calls.inputs(dy)
        db = self._calls.column_sum("reductions", "column_sum_partial", (dy,), *dy.shape)
        return self._dot(dy, w.T), self._dot(x.T, dy), db

    def linear_relu_forward(self, x: Array, w: Array, b: Array) -> Array:
        z, b = self._sums(x, w, b)
        y = self.xp.empty(z.shape, z.dtype)
        arguments = (z, b, y, *y.shape)
        self._calls.run("dense", "bias_relu_forward", blocks_for(y.size), arguments, dtype=y.dtype)
        return y

    def linear_relu_backward(
        self, dy: Array, x: Array, w: Array, y: Array
    ) -> tuple[Array, Array, Array]:
        dy, y = self._calls.reals(dy, y)
        dz = self.xp.empty(y.shape, y.dtype)
        arrays = (dy, y, dz)
        db = self._calls.column_sum("dense", "relu_backward_column_sum", arrays, *dz.shape)
        return self._dot(dz, w.T), self._dot(x.T, dz), db

    # ---- activations ----
    def relu_forward(self, x: Array) -> Array:
        return self._calls.flat("relu_forward", x)

    def relu_backward(self, dy: Array, x: Array) -> Array:
        return self._calls.flat("relu_backward", dy, x)

    def sigmoid_forward(self, x: Array) -> Array:
        return self._calls.flat("sigmoid_forward", x)

    def sigmoid_backward(self, dy: Array, y: Array) -> Array:
        return self._calls.flat("sigmoid_backward", dy, y)

    def softmax_forward(self, x: Array) -> Array:
        (x,) = self._calls.inputs(x)
        y = self.xp.empty(x.shape, x.dtype)
        self._calls.softmax("softmax_forward", (x,), (y,), ("softmax_partial", 2))
        return y

    def softmax_backward(self, dy: Array, y: Array) -> Array:
        dy, y = self._calls.reals(dy, y)
        dx = self.xp.empty(y.shape, y.dtype)
        self._calls.softmax("softmax_backward", (dy, y), (dx,), ("softmax_dot_partial", 1))
        return dx

    def softmax_jacobian(self, y: Array) -> Array:
        (y,) = self._calls.inputs(y)
        jacobian = self.xp.empty((*y.shape, y.shape[1]), y.dtype)
        grid, arguments = blocks_for(jacobian.size), (y, jacobian, *y.shape)
        self._calls.run("softmax_jacobian", "softmax_jacobian", grid, arguments, dtype=y.dtype)
        return jacobian

    # ---- losses ----
    def cross_entropy_forward(self, p: Array, t: Array) -> Array:
        return self._calls.loss(f"cross_entropy_forward{_soft(t)}", p, t, LOW, HIGH)

    def cross_entropy_backward(self, p: Array, t: Array) -> Array:
        return self._calls.loss(f"cross_entropy_backward{_soft(t)}", p, t, LOW)

    def softmax_cross_entropy_backward(self, p: Array, t: Array) -> Array:
        return self._calls.loss(f"softmax_cross_entropy_backward{_soft(t)}", p, t)

    def softmax_cross_entropy(
        self, x: Array, t: Array, samples: int | None = None
    ) -> tuple[Array, Array]:
        if t.ndim == 2:  # the kernels take class indices
            return super().softmax_cross_entropy(x, t, samples)
        x, t = self._calls.inputs(x, t)
        losses, dx = self.xp.empty(x.shape[0], x.dtype), self.xp.empty(x.shape, x.dtype)
        scalars = (1.0 / mean_over(samples, x.shape[0]), LOW, HIGH)
        others, partial = (t, losses, dx), ("softmax_partial", 2)
        self._calls.softmax("softmax_cross_entropy", (x,), others, partial, scalars)
        return losses, dx

    def binary_cross_entropy_forward(self, p: Array, t: Array) -> Array:
        return self._calls.loss("binary_cross_entropy_forward", p, t, LOW, HIGH)

    def binary_cross_entropy_backward(self, p: Array, t: Array) -> Array:
        return self._calls.loss("binary_cross_entropy_backward", p, t, LOW, HIGH)

    def squared_error_forward(self, y: Array, t: Array) -> Array:
        return self._calls.loss("squared_error_forward", y, t)

    def squared_error_backward(self, y: Array, t: Array) -> Array:
        return self._calls.loss("squared_error_backward", y, t)

    def absolute_error_forward(self, y: Array, t: Array) -> Array:
        return self._calls.loss("absolute_error_forward", y, t)

    def absolute_error_backward(self, y: Array, t: Array) -> Array:
        return self._calls.loss("absolute_error_backward", y, t)

    # ---- dropout and regularization ----
    def dropout_forward(self, x: Array, keep: float, seed: int, call: int) -> tuple[Array, Array]:
        counter = self._counter(seed, streams.STREAM_DROPOUT, call)
        (x,) = self._calls.inputs(x)
        y, mask = self.xp.empty(x.shape, x.dtype), self.xp.empty(x.shape, x.dtype)
        below, scale = np.uint64(streams.keep_below(keep)), float(1 / x.dtype.type(keep))
        arguments = (x, y, mask, x.size, scale, below, *counter)
        self._calls.run("philox", "dropout_forward", blocks_for(x.size), arguments, dtype=x.dtype)
        return y, mask

    def multiply(self, a: Array, b: Array) -> Array:
        return self._calls.flat("multiply", a, b)

    def regularization_loss(self, w: Array, l1: float, l2: float) -> Array:
        (w,) = self._calls.inputs(w)
        parts = parts_of(w.size)
        absolute, squared = self.xp.empty(parts), self.xp.empty(parts)
        arguments: tuple = (w, absolute, squared, w.size)
        self._calls.run("totals", "regularization_partial", parts, arguments, dtype=w.dtype)
        loss = self.xp.empty((), w.dtype)
        arguments = (absolute, squared, loss, parts, np.float64(l1), np.float64(l2))
        self._calls.run("totals", "regularization_final", 1, arguments, dtype=w.dtype)
        return loss

    def regularization_step(self, dw: Array, w: Array, l1: float, l2: float) -> None:
        if not self._calls.step("regularization_step", (dw, w), l1, 2.0 * l2):
            super().regularization_step(dw, w, l1, l2)

    # ---- optimizers: where an array is not contiguous, the specification does it ----
    def sgd_step(self, w: Array, dw: Array, rate: float) -> None:
        if not self._calls.step("sgd_step", (w, dw), rate):
            super().sgd_step(w, dw, rate)

    def momentum_step(self, w: Array, dw: Array, m: Array, rate: float, momentum: float) -> None:
        if not self._calls.step("momentum_step", (w, dw, m), rate, momentum):
            super().momentum_step(w, dw, m, rate, momentum)

    def adagrad_step(self, w: Array, dw: Array, cache: Array, rate: float, epsilon: float) -> None:
        if not self._calls.step("adagrad_step", (w, dw, cache), rate, epsilon):
            super().adagrad_step(w, dw, cache, rate, epsilon)

    def rmsprop_step(
        self, w: Array, dw: Array, cache: Array, rate: float, epsilon: float, rho: float
    ) -> None:
        scalars = (rate, epsilon, rho, 1.0 - rho)
        if not self._calls.step("rmsprop_step", (w, dw, cache), *scalars):
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
        averages = (beta_1, 1.0 - beta_1, beta_2, 1.0 - beta_2)
        corrections = (1.0 - beta_1**step, 1.0 - beta_2**step)
        scalars = (rate, epsilon, *averages, *corrections)
        if not self._calls.step("adam_step", (w, dw, m, cache), *scalars):
            super().adam_step(w, dw, m, cache, rate, epsilon, beta_1, beta_2, step)

    # ---- predictions and sums ----
    def argmax(self, x: Array) -> Array:
        (x,) = self._calls.inputs(x)
        column = self.xp.empty(x.shape[0], np.int32)
        grid = blocks_of_rows(x.shape[0], lanes(x.shape[1]))
        self._calls.run("reductions", "argmax", grid, (x, column, *x.shape), dtype=x.dtype)
        return column

    def threshold(self, x: Array, limit: float) -> Array:
        (x,) = self._calls.inputs(x)
        y = self.xp.empty(x.shape, np.int32)
        arguments = (x, y, x.size, float(limit))
        self._calls.run("elementwise", "threshold", blocks_for(x.size), arguments, dtype=x.dtype)
        return y

    def mean(self, a: Array, total: Array | None = None) -> Array:
        if a.dtype.kind in "iub":
            return self.sum(a) / a.size
        partial, mean = self._calls.partial_sums(a), self.xp.empty((), a.dtype)
        self._calls.run(
            "totals", "mean_final", 1, (partial, mean, partial.size, a.size), dtype=a.dtype
        )
        return mean

    def sum(self, a: Array) -> Array:
        if a.dtype.kind in "iu":
            return super().sum(a)
        partial, total = self._calls.partial_sums(a), self.xp.empty(())
        self._calls.run("totals", "sum_final", 1, (partial, total, partial.size))
        return total

    # ---- random numbers ----
    @staticmethod
    def _counter(seed: int, stream: int, call: int) -> tuple[Any, ...]:
        seed, stream, call = streams.counter(seed, stream, call)
        return np.uint64(seed), np.uint32(stream), np.uint32(call)

    def random_words(self, count: int, seed: int, stream: int, call: int = 0) -> Array:
        count = int(count)
        words = self.xp.empty(count, np.uint32)
        arguments = (words, count, *self._counter(seed, stream, call))
        self._calls.run("philox", "random_words", blocks_for(count), arguments)
        return words

    def spiral(
        self, samples: int, classes: int, seed: int, start: int = 0, stop: int | None = None
    ) -> tuple[Array, Array]:
        seed_word, stream, _ = self._counter(seed, streams.STREAM_SPIRAL, 0)
        samples, start, stop = streams.spiral_rows(samples, classes, start, stop)
        rows = stop - start
        points = self.xp.empty((rows, 2), self.dtype)
        labels = self.xp.empty(rows, np.int32)
        arguments = (points, labels, rows, samples, start, seed_word, stream)
        self._calls.run("philox", "spiral", blocks_of_rows(rows, 1), arguments)
        return points, labels


def _soft(t: Array) -> str:
    return "_soft" if t.ndim == 2 else ""
