"""Running `nnfs-gpu train --distributed` on real ranks, and reading what it has written."""

from __future__ import annotations

import json
import re

from cli_runs import ENVIRONMENT
from rank_runs import run_ranks

from nnfs_gpu.training import checkpoint_file

SMALL = ("train", "--samples", 700, "--batch-size", 400, "--hidden", "16,8", "--seed", 3)
SMALL += ("--backend", "numba", "--no-plot")
RANKS = {name: ENVIRONMENT[name] for name in ("TERM", "OPENBLAS_NUM_THREADS")}
RANKS |= dict.fromkeys(("FORCE_COLOR", "NO_COLOR", "COLUMNS", "NNFS_GPU_BACKEND"))
CLOCKS = ("seconds", "training_seconds", "samples_per_second", "communication_seconds")

# The real command, in a program that can break one rank of it.
PROGRAM = """
from nnfs_gpu.cli import app, distributed, points, progress, results, train
rank = int(os.environ["PMI_RANK"])
{broken}
sys.argv = ["nnfs-gpu", *{arguments!r}]
app.main()
"""


def distributed(ranks, *arguments, broken=None, **options):
    """The command on ranks; `broken`: Python that changes something in one of them."""
    given = [*map(str, arguments), "--distributed"]
    program = ["-m", "nnfs_gpu.cli", *given]
    if broken is not None:
        program = PROGRAM.format(arguments=given, broken=broken)
    return run_ranks(ranks, program, env=RANKS, **options)


def metrics(folder):
    """metrics.json without what a clock has measured, and how many ranks there were."""
    found = json.loads((folder / "metrics.json").read_text())
    for name in CLOCKS:
        assert found.pop(name) >= 0
    assert re.fullmatch(r"numba \S+, \d+ threads", found.pop("backend_version"))
    return found, found.pop("ranks")


def checkpoint(folder):
    """The document and the tensors of the checkpoint, without what a clock has measured."""
    document, tensors = checkpoint_file.read(folder / "checkpoint.safetensors")
    del document["sha256"]  # of all that the file holds
    for state in document["training"]["callbacks"]:
        for name in CLOCKS:
            state.pop(name, None)
    return document, {name: a.tobytes() for name, a in tensors.items()}


def model(folder):
    return (folder / "model.safetensors").read_bytes()


# A program in which one rank gets a signal at the end of the second epoch.
STOP_RANK = """
class TrainingWatch(progress.TrainingWatch):
    def on_epoch_end(self, epoch, logs):
        super().on_epoch_end(epoch, logs)
        if rank == {rank} and epoch == 2:
            os.kill(os.getpid(), {signum})
train.TrainingWatch = TrainingWatch
"""
