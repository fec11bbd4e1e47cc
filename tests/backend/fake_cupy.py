"""The `cupy` backend over arrays that are as strict as CuPy's, its kernels run by the emulator.

`FakeCupy` is `device_arrays.DeviceModule` with what our code asks of `cupy.cuda`: one device, its
streams and events, and graphs of launches. Only `asarray` takes NumPy arrays, only `asnumpy`
gives some back, and both count.
"""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace
from typing import Any

from device_arrays import DeviceModule, host, waits
from emulation.emulator import Emulator

from nnfs_gpu.backend.cupy_backend import CupyBackend


class Stream:
    """A stream that can record a graph; work that is not recorded is done at once."""

    recording: list[Any] | None = None

    def __init__(self, non_blocking: bool = False):
        self.ptr, self.non_blocking = id(self), non_blocking

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *error: object) -> None:
        return None

    def begin_capture(self) -> None:
        assert self.non_blocking, "the default stream waits for others: it cannot be captured"
        Stream.recording = []

    def end_capture(self) -> Any:
        launches, Stream.recording = Stream.recording or [], None
        return SimpleNamespace(launch=lambda: [launch() for launch in launches])

    def synchronize(self) -> None:
        waits("a stream's synchronize()")


class FakeCupy(DeviceModule):
    """The array module `cupy`, with one small device.

    asked   attributes of the device that were asked for
    """

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []
        stream = Stream()
        attributes = {"MultiProcessorCount": 3, "MaxSharedMemoryPerBlockOptin": 48 * 1024}
        runtime = SimpleNamespace(
            getDevice=lambda: 0,
            deviceGetAttribute=lambda name, device: self.asked.append(name) or attributes[name],
            **{f"cudaDevAttr{name}": name for name in attributes},
        )
        self.cuda = SimpleNamespace(
            Device=lambda: SimpleNamespace(id=0),
            Stream=Stream,
            get_current_stream=lambda: stream,
            runtime=runtime,
        )


class StrictEmulator(Emulator):
    """The launch refuses NumPy arrays, as backend/cuda/launch.py does, and is recorded by graphs.

    fails   raised by every launch, where it is set
    """

    fails: Exception | None = None

    def launch(self, file, kernel, grid, block, arguments, dtype, **definitions):
        if self.fails is not None:
            raise self.fails
        plain = [host(a) for a in arguments]
        launch = partial(super().launch, file, kernel, grid, block, plain, dtype, **definitions)
        if Stream.recording is None:
            launch()
        else:
            Stream.recording.append(launch)


class DeviceBackend(CupyBackend):
    """`CupyBackend` on the strict CuPy."""

    name = "cupy"

    def _runtime(self) -> tuple[Any, Any]:
        return FakeCupy(), StrictEmulator()
