"""How the text of a CUDA C++ kernel becomes code for a device: NVRTC, with options of our own.

CuPy can compile kernels too, but adds `-ftz=true` to whatever options it is given: float32
numbers below 1.2e-38 become 0, where the backends on the CPU keep them. So NVRTC is called here,
through the bindings that CuPy has (`cupy.cuda.nvrtc`), and `cuda_launch` loads the result.
`options` is what really runs: the launch, the tests that compile without a device and the
emulator of the tests all take their options from it.

What CuPy computes for the backends is still compiled by CuPy, and flushes denormals. No operation
that promises its bits (docs/decisions/one-answer.md) is among it, but for cases that no layer
makes: arrays of another dtype that already lie on the device are converted, comparisons are of
whole numbers or of two dtypes, an optimizer's arrays differ in dtype. Of others, the scaling of
gradients at matrices of targets, and their scaling and adding up in tiles (fused/tiles.py), are
CuPy's; products are cuBLAS's.

Code is kept on disk (`cuda_cache`), since NVRTC takes 0.1 to 3 seconds for a file.
Source of the options: NVRTC User Guide, "Supported Compile Options".
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ..compiling import compiling
from ..driver import UnavailableError
from . import cache as cuda_cache
from .source import source

REALS = {np.dtype(np.float32): "float", np.dtype(np.float64): "double"}

NUMBERS = (  # how arithmetic rounds
    "--ftz=false",  # denormal numbers stay
    "--prec-div=true",  # division and square root to the last bit
    "--prec-sqrt=true",
    "--fmad=false",  # a * b + c as it is written: once where it is an fma, else twice
)


def options(dtype: np.dtype, architecture: str, definitions: Mapping[str, Any]) -> tuple[str, ...]:
    """NVRTC's options for a kernel of `dtype` on `architecture` with these -D."""
    defined = (f"-D{name}={value}" for name, value in definitions.items())
    return (
        *("--std=c++17", f"--gpu-architecture={architecture}", *NUMBERS),
        *(f"-DREAL={REALS[dtype]}", *defined),
    )


def architecture_for(capability: int, known: Iterable[int]) -> str:
    """What to compile for, on a device of compute capability 10 major + minor.

    Machine code ("sm_90") where this NVRTC knows the device; else PTX of the newest that it
    knows ("compute_120"), which the driver of a newer device turns into machine code.
    Raises UnavailableError for a device that is older than all of them.
    """
    known = sorted(known)
    if capability in known:
        return f"sm_{capability}"
    older = [one for one in known if one < capability]
    if not older:
        raise UnavailableError(
            f"this GPU has compute capability {capability / 10}, and the CUDA compiler here "
            f"(NVRTC) knows {known[0] / 10} and newer",
            "install CuPy for an older CUDA: pip install 'nnfs-gpu[cuda12]'",
        )
    return f"compute_{older[-1]}"


def code_for(
    nvrtc: Any, file: str, dtype: np.dtype, capability: int, definitions: Mapping[str, Any]
) -> bytes:
    """kernels/`file`.cu for such a device: a cubin, or PTX; from the disk where it is there.

    nvrtc  the module `cupy.cuda.nvrtc`

    Raises UnavailableError as `architecture_for` does, RuntimeError with NVRTC's messages for a
    text that does not compile.
    """
    architecture = architecture_for(capability, nvrtc.getSupportedArchs())
    text, given = source(file), options(dtype, architecture, definitions)
    key = (compiler_build(nvrtc), given, text)
    code = cuda_cache.load(key)
    if code is None:
        with compiling():
            code, _ = compiled(nvrtc, f"{file}.cu", text, given)
        cuda_cache.save(key, code)
    return code


def compiled(nvrtc: Any, name: str, text: str, given: tuple[str, ...]) -> tuple[bytes, str]:
    """What NVRTC makes of `text` and what it says; machine code where the options name sm_...

    Raises RuntimeError with its messages for a text that does not compile.
    """
    program = nvrtc.createProgram(text, name, (), ())
    try:
        try:
            nvrtc.compileProgram(program, given)
        except nvrtc.NVRTCError as error:
            raise RuntimeError(
                f"{name} does not compile ({error}) with {' '.join(given)}:\n"
                f"{nvrtc.getProgramLog(program)}"
            ) from error
        is_ptx = any(option.startswith("--gpu-architecture=compute_") for option in given)
        code = nvrtc.getPTX(program) if is_ptx else nvrtc.getCUBIN(program)
        return code, nvrtc.getProgramLog(program)
    finally:
        nvrtc.destroyProgram(program)


@functools.cache
def compiler_build(nvrtc: Any) -> str:
    """Which NVRTC this is, to its build: the comments at the head of any PTX name it.

    The version alone is the same before and after an update that repairs the compiler.
    """
    newest = max(nvrtc.getSupportedArchs())
    ptx, _ = compiled(nvrtc, "empty.cu", "", (f"--gpu-architecture=compute_{newest}",))
    lines = ptx.decode().splitlines()
    return "\n".join(line for line in lines if line.startswith("//"))
