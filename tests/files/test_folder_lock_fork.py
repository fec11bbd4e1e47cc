"""A folder and the children of fork: they neither keep it nor think that it is theirs."""

import os
import signal
import subprocess
import sys
import threading

import pytest
from cli_runs import posix
from folder_holders import other_process

from nnfs_gpu.files import folder_lock

# Python 3.12 and later warn of a fork beside threads, which is what is tested here.
pytestmark = [posix, pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")]
ORPHAN = """
import os, signal, sys, time
from nnfs_gpu.files import folder_lock
folder_lock.lock(sys.argv[1])
if sys.argv[2] == "fork":
    child = os.fork()
else:  # what a pool of workers is
    import multiprocessing
    process = multiprocessing.get_context(sys.argv[2]).Process(target=time.sleep, args=(60,))
    process.start()
    child = process.pid
if child == 0:
    time.sleep(60)
    os._exit(0)
print(child, flush=True)
time.sleep(0.2)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("how", ["fork", "forkserver"])
def test_a_child_does_not_keep_the_folder_of_its_killed_parent(tmp_path, how):
    arguments = [sys.executable, "-c", ORPHAN, str(tmp_path), how]
    # Not a pipe to its end: the orphan holds a copy of it.
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
        child = int(process.stdout.readline())
        assert process.wait() == -signal.SIGKILL
        try:
            os.kill(child, 0)  # it lives
            assert folder_lock.lock(tmp_path)
        finally:
            os.kill(child, signal.SIGKILL)
    folder_lock.release(tmp_path)


def test_a_child_of_fork_may_take_another_folder_and_not_its_parent_s(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "free").mkdir()
    assert folder_lock.lock(tmp_path / "mine")
    assert other_process(tmp_path / "free") == "taken"
    assert other_process(tmp_path / "mine") == "refused"
    assert other_process(tmp_path / "mine") == "refused"  # the child's end has freed nothing
    folder_lock.release(tmp_path / "mine")
    assert other_process(tmp_path / "mine") == "taken"


def test_a_fork_while_another_thread_locks(tmp_path):
    """The child is made when the folder is either held or free, and can lock and release."""
    stop = threading.Event()

    def again_and_again():
        while not stop.is_set():
            folder_lock.lock(tmp_path)
            folder_lock.release(tmp_path)

    (tmp_path / "free").mkdir()
    thread = threading.Thread(target=again_and_again)
    thread.start()
    try:
        for _ in range(20):
            child = os.fork()
            if child == 0:
                done = folder_lock.lock(tmp_path / "free")
                os._exit(0 if done and len(folder_lock._held) == 1 else 1)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    finally:
        stop.set()
        thread.join()
