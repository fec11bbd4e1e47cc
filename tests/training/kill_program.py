"""Runs of kill_table.py in processes that are killed for good, again and again.

    python kill_program.py SEED KILLS             # random runs, killed at random writes and times
    python kill_program.py command N MOMENT ...   # nnfs-gpu ..., killed in its Nth write

with PYTHONPATH=tests.

For test_checkpoint_kills.py and test_cli_resume.py, with few kills, and by hand with many.
"""

import os
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from kill_table import table

from nnfs_gpu.cli import app as cli
from nnfs_gpu.files import tensor_file
from nnfs_gpu.training.checkpoint import FILE


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def arrange(number, moment):
    """Die in the `number`th write from now."""
    count, fsync, replace = 0, os.fsync, os.replace

    def at(which):
        nonlocal count
        count += which == "half"
        if count == number and which == moment:
            die()

    def synced(handle):
        if not os.path.isdir(f"/proc/self/fd/{handle}"):
            size = os.fstat(handle).st_size
            if count + 1 == number and moment == "half":
                os.ftruncate(handle, size // 2)
            at("half")
            at("whole")
        fsync(handle)

    def replaced(source, target):
        replace(source, target)
        at("after")

    tensor_file.os.fsync, tensor_file.os.replace = synced, replaced


def killed(run, rng, folder):
    """Kills before the run came to its end; raises AssertionError for another end."""
    kills, checkpoint = 0, folder / "run"
    expected = run.train(folder, None)  # which also loads the kernels, for the children
    while True:
        kill = (rng.randint(1, 5), rng.choice(["half", "whole", "after"]))
        seconds = rng.uniform(0.001, 0.08) if rng.random() < 0.3 else None
        child = os.fork()
        if child == 0:
            if kills < 6 and seconds is None:
                arrange(*kill)
            text = run.train(folder, checkpoint)
            (folder / "result").write_text(text)
            os._exit(0)
        if seconds is not None and kills < 6:
            time.sleep(seconds)
            os.kill(child, signal.SIGKILL)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if status == 0:
            break
        assert status == -signal.SIGKILL, status
        kills += 1
    assert (folder / "result").read_text() == expected, run
    assert sorted(os.listdir(checkpoint)) == [FILE]
    return kills


def main(seed, wanted):
    rng, kills, runs, rows = random.Random(seed), 0, 0, table()
    while kills < wanted:
        run = rng.choice(rows)
        folder = Path(tempfile.mkdtemp())
        try:
            kills += killed(run, rng, folder)
        finally:
            shutil.rmtree(folder)
        runs += 1
        print(f"{kills} kills in {runs} runs so far", file=sys.stderr, flush=True)
    print(f"{kills} kills in {runs} runs, all ended with the bits of the whole run")


def command(number, moment, *arguments):
    """The command, killed in its `number`th write of a checkpoint."""
    arrange(int(number), moment)
    sys.argv[1:] = arguments
    cli.main()


if __name__ == "__main__":
    if sys.argv[1] == "command":
        command(*sys.argv[2:])
    main(int(sys.argv[1]), int(sys.argv[2]))
