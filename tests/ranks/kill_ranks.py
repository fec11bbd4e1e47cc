"""A run on ranks that is killed, again and again, and goes on with another number of them.

    python kill_ranks.py KILLS [SEED]                   # runs of random kills, by hand
    mpiexec -n 3 python kill_ranks.py run FOLDER ...    # one start of the program: see `start`

with PYTHONPATH=tests. test_ranks_kills.py has a few kills.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import tempfile
import threading
from pathlib import Path

import numpy as np
from fused_state import backend_of
from kill_program import arrange
from networks import Network
from processes import MODULES
from rank_cases import ending, hash_of
from rank_runs import PACKAGE, run_ranks

from nnfs_gpu import Callback, EarlyStopping, World
from nnfs_gpu.training.checkpoint import FILE

ENVIRONMENT = {"PYTHONPATH": os.pathsep.join([str(PACKAGE), MODULES])}
NETWORK = Network((4, 64, 48, 3), keep=0.9, dropout_seeds=(None, None), l2=1e-3)
EPOCHS, STEPS = 5, 4  # of an epoch; a checkpoint every other step
MOMENTS = ("step", "interrupt", "half", "whole", "after", "time")


class Ends(Callback):
    """Ends this process, or this rank alone with Ctrl-C, after so many steps from here."""

    def __init__(self, moment, steps):
        self.moment, self.steps = moment, steps

    def on_train_batch_end(self, batch, logs):
        self.steps -= 1
        if self.steps == 0:
            if self.moment == "interrupt":
                raise KeyboardInterrupt
            die()


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def arranged(moment, number):
    """What ends this process; the callbacks that it needs."""
    if moment in ("step", "interrupt"):
        return [Ends(moment, number)]
    if moment == "time":
        timer = threading.Timer(number / 100, die)
        timer.daemon = True
        timer.start()
    else:
        arrange(number, moment)  # in a write: nothing happens on ranks that do not write
    return []


def trained(folder, world=None, rank=-1, moment="", number=0):
    """From what is in `folder` to the end, and what it ends with; `rank` is ended before."""
    np.random.seed(5)
    model = NETWORK.model(backend_of("float32"))
    X, y = NETWORK.data(model, 900)
    here = world is not None and world.rank == rank
    history = model.train(
        X,
        y.values,
        epochs=EPOCHS,
        batch_size=-(-900 // STEPS),
        shuffle=True,
        print_every=None,
        validation_data=(X[:200], y.values[:200]),
        callbacks=[
            EarlyStopping("val_loss", None, restore_best=True),
            *(arranged(moment, number) if here else []),
        ],
        checkpoint=folder,
        checkpoint_every=2,
        world=world,
    )
    found = ending(model, history) | {"file": hash_of((Path(folder) / FILE).read_bytes())}
    return json.loads(json.dumps(found))


def start(folder, ranks, rank=-1, moment="", number=0):
    """The program on so many ranks; see `rank_runs.Finished`."""
    command = [__file__, "run", folder, rank, moment, number]
    return run_ranks(ranks, command, timeout=120, env=ENVIRONMENT)


def run(folder, rank, moment, number):
    """One start, on this rank."""
    with World.mpi(timeout=60) as world:
        found = trained(folder, world, int(rank), moment, int(number))
        os.write(1, (json.dumps({"rank": world.rank, "found": found}) + "\n").encode())


# ---- by hand ----
def killed(rng, folder, wanted):
    """Kills of one run, which at last ends with what `wanted` says; raises AssertionError else."""
    kills, told = 0, []
    while True:
        ranks = rng.randint(1, 4)
        moment = rng.choice(MOMENTS) if kills < 8 else ""
        rank = 0 if moment in ("half", "whole", "after") else rng.randrange(ranks)
        number = rng.randint(1, 40) if moment == "time" else rng.randint(1, 6)
        told.append((ranks, rank, moment, number))
        done = start(folder, ranks, rank, moment, number)
        if done.code == 0:
            break
        assert done.code is not None, ("it hangs", told)
        assert moment, (told, done.err)
        kills += 1
    assert [one["found"] == wanted for one in done.said] == [True] * ranks, told
    assert os.listdir(folder) == [FILE], told
    return kills, told


def main(least, seed=1):
    """So many kills."""
    rng, kills, runs, starts = random.Random(int(seed)), 0, 0, []
    with tempfile.TemporaryDirectory() as folder:
        wanted = trained(Path(folder) / "alone")
    while kills < int(least):
        with tempfile.TemporaryDirectory() as folder:
            more, told = killed(rng, Path(folder) / "run", wanted)
        kills, runs, starts = kills + more, runs + 1, starts + told
        print(f"{kills} kills in {runs} runs so far: {told}", file=sys.stderr, flush=True)
    sizes = sorted({ranks for ranks, *_ in starts})
    print(f"{kills} kills in {runs} runs on {sizes} ranks, all ended with the bits of one process")


if __name__ == "__main__":
    if sys.argv[1] == "run":
        run(*sys.argv[2:])
    else:
        main(*sys.argv[1:])
