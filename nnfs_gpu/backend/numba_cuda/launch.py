"""The one place where Numba's CUDA kernels are started: checks the arguments and converts them.

On a GPU, arrays are CuPy's, handed to Numba without a copy and without waiting
(`as_cuda_array(..., sync=False)`: by default Numba would synchronize for every array), and the
kernel goes to CuPy's current stream, so that it runs in order with CuPy's own work. Under
Numba's simulator (NUMBA_ENABLE_CUDASIM=1 in the environment before Numba is imported) arrays
are NumPy's and every thread of the grid is a Python thread.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Sequence
from importlib import metadata
from typing import Any

import numba
import numpy as np

from ..arrays import common_dtype
from ..cuda import probe as cuda_probe
from ..cuda.errors import check_device
from ..cuda.probe import import_cupy, in_a_line
from ..driver import UnavailableError, cuda_driver, extra


def _misfit(error: Exception) -> UnavailableError:
    """numba-cuda that does not load or compile: most often beside a NumPy it does not know."""
    try:
        found = metadata.version("numba-cuda")
    except metadata.PackageNotFoundError:
        found = "(in Numba)"
    major = (extra(cuda_driver()[0]) or "cuda13").removeprefix("cuda")
    return UnavailableError(
        f"numba-cuda {found} does not work beside NumPy {np.__version__}, Numba "
        f"{numba.__version__} and the CUDA libraries here: {in_a_line(error)}",
        f"pip install --upgrade 'numba-cuda[cu{major}]>=0.30.4' 'numpy<2.5'",
    )


try:
    from ...kernels.numba_cuda import elements as cuda_elements
    from ...kernels.numba_cuda.device import cuda as numba_cuda  # type: ignore[attr-defined]
except Exception as error:  # a package that does not fit its neighbours may raise anything
    raise _misfit(error) from error

cuda: Any = numba_cuda  # typed in parts, and otherwise in each release
SIMULATOR = bool(getattr(numba.config, "ENABLE_CUDASIM", False))
MOST_BLOCKS = 2**31 - 1  # of a grid, a limit of CUDA


def launch_cuda(
    kernel: Any,
    blocks: int,
    threads: int,
    inputs: Sequence[Any],
    outputs: Sequence[Any],
    scalars: Sequence[Any] = (),
    *,
    shared: int = 0,
) -> None:
    """Start kernel(*inputs, *scalars, *outputs) on `blocks` blocks of `threads` threads.

    inputs   arrays that are read; made contiguous where they are not
    outputs  contiguous arrays that are written
    scalars  floats become the dtype of the real arrays, whole numbers uint64: a Python float
             would turn the arithmetic of a float32 kernel into float64
    shared   bytes of shared memory a block

    Returns without waiting for the device; with no blocks, without doing anything. Raises
    TypeError where real arrays differ in dtype, are neither float32 nor float64 or are not on
    the device, and ValueError for an output that is not contiguous or too large a grid.
    """
    if blocks == 0:
        return
    if blocks > MOST_BLOCKS:
        raise ValueError(
            f"a grid of {blocks} blocks: CUDA takes up to {MOST_BLOCKS}; use smaller batches"
        )
    arguments = kernel_arguments(inputs, outputs, scalars)
    if SIMULATOR:
        kernel[blocks, threads, 0, shared](*arguments)
        return
    import cupy

    device, stream = cupy.cuda.runtime.getDevice(), cupy.cuda.get_current_stream().ptr
    arguments = [a if isinstance(a, np.generic) else _to_numba(a, device) for a in arguments]
    _configured(kernel, blocks, threads, device, stream, shared)(*arguments)


def kernel_arguments(
    inputs: Sequence[Any], outputs: Sequence[Any], scalars: Sequence[Any]
) -> list[Any]:
    """The arguments in the kernel's order, checked and converted as `launch_cuda` says."""
    # The dtype of the real inputs decides; without any, that of the real outputs.
    dtype = common_dtype(*inputs) or common_dtype(*outputs) or np.dtype(np.float64)
    for a in outputs:
        if not a.flags.c_contiguous:
            raise ValueError(
                f"output of shape {a.shape} is not contiguous: make it with xp.empty(shape)"
            )
    return [*map(_contiguous, inputs), *(_scalar(value, dtype) for value in scalars), *outputs]


