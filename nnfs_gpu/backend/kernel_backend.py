"""What backends with kernels share: of each operation, what goes into its kernel and comes out.

`KernelBackend` checks the arrays, allocates results and hands both to a kernel by name. A backend
says which kernels those are, in its table of kernels, and how one is launched (`_launch`); what
needs another kernel here than there, such as a sum, it writes itself. What has no kernel, or lies
in memory as kernels do not take it, is done by the specification: `super()`.

Numbers go to kernels in the order of kernels/cpu/*.py, which kernels/numba_cuda/*.py share; those
of kernels/cuda/*.cu know the shape already and get fewer.
"""

from __future__ import annotations

import functools
from abc import abstractmethod
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from . import philox as streams
from .arrays import FLOATS, check_reals, check_shapes, mean_over
from .numpy_backend import CLIP, NumpyBackend
from .powers import power
from .protocol import Array, DTypeLike

LOW, HIGH = CLIP, 1 - CLIP
NAN = float("nan")  # what a class index outside the classes gives
BY_CLASS = {  # kernels of losses that read class indices
    *("cross_entropy_forward", "cross_entropy_backward", "softmax_cross_entropy_backward"),
}


class KernelBackend(NumpyBackend):
    """Operations as launches of kernels; see the file's docstring."""

    one_answer = True
    _kernels: Collection[str]  # names of kernels, and what a backend says of each

    # ---- what a backend says ----
    @abstractmethod
    def _launch(
        self,
        kernel: str,
        count: int,
        size: int,
        inputs: Sequence[Array],
        outputs: Sequence[Array],
        numbers: Sequence[Any] = (),
    ) -> None:
        """Run `kernel` of `_kernels` for `count` rows, elements or blocks of random words.

        size  elements that are touched
        """

    @abstractmethod
    def _column_sums(self, dy: Array) -> Array:
        """db (1, O)."""

    @abstractmethod
    def _relu_column_sums(self, dy: Array, y: Array) -> tuple[Array, Array]:
        """(dz (N, O), db (1, O)) in one pass: dz is dy where y > 0, else 0."""

    # ---- the kinds of kernels ----
    def _elements(
        self,
        kernel: str,
        inputs: Sequence[Array],
        numbers: Sequence[float] = (),
        result: DTypeLike | None = None,
    ) -> Array:
        """Element by element; a new array like the first input, of another dtype if asked."""
        check_shapes(*inputs)
        check_reals(*inputs)
        first = inputs[0]
        out = self.xp.empty(first.shape, first.dtype if result is None else result)
        n, flat = out.size, [a.reshape(-1) for a in inputs]
        self._launch(kernel, n, n, flat, (out.reshape(-1),), numbers)
        return out

    def _loss(
        self, kernel: str, y: Array, t: Array, *limits: float, over: Sequence[float] = ()
    ) -> Array:
        """`*_forward`: a loss a row, (N,). Else a gradient like y, divided by all of `over`."""
        forward, by_class = "_forward" in kernel, kernel in BY_CLASS
        if not (forward or by_class):
            return self._elements(kernel, (y, t), (*limits, *over))
        check_shapes(y, t, indices=by_class)
        check_reals(y, t, indices=by_class)
        out = self.xp.empty(y.shape[:1] if forward else y.shape, y.dtype)
        numbers = (*limits, *over, NAN) if by_class else limits
        size = out.size if by_class else y.size
        self._launch(kernel, y.shape[0], size, (y, t), (out,), numbers)
        return out

    def _softmax(
        self,
        kernel: str,
        inputs: Sequence[Array],
        outputs: Sequence[Array],
        numbers: Sequence[float] = (),
    ) -> None:
        """Row by row."""
        x = inputs[0]
        self._launch(kernel, x.shape[0], x.size, inputs, outputs, numbers)

    def _update(
        self,
        kernel: str,
        written: tuple[Array, ...],
        read: tuple[Array, ...],
        numbers: tuple[float, ...],
    ) -> bool:
        """In place, element by element; False, and nothing done, where dtypes differ.

        What is not contiguous is copied, and what is written copied back.
        """
        arrays, first = (*written, *read), written[0]
        check_shapes(*arrays)
        flat, whole = [], True
        for a in arrays:
            if a.dtype != first.dtype:
                return False
            here = a.flags.c_contiguous
            flat.append(a.reshape(-1) if here else a.ravel())
            whole = whole and here
        n, size = len(written), first.size
        self._launch(kernel, size, size, flat[n:], flat[:n], list(map(float, numbers)))
        if not whole:
            for a, result in zip(written, flat[:n], strict=True):
                if not a.flags.c_contiguous:
                    a[...] = result.reshape(a.shape)
        return True

    # ---- dense layer: products by BLAS, sums of columns by kernels ----
    def linear_backward(self, dy: Array, x: Array, w: Array) -> tuple[Array, Array, Array]:
        db = self._column_sums(dy)
        return self._dot(dy, w.T), self._dot(x.T, dy), db

    def linear_relu_backward(
        self, dy: Array, x: Array, w: Array, y: Array
    ) -> tuple[Array, Array, Array]:
        check_shapes(dy, y)
        check_reals(dy, y)
        dz, db = self._relu_column_sums(dy, y)
        return self._dot(dz, w.T), self._dot(x.T, dz), db

    # ---- activations ----
    def relu_forward(self, x: Array) -> Array:
        return self._elements("relu_forward", (x,))

    def relu_backward(self, dy: Array, x: Array) -> Array:
        return self._elements("relu_backward", (dy, x))

    def leaky_relu_forward(self, x: Array, slope: float) -> Array:
        return self._elements("leaky_relu_forward", (x,), (float(slope),))

    def leaky_relu_backward(self, dy: Array, x: Array, slope: float) -> Array:
        return self._elements("leaky_relu_backward", (dy, x), (float(slope),))

    def sigmoid_forward(self, x: Array) -> Array:
        return self._elements("sigmoid_forward", (x,))

    def sigmoid_backward(self, dy: Array, y: Array) -> Array:
        return self._elements("sigmoid_backward", (dy, y))

    def tanh_forward(self, x: Array) -> Array:
        return self._elements("tanh_forward", (x,))

    def tanh_backward(self, dy: Array, y: Array) -> Array:
        return self._elements("tanh_backward", (dy, y))

    def softmax_forward(self, x: Array) -> Array:
        check_reals(x)
        y = self.xp.empty(x.shape, x.dtype)
        self._softmax("softmax_forward", (x,), (y,))
        return y

    def softmax_backward(self, dy: Array, y: Array) -> Array:
        check_shapes(dy, y)
        check_reals(dy, y)
        dx = self.xp.empty(y.shape, y.dtype)
        self._softmax("softmax_backward", (dy, y), (dx,))
        return dx

    def softmax_jacobian(self, y: Array) -> Array:
        check_reals(y)
        jacobian = self.xp.empty((*y.shape, y.shape[1]), y.dtype)
        self._launch("softmax_jacobian", y.shape[0], jacobian.size, (y,), (jacobian,))
        return jacobian

    # ---- losses: class targets have kernels for indices and, ending in _soft, for matrices ----
    def cross_entropy_forward(self, p: Array, t: Array) -> Array:
        kernel = "cross_entropy_forward_soft" if t.ndim == 2 else "cross_entropy_forward"
        return self._loss(kernel, p, t, LOW, HIGH)

    def cross_entropy_backward(self, p: Array, t: Array) -> Array:
        over = (float(p.shape[0]),)
        kernel = "cross_entropy_backward_soft" if t.ndim == 2 else "cross_entropy_backward"
        return self._loss(kernel, p, t, LOW, over=over)

    def softmax_cross_entropy_backward(self, p: Array, t: Array) -> Array:
        over = (float(p.shape[0]),)
        kernel = (
            "softmax_cross_entropy_backward_soft"
            if t.ndim == 2
            else "softmax_cross_entropy_backward"
        )
        return self._loss(kernel, p, t, over=over)

    def softmax_cross_entropy(
        self, x: Array, t: Array, samples: int | None = None
    ) -> tuple[Array, Array]:
        kernel = "softmax_cross_entropy_soft" if t.ndim == 2 else "softmax_cross_entropy"
        if kernel not in self._kernels:
            return super().softmax_cross_entropy(x, t, samples)
        check_shapes(x, t, indices=True)
        check_reals(x, t, indices=True)
        losses, dx = self.xp.empty(x.shape[0], x.dtype), self.xp.empty(x.shape, x.dtype)
        factor = 1.0 / mean_over(samples, x.shape[0])
        self._softmax(kernel, (x, t), (losses, dx), (LOW, HIGH, factor, NAN))
        return losses, dx

    def binary_cross_entropy_forward(self, p: Array, t: Array) -> Array:
        return self._loss("binary_cross_entropy_forward", p, t, LOW, HIGH)

    def binary_cross_entropy_backward(self, p: Array, t: Array) -> Array:
        return self._loss("binary_cross_entropy_backward", p, t, LOW, HIGH, over=_mean(p))

    def squared_error_forward(self, y: Array, t: Array) -> Array:
        return self._loss("squared_error_forward", y, t)

    def squared_error_backward(self, y: Array, t: Array) -> Array:
        return self._loss("squared_error_backward", y, t, over=_mean(y))

    def absolute_error_forward(self, y: Array, t: Array) -> Array:
        return self._loss("absolute_error_forward", y, t)

    def absolute_error_backward(self, y: Array, t: Array) -> Array:
        return self._loss("absolute_error_backward", y, t, over=_mean(y))

    # ---- dropout and regularization ----
    def dropout_forward(self, x: Array, keep: float, seed: int, call: int) -> tuple[Array, Array]:
        counter = self._counter(seed, streams.STREAM_DROPOUT, call)
        below, scale = np.uint64(streams.keep_below(keep)), 1.0 / x.dtype.type(keep)
        y, mask = self.xp.empty(x.shape, x.dtype), self.xp.empty(x.shape, x.dtype)
        outputs = y.reshape(-1), mask.reshape(-1)
        n, numbers = x.size, (below, scale, *counter)
        self._launch("dropout_forward", -(-n // 4), n, (x.reshape(-1),), outputs, numbers)
        return y, mask

    def multiply(self, a: Array, b: Array) -> Array:
        return self._elements("multiply", (a, b))

    def regularization_step(self, dw: Array, w: Array, l1: float, l2: float) -> None:
        if not self._update("regularization_step", (dw,), (w,), (l1, 2.0 * l2)):
            super().regularization_step(dw, w, l1, l2)

    # ---- optimizers: where dtypes differ, the specification does it ----
    def sgd_step(self, w: Array, dw: Array, rate: float) -> None:
        if not self._update("sgd_step", (w,), (dw,), (rate,)):
            super().sgd_step(w, dw, rate)

    def momentum_step(self, w: Array, dw: Array, m: Array, rate: float, momentum: float) -> None:
        if not self._update("momentum_step", (w, m), (dw,), (rate, momentum)):
            super().momentum_step(w, dw, m, rate, momentum)

    def adagrad_step(self, w: Array, dw: Array, cache: Array, rate: float, epsilon: float) -> None:
        if not self._update("adagrad_step", (w, cache), (dw,), (rate, epsilon)):
            super().adagrad_step(w, dw, cache, rate, epsilon)

    def rmsprop_step(
        self, w: Array, dw: Array, cache: Array, rate: float, epsilon: float, rho: float
    ) -> None:
        if not self._update("rmsprop_step", (w, cache), (dw,), (rate, epsilon, rho, 1 - rho)):
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
        first, second = self._correction(beta_1, step), self._correction(beta_2, step)
        numbers = (rate, epsilon, beta_1, 1 - beta_1, beta_2, 1 - beta_2, first, second)
        if not self._update("adam_step", (w, m, cache), (dw,), numbers):
            super().adam_step(w, dw, m, cache, rate, epsilon, beta_1, beta_2, step)

    def adamw_step(
        self,
        w: Array,
        dw: Array,
        m: Array,
        cache: Array,
        rate: float,
        epsilon: float,
        beta_1: float,
        beta_2: float,
        weight_decay: float,
        step: int,
    ) -> None:
        averages = beta_1, 1 - beta_1, beta_2, 1 - beta_2
        corrections = self._correction(beta_1, step), self._correction(beta_2, step)
        numbers = (rate, epsilon, *averages, *corrections, weight_decay)
        if not self._update("adamw_step", (w, m, cache), (dw,), numbers):
            super().adamw_step(w, dw, m, cache, rate, epsilon, beta_1, beta_2, weight_decay, step)

    @staticmethod
    @functools.lru_cache(maxsize=2)  # all layers of a step ask for the same two
    def _correction(beta: float, step: int) -> float:
        """What Adam's kernel multiplies an average by; the power is our own on every backend."""
        return 1 / (1 - power(float(beta), step))

    # ---- comparisons: of numbers of one dtype; whole numbers are array code's, exact anywhere ----
    def threshold(self, x: Array, limit: float) -> Array:
        return self._elements("threshold", (x,), (float(limit),), np.int32)

    def equal(self, a: Array, b: Array) -> Array:
        if not _comparable(a, b):
            return super().equal(a, b)
        return self._elements("equal", (a, b), result=np.bool_)

    def close(self, a: Array, b: Array, tolerance: float) -> Array:
        if not _comparable(a, b):
            return super().close(a, b, tolerance)
        return self._elements("near", (a, b), (float(tolerance),), np.bool_)

    # ---- random numbers ----
    @staticmethod
    def _counter(seed: int, stream: int, call: int) -> tuple[Any, Any, Any]:
        """As the kernels read it."""
        return streams.counter(seed, stream, call)

    def random_words(self, count: int, seed: int, stream: int, call: int = 0) -> Array:
        counter = self._counter(seed, stream, call)
        words = self.xp.empty(count, np.uint32)
        n = words.size
        self._launch("random_words", -(-n // 4), n, (), (words,), counter)
        return words

    def spiral(
        self,
        samples: int,
        classes: int,
        seed: int,
        start: int = 0,
        stop: int | None = None,
        step: int = 1,
    ) -> tuple[Array, Array]:
        seed_word, stream, _ = self._counter(seed, streams.STREAM_SPIRAL, 0)
        samples, rows = streams.spiral_rows(samples, classes, start, stop, step)
        n = len(rows)
        points, labels = self.xp.empty((n, 2), self.dtype), self.xp.empty(n, np.int32)
        numbers = (samples, rows.start, step, seed_word, stream)
        self._launch("spiral", n, n, (), (points, labels), numbers)
        return points, labels


def _mean(y: Array) -> tuple[float, float]:
    """What a mean over outputs and samples is divided by."""
    return float(y.shape[1]), float(y.shape[0])


def _comparable(a: Array, b: Array) -> bool:
    """Whether a kernel compares these arrays."""
    return bool(a.dtype == b.dtype in FLOATS and a.shape == b.shape)
