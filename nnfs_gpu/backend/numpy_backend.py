"""The specification: every operation as plain array code over `self.xp`.

Read this file to know what an operation computes; `protocol.py` says why. The expressions
stand in the book's order, so that in float32 they round as the book's do. In float64 it is
the oracle that every other backend is tested against.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from . import exact, identity, philox
from .arrays import check_shapes, mean_over, to_host
from .protocol import Array, Backend, DTypeLike

CLIP = 1e-7  # the book keeps probabilities in [CLIP, 1 - CLIP] before a logarithm
BLOCK_ROWS = 1 << 20  # rows that `spiral` makes at a time, to bound its temporaries


def real_dtype(dtype: DTypeLike) -> np.dtype:
    """The NumPy dtype; ValueError unless it is float32 or float64."""
    found: np.dtype
    try:
        found = np.dtype(dtype)
    except TypeError:
        found = np.dtype(object)
    if found not in (np.dtype(np.float32), np.dtype(np.float64)):
        name = dtype if found == np.dtype(object) else found
        raise ValueError(f"dtype: got {name}, expected float32 or float64")
    return found


class NumpyBackend(Backend):
    """Plain array code. Runs with NumPy alone, in float32 or float64."""

    name = "numpy"
    xp: Any = np
    one_answer = False  # whether it gives the bits of docs/decisions/one-answer.md

    def __init__(
        self, dtype: DTypeLike = np.float32, *, precise_dot: bool = False, book_random: bool = False
    ):
        self.dtype = real_dtype(dtype)
        self.precise_dot = precise_dot
        self.book_random = book_random

    @classmethod
    def version(cls) -> str:
        """What does the work, for reports; raises where it cannot."""
        return f"numpy {np.__version__}"

    device_number: int | None = None  # number of the GPU whose memory the arrays lie in
    __eq__, __hash__, __repr__ = identity.equal, identity.hashed, identity.words
    __reduce__ = identity.reduced

    # ---- arrays ----
    def asarray(self, x: Any, dtype: DTypeLike | None = None) -> Array:
        wanted = self.dtype if dtype is None else dtype
        if type(x) is np.ndarray and x.dtype == wanted and x.ndim and x.flags.c_contiguous:
            return x  # asked in every step of every layer: no word more
        return np.ascontiguousarray(to_host(x), dtype=wanted)

    def to_numpy(self, a: Array) -> np.ndarray:
        return np.asarray(a)

    def zeros(self, shape: Any, dtype: DTypeLike | None = None) -> Array:
        return self.xp.zeros(shape, dtype=self.dtype if dtype is None else dtype)

    def copy(self, a: Array) -> Array:
        return self.xp.array(a, order="C")

    def synchronize(self) -> None:
        """NumPy has finished when it returns."""

    def all_finite(self, a: Array) -> bool:
        return bool(self.xp.isfinite(a).all())

    # ---- dense layer ----
    def _dot(self, a: Array, b: Array) -> Array:
        if self.precise_dot and a.dtype != np.float64:
            return self.xp.dot(a.astype(np.float64), b.astype(np.float64)).astype(a.dtype)
        return self.xp.dot(a, b)

    def linear_forward(self, x: Array, w: Array, b: Array) -> Array:
        y = self._dot(x, w)
        y += b
        return y

    def linear_backward(self, dy: Array, x: Array, w: Array) -> tuple[Array, Array, Array]:
        return self._dot(dy, w.T), self._dot(x.T, dy), dy.sum(axis=0, keepdims=True)

    def linear_relu_forward(self, x: Array, w: Array, b: Array) -> Array:
        return self.relu_forward(self.linear_forward(x, w, b))

    def linear_relu_backward(
        self, dy: Array, x: Array, w: Array, y: Array
    ) -> tuple[Array, Array, Array]:
        return self.linear_backward(self.relu_backward(dy, y), x, w)

    # ---- activations ----
    def relu_forward(self, x: Array) -> Array:
        return self.xp.maximum(0, x)

    def relu_backward(self, dy: Array, x: Array) -> Array:
        return self.xp.where(x <= 0, dy.dtype.type(0), dy)

    def leaky_relu_forward(self, x: Array, slope: float) -> Array:
        return self.xp.where(x <= 0, x.dtype.type(slope) * x, x)

    def leaky_relu_backward(self, dy: Array, x: Array, slope: float) -> Array:
        return self.xp.where(x <= 0, dy.dtype.type(slope) * dy, dy)

    def sigmoid_forward(self, x: Array) -> Array:
        e = self.xp.exp(-self.xp.abs(x))  # never above 1, so nothing overflows
        return self.xp.where(x >= 0, x.dtype.type(1), e) / (1 + e)

    def sigmoid_backward(self, dy: Array, y: Array) -> Array:
        return dy * (1 - y) * y

    def tanh_forward(self, x: Array) -> Array:
        return self.xp.tanh(x)

    def tanh_backward(self, dy: Array, y: Array) -> Array:
        return dy * ((1 - y) * (1 + y))

    def softmax_forward(self, x: Array) -> Array:
        e = self.xp.exp(x - x.max(axis=1, keepdims=True))
        return e / e.sum(axis=1, keepdims=True)

    def softmax_backward(self, dy: Array, y: Array) -> Array:
        return y * (dy - (y * dy).sum(axis=1, keepdims=True))

    def softmax_jacobian(self, y: Array) -> Array:
        eye = self.xp.eye(y.shape[1], dtype=y.dtype)
        return y[:, :, None] * eye - y[:, :, None] * y[:, None, :]

    # ---- losses ----
    def _pick(self, p: Array, t: Array) -> tuple[Array, Array, Array]:
        """(rows, t with every index in range, bad): where `bad`, the result must be NaN."""
        check_shapes(p, t, indices=True)
        bad = (t < 0) | (t >= p.shape[1])
        return self.xp.arange(t.shape[0]), self.xp.where(bad, 0, t), bad

    def _clip(self, p: Array) -> Array:
        return self.xp.clip(p, p.dtype.type(CLIP), p.dtype.type(1 - CLIP))

    def cross_entropy_forward(self, p: Array, t: Array) -> Array:
        if t.ndim == 2:
            return -(t * self.xp.log(self._clip(p))).sum(axis=1)
        rows, column, bad = self._pick(p, t)
        losses = -self.xp.log(self._clip(p[rows, column]))
        losses[bad] = np.nan
        return losses

    def cross_entropy_backward(self, p: Array, t: Array) -> Array:
        n = p.shape[0]
        if t.ndim == 2:
            return -t / self.xp.maximum(p, p.dtype.type(CLIP)) / n
        rows, column, bad = self._pick(p, t)
        dp = self.xp.zeros(p.shape, p.dtype)
        dp[rows, column] = -1 / self.xp.maximum(p[rows, column], p.dtype.type(CLIP)) / n
        dp[bad] = np.nan
        return dp

    def softmax_cross_entropy_backward(self, p: Array, t: Array) -> Array:
        n = p.shape[0]
        if t.ndim == 2:
            return (p - t) / n
        rows, column, bad = self._pick(p, t)
        dx = self.copy(p)
        dx[rows, column] -= 1
        dx /= n
        dx[bad] = np.nan
        return dx

    def softmax_cross_entropy(
        self, x: Array, t: Array, samples: int | None = None
    ) -> tuple[Array, Array]:
        p = self.softmax_forward(x)
        dx = self.softmax_cross_entropy_backward(p, t)
        dx *= max(x.shape[0], 1) / mean_over(samples, x.shape[0])
        return self.cross_entropy_forward(p, t), dx

    def binary_cross_entropy_forward(self, p: Array, t: Array) -> Array:
        p = self._clip(p)
        return (-(t * self.xp.log(p) + (1 - t) * self.xp.log(1 - p))).mean(axis=1)

    def binary_cross_entropy_backward(self, p: Array, t: Array) -> Array:
        n, outputs = p.shape
        p = self._clip(p)
        return -(t / p - (1 - t) / (1 - p)) / outputs / n

    def squared_error_forward(self, y: Array, t: Array) -> Array:
        return ((t - y) ** 2).mean(axis=1)

    def squared_error_backward(self, y: Array, t: Array) -> Array:
        n, outputs = y.shape
        return -2 * (t - y) / outputs / n

    def absolute_error_forward(self, y: Array, t: Array) -> Array:
        return self.xp.abs(t - y).mean(axis=1)

    def absolute_error_backward(self, y: Array, t: Array) -> Array:
        n, outputs = y.shape
        return self.xp.sign(y - t) / outputs / n

    # ---- dropout and regularization ----
    def dropout_forward(self, x: Array, keep: float, seed: int, call: int) -> tuple[Array, Array]:
        below = np.uint64(philox.keep_below(keep))
        words = self.random_words(x.size, seed, philox.STREAM_DROPOUT, call)
        kept = words.astype(np.uint64) < below
        mask = kept.reshape(x.shape).astype(x.dtype) / x.dtype.type(keep)
        return x * mask, mask

    def multiply(self, a: Array, b: Array) -> Array:
        return a * b

    def regularization_loss(self, w: Array, l1: float, l2: float) -> Array:
        return float(l1) * self.xp.abs(w).sum() + float(l2) * (w * w).sum()

    def regularization_step(self, dw: Array, w: Array, l1: float, l2: float) -> None:
        if l1:
            dw += l1 * self.xp.where(w >= 0, w.dtype.type(1), w.dtype.type(-1))
        if l2:
            dw += 2 * l2 * w

    # ---- optimizers ----
    def sgd_step(self, w: Array, dw: Array, rate: float) -> None:
        w += -rate * dw

    def momentum_step(self, w: Array, dw: Array, m: Array, rate: float, momentum: float) -> None:
        m[...] = momentum * m - rate * dw
        w += m

    def adagrad_step(self, w: Array, dw: Array, cache: Array, rate: float, epsilon: float) -> None:
        cache += dw**2
        w += -rate * dw / (self.xp.sqrt(cache) + epsilon)

    def rmsprop_step(
        self, w: Array, dw: Array, cache: Array, rate: float, epsilon: float, rho: float
    ) -> None:
        cache[...] = rho * cache + (1 - rho) * dw**2
        w += -rate * dw / (self.xp.sqrt(cache) + epsilon)

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
        m[...] = beta_1 * m + (1 - beta_1) * dw
        cache[...] = beta_2 * cache + (1 - beta_2) * dw**2
        m_corrected = m / (1 - beta_1**step)
        cache_corrected = cache / (1 - beta_2**step)
        w += -rate * m_corrected / (self.xp.sqrt(cache_corrected) + epsilon)

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
        m[...] = beta_1 * m + (1 - beta_1) * dw
        cache[...] = beta_2 * cache + (1 - beta_2) * dw**2
        m_corrected = m / (1 - beta_1**step)
        cache_corrected = cache / (1 - beta_2**step)
        moved = m_corrected / (self.xp.sqrt(cache_corrected) + epsilon)
        w += -rate * (weight_decay * w + moved)

    # ---- predictions and sums ----
    def argmax(self, x: Array) -> Array:
        return self.xp.argmax(x, axis=1).astype(np.int32)

    def threshold(self, x: Array, limit: float) -> Array:
        return (x > limit).astype(np.int32)

    def equal(self, a: Array, b: Array) -> Array:
        return a == b

    def close(self, a: Array, b: Array, tolerance: float) -> Array:
        return self.xp.abs(a - b) < tolerance

    def mean(self, a: Array, total: Array | None = None) -> Array:
        return a.mean()

    def sum(self, a: Array) -> Array:
        return a.sum(dtype=np.float64)

    # ---- sums without rounding ----
    def exact_add(self, w0: Array, w1: Array, w2: Array, x: Array) -> None:
        exact.add(self.xp, w0, w1, w2, x)

    def exact_value(self, w0: Array, w1: Array, w2: Array) -> Array:
        return exact.value(self.xp, w0, w1, w2)

    # ---- random numbers ----
    def random_words(self, count: int, seed: int, stream: int, call: int = 0) -> Array:
        return philox.words(self.xp, 0, count, seed, stream, call)

    def spiral(
        self,
        samples: int,
        classes: int,
        seed: int,
        start: int = 0,
        stop: int | None = None,
        step: int = 1,
    ) -> tuple[Array, Array]:
        xp = self.xp
        samples, rows = philox.spiral_rows(samples, classes, start, stop, step)
        points, labels = xp.empty((len(rows), 2), self.dtype), xp.empty(len(rows), np.int32)
        for first in range(0, len(rows), BLOCK_ROWS):
            here = rows[first : first + BLOCK_ROWS]
            row = xp.arange(here.start, here.stop, step)
            u = self._pairs(row, here.start, step, seed).astype(np.float64) / 2.0**32
            g = xp.sqrt(-2 * xp.log(u[:, 0] + 2.0**-33)) * xp.cos(2 * np.pi * u[:, 1])
            c, r = row // samples, (row % samples) / max(samples - 1, 1)
            angle = 10.0 * c + 10.0 * r + 0.5 * g
            at = slice(first, first + row.size)
            points[at, 0], points[at, 1] = r * xp.sin(angle), r * xp.cos(angle)
            labels[at] = c
        return points, labels

    def _pairs(self, row: Array, first: int, step: int, seed: int) -> Array:
        """The two words of each row of the spiral, (rows, 2): a block has those of two rows."""
        stream = philox.STREAM_SPIRAL
        if step == 1:
            return philox.words(self.xp, 2 * first, 2 * row.size, seed, stream, 0).reshape(-1, 2)
        four = philox.blocks(self.xp, (row // 2).astype(np.uint64), seed, stream, 0)
        return self.xp.where((row % 2 == 1)[:, None], four[:, 2:], four[:, :2])
