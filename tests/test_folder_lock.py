"""Two processes never train in one folder: the second is refused, the first does not notice."""

import multiprocessing
import os
import signal
import subprocess
import sys

import pytest
from cli_runs import posix, run
from model_programs import X, Y, network

from nnfs_gpu import folder_lock, use_backend
from nnfs_gpu.checkpoint import FILE, CheckpointError

pytestmark = posix
HOLD = """
import sys
from nnfs_gpu import folder_lock
folder_lock.lock(sys.argv[1])
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds `tmp_path` until it is killed."""
    arguments = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"held\n"
        yield process
        process.kill()


def test_the_second_is_refused_until_the_first_is_dead(tmp_path, holder):
    use_backend("numpy")
    (tmp_path / f".{FILE}.half").write_bytes(b"what the first is about to rename")
    for _ in range(2):
        with pytest.raises(folder_lock.FolderLockedError, match=f"{tmp_path}: another process"):
            network().train(X, Y, print_every=None, checkpoint=tmp_path)
    assert os.listdir(tmp_path) == [f".{FILE}.half"]
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    network().train(X, Y, print_every=None, checkpoint=tmp_path)
    assert os.listdir(tmp_path) == [FILE]


def test_the_command_is_refused_and_leaves_the_checkpoint(tmp_path, holder):
    (tmp_path / FILE).write_bytes(b"of the first")
    done = run("train", "--samples", 10, "--out", tmp_path, "--no-plot")
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {tmp_path}: another process is training there")
    assert (tmp_path / FILE).read_bytes() == b"of the first"


def tries(folder, answers):
    try:
        folder_lock.lock(folder)
    except folder_lock.FolderLockedError:
        answers.put("refused")
    else:
        answers.put("taken")


def other_process(folder):
    """What a forked child is told, which has inherited all that this process knows."""
    context = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()
    child = context.Process(target=tries, args=(folder, answers))
    child.start()
    child.join()
    return answers.get()


def test_a_lock_is_one_process_s_and_is_given_back(tmp_path):
    folder_lock.lock(tmp_path)
    folder_lock.lock(str(tmp_path))  # as after an interrupted training
    assert other_process(tmp_path) == "refused"
    folder_lock.release(tmp_path)
    folder_lock.release(tmp_path)
    assert other_process(tmp_path) == "taken"


def test_a_training_that_ends_or_is_refused_gives_the_folder_back(tmp_path):
    use_backend("numpy")
    network().train(X, Y, print_every=None, checkpoint=tmp_path)
    assert other_process(tmp_path) == "taken"
    with pytest.raises(CheckpointError):
        network().train(X, Y, print_every=None, checkpoint=tmp_path, batch_size=3)
    assert other_process(tmp_path) == "taken"
