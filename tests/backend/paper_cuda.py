"""CuPy on paper, as far as a launch asks: devices, streams, modules, kernels that record.

`launcher(monkeypatch, cupy)` is the real backend/cuda/launch.py over it, with CuPy or without.
"""

from __future__ import annotations

import importlib.util
import sys
import types
from types import SimpleNamespace
from typing import Any

import nnfs_gpu.backend


class Array:
    """What a launch looks at."""

    def __init__(self, shape=(4,), device=0, contiguous=True):
        self.shape, self.data = shape, SimpleNamespace(device_id=device)
        self.flags = SimpleNamespace(c_contiguous=contiguous)


class Function:
    """A kernel; `ptr` is its address, as CUDA's driver has one."""

    def __init__(self, paper, module, name):
        self.paper, self.module, self.name, self.ptr = paper, module, name, id(self)

    def __call__(self, grid, block, args, shared_mem=0, stream=None):
        if self.paper.fails is not None:
            raise self.paper.fails
        assert self.paper.current == self.module.device, "CUDA_ERROR_INVALID_HANDLE"
        place = (self.paper.current, stream or self.paper.stream)
        self.paper.launched.append((self.name, *place, grid, block, list(args), shared_mem))


class Module:
    def __init__(self, paper):
        self.paper, self.device = paper, paper.current

    def load(self, code):
        self.code = code
        self.paper.loaded.append((self.device, code))

    def get_function(self, name):
        return Function(self.paper, self, name)


class Paper(types.ModuleType):
    """The module `cupy`. `current` and `stream` are the caller's; `capabilities` the devices'."""

    ndarray = Array
    __version__ = "14"

    def __init__(self, capabilities=("90", "120")):
        super().__init__("cupy")
        self.current, self.stream, self.fails = 0, "stream", None
        self.loaded: list[Any] = []
        self.launched: list[Any] = []
        self.shared: list[Any] = []
        runtime = SimpleNamespace(
            getDevice=lambda: self.current, memGetInfo=lambda: (2_000_000, 8_000_000)
        )
        driver = SimpleNamespace(
            CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES=8,
            funcSetAttribute=lambda ptr, attribute, value: self.shared.append((attribute, value)),
        )

        def device_of(number=None):
            number = self.current if number is None else number
            return SimpleNamespace(id=number, compute_capability=capabilities[number])

        self.cuda = SimpleNamespace(
            runtime=runtime,
            driver=driver,
            nvrtc=Nvrtc(),
            Device=device_of,
            Module=lambda: Module(self),
        )


class Nvrtc:
    """The compiler: code is a text that says what it was made of."""

    class NVRTCError(Exception):
        """The error of CuPy's module of this name."""

    def __init__(self, known=(75, 90, 120), build="build 1"):
        self.known, self.build, self.compiled, self.programs = known, build, [], {}

    def getSupportedArchs(self):  # noqa: N802 - CuPy's names
        return self.known

    def createProgram(self, text, name, headers, names):  # noqa: N802
        assert (headers, names) == ((), ())
        self.programs[len(self.programs) + 1] = [text, name, None]
        return len(self.programs)

    def compileProgram(self, program, options):  # noqa: N802
        text, name, _ = self.programs[program]
        self.programs[program][2] = options
        if text:
            self.compiled.append((name, options))
        if "syntax error" in text:
            raise self.NVRTCError("NVRTC_ERROR_COMPILATION (6)")

    def getCUBIN(self, program):  # noqa: N802
        return f"cubin of {self.programs[program][1:]}".encode()

    def getPTX(self, program):  # noqa: N802
        return f"// {self.build}\nPTX of {self.programs[program][1:]}".encode()

    def getProgramLog(self, program):  # noqa: N802
        return "line 3: what is that?"

    def destroyProgram(self, program):  # noqa: N802
        self.programs[program] = None


def launching(monkeypatch, cupy: Paper) -> Any:
    """The module cuda/launch.py, once more, over `cupy`."""
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    place = f"{nnfs_gpu.backend.__path__[0]}/cuda/launch.py"
    spec = importlib.util.spec_from_file_location("nnfs_gpu.backend.cuda.launch_on_paper", place)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
