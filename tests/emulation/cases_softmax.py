"""Cases of softmax_*.cu: every shape has its own kernel, with a launch of its own."""

from __future__ import annotations

import numpy as np
from helpers import probabilities, summing

from emulation.cases import HIGH, LOW, ORACLE, SETUPS, Result, case, class_labels, wide

# ---- softmax_*.cu: every shape has its own kernel, with a launch of its own ----
FIXED = tuple(setup for setup in SETUPS if setup.blocks is None)


def scores(gpu, rng, n, c):
    """Ordinary ones; huge ones, equal ones and single infinities in some rows."""
    x = 5 * rng.randn(n, c)
    x[rng.rand(n) < 0.2] *= 2000
    x[rng.rand(n) < 0.2] = 1.5
    x[rng.rand(n, c) < 0.1 / c] = -np.inf
    x[rng.rand(n) < 0.05] = np.nan
    return gpu.array(x)


def softmax_results(gpu, c, x, t, y, dy, dx, loss, dx_loss):
    """Forward, backward (of the kernel's own y), and the loss with its gradient."""
    expected = ORACLE.softmax_forward(wide(x))
    gradient = ORACLE.softmax_backward(wide(dy), wide(y))
    size = np.abs(wide(y)) * (np.abs(wide(dy)) + np.abs(wide(y) * wide(dy)).sum(1, keepdims=True))
    p, n = expected, len(x)
    # The rounding of x - max, as large as log y, comes out of exp as a relative error of y; the
    # loss and its gradient pass it on.
    relative = 1 + np.abs(np.log(np.where(p > 0, p, 1)))
    return [
        Result(y, p, summing(c), p * relative + np.finfo(gpu.dtype).tiny),
        Result(dx, gradient, summing(c), size),
        Result(loss, ORACLE.cross_entropy_forward(limited(p, gpu.dtype), t), summing(c), 20.0),
        Result(dx_loss, ORACLE.softmax_cross_entropy_backward(p, t), summing(c), (p + 1) / n),
    ]


def limited(p, dtype):
    return np.clip(p, float(dtype.type(LOW)), float(dtype.type(HIGH)))


def softmax_case(name, file, kernels, shapes, launch, setups=FIXED):
    """A case of the three kernels of one softmax file; `launch` runs them."""

    def run(gpu, rng, n, c):
        x, t = scores(gpu, rng, n, c), class_labels(gpu, rng, n, c)
        dy = gpu.array(rng.randn(n, c) * (1 + np.arange(c)) / c)
        y, dx, loss, dx_loss = (gpu.empty(s) for s in ((n, c), (n, c), n, (n, c)))
        launch(gpu, n, c, x, t, y, dy, dx, loss, dx_loss)
        return softmax_results(gpu, c, x, t, y, dy, dx, loss, dx_loss)

    names = [f"{file}.{kernel}" for kernel in kernels]
    case(*names, shapes=shapes, setups=setups, name=name)(run)


def narrow(gpu, n, c, x, t, y, dy, dx, loss, dx_loss):
    rows = 256 if c <= 8 else 128
    launch = {"block": rows, "C": c}
    grid, scalars = -(-n // rows), (1 / n, LOW, HIGH)
    gpu.launch("softmax_narrow", "softmax_forward_narrow", grid, x, y, n, **launch)
    gpu.launch("softmax_narrow", "softmax_backward_narrow", grid, dy, y, dx, n, **launch)
    arrays = (x, t, loss, dx_loss, n)
    gpu.launch("softmax_narrow", "softmax_cross_entropy_narrow", grid, *arrays, *scalars, **launch)


def rows(threads, items, packed):
    def run(gpu, n, c, x, t, y, dy, dx, loss, dx_loss):
        grid, block = (-(-n // 4), 128) if threads == 32 else (n, threads)
        factor = gpu.dtype.itemsize // 4 if packed else 1  # 16 bytes are half as many doubles
        launch = {"block": block, "THREADS": threads, "ITEMS": items * factor, "PACKED": packed}
        gpu.launch("softmax_rows", "softmax_forward_rows", grid, x, y, n, c, **launch)
        gpu.launch("softmax_rows", "softmax_backward_rows", grid, dy, y, dx, n, c, **launch)
        arguments = (x, t, loss, dx_loss, n, c, 1 / n, LOW, HIGH)
        gpu.launch("softmax_rows", "softmax_cross_entropy_rows", grid, *arguments, **launch)

    return run


def parts(count):
    def run(gpu, n, c, x, t, y, dy, dx, loss, dx_loss):
        grid, shape = (n, count), (n, count)
        largest, total, dot = gpu.empty(shape), gpu.empty(shape), gpu.empty(shape)
        gpu.launch("softmax_wide", "softmax_partial", grid, x, largest, total, c)
        gpu.launch("softmax_wide", "softmax_forward_wide", grid, x, largest, total, y, c)
        gpu.launch("softmax_wide", "softmax_dot_partial", grid, dy, y, dot, c)
        gpu.launch("softmax_wide", "softmax_backward_wide", grid, dy, y, dot, dx, c)
        arguments = (x, largest, total, t, loss, dx_loss, c, 1 / n, LOW, HIGH)
        gpu.launch("softmax_wide", "softmax_cross_entropy_wide", grid, *arguments)

    return run


def three(kind):
    return [f"softmax_{op}_{kind}" for op in ("forward", "backward", "cross_entropy")]


WIDE = [*three("wide"), "softmax_partial", "softmax_dot_partial"]
softmax_case(
    *("softmax of short rows", "softmax_narrow", three("narrow")),
    shapes=((1, 1), (300, 1), (1, 3), (257, 3), (130, 10), (129, 16)),
    launch=narrow,
)
softmax_case(
    *("softmax, a warp a row", "softmax_rows", three("rows")),
    shapes=((1, 33), (9, 33), (5, 64), (6, 40)),
    launch=rows(32, 2, 0),
)
softmax_case(
    *("softmax, a warp a row, packed", "softmax_rows", three("rows")),
    shapes=((1, 132), (9, 200), (6, 256)),
    launch=rows(32, 2, 1),
    setups=SETUPS[:1],
)
softmax_case(
    *("softmax, a block a row", "softmax_rows", three("rows")),
    shapes=((1, 1025), (3, 1500), (2, 2048)),
    launch=rows(128, 16, 0),
)
softmax_case(
    *("softmax, a block a row, packed", "softmax_rows", three("rows")),
    shapes=((1, 4096), (2, 5000)),
    launch=rows(512, 4, 1),
    setups=SETUPS[:1],
)
softmax_case(
    *("softmax, blocks share a row", "softmax_wide", WIDE),
    shapes=((1, 1), (3, 5), (2, 1025), (3, 20000)),
    launch=parts(7),
)
softmax_case(
    *("softmax, a row in one part", "softmax_wide", WIDE),
    shapes=((2, 3), (2, 3001)),
    launch=parts(1),
)


@case("softmax_jacobian.softmax_jacobian", shapes=((1, 1), (9, 1), (5, 3), (3, 33), (1, 60)))
def softmax_jacobian(gpu, rng, n, c):
    y, jacobian = gpu.array(probabilities(rng, n, c)), gpu.empty((n, c, c))
    grid = gpu.blocks(-(-jacobian.size // 1024))
    gpu.launch("softmax_jacobian", "softmax_jacobian", grid, y, jacobian, n, c)
    return [Result(jacobian, ORACLE.softmax_jacobian(wide(y)), 2, wide(y)[:, :, None])]
