"""A rank that fails, hangs or dies: the others end, too, soon and with one message.

No test waits for a limit of time to see that there was no hang: where one ends, it has ended.
"""

import signal

import pytest
from rank_runs import run_ranks

import nnfs_gpu as ng
from nnfs_gpu.ranks.errors import RankError
from nnfs_gpu.ranks.failures import agree, on_first, together

HEAD = """
import sys, time
import numpy as np
import nnfs_gpu
from nnfs_gpu import World
from nnfs_gpu.ranks.failures import on_first, together
a = np.zeros(3, np.int64)
"""


# ---- a phase that each rank does by itself ----
def test_alone_what_fails_is_raised_as_it_is():
    world = ng.World()
    assert together(world, lambda: 5) == 5
    assert on_first(world, lambda: 6) == 6
    agree(world, None)
    mine = ValueError("mine")

    def fail():
        raise mine

    for phase in (together, on_first):
        with pytest.raises(ValueError, match="mine") as found:
            phase(world, fail)
        assert found.value is mine


PHASES = (
    HEAD
    + """
def fail(kind, *ranks):
    def act():
        if world.rank in ranks:
            raise kind(f"of {world.rank}")
        return world.rank
    return act

class Odd(Exception):
    def __str__(self):
        return "ä" * 20_000

def caught(phase, act):
    try:
        return phase(world, act)
    except Exception as error:
        note = "".join(getattr(error, "__notes__", []))
        return [type(error).__name__, str(error)[:60], error.quiet, "in act" in note]

with World.mpi(timeout=20) as world:
    mixed = lambda: fail(KeyError, 0)() if world.rank == 0 else fail(ValueError, 1, 2)()
    say(
        rank=world.rank,
        well=caught(together, fail(ValueError)),
        one=caught(together, fail(ValueError, 1)),
        two=caught(together, fail(KeyError, 2, 1)),
        all=caught(together, fail(ValueError, 0, 1, 2)),
        mixed=caught(together, mixed),
        first=caught(on_first, fail(ValueError)),
        fails=caught(on_first, fail(OSError, 0)),
        long=caught(together, fail(lambda text: Odd(), 2)),
    )
"""
)


def test_where_a_rank_fails_all_raise():
    done = run_ranks(3, PHASES)
    assert (done.code, done.err) == (0, "")
    assert len(done.said) == 3
    for rank, said in enumerate(done.said):
        quiet = rank > 0
        assert said["well"] == rank
        assert said["one"] == ["RankError", "rank 1: ValueError: of 1", quiet, True]
        assert said["two"] == ["RankError", "rank 1: KeyError: 'of 1'", quiet, True]
        assert said["all"] == ["ValueError", f"of {rank}", quiet, False]
        assert said["mixed"] == ["RankError", "rank 0: KeyError: 'of 0'", quiet, True]
        assert said["first"] == 0
        assert said["fails"] == ["RankError", "rank 0: OSError: of 0", quiet, True]
        assert said["long"] == ["RankError", f"rank 2: Odd: {'ä' * 47}", quiet, True]


def test_what_all_raise_is_printed_once():
    """And each rank ends by itself: with the code of any uncaught exception, without an abort."""
    for program in (
        "with World.mpi(timeout=20) as world:\n    together(world, lambda: 1 // (1 - world.rank))",
        "world = World.mpi(timeout=20)\ntogether(world, lambda: 1 // (1 - world.rank))",
    ):
        done = run_ranks(2, HEAD + program)
        assert done.code == 1
        assert done.err.count("RankError: rank 1: ZeroDivisionError: integer division") == 1
        assert done.err.count("On rank 1:") == 1
        assert done.err.count("Traceback") == 2  # of the error, and in its note
        assert "Abort" not in done.err


# ---- a rank that fails by itself ----
ALONE = {
    "an exception": ("raise KeyError('mine')", 1, ["rank 1: Traceback", "KeyError: 'mine'"]),
    "an exit": ("sys.exit(7)", 7, ["rank 1: exit code 7"]),
    "an exit with words": ("sys.exit('so it is')", 1, ["rank 1: so it is"]),
    "Ctrl-C": ("raise KeyboardInterrupt", 130, ["rank 1: Traceback", "KeyboardInterrupt"]),
    "what cannot be added": ("world.sum(np.zeros(2))", 1, ["rank 1: Traceback", "got float64"]),
}


