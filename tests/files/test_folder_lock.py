"""Two trainings never share a folder: the second is refused, the first does not notice.

Whether it is in another process, another thread, or in a callback of the first.
"""

import errno
import fcntl
import logging
import os
import signal
import subprocess
import sys
import threading

import pytest
from cli_runs import posix, run
from folder_holders import other_process
from model_programs import X, Y, network

from nnfs_gpu import Callback, use_backend
from nnfs_gpu.files import folder_lock, tensor_file
from nnfs_gpu.training.checkpoint import FILE, CheckpointError

pytestmark = posix
HOLD = """
import sys
from nnfs_gpu.files import folder_lock
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


# ---- two trainings of one process ----
class Do(Callback):
    """Does something after the first step."""

    def __init__(self, action):
        self.action = action

    def on_train_batch_end(self, batch, logs):
        action, self.action = self.action, lambda: None
        action()


def refused(folder):
    """A second training, in `folder`: refused, and nothing in the folder has changed."""
    names = sorted(os.listdir(folder))
    message = f"{folder}: another training of this process is training there"
    with pytest.raises(folder_lock.FolderLockedError, match=message):
        network().train(X, Y, print_every=None, checkpoint=folder)
    assert sorted(os.listdir(folder)) == names


def in_a_thread(action):
    errors = []

    def run():
        try:
            action()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]


@pytest.mark.parametrize("where", ["nested", "in a thread"])
@pytest.mark.parametrize("claimed", [False, True], ids=["", "the process holds it"])
@pytest.mark.parametrize("spelling", [str, lambda path: path / ".." / path.name, os.path.relpath])
def test_the_second_training_of_a_process_is_refused(tmp_path, where, claimed, spelling):
    use_backend("numpy")
    if claimed:
        folder_lock.lock(tmp_path)  # as the command does
    (tmp_path / f".{FILE}.half").write_bytes(b"")

    def second():
        (tmp_path / f".{FILE}.new").write_bytes(b"what the first is about to rename")
        refused(spelling(tmp_path)) if where == "nested" else in_a_thread(
            lambda: refused(spelling(tmp_path))
        )

    callback = Do(second)
    history = network().train(X, Y, print_every=None, checkpoint=tmp_path, callbacks=[callback])
    assert history.epoch == [1]
    network().train(X, Y, print_every=None, checkpoint=tmp_path, epochs=2)  # free again
    folder_lock.release(tmp_path)
    assert other_process(tmp_path) == "taken"


def test_two_folders_at_once(tmp_path):
    use_backend("numpy")
    inner = Do(lambda: network().train(X, Y, print_every=None, checkpoint=tmp_path / "b"))
    network().train(X, Y, print_every=None, checkpoint=tmp_path / "a", callbacks=[inner])
    assert [os.listdir(tmp_path / name) for name in "ab"] == [[FILE], [FILE]]


def test_a_training_that_raises_leaves_the_folder(tmp_path):
    use_backend("numpy")

    def fall():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        network().train(X, Y, print_every=None, checkpoint=tmp_path, callbacks=[Do(fall)])
    network().train(X, Y, print_every=None, checkpoint=tmp_path)


# ---- file systems ----
@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EBADF, errno.ENOTSUP])
def test_a_file_system_without_locks_is_said_once(tmp_path, monkeypatch, caplog, number):
    def without(*arguments):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", without)
    use_backend("numpy")
    callback = Do(lambda: refused(tmp_path))  # this process knows of itself
    with caplog.at_level(logging.WARNING, "nnfs_gpu"):
        for epochs in (1, 2):
            network().train(
                X, Y, epochs=epochs, print_every=None, checkpoint=tmp_path, callbacks=[callback]
            )
    assert [record.getMessage() for record in caplog.records] == [
        f"{tmp_path}: its file system locks no folders ({os.strerror(number)}); nothing stops "
        "another process from training there, too: start one at a time"
    ]


def test_a_disk_that_fails_is_no_file_system_without_locks(tmp_path, monkeypatch):
    def broken(*arguments):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(fcntl, "flock", broken)
    before = os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else []
    with pytest.raises(OSError, match="Input/output"):
        folder_lock.lock(tmp_path)
    assert len(before) in (0, len(os.listdir("/proc/self/fd")))  # no descriptor is left


def test_the_parents_of_new_folders_are_forced_to_the_disk(tmp_path, monkeypatch):
    use_backend("numpy")
    synced, fsync = [], os.fsync

    def watch(handle):
        synced.append(os.fstat(handle).st_ino)
        fsync(handle)

    monkeypatch.setattr(tensor_file.os, "fsync", watch)
    folder = tmp_path / "a" / "b"
    network().train(X, Y, print_every=None, checkpoint=folder)
    expected = [os.stat(path).st_ino for path in (tmp_path, tmp_path / "a")]
    assert [number for number in synced if number in expected] == expected
    assert synced.index(expected[1]) < synced.index(os.stat(folder).st_ino)
    synced.clear()
    network().train(X, Y, print_every=None, checkpoint=folder, epochs=2)
    assert not set(expected) & set(synced)


def test_a_training_that_cannot_begin_takes_back_the_folders_that_it_made(tmp_path, monkeypatch):
    use_backend("numpy")

    def full(handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tensor_file.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        network().train(X, Y, print_every=None, checkpoint=tmp_path / "a" / "b")
    assert os.listdir(tmp_path) == []
