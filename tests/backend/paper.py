"""A device of paper: a CuPy that is NumPy, a host clock, and the cupy backend on the emulator.

For the tests of `make gpu-check`, whose steps ask CuPy for more than arrays, and for its
rehearsal (`--rehearse`), which runs the same steps in processes of their own.
"""

from __future__ import annotations

import time
from functools import partial
from types import SimpleNamespace

import numpy as np
from emulation.backend import EmulatedCupyBackend
from emulation.emulator import Emulator

from nnfs_gpu.backend.numpy_backend import NumpyBackend


class Event:
    """A CUDA event that reads the host's clock."""

    def record(self):
        self.seconds = time.perf_counter()

    def synchronize(self):
        assert self.seconds


class Graph:
    """A CUDA graph: launches that were recorded, to be made on demand."""

    def __init__(self, launches):
        self.launch = lambda: [launch() for launch in launches]


class Stream:
    """A CUDA stream that can record; while one does, `Launcher` starts nothing."""

    recording = None

    def __init__(self, non_blocking):
        assert non_blocking, "the default stream waits for others: it cannot be captured"

    def __enter__(self):
        return self

    def __exit__(self, *error):
        return None

    def begin_capture(self):
        Stream.recording = []

    def end_capture(self):
        launches, Stream.recording = Stream.recording, None
        return Graph(launches)


class PaperCupy:
    """CuPy as far as the steps use it: NumPy, and what they ask of `cupy.cuda`."""

    __version__ = "0"
    freed = 0

    def __init__(self, free=1 << 50):
        properties = {"name": b"Paper", "multiProcessorCount": 1, "major": 9, "minor": 0}
        properties["l2CacheSize"] = 1024
        runtime = SimpleNamespace(
            memGetInfo=lambda: (free, free),
            getDeviceProperties=lambda device: properties,
            driverGetVersion=lambda: 13000,
            runtimeGetVersion=lambda: 13000,
        )
        self.cuda = SimpleNamespace(
            Device=lambda: SimpleNamespace(id=0),
            Event=Event,
            Stream=Stream,
            get_elapsed_time=lambda start, stop: 1e3 * (stop.seconds - start.seconds) + 1e-6,
            runtime=runtime,
            nvrtc=SimpleNamespace(getVersion=lambda: (13, 0)),
            set_allocator=lambda allocator: None,
        )

    def __getattr__(self, name):
        return getattr(np, name)

    def get_default_memory_pool(self):
        return SimpleNamespace(free_all_blocks=self._free)

    def _free(self):
        self.freed += 1


class Launcher(Emulator):
    """The emulator, which knows what it launched."""

    def __init__(self):
        super().__init__()
        self.launched = set()

    def launch(self, file, kernel, grid, block, arguments, dtype, **definitions):
        self.launched.add((file, kernel))
        launch = partial(super().launch, file, kernel, grid, block, list(arguments), dtype)
        if Stream.recording is None:
            launch(**definitions)
        else:
            Stream.recording.append(partial(launch, **definitions))


class PaperBackend(EmulatedCupyBackend):
    """The cupy backend on the emulator, under its own name."""

    name = "cupy"

    def _runtime(self):
        return PaperCupy(), Launcher()


class OtherBackend(NumpyBackend):
    """In the place of numba-cuda."""

    name = "numba-cuda"


def stand_in(put, put_item):
    """Let `bench`'s steps find the device of paper under the GPU's names, and tiny sizes.

    put       (object, name, value): setattr, or a test's that is taken back
    put_item  (dictionary, key, value)
    """
    import sys

    from bench.gpu_check import (
        accuracy as gpu_kernels,
        exercise as gpu_exercise,
        fused as gpu_fused,
        fused_speed as gpu_fused_speed,
        speed as gpu_speed,
        training as gpu_train,
    )
    from nnfs_gpu import backend
    from nnfs_gpu.fused.cuda import device as cuda_device
    from nnfs_gpu.selftest import crosscheck, timing as benchmark

    put_item(backend._MODULES, "cupy", ("paper", "PaperBackend"))
    put_item(backend._MODULES, "numba-cuda", ("paper", "OtherBackend"))
    put(backend, "_made", {})
    put_item(sys.modules, "cupy", PaperCupy())
    emulated = cuda_device.device_of(np)  # the fused step, too, runs on the emulator
    put(cuda_device, "device_of", lambda xp: emulated)
    sizes = {
        gpu_kernels: {
            "ELEMENTS": 10_000,
            "CLASSES": (3, 33, 5_000),
            "BEYOND": 1 << 12,
            "SHAPES": ((50, 3), (3, 40)),
        },
        gpu_speed: {
            "ELEMENTS": 1 << 13,
            "CLASSES": (3, 33, 5_000),
            "ROUNDS": 2,
            "ISSUE": 0.0,
            "MEASURE": 0.0,
            "LAUNCH_ROUNDS": 2,
        },
        benchmark: {"PAUSE": 0.0},
        gpu_exercise: {"SHAPES": ((7, 3), (3, 40), (2, 5_000))},
        crosscheck: {"SHAPES": ((1, 1), (7, 3))},
        gpu_train: {
            "SAMPLES": 30,
            "EPOCHS": 3,
            "FIRST": 2,
            "REPEATED": 2,
            "LARGE": {"cupy": (30, 2), "numba": (30, 2)},
            "BAND": 1.0,  # three epochs teach nothing
        },
        gpu_fused: {
            "NETS": ((2, 6, 3),),
            "RIGHT": (40,),
            "REPEATED": 3,
            "WATCHED_ROWS": (70,),
        },
        gpu_fused_speed: {
            "NETS": ((2, 6, 3),),
            "BATCHES": (40,),
            "ROUNDS": 1,
            "SECONDS": 0.0,
            "EPOCHS": 3,
            "BOOK_ACCURACY": 0.0,
        },
    }
    for module, values in sizes.items():
        for name, value in values.items():
            put(module, name, value)
