"""What training over ranks needs from whatever connects them: four calls, and how to end.

A world is what `Model.train(world=...)` is given. Every rank runs the same program; ranks add up
messages of whole numbers (`sum`), hear from rank 0 (`broadcast`), wait for each other (`barrier`)
and end together (`abort`). `failures.py` and `devices.py` are made of these calls alone.
"""

from __future__ import annotations

import contextlib
import pickle
import sys
from collections.abc import Sequence
from types import TracebackType
from typing import Any

import numpy as np

from . import cores, errors
from .errors import RankError

Array = Any


class World:
    """The ranks of a program: one process, unless a subclass connects several.

    Ranks call the same methods in the same order. Use it as a context: an exception that only one
    rank raises then ends all of them at once, with its traceback and an exit code that is not 0::

        with nnfs_gpu.World.mpi() as world:
            model.train(X, y, world=world)

    Whatever can add up arrays of int64 fills the interface, to the same bits. PyTorch's, say::

        class TorchWorld(nnfs_gpu.World):
            def __init__(self):
                dist.init_process_group("gloo")
                self.rank, self.size = dist.get_rank(), dist.get_world_size()

            def sum(self, a):
                dist.all_reduce(torch.from_numpy(a))

            def broadcast(self, value):
                box = [value]
                dist.broadcast_object_list(box, src=0)
                return box[0]

            def barrier(self):
                dist.barrier()

            def abort(self, code=1):
                os._exit(code)  # torchrun ends the others

    Attributes
    ----------
    rank : int
        The number of this one, from 0.
    size : int
        How many there are.
    """

    rank: int = 0
    size: int = 1

    @classmethod
    def mpi(cls, timeout: float = 600.0) -> World:
        """The processes that an MPI launcher has started: `mpiexec -n 4 python program.py`.

        From here on, an exception that nobody catches ends all ranks, also outside of a context;
        and ranks of one machine that may run on the same cores share them (`cores.py`).

        Parameters
        ----------
        timeout : float
            Seconds that a call waits for the other ranks, before TimeoutError.

        Returns
        -------
        World
            Of one rank where no launcher has started several.

        Raises
        ------
        WorldError
            Where mpi4py or an MPI library is missing (extra `mpi`), and where the launcher has
            started several processes which do not see each other.
        """
        return MPIWorld(timeout)

    def sum(self, a: Array) -> None:
        """Add up an array over the ranks, in place.

        Parameters
        ----------
        a : array of int64
            Contiguous, as long on each rank; on the host, or on the GPU of this rank.

        Raises
        ------
        TypeError
            For another array.
        TimeoutError
            Where the other ranks do not come.
        """
        check_words(a)

    def broadcast(self, value: Any) -> Any:
        """The value of rank 0.

        Parameters
        ----------
        value : object
            One that can be pickled; of the other ranks it is not looked at.

        Returns
        -------
        object
            That of rank 0.

        Raises
        ------
        RankError
            On all, where rank 0 cannot pickle it.
        TimeoutError
            Where the other ranks do not come.
        """
        return value

    def barrier(self) -> None:
        """Returns when all ranks have called it. Raises TimeoutError as `sum`."""

    def abort(self, code: int = 1) -> None:
        """End all ranks now, whatever they are doing. Does not return.

        Parameters
        ----------
        code : int
            The exit code.
        """
        flush()
        raise SystemExit(code)

    def __enter__(self) -> World:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """An exception of this rank alone ends all; one that all raise goes on as it is."""
        if error is not None:
            self.end(error)

    def end(self, error: BaseException) -> None:
        """End all ranks with `error`, which this one has raised, unless all raise it.

        One process and sys.exit(0) end by themselves: then, too, nothing is done here.

        Parameters
        ----------
        error : BaseException
            What this rank has raised.
        """
        code = errors.exit_code(error)
        if self.size > 1 and code and not errors.is_on_all(error):
            errors.tell(error, self.rank)
            self.abort(code)


class MPIWorld(World):
    """A world over mpi4py; made by `World.mpi`. Arrays on GPUs are added up by NCCL."""

    def __init__(self, timeout: float):
        self._before = sys.excepthook
        sys.excepthook = self._uncaught
        from .mpi import Messages

        self._messages = Messages(timeout)
        self.rank, self.size = self._messages.rank, self._messages.size
        self._nccl: Any = None
        if self.size > 1:
            cores.share(everybody(self, cores.here()), self.rank)

    def sum(self, a: Array) -> None:
        """See `World.sum`."""
        check_words(a)
        if self.size == 1:
            return
        if isinstance(a, np.ndarray):
            self._messages.add(a)
            return
        if self._nccl is None:
            from .nccl import Communicator

            self._nccl = Communicator(self.rank, self.size, self.broadcast)
        self._nccl.sum(a)

    def broadcast(self, value: Any) -> Any:
        """See `World.broadcast`. Two messages: how many bytes, then these."""
        if self.size == 1:
            return value
        packed, failed = _packed(value) if self.rank == 0 else (b"", None)
        length = np.array([-len(packed) if failed else len(packed)])
        self._messages.spread(length)
        text = np.frombuffer(bytearray(packed or abs(int(length[0]))), np.uint8)
        self._messages.spread(text)
        if length[0] < 0:
            raise errors.on_all(RankError(text.tobytes().decode(), 0), self.rank) from failed
        return value if self.rank == 0 else pickle.loads(text.tobytes())

    def barrier(self) -> None:
        """See `World.barrier`."""
        if self.size > 1:
            self._messages.meet()

    def abort(self, code: int = 1) -> None:
        """See `World.abort`."""
        flush()
        self._messages.abort(code)

    def _uncaught(
        self, kind: type[BaseException], error: BaseException, trace: TracebackType | None
    ) -> None:
        """`sys.excepthook`: a rank that ended alone would wait for the others inside MPI."""
        self.end(error)
        if not errors.is_quiet(error):
            self._before(kind, error, trace)


def everybody(world: World, numbers: Sequence[int]) -> np.ndarray:
    """(size, n) int64: the n numbers of every rank."""
    table = np.zeros((world.size, len(numbers)), np.int64)
    table[world.rank] = numbers
    world.sum(table)
    return table


def texts(world: World, text: str) -> list[str]:
    """The `text` of every rank."""
    mine = text.encode()
    lengths = everybody(world, (len(mine),))[:, 0].tolist()
    room = np.zeros((world.size, -(-max(lengths) // 8)), np.int64)
    room[world.rank].view(np.uint8)[: len(mine)] = np.frombuffer(mine, np.uint8)
    world.sum(room)
    return [row.tobytes()[:n].decode() for row, n in zip(room, lengths, strict=True)]


def check_words(a: Array) -> None:
    """TypeError unless `a` is what ranks can add up to the same bits."""
    dtype = getattr(a, "dtype", None)
    if dtype != np.int64:
        raise TypeError(f"sum: got {dtype or type(a).__name__}, expected an array of int64")
    if not a.flags.c_contiguous:
        raise TypeError(
            f"sum: got an array of shape {a.shape} with gaps, expected a contiguous one, whose "
            "sum can be written in its place; use np.ascontiguousarray"
        )


def flush() -> None:
    """What this rank has printed leaves it: an abort writes nothing. Nothing stands in its way."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, OSError, ValueError):  # none, broken, closed
            stream.flush()


def _packed(value: Any) -> tuple[bytes, Exception | None]:
    """`value` pickled, and None; or why it cannot be, in words, and the exception."""
    try:
        return pickle.dumps(value), None
    except Exception as error:  # of the object's own methods, it may be any
        return f"{type(error).__name__}: {error}".encode(), error
