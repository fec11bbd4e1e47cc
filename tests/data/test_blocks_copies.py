"""Copies to the device that run beside kernels: `backend/cuda/copies.py` on a device of paper.

Here a stream is a list of work that is done as late as possible or as early as possible, within
what its events allow, and memory goes back to the pool at once, as CuPy's does: whatever is
not ordered by an event shows as wrong numbers in one of the two.
"""

import weakref

import numpy as np
import pytest

from nnfs_gpu.backend.cuda import copies as cuda_copies
from nnfs_gpu.backend.cuda.copies import Copies, to_device


class Event:
    """A place in a stream; done before it was ever recorded, as CUDA's are."""

    def __init__(self, disable_timing=False):
        assert disable_timing
        self.stream, self.place = None, 0

    def record(self, stream):
        self.stream, self.place = stream, len(stream.work)

    def copy(self):
        now = Event(disable_timing=True)
        now.stream, now.place = self.stream, self.place
        return now

    def synchronize(self):
        if self.stream is not None:
            self.stream.do(self.place)

    @property
    def done(self):
        return self.stream is None or self.stream.done >= self.place


class Stream:
    """Work in order: functions, and events to wait for."""

    def __init__(self, number, non_blocking=True):
        assert non_blocking
        self.ptr, self.work, self.done = number, [], 0

    def wait_event(self, event):
        self.work.append(event.copy())  # CUDA takes the event as it was recorded last

    def do(self, place):
        """Everything up to `place`, with what it waits for."""
        while self.done < place:
            one = self.work[self.done]
            if isinstance(one, Event):
                one.synchronize()
            else:
                one()
            self.done += 1

    def do_what_may(self):
        """Everything that need not wait."""
        while self.done < len(self.work):
            one = self.work[self.done]
            if isinstance(one, Event) and not one.done:
                return
            self.do(self.done + 1)


class Owner:
    """Alive as long as Python holds an array of the memory."""


class Memory:
    """Memory of the device, with what CuPy's arrays have of `data` and views.

    Work in a stream has `numbers` and no `owner`: it does not keep memory from the pool.
    """

    def __init__(self, paper, numbers, owner):
        self.paper, self.numbers, self.owner = paper, numbers, owner
        self.shape, self.dtype = numbers.shape, numbers.dtype

    @property
    def data(self):
        return self

    def __getitem__(self, rows):
        return Memory(self.paper, self.numbers[rows], self.owner)

    def view(self, dtype):
        return Memory(self.paper, self.numbers.view(dtype), self.owner)

    def reshape(self, shape):
        return Memory(self.paper, self.numbers.reshape(shape), self.owner)

    def copy_from_host_async(self, address, size, stream):
        target, source = self.numbers[:size], self.paper.pinned[address][:size]
        assert target.size == size
        stream.work.append(lambda: np.copyto(target, source))
        if self.paper.early:
            stream.do_what_may()


class Pinned(bytearray):
    pass


class Paper:
    """CuPy on paper: `early` does what may be done at once, else all is done late."""

    uint8 = np.uint8

    def __init__(self, early):
        self.early, self.pinned, self.pool, self.taken = early, {}, {}, 0
        self.current, self.streams = Stream(0), []
        self.cuda = self
        self.Event = Event

    def Stream(self, non_blocking):  # noqa: N802 - CuPy's name
        self.streams.append(Stream(len(self.streams) + 1, non_blocking))
        return self.streams[-1]

    def get_current_stream(self):
        return self.current

    def alloc_pinned_memory(self, size):
        memory = Pinned(size)
        memory.ptr = id(memory)
        self.pinned[memory.ptr] = np.frombuffer(memory, np.uint8)
        return memory

    def empty(self, size, dtype):
        """From the pool of the current stream, which has it back when nobody holds it."""
        free = self.pool.setdefault((self.current.ptr, size), [])
        if not free:
            self.taken += 1
            free.append(np.full(size, 255, dtype))
        buffer, owner = free.pop(), Owner()
        weakref.finalize(owner, free.append, buffer)
        return Memory(self, buffer, owner)

    def kernel(self, array, results):
        """Work of the current stream that reads `array` when its turn comes."""
        numbers = array.numbers
        self.current.work.append(lambda: results.append(numbers.copy()))


def host_blocks(count, rows, seed=0):
    rng = np.random.RandomState(seed)
    return [(rng.randn(rows, 5).astype(np.float32), rng.randint(0, 9, rows)) for _ in range(count)]


@pytest.mark.parametrize("early", [True, False])
@pytest.mark.parametrize("chunk", [64, 1000, 4096, 1 << 20])
def test_every_kernel_sees_its_block(early, chunk):
    paper, seen, expected = Paper(early), [], []
    copies = Copies(paper, chunk)
    for rows in (100, 100, 100, 100, 37, 100, 100, 1, 100, 100):
        for block in host_blocks(3, rows, seed=len(expected)):
            arrays = [copies.to_device(a) for a in block]
            expected += [a.copy() for a in block]
            for a, original in zip(arrays, block, strict=True):
                original[...] = 0  # it may change when to_device has returned
                assert (a.shape, a.dtype) == (original.shape, original.dtype)
                paper.kernel(a, seen)
            del arrays, a  # the pool has the memory while the kernels wait
    paper.current.do(len(paper.current.work))
    assert len(seen) == len(expected)
    for a, b in zip(seen, expected, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_copy_runs_before_the_kernels_on_the_block_before_it():
    """Done early, the next block has arrived while no kernel has run; memory is used again."""
    paper, results = Paper(early=True), []
    copies = Copies(paper)
    blocks = host_blocks(8, 100)
    for number, (X, _) in enumerate(blocks):
        array = copies.to_device(X)
        if number == 3:  # kernels 0 and 1 have run, 2 has not: copy 3 need not wait for it
            assert len(results) == 2
            np.testing.assert_array_equal(array.numbers, X)
        paper.kernel(array, results)
        if number > 1:  # the device keeps up with the host, one kernel behind
            paper.current.do(len(paper.current.work) - 1)
    assert paper.taken <= 4


def test_without_the_wait_the_numbers_would_be_wrong(monkeypatch):
    """The paper device finds the mistake: a copy that does not wait for the memory."""
    monkeypatch.setattr(Stream, "wait_event", lambda self, event: None)
    for early in (True, False):  # written while a kernel reads, and read before it is written
        with pytest.raises(AssertionError):
            test_every_kernel_sees_its_block(early, 4096)


def test_small_arrays_and_numpy_go_the_short_way(monkeypatch):
    large = np.zeros(cuda_copies.LEAST, np.uint8)
    assert to_device(np, large) is large
    paper = Paper(early=True)
    paper.asarray = lambda a: ("asarray", a.size)
    paper.Device = lambda: type("Device", (), {"id": 3})
    monkeypatch.setattr(cuda_copies, "_made", {})
    assert to_device(paper, large[1:]) == ("asarray", large.size - 1)
    assert cuda_copies._made == {}
    np.testing.assert_array_equal(to_device(paper, large + 7).numbers, large + 7)
    assert list(cuda_copies._made) == [3]


def test_nothing_ahead_for_what_comes_once_or_is_too_large(monkeypatch):
    monkeypatch.setattr(cuda_copies, "MOST_AHEAD", 5000)
    paper = Paper(early=True)
    copies = Copies(paper)
    for size in (4000, 6000, 6000, 4000, 1, 2, 3, 4, 5):
        copies.to_device(np.zeros(size, np.uint8))
        assert set(copies._ahead) <= {(0, 4000)}
    assert not copies._ahead  # 4000 is long ago