@pytest.mark.parametrize("name", ALONE)
def test_a_rank_that_fails_alone_ends_all(name):
    """The other one waits in a sum for longer than the test may take."""
    act, code, texts = ALONE[name]
    program = (
        HEAD
        + f"""
with World.mpi(timeout=10_000) as world:
    if world.rank == 1:
        {act}
    world.sum(a)
"""
    )
    done = run_ranks(2, program)
    assert done.code == code
    assert all(text in done.err for text in texts), done.err


def test_without_a_context_what_nobody_catches_ends_all():
    program = HEAD + "world = World.mpi(timeout=10_000)\n1 // (1 - world.rank)\nworld.sum(a)"
    done = run_ranks(2, program)
    assert done.code == 1
    assert done.err.count("ZeroDivisionError") == 1


def test_abort_ends_all_and_loses_no_line():
    program = (
        HEAD
        + """
world = World.mpi(timeout=10_000)
if world.rank == 1:
    sys.stdout = open(1, "w", closefd=False)  # with a buffer
    print("last words of 1")
    world.abort(5)
world.sum(a)
"""
    )
    done = run_ranks(2, program, env={"PYTHONUNBUFFERED": None})
    assert done.code == 5
    assert "last words of 1" in done.out


def test_nothing_stands_in_the_way_of_an_abort():
    """As where nobody reads what the ranks print, or a program has closed it."""
    program = (
        HEAD
        + """
import os
with World.mpi(timeout=10_000) as world:
    if world.rank == 1:
        sys.stdout = None
        os.close(2)
        raise KeyError
    world.sum(a)
"""
    )
    assert run_ranks(2, program).code == 1


# ---- a rank that hangs, or is gone ----
@pytest.mark.parametrize("call", ["sum(a)", "broadcast(1)", "barrier()"])
def test_a_rank_that_hangs(call):
    program = (
        HEAD
        + f"""
with World.mpi(timeout=60) as world:
    world.barrier()
    world._messages.timeout = 0.5
    if world.rank == 1:
        time.sleep(10_000)
    world.{call}
"""
    )
    if call == "broadcast(1)":  # rank 0 need not wait for whoever hears it
        program = program.replace("rank == 1", "rank == 0")
    done = run_ranks(2, program)
    assert done.code == 1
    waiting = int(call == "broadcast(1)")
    name = call.split("(")[0]
    assert f"TimeoutError: rank {waiting} has waited 0.5 seconds in {name}: another" in done.err


def test_a_call_that_was_left_is_the_last():
    program = (
        HEAD
        + """
world = World.mpi(timeout=60)
world.barrier()
world._messages.timeout = 0.2
if world.rank == 1:
    time.sleep(10_000)
try:
    world.sum(a)
except TimeoutError:
    try:
        world.barrier()
    except nnfs_gpu.ranks.errors.WorldError as error:
        print(error, flush=True)
        world.abort(4)
"""
    )
    done = run_ranks(2, program)
    assert done.code == 4
    assert "rank 0 has left a sum before its end and cannot make another call; abort()" in done.out


def test_a_rank_that_ends_before_it_is_there():
    """The others wait inside of MPI, which hears nothing: Python's watchdog ends them."""
    program = (
        HEAD
        + """
import os
from nnfs_gpu.ranks.launchers import promised
if promised(os.environ).rank == 1:
    sys.exit(3)
World.mpi(timeout=1)
print("never here")
"""
    )
    done = run_ranks(2, program)
    assert done.code not in (0, None)
    assert "never here" not in done.out
    assert "in _started_with_all_ranks" in done.err


def test_a_rank_that_is_killed():
    program = (
        HEAD
        + """
import os, signal
with World.mpi(timeout=10_000) as world:
    if world.rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    world.sum(a)
"""
    )
    assert run_ranks(2, program).code not in (0, None)


def test_ctrl_c_is_heard_while_ranks_wait():
    program = (
        HEAD
        + """
with World.mpi(timeout=10_000) as world:
    world.barrier()
    if world.rank == 1:
        time.sleep(10_000)
    say(waits=True)
    world.sum(a)
"""
    )
    done = run_ranks(2, program, until="waits", ending=signal.SIGINT)
    assert done.code == 130
    assert "KeyboardInterrupt" in done.err
    assert RankError.__name__ not in done.err
