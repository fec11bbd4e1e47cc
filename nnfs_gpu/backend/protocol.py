"""The backend boundary: every operation a training step is made of, and nothing else.

Layers call these operations and never name a device; a backend decides which arrays it
uses and how the work is done. `NumpyBackend` implements them all in plain array code and
is the specification: other backends inherit it and override what they have a kernel for.

Rules that hold for every operation
* The upstream gradient comes first, then only what the formula needs.
* Arguments are left untouched and the result is a new array. Only `*_step` operations
  write, and only into the arguments that their docstring names.
* Floating-point arguments of one call share one dtype, float32 or float64, and so does
  the result. Reductions run in a fixed order: the same call gives the same bits.
* N samples (rows), I inputs, O outputs, C classes. Matrices are row-major.
* `t` are targets. Class targets are either int32 (N,), one class index a row, or a
  matrix (N, C) of probabilities whose rows sum to 1 (one-hot or soft). Layers check
  them where they enter; here an index outside 0..C-1 gives NaN in its row, never a read
  out of bounds.
* Arrays that do not fit each other raise ValueError, real arrays of several dtypes in one
  call TypeError (the specification lets NumPy decide): an operation looks at shapes and
  dtypes, which costs nothing, and not at values, which would wait for the device. Values
  are checked where they enter, by layers and optimizers.

"Book" is Kinsley and Kukiela, "Neural Networks from Scratch in Python" (2020).
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

DTypeLike = str | type[Any] | np.dtype
Array = Any  # numpy.ndarray, or the array type of the backend at hand


class Backend(Protocol):
    """What a backend provides. See the module docstring for the common rules."""

    name: str
    xp: Any  # the module of its arrays: numpy, or cupy
    device_number: int | None  # of the GPU whose memory its arrays lie in; None: the host's
    dtype: np.dtype  # of parameters and activations: float32 or float64
    precise_dot: bool  # matrix products summed in float64, as nnfs.init() asks for
    book_random: bool  # dropout masks from NumPy's global stream, in the book's order

    @classmethod
    def version(cls) -> str:
        """What does the work here, in words, such as "numba 0.61.0, 2 threads".

        Raises what `available_backends` reports where the backend cannot work.
        """

    # ---- arrays ----
    def asarray(self, x: Any, dtype: DTypeLike | None = None) -> Array:
        """`x` as a C-contiguous array of this backend; no copy where it already is one.

        It may be numbers, nested lists, an array of NumPy, CuPy, PyTorch or JAX, on the host or
        on the GPU: moved once where it lies on the other side. `dtype` None means `self.dtype`.
        TypeError for what holds no real numbers.
        """

    def to_numpy(self, a: Array) -> np.ndarray:
        """`a` on the host, as a NumPy array of the same shape and dtype."""

    def zeros(self, shape: Any, dtype: DTypeLike | None = None) -> Array:
        """A new array of zeros; `dtype` None means `self.dtype`."""

    def copy(self, a: Array) -> Array:
        """A new array equal to `a`."""

    def synchronize(self) -> None:
        """Wait until all work given to the device is done."""

    def all_finite(self, a: Array) -> bool:
        """True when no element is NaN or infinite. Waits for the device."""

    # ---- dense layer ----
    def linear_forward(self, x: Array, w: Array, b: Array) -> Array:
        """y = x w + b. x (N, I), w (I, O), b (1, O) -> y (N, O). Book, chapter 3."""

    def linear_backward(self, dy: Array, x: Array, w: Array) -> tuple[Array, Array, Array]:
        """dx = dy w^T (N, I), dw = x^T dy (I, O), db = column sums of dy (1, O).

        Book, chapter 9: every output sends its gradient back along its weight (dx), a
        weight collects input times gradient over the batch (dw), a bias the gradient.
        """

    def linear_relu_forward(self, x: Array, w: Array, b: Array) -> Array:
        """y = max(x w + b, 0), (N, I) (I, O) (1, O) -> (N, O): bias and ReLU in one pass.

        For a tile of a fused step, where nobody asks for the sums before the ReLU: book
        layers keep them (`Activation_ReLU.inputs`) and call the two operations.
        """

    def linear_relu_backward(
        self, dy: Array, x: Array, w: Array, y: Array
    ) -> tuple[Array, Array, Array]:
        """dx, dw, db as linear_backward of dz = dy where y > 0, else 0; dy, y (N, O).

        y is the result of linear_relu_forward: it is positive where the sum was. The ReLU's
        gradient and the bias gradient take one pass over dy and y.
        """

    # ---- activations ----
    def relu_forward(self, x: Array) -> Array:
        """y = max(x, 0), any shape; NaN stays NaN. Book, chapter 4."""

    def relu_backward(self, dy: Array, x: Array) -> Array:
        """dx = dy where x > 0, else 0; the derivative at the kink x = 0 is 0."""

    def leaky_relu_forward(self, x: Array, slope: float) -> Array:
        """y = x where x > 0, else slope x, any shape. Maas, Hannun, Ng (2013)."""

    def leaky_relu_backward(self, dy: Array, x: Array, slope: float) -> Array:
        """dx = dy where x > 0, else slope dy; the derivative at the kink x = 0 is the slope.

        Where slope >= 0, y does as well as x.
        """

    def sigmoid_forward(self, x: Array) -> Array:
        """y = 1 / (1 + exp(-x)), any shape, without overflow. Book, chapter 16."""

    def sigmoid_backward(self, dy: Array, y: Array) -> Array:
        """dx = dy (1 - y) y, any shape. Book, chapter 16."""

    def tanh_forward(self, x: Array) -> Array:
        """y = tanh(x), any shape; within 2 ulp, and -0 stays -0."""

    def tanh_backward(self, dy: Array, y: Array) -> Array:
        """dx = dy (1 - y^2) = dy (1 - y) (1 + y), any shape; near |y| = 1 it keeps all digits."""

    def softmax_forward(self, x: Array) -> Array:
        """y = exp(x - max) / sum(exp(x - max)) in each row of x (N, C). Book, chapter 4."""

    def softmax_backward(self, dy: Array, y: Array) -> Array:
        """dx = y (dy - sum(y dy)) in each row; dy, y, dx (N, C).

        The row's Jacobian is J = diag(y) - y y^T, so J dy = y*dy - y*(y . dy): the product
        needs one sum a row and never the matrix. It replaces the book's chapter 9 loop.
        """

    def softmax_jacobian(self, y: Array) -> Array:
        """J[n] = diag(y[n]) - y[n] y[n]^T, (N, C) -> (N, C, C): to look at, not to train."""

    # ---- losses: one loss a sample; gradients are those of the mean over the samples ----
    def cross_entropy_forward(self, p: Array, t: Array) -> Array:
        """-sum_c t log(clip(p, 1e-7, 1 - 1e-7)), p (N, C) -> (N,). Book, chapter 5."""

    def cross_entropy_backward(self, p: Array, t: Array) -> Array:
        """dp = -t / max(p, 1e-7) / N, (N, C). Book, chapter 9 (there without the clip)."""

    def softmax_cross_entropy_backward(self, p: Array, t: Array) -> Array:
        """dx = (p - t) / N: gradient of cross_entropy(softmax(x)), p = softmax(x) (N, C).

        The two derivatives cancel to this difference. Book, chapter 9.
        """

    def softmax_cross_entropy(
        self, x: Array, t: Array, samples: int | None = None
    ) -> tuple[Array, Array]:
        """(losses (N,), dx (N, C)) of p = softmax(x) in one pass over the scores x (N, C).

        losses as cross_entropy_forward(p, t), clip included, dx = (p - t) / samples.
        `samples` is the N of the mean: the rows of x, unless x is a tile of a larger batch.
        p itself is never stored. For tiles of a fused step; a layer whose `output` is p calls
        softmax_forward and the two operations above.
        """

    def binary_cross_entropy_forward(self, p: Array, t: Array) -> Array:
        """mean over O of -(t log p + (1 - t) log(1 - p)), p clipped, (N, O) -> (N,).

        Clip as in cross_entropy_forward. Book, chapter 16.
        """

    def binary_cross_entropy_backward(self, p: Array, t: Array) -> Array:
        """dp = -(t / p - (1 - t) / (1 - p)) / O / N, p clipped, (N, O)."""

    def squared_error_forward(self, y: Array, t: Array) -> Array:
        """mean over O of (t - y)^2, (N, O) -> (N,). Book, chapter 17."""

    def squared_error_backward(self, y: Array, t: Array) -> Array:
        """dy = -2 (t - y) / O / N, (N, O)."""

    def absolute_error_forward(self, y: Array, t: Array) -> Array:
        """mean over O of |t - y|, (N, O) -> (N,). Book, chapter 17."""

    def absolute_error_backward(self, y: Array, t: Array) -> Array:
        """dy = sign(y - t) / O / N, (N, O); 0 where they are equal. The book has the wrong sign."""

    # ---- dropout and regularization ----
    def dropout_forward(self, x: Array, keep: float, seed: int, call: int) -> tuple[Array, Array]:
        """(x * mask, mask): mask is 1/keep with probability `keep`, else 0.

        Element e is kept where word e of random_words(seed, stream DROPOUT, call) is below
        round(keep 2^32): the same mask on every backend. Book, chapter 15. Raises ValueError
        for `keep` outside (0, 1], or so small that nothing would be kept.
        """

    def multiply(self, a: Array, b: Array) -> Array:
        """a * b, element by element: dropout's backward, dx = dy * mask."""

    def regularization_loss(self, w: Array, l1: float, l2: float) -> Array:
        """l1 sum|w| + l2 sum w^2, a scalar of w's dtype. Book, chapter 14."""

    def regularization_step(self, dw: Array, w: Array, l1: float, l2: float) -> None:
        """dw += l1 s + 2 l2 w, s = 1 where w >= 0, else -1 (the book's choice at 0)."""

    # ---- optimizers: all write their first argument and their state. With epsilon 0, a
    # parameter whose gradients were all 0 becomes 0 / 0 = NaN: optimizers check epsilon ----
    def sgd_step(self, w: Array, dw: Array, rate: float) -> None:
        """w -= rate dw. Book, chapter 10."""

    def momentum_step(self, w: Array, dw: Array, m: Array, rate: float, momentum: float) -> None:
        """m = momentum m - rate dw; w += m. Writes w and m."""

    def adagrad_step(self, w: Array, dw: Array, cache: Array, rate: float, epsilon: float) -> None:
        """cache += dw^2; w -= rate dw / (sqrt(cache) + epsilon). Writes w and cache.

        Duchi, Hazan, Singer (2011).
        """

    def rmsprop_step(
        self, w: Array, dw: Array, cache: Array, rate: float, epsilon: float, rho: float
    ) -> None:
        """cache = rho cache + (1 - rho) dw^2; w -= rate dw / (sqrt(cache) + epsilon).

        Writes w and cache. Tieleman and Hinton, lecture 6.5 (2012).
        """

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
        """m = beta_1 m + (1 - beta_1) dw; cache = beta_2 cache + (1 - beta_2) dw^2;
        w -= rate (m / (1 - beta_1^step)) / (sqrt(cache / (1 - beta_2^step)) + epsilon).

        `step` counts from 1. Writes w, m and cache. Kingma and Ba (2015), algorithm 1.
        """

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
        """m and cache as in adam_step;
        w -= rate (weight_decay w + (m / (1 - beta_1^step)) / (sqrt(cache / (1 - beta_2^step))
        + epsilon)).

        Writes w, m and cache. Loshchilov and Hutter (2019), algorithm 2, with the decay scaled by
        the rate.
        """

    # ---- predictions and sums: scalars stay on the device until they are printed ----
    def argmax(self, x: Array) -> Array:
        """Column of the first largest element of each row, (N, C) -> (N,) int32."""

    def threshold(self, x: Array, limit: float) -> Array:
        """1 where x > limit, else 0; int32, shape of x."""

    def equal(self, a: Array, b: Array) -> Array:
        """True where a and b (same shape) are equal; bool, their shape."""

    def close(self, a: Array, b: Array, tolerance: float) -> Array:
        """True where |a - b| < tolerance; bool, their shape."""

    def mean(self, a: Array, total: Array | None = None) -> Array:
        """Mean of all elements, a scalar of a's dtype; of whole numbers and bools, float64.

        `total` is sum(a), where it is known: a backend may divide it instead of adding again.
        """

    def sum(self, a: Array) -> Array:
        """Sum of all elements (numbers or bools), a float64 scalar: epochs add many up."""

    # ---- sums without rounding: the same bits in any order, in any grouping (exact.py) ----
    def exact_add(self, w0: Array, w1: Array, w2: Array, x: Array) -> None:
        """w0, w1, w2 += the words of x, any shape: x = (w2 2^102 + w1 2^51 + w0) 2^-70, to the
        nearest multiple of 2^-70.

        Words are int64 and carried; those of zeros are 0. |x| >= 2^62 and NaN make w2 2^52, for
        good. Writes w0, w1 and w2. A superaccumulator of three limbs: Kulisch (2013).
        """

    def exact_value(self, w0: Array, w1: Array, w2: Array) -> Array:
        """((w2 2^51 + w1) 2^51 + w0) 2^-70 of the words once carried, float64; NaN where
        |w2| >= 2^51. Words of up to 1,024 processes may have been added.
        """

    # ---- random numbers: functions of (seed, position), not of a hidden state ----
    def random_words(self, count: int, seed: int, stream: int, call: int = 0) -> Array:
        """`count` random uint32 words of Philox4x32-10 (Salmon et al., SC 2011).

        Word k is output k % 4 of the block with counter (k // 4 low, k // 4 high, call,
        stream) and key (seed low, seed high): any word can be made on its own, so every
        backend and every thread gets the same bits.
        """

    def spiral(
        self,
        samples: int,
        classes: int,
        seed: int,
        start: int = 0,
        stop: int | None = None,
        step: int = 1,
    ) -> tuple[Array, Array]:
        """Rows start, start + step, ... below stop of the spiral: points (rows, 2), labels (rows,)
        int32.

        Row i is class c = i // samples, at r = (i % samples) / (samples - 1) and angle
        10 c + 10 r + 0.5 g, as (r sin, r cos); g is normal (Box and Muller, 1958) from the
        words 2i and 2i + 1 of stream SPIRAL. Equal on all backends to rounding. Raises
        ValueError for a range that is not within 0..samples * classes, and for a step below 1.
        """