def _contiguous(a: Any) -> Any:
    """`a`, or a contiguous copy where it lies; the simulator writes back all that it is given."""
    if a.flags.c_contiguous and (not SIMULATOR or a.flags.writeable):
        return a
    return a.copy(order="C")


def _scalar(value: Any, dtype: np.dtype) -> Any:
    # np.float64 too: a scalar may come from NumPy, and only the arrays decide on the dtype.
    return dtype.type(value) if isinstance(value, float | np.floating) else np.uint64(value)


def _to_numba(a: Any, device: int) -> Any:
    if not hasattr(a, "__cuda_array_interface__"):
        raise TypeError(
            f"got a {type(a).__name__}, expected an array on the GPU: "
            "convert with backend.asarray(x)"
        )
    check_device(a, device)
    return cuda.as_cuda_array(a, sync=False)


@functools.lru_cache(maxsize=4096)
def _configured(
    kernel: Any,
    blocks: int,
    threads: int,
    device: int,  # noqa: ARG001 - of the key
    stream: int,
    shared: int,
) -> Any:
    """The kernel with its grid, on the stream at this address of this device.

    Made once: it costs more than the launch, and warns of small grids, which are what small
    batches have. (Address 0 is the default stream of any device: so the key has the device.)
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        on = cuda.external_stream(stream) if stream else 0
        return kernel[blocks, threads, on, shared]


# ---- can it work here? ----
def array_module() -> Any:
    """NumPy under the simulator, else CuPy; UnavailableError where it is not installed."""
    return np if SIMULATOR else import_cupy()


def what_works() -> str:
    """What runs the kernels here; UnavailableError with the first thing that is missing.

    In stages: Numba's CUDA target, a kernel compiled, what the cupy backend needs, a kernel run.
    """
    if SIMULATOR:
        return _simulator()
    simulate = "set NUMBA_ENABLE_CUDASIM=1 to run the kernels in Numba's simulator"
    if getattr(cuda, "implementation", "") != "NVIDIA":
        raise UnavailableError(
            "numba-cuda is not installed (the CUDA target inside Numba is deprecated)",
            f"{cuda_probe.install()}, or {simulate}",
        )
    try:
        _compile()
    except Exception as error:
        raise _misfit(error) from error
    try:
        found = cuda_probe.what_works()
    except UnavailableError as error:
        raise UnavailableError(str(error), f"{error.remedy}, or {simulate}") from error
    try:
        _run()
    except Exception as error:
        raise UnavailableError(
            f"a small kernel does not run: {in_a_line(error)}",
            f"look at nvidia-smi; install numba-cuda for this driver ({found}): "
            "pip install 'numba-cuda[cu13]' or 'numba-cuda[cu12]'",
        ) from error
    return f"numba-cuda {metadata.version('numba-cuda')}, {found}"


def _simulator() -> str:
    if np.lib.NumpyVersion(np.__version__) < "2.0.0":
        raise UnavailableError(
            f"NumPy {np.__version__} makes float64 of uint64 + int: the simulator needs NumPy 2",
            "pip install --upgrade numpy",
        )
    return f"numba {numba.__version__}, CUDA simulator, no GPU"


@functools.cache
def _compile() -> None:
    """A kernel that does nothing, to PTX: loads all of numba-cuda and its compiler, no driver."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        cuda.compile_ptx(_nothing, numba.types.void(), cc=cuda_probe.OLDEST)


def _nothing() -> None:
    return None


@functools.cache
def _run() -> None:
    """A kernel, on the device."""
    import cupy

    x, y = cupy.full(1, -2, np.float32), cupy.ones(1, np.float32)
    launch_cuda(cuda_elements.relu_forward, 1, 32, (x,), (y,))
    if float(y[0]) != 0:
        raise RuntimeError("it ran and wrote nothing")
