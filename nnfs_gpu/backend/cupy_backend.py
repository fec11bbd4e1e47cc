"""The GPU default: CuPy arrays, our CUDA C++ kernels, cuBLAS for matrix products.

Each method allocates its result from CuPy's pool, chooses a launch and returns; nothing waits
for the device. What each kernel does, and what it moves, stands at its head in kernels/*.cu.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from . import philox as streams
from .driver import UnavailableError, cuda_driver
from .numpy_backend import CLIP, NumpyBackend
from .protocol import Array
from .softmax_plan import SoftmaxPlan, softmax_plan

LOW, HIGH = CLIP, 1 - CLIP
BLOCK = 256
MOST_BLOCKS = 1 << 16  # of a grid whose threads go on to a next element
MOST_PARTS = 1024  # partial results of a sum
SUM_COLUMNS = 128  # columns that a block of column_sum_* adds up
KDL_CUDA = 2  # DLPack's number for CUDA memory


_HOST = NumpyBackend()


class CupyBackend(NumpyBackend):
    """CUDA C++ kernels on CuPy arrays."""

    name = "cupy"

    def __init__(self, dtype: Any = np.float32, **settings: Any):
        super().__init__(dtype, **settings)
        self.xp, self._launcher = self._runtime()

    def _runtime(self) -> tuple[Any, Any]:
        """The array module and the launcher; the tests put NumPy and an emulator here."""
        import cupy

        from .cuda_launch import CudaLauncher

        return cupy, CudaLauncher()

    @classmethod
    def version(cls) -> str:
        """Tries a GPU in stages: package, driver and device, compiler, memory."""
        try:
            import cupy
        except ImportError as error:
            raise UnavailableError(
                f"CuPy is not installed ({error})",
                "on a machine with an NVIDIA GPU: pip install 'nnfs-gpu[cuda13]' "
                "(or cuda12, as the driver allows)",
            ) from error
        version, found = cuda_driver()
        if version is None:
            raise UnavailableError(found, "install the NVIDIA driver, or use the numba backend")
        try:
            source = 'extern "C" __global__ void probe(float* x) { x[0] = 1; }'
            probe = cupy.RawModule(code=source, backend="nvrtc").get_function("probe")
        except Exception as error:
            raise UnavailableError(
                f"NVRTC does not compile: {type(error).__name__}: {error}",
                f"install CuPy for this driver ({found}) with its compiler: "
                "pip install 'cupy-cuda13x[ctk]' or 'cupy-cuda12x[ctk]'",
            ) from error
        try:
            x = cupy.zeros(1, np.float32)
            probe((1,), (1,), (x,))
            if float(x[0]) != 1:
                raise RuntimeError("a kernel ran and wrote nothing")
        except Exception as error:
            raise UnavailableError(
                f"the device does not work: {type(error).__name__}: {error}",
                "look at nvidia-smi: another program may hold its memory",
            ) from error
        name = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)["name"].decode()
        return f"cupy {cupy.__version__}, {found}, {name}"

    # ---- arrays ----
    def asarray(self, x: Any, dtype: Any = None) -> Array:
        dtype = np.dtype(self.dtype if dtype is None else dtype)
        if hasattr(x, "__cuda_array_interface__"):
            a = self.xp.asarray(x)
        elif hasattr(x, "__dlpack_device__") and x.__dlpack_device__()[0] == KDL_CUDA:
            a = self.xp.from_dlpack(x)
        else:  # cast on the host, then one copy
            return self.xp.asarray(NumpyBackend.asarray(_HOST, x, dtype))
        if a.dtype.kind not in "fiub":
            raise TypeError(f"array of real numbers expected, got dtype {a.dtype}")
        return self.xp.ascontiguousarray(a, dtype=dtype)

    def to_numpy(self, a: Array) -> np.ndarray:
        return self.xp.asnumpy(a) if hasattr(self.xp, "asnumpy") else np.asarray(a)

    def synchronize(self) -> None:
        self.xp.cuda.get_current_stream().synchronize()

    # ---- how kernels are called ----
    def _run(self, file: str, kernel: str, grid: Any, arguments: tuple, **options: Any) -> None:
        """Launch with blocks of BLOCK threads, unless `options` has `block`."""
        grid = grid if isinstance(grid, tuple) else (grid,)
        block = options.pop("block", BLOCK)
        dtype = options.pop("dtype", self.dtype)
        self._launcher.launch(file, kernel, grid, block, arguments, dtype, **options)

    def _inputs(self, *arrays: Array) -> list[Array]:
        """Contiguous, real ones of one dtype as the protocol asks, labels int32."""
        self._check_shapes(*arrays)
        found = {a.dtype for a in arrays if a.dtype.kind == "f"}
        if len(found) > 1:
            names = " and ".join(sorted(dtype.name for dtype in found))
            raise TypeError(f"arrays of {names}: expected one dtype; use backend.asarray(x)")
        return [
            self.xp.ascontiguousarray(a, dtype=np.int32 if a.dtype.kind in "iu" else None)
            for a in arrays
        ]

    def _flat(self, kernel: str, *arrays: Array, file: str = "elementwise") -> Array:
        """An element-wise kernel; the result is like the first array."""
        inputs = self._inputs(*arrays)
        out = self.xp.empty(inputs[0].shape, inputs[0].dtype)
        self._run(file, kernel, _grid(out.size), (*inputs, out, out.size), dtype=out.dtype)
        return out

    def _loss(self, kernel: str, y: Array, t: Array, *scalars: float) -> Array:
        """A kernel of losses.cu: a loss a row for `*_forward`, else a gradient like y."""
        y, t = self._inputs(y, t)
        out = self.xp.empty(y.shape[:1] if "_forward" in kernel else y.shape, y.dtype)
        lanes = 1 if kernel == "cross_entropy_forward" else _lanes(y.shape[1])
        grid = _rows_grid(y.shape[0], lanes) if out.ndim == 1 else _grid(out.size)
        self._run("losses", kernel, grid, (y, t, out, *y.shape, *scalars), dtype=y.dtype)
        return out

    def _step(self, kernel: str, arrays: tuple, *scalars: float) -> bool:
        """A kernel of optimizers.cu that writes in place; False where the layout forbids."""
        self._check_shapes(*arrays)
        first = arrays[0]
        if not all(a.flags.c_contiguous and a.dtype == first.dtype for a in arrays):
            return False
        arguments = (*arrays, first.size, *(float(value) for value in scalars))
        self._run("optimizers", kernel, _grid(first.size), arguments, dtype=first.dtype)
        return True

    # ---- dense layer ----
    def linear_forward(self, x: Array, w: Array, b: Array) -> Array:
        y = self.xp.ascontiguousarray(self._dot(x, w))
        (b,) = self._inputs(b)
        self._check_shapes(y[:1], b)
        self._run("dense", "add_bias", _grid(y.size), (y, b, *y.shape), dtype=y.dtype)
        return y

    def linear_backward(self, dy: Array, x: Array, w: Array) -> tuple[Array, Array, Array]:
        return self._dot(dy, w.T), self._dot(x.T, dy), self._column_sum(dy)

    def _column_sum(self, dy: Array) -> Array:
        (dy,) = self._inputs(dy)
        n, columns = dy.shape
        parts = max(1, min(512, -(-n // 256)))
        partial = self.xp.empty((parts, columns), dy.dtype)
        total = self.xp.empty((1, columns), dy.dtype)
        grid = (-(-columns // SUM_COLUMNS), parts)
        arguments: tuple = (dy, partial, n, columns)
        self._run("reductions", "column_sum_partial", grid, arguments, dtype=dy.dtype)
        arguments = (partial, total, parts, columns)
        self._run("reductions", "column_sum_final", grid[0], arguments, dtype=dy.dtype)
        return total

    # ---- activations ----
    def relu_forward(self, x: Array) -> Array:
        return self._flat("relu_forward", x)

    def relu_backward(self, dy: Array, x: Array) -> Array:
        return self._flat("relu_backward", dy, x)

    def sigmoid_forward(self, x: Array) -> Array:
        return self._flat("sigmoid_forward", x)

    def sigmoid_backward(self, dy: Array, y: Array) -> Array:
        return self._flat("sigmoid_backward", dy, y)

    def softmax_forward(self, x: Array) -> Array:
        (x,) = self._inputs(x)
        n, columns = x.shape
        y = self.xp.empty(x.shape, x.dtype)
        plan = softmax_plan(n, columns, x.dtype, (x, y))
        if plan.parts:
            shape = (n, plan.parts)
            largest, total = self.xp.empty(shape, x.dtype), self.xp.empty(shape, x.dtype)
            self._softmax(plan, "softmax_partial", (x, largest, total, columns))
            self._softmax(plan, "softmax_forward_wide", (x, largest, total, y, columns))
        else:
            self._softmax(plan, f"softmax_forward_{plan.kind}", (x, y, *plan.sizes))
        return y

    def softmax_backward(self, dy: Array, y: Array) -> Array:
        dy, y = self._inputs(dy, y)
        n, columns = y.shape
        dx = self.xp.empty(y.shape, y.dtype)
        plan = softmax_plan(n, columns, y.dtype, (dy, y, dx))
        if plan.parts:
            dot = self.xp.empty((n, plan.parts), y.dtype)
            self._softmax(plan, "softmax_dot_partial", (dy, y, dot, columns))
            self._softmax(plan, "softmax_backward_wide", (dy, y, dot, dx, columns))
        else:
            self._softmax(plan, f"softmax_backward_{plan.kind}", (dy, y, dx, *plan.sizes))
        return dx

    def _softmax(self, plan: SoftmaxPlan, kernel: str, arguments: tuple) -> None:
        self._run(
            f"softmax_{plan.kind}",
            kernel,
            plan.grid,
            arguments,
            block=plan.block,
            dtype=plan.dtype,
            **plan.definitions,
        )

    def softmax_jacobian(self, y: Array) -> Array:
        (y,) = self._inputs(y)
        jacobian = self.xp.empty((*y.shape, y.shape[1]), y.dtype)
        grid, arguments = _grid(jacobian.size), (y, jacobian, *y.shape)
        self._run("softmax_jacobian", "softmax_jacobian", grid, arguments, dtype=y.dtype)
        return jacobian

    # ---- losses ----
    def cross_entropy_forward(self, p: Array, t: Array) -> Array:
        return self._loss(f"cross_entropy_forward{_soft(t)}", p, t, LOW, HIGH)

    def cross_entropy_backward(self, p: Array, t: Array) -> Array:
        return self._loss(f"cross_entropy_backward{_soft(t)}", p, t, LOW)

    def softmax_cross_entropy_backward(self, p: Array, t: Array) -> Array:
        return self._loss(f"softmax_cross_entropy_backward{_soft(t)}", p, t)

    def binary_cross_entropy_forward(self, p: Array, t: Array) -> Array:
        return self._loss("binary_cross_entropy_forward", p, t, LOW, HIGH)

    def binary_cross_entropy_backward(self, p: Array, t: Array) -> Array:
        return self._loss("binary_cross_entropy_backward", p, t, LOW, HIGH)

    def squared_error_forward(self, y: Array, t: Array) -> Array:
        return self._loss("squared_error_forward", y, t)

    def squared_error_backward(self, y: Array, t: Array) -> Array:
        return self._loss("squared_error_backward", y, t)

    def absolute_error_forward(self, y: Array, t: Array) -> Array:
        return self._loss("absolute_error_forward", y, t)

    def absolute_error_backward(self, y: Array, t: Array) -> Array:
        return self._loss("absolute_error_backward", y, t)

    # ---- dropout and regularization ----
    def dropout_forward(self, x: Array, keep: float, seed: int, call: int) -> tuple[Array, Array]:
        counter = self._counter(seed, streams.STREAM_DROPOUT, call)
        (x,) = self._inputs(x)
        y, mask = self.xp.empty(x.shape, x.dtype), self.xp.empty(x.shape, x.dtype)
        scale = float(1 / x.dtype.type(keep))
        arguments = (x, y, mask, x.size, scale, np.uint64(round(keep * 2**32)), *counter)
        self._run("philox", "dropout_forward", _grid(x.size), arguments, dtype=x.dtype)
        return y, mask

    def multiply(self, a: Array, b: Array) -> Array:
        return self._flat("multiply", a, b)

    def regularization_loss(self, w: Array, l1: float, l2: float) -> Array:
        (w,) = self._inputs(w)
        parts = _parts(w.size)
        absolute, squared = self.xp.empty(parts), self.xp.empty(parts)
        arguments: tuple = (w, absolute, squared, w.size)
        self._run("totals", "regularization_partial", parts, arguments, dtype=w.dtype)
        loss = self.xp.empty((), w.dtype)
        arguments = (absolute, squared, loss, parts, np.float64(l1), np.float64(l2))
        self._run("totals", "regularization_final", 1, arguments, dtype=w.dtype)
        return loss

    def regularization_step(self, dw: Array, w: Array, l1: float, l2: float) -> None:
        if not self._step("regularization_step", (dw, w), l1, 2.0 * l2):
            super().regularization_step(dw, w, l1, l2)

    # ---- optimizers: where an array is not contiguous, the specification does it ----
    def sgd_step(self, w: Array, dw: Array, rate: float) -> None:
        if not self._step("sgd_step", (w, dw), rate):
            super().sgd_step(w, dw, rate)

    def momentum_step(self, w: Array, dw: Array, m: Array, rate: float, momentum: float) -> None:
        if not self._step("momentum_step", (w, dw, m), rate, momentum):
            super().momentum_step(w, dw, m, rate, momentum)

    def adagrad_step(self, w: Array, dw: Array, cache: Array, rate: float, epsilon: float) -> None:
        if not self._step("adagrad_step", (w, dw, cache), rate, epsilon):
            super().adagrad_step(w, dw, cache, rate, epsilon)

    def rmsprop_step(
        self, w: Array, dw: Array, cache: Array, rate: float, epsilon: float, rho: float
    ) -> None:
        scalars = (rate, epsilon, rho, 1.0 - rho)
        if not self._step("rmsprop_step", (w, dw, cache), *scalars):
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
        if not self._step("adam_step", (w, dw, m, cache), *scalars):
            super().adam_step(w, dw, m, cache, rate, epsilon, beta_1, beta_2, step)

    # ---- predictions and sums ----
    def argmax(self, x: Array) -> Array:
        (x,) = self._inputs(x)
        column = self.xp.empty(x.shape[0], np.int32)
        grid = _rows_grid(x.shape[0], _lanes(x.shape[1]))
        self._run("reductions", "argmax", grid, (x, column, *x.shape), dtype=x.dtype)
        return column

    def threshold(self, x: Array, limit: float) -> Array:
        (x,) = self._inputs(x)
        y = self.xp.empty(x.shape, np.int32)
        arguments = (x, y, x.size, float(limit))
        self._run("elementwise", "threshold", _grid(x.size), arguments, dtype=x.dtype)
        return y

    def _partial_sums(self, a: Array) -> Array:
        kernel = "sum_partial_bool" if a.dtype.kind == "b" else "sum_partial"
        a = self.xp.ascontiguousarray(a)
        partial = self.xp.empty(_parts(a.size))
        dtype = self.dtype if a.dtype.kind == "b" else a.dtype
        values = a.view(np.uint8) if a.dtype.kind == "b" else a
        self._run("totals", kernel, partial.size, (values, partial, a.size), dtype=dtype)
        return partial

    def mean(self, a: Array) -> Array:
        partial, mean = self._partial_sums(a), self.xp.empty((), a.dtype)
        self._run("totals", "mean_final", 1, (partial, mean, partial.size, a.size), dtype=a.dtype)
        return mean

    def sum(self, a: Array) -> Array:
        if a.dtype.kind in "iu":
            return super().sum(a)
        partial, total = self._partial_sums(a), self.xp.empty(())
        self._run("totals", "sum_final", 1, (partial, total, partial.size))
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
        self._run("philox", "random_words", _grid(count), arguments)
        return words

    def spiral(
        self, samples: int, classes: int, seed: int, start: int = 0, stop: int | None = None
    ) -> tuple[Array, Array]:
        seed_word, stream, _ = self._counter(seed, streams.STREAM_SPIRAL, 0)
        samples, start, stop = self._spiral_rows(samples, classes, start, stop)
        rows = stop - start
        points = self.xp.empty((rows, 2), self.dtype)
        labels = self.xp.empty(rows, np.int32)
        arguments = (points, labels, rows, samples, start, seed_word, stream)
        self._run("philox", "spiral", _rows_grid(rows, 1), arguments)
        return points, labels


def _grid(size: int) -> int:
    """Blocks of 256 threads with 4 elements each."""
    return max(1, min(MOST_BLOCKS, -(-size // (4 * BLOCK))))


def _lanes(columns: int) -> int:
    """Threads that share a row in losses.cu."""
    return 1 if columns < 8 else 8 if columns < 64 else 32


def _rows_grid(n: int, lanes: int) -> int:
    """Blocks of 256 threads, `lanes` of them a row."""
    return max(1, min(MOST_BLOCKS, -(-n * lanes // BLOCK)))


def _parts(size: int) -> int:
    """Partial sums, one a block of 256 threads: a function of the size alone."""
    return max(1, min(MOST_PARTS, -(-size // (16 * BLOCK))))


def _soft(t: Array) -> str:
    return "_soft" if t.ndim == 2 else ""
