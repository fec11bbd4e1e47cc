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


def softmax_results(gpu, c, x, t, soft, y, dy, dx, loss, dx_loss, soft_loss, soft_dx):
    """Forward, backward (of the kernel's own y), and the losses with their gradients."""
    expected = ORACLE.softmax_forward(wide(x))
    gradient = ORACLE.softmax_backward(wide(dy), wide(y))
    size = np.abs(wide(y)) * (np.abs(wide(dy)) + np.abs(wide(y) * wide(dy)).sum(1, keepdims=True))
    p, n = expected, len(x)
    # The rounding of x - max, as large as log y, comes out of exp as a relative error of y; the
    # loss and its gradient pass it on.
    relative = 1 + np.abs(np.log(np.where(p > 0, p, 1)))
    clipped = limited(p, gpu.dtype)
    soft_gradient = ORACLE.softmax_cross_entropy_backward(p, wide(soft))
    return [
        Result(y, p, summing(c), p * relative + np.finfo(gpu.dtype).tiny),
        Result(dx, gradient, summing(c), size),
        Result(loss, ORACLE.cross_entropy_forward(clipped, t), summing(c), 20.0),
        Result(dx_loss, ORACLE.softmax_cross_entropy_backward(p, t), summing(c), (p + 1) / n),
        Result(soft_loss, ORACLE.cross_entropy_forward(clipped, wide(soft)), summing(c), 20.0),
        Result(soft_dx, soft_gradient, summing(c), (p * relative + 1) / n),
    ]


def limited(p, dtype):
    return np.clip(p, float(dtype.type(LOW)), float(dtype.type(HIGH)))


def softmax_case(name, file, kernels, shapes, launch, setups=FIXED):
    """A case of the kernels of one softmax file; `launch` runs them."""

    def run(gpu, rng, n, c):
        x, t = scores(gpu, rng, n, c), class_labels(gpu, rng, n, c)
        soft = gpu.array(probabilities(rng, n, c))
        dy = gpu.array(rng.randn(n, c) * (1 + np.arange(c)) / c)
        y, dx, loss, dx_loss = (gpu.empty(s) for s in ((n, c), (n, c), n, (n, c)))
        soft_loss, soft_dx = gpu.empty(n), gpu.empty((n, c))
        arrays = x, t, soft, y, dy, dx, loss, dx_loss, soft_loss, soft_dx
        launch(gpu, n, c, *arrays)
        return softmax_results(gpu, c, *arrays)

    names = [f"{file}.{kernel}" for kernel in kernels]
    case(*names, shapes=shapes, setups=setups, name=name)(run)


def in_one_launch(gpu, kind, grid, sizes, launch, arrays):
    """The kernels of narrow and rows."""
    x, t, soft, y, dy, dx, loss, dx_loss, soft_loss, soft_dx = arrays
    file, scalars = f"softmax_{kind}", (*sizes, 1 / len(x), LOW, HIGH)
    gpu.launch(file, f"softmax_forward_{kind}", grid, x, y, *sizes, **launch)
    gpu.launch(file, f"softmax_backward_{kind}", grid, dy, y, dx, *sizes, **launch)
    arguments = (x, t, loss, dx_loss, *scalars)
    gpu.launch(file, f"softmax_cross_entropy_{kind}", grid, *arguments, **launch)
    arguments = (x, soft, soft_loss, soft_dx, *scalars)
    gpu.launch(file, f"softmax_cross_entropy_soft_{kind}", grid, *arguments, **launch)


def narrow(gpu, n, c, *arrays):
    rows = 256 if c <= 8 else 128
    in_one_launch(gpu, "narrow", -(-n // rows), (n,), {"block": rows, "C": c}, arrays)


def rows(threads):
    def run(gpu, n, c, *arrays):
        grid, block = (-(-n // 4), 128) if threads == 32 else (n, threads)
        values = 32 if gpu.dtype == np.float32 else 8
        items = -(-c // 32) if threads == 32 else values
        launch = {"block": block, "THREADS": threads, "ITEMS": items}
        in_one_launch(gpu, "rows", grid, (n, c), launch, arrays)

    return run


def parts(count):
    def run(gpu, n, c, x, t, soft, y, dy, dx, loss, dx_loss, soft_loss, soft_dx):
        grid, chunks = (n, count), -(-c // (1024 if gpu.dtype == np.float32 else 256))
        largest, sums, dots, losses = (gpu.empty((n, chunks)) for _ in range(4))
        scalars = (c, 1 / n, LOW, HIGH)

        def launch(kernel, *arguments, grid=grid):
            gpu.launch("softmax_wide", f"softmax_{kernel}_wide", grid, *arguments)

        launch("largest", x, largest, c)
        launch("sums", x, largest, sums, c)
        launch("forward", x, largest, sums, y, c)
        launch("dots", dy, y, dots, c)
        launch("backward", dy, y, dots, dx, c)
        launch("cross_entropy", x, largest, sums, t, loss, dx_loss, *scalars)
        launch("cross_entropy_soft", x, largest, sums, soft, losses, soft_dx, *scalars)
        launch("losses", losses, soft_loss, n, chunks, grid=-(-n // 8))

    return run


def kernels(kind, *more):
    names = ("forward", "backward", "cross_entropy", "cross_entropy_soft", *more)
    return [f"softmax_{name}_{kind}" for name in names]


WIDE = kernels("wide", "largest", "sums", "dots", "losses")
softmax_case(
    *("softmax of short rows", "softmax_narrow", kernels("narrow")),
    shapes=((1, 1), (300, 1), (1, 3), (257, 3), (130, 10), (129, 16)),
    launch=narrow,
)
softmax_case(
    *("softmax, a warp a row", "softmax_rows", kernels("rows")),
    shapes=((1, 33), (9, 33), (5, 64), (6, 40), (9, 200)),
    launch=rows(32),
)
softmax_case(
    *("softmax, a block a row", "softmax_rows", kernels("rows")),
    shapes=((1, 1025), (3, 1500), (2, 2048)),
    launch=rows(256),
)
softmax_case(
    *("softmax, blocks share a row", "softmax_wide", WIDE),
    shapes=((1, 1), (3, 5), (2, 1025), (3, 20000)),
    launch=parts(3),
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
