"""Arrays to the device: large ones of NumPy are copied while kernels are running.

A copy that runs beside a kernel needs memory that is pinned, and a stream of its own. `Copies`
keeps two pinned buffers in turn: while the device fetches one, the host fills the other. What
is given to the current stream afterwards waits for the copy, and nothing else does: block
after block, one is copied while the step on the one before it runs.

The memory that it is copied to must be free by then. CuPy's pool hands memory out again as soon
as Python lets go of it, although kernels of the current stream may still read it: right within
that stream, wrong for a copy in another. So the memory for the next array of a size is
reserved one call ahead, with an event that says when it was free; by the next call that was long
ago, and the copy need not wait for the kernels in between.

Sources: CUDA C++ Programming Guide, "Asynchronous Concurrent Execution"; CuPy's documentation
of Stream, Event, MemoryPointer.copy_from_host_async and of the pool's arenas, one a stream.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import Any

import numpy as np

from ..arrays import check_real
from ..identity import current_device
from .errors import device_of

Array = Any

LEAST = 1 << 20  # bytes from which it is worth it
CHUNK = 8 << 20  # bytes of a pinned buffer
MOST_AHEAD = 256 << 20  # bytes for which memory is taken one call ahead
SIZES = 4  # that are remembered: X and y of two kinds of block

_made: dict[int, Copies] = {}
_making = threading.Lock()


def to_device(xp: Any, host: np.ndarray) -> Array:
    """`host`, contiguous, as a new array of `xp`; `host` may change when this returns.

    For an `xp` without `cuda` (NumPy in place of CuPy) and small arrays, xp.asarray.
    """
    if host.nbytes < LEAST or not hasattr(xp, "cuda"):
        return xp.asarray(host)
    device = xp.cuda.Device().id
    with _making:
        if device not in _made:
            _made[device] = Copies(xp)
    return _made[device].to_device(host)


def on_current_device(xp: Any, x: Any) -> Array:
    """`x`, an array of any library that lies on a GPU, as one of `xp` on the current device.

    No copy where it is one already. Raises TypeError unless it holds real numbers.
    """
    if isinstance(x, xp.ndarray):
        a = x
    elif hasattr(x, "__dlpack__"):  # its owner's stream is waited for, by ours
        a = xp.from_dlpack(x)
    else:
        a = xp.asarray(x)
    check_real(a)
    # CuPy takes an array of another device as it is, but where it makes an array of it.
    return a if device_of(a) in (None, current_device(xp)) else xp.asarray(a)


class Slot:
    """A pinned buffer, and when the device has fetched what is in it."""

    def __init__(self, cuda: Any, size: int):
        self.pinned = cuda.alloc_pinned_memory(size)
        self.bytes = np.frombuffer(self.pinned, np.uint8, size)
        self.fetched = cuda.Event(disable_timing=True)


class Copies:
    """The copy stream of one device with its buffers."""

    def __init__(self, xp: Any, chunk: int = CHUNK):
        self._xp, self._cuda = xp, xp.cuda
        self._stream = xp.cuda.Stream(non_blocking=True)
        self._slots = [Slot(xp.cuda, chunk) for _ in range(2)]
        self._chunk = chunk
        self._ahead: dict[tuple[int, int], tuple[Array, Any]] = {}
        self._sizes: deque[tuple[int, int]] = deque(maxlen=SIZES)
        self._lock = threading.Lock()

    def to_device(self, host: np.ndarray) -> Array:
        """See the function of this name."""
        source = host.reshape(-1).view(np.uint8)
        with self._lock:
            current = self._cuda.get_current_stream()
            memory, free = self._memory(source.size, current)
            self._stream.wait_event(free)
            for start in range(0, source.size, self._chunk):
                self._send(source[start : start + self._chunk], memory[start:])
            arrived = self._cuda.Event(disable_timing=True)
            arrived.record(self._stream)
            current.wait_event(arrived)
        return memory.view(host.dtype).reshape(host.shape)

    def _send(self, source: np.ndarray, memory: Array) -> None:
        slot = self._slots[0]
        self._slots.reverse()
        slot.fetched.synchronize()  # at once, unless the device is two chunks behind
        slot.bytes[: source.size] = source
        memory.data.copy_from_host_async(slot.pinned.ptr, source.size, self._stream)
        slot.fetched.record(self._stream)

    def _memory(self, size: int, current: Any) -> tuple[Array, Any]:
        """Memory of the current stream, and the event from which on it may be written."""
        key = (current.ptr, size)
        found = self._ahead.pop(key, None) or self._reserved(size, current)
        if key in self._sizes and size <= MOST_AHEAD:
            self._ahead[key] = self._reserved(size, current)
        self._sizes.append(key)
        for old in self._ahead.keys() - set(self._sizes):
            del self._ahead[old]
        return found

    def _reserved(self, size: int, current: Any) -> tuple[Array, Any]:
        memory = self._xp.empty(size, np.uint8)
        free = self._cuda.Event(disable_timing=True)
        free.record(current)
        return memory, free
