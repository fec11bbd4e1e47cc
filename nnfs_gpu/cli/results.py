"""What `nnfs-gpu train` measures, writes and shows when training is over.

Accuracies are those of the final model: on the validation samples, and on at most 100,000 of the
training samples. The curve's training accuracy is a mean over the epoch, measured while the model
changes, as is usual. Ranks measure together, and rank 0 writes.
"""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.table import Table

from ..model import Model
from ..ranks.failures import together
from ..ranks.world import World
from ..training.history import History
from .common import (
    ANIMATION_FILE,
    BATCH,
    METRICS_FILE,
    MODEL_FILE,
    naming,
    to_json,
    two_columns,
    versions,
    write,
)
from .config import Outputs, Settings
from .film import Film
from .progress import DivergedError, TrainingWatch
from .subject import Subject


def measure(
    model: Model,
    subject: Subject,
    training: Any,
    validation: Any,
    watch: TrainingWatch,
    history: History,
    ranks: World | None,
) -> dict[str, Any]:
    """What metrics.json holds, but for "interrupted" and "seconds". Raises DivergedError."""
    world = ranks or World()
    config = subject.config
    known = together(world, lambda: subject.seen(training))
    seen, fresh = (
        model.evaluate(*points, batch_size=BATCH, verbose=False, world=ranks)
        for points in (known, validation)
    )
    together(world, lambda: _check_finite(seen["loss"] + fresh["loss"], config))
    return {
        **subject.measures(seen, fresh),
        "samples_per_second": watch.samples_per_second,
        "train_loss": seen["loss"],
        "validation_loss": fresh["loss"],
        "epochs_finished": len(history.epoch),
        "steps": watch.steps,
        "training_seconds": watch.training_seconds,
        "ranks": world.size,
        "communication_seconds": history.communication,
        "backend": model.backend.name,
        "backend_version": model.backend.version(),
        "config": asdict(config),
        "versions": versions(),
        "curve": {"epoch": history.epoch, **history.history},
    }


def _check_finite(loss: float, config: Settings) -> None:
    if not math.isfinite(loss):
        raise DivergedError(loss, config.learning_rate)


def write_files(
    model: Model,
    subject: Subject,
    metrics: dict[str, Any],
    validation: Any,
    outputs: Outputs,
    film: Film | None,
) -> list[Path]:
    """Write the results, the model first: it is the one that cannot be made again."""
    files = [outputs.folder / MODEL_FILE, outputs.folder / METRICS_FILE]
    with naming(files[0]):
        model.save(files[0])
    write(to_json(metrics), files[1])
    if outputs.json_target is not None:
        write(to_json(metrics), outputs.json_target)
    if outputs.plot:
        png = subject.picture(model, validation, metrics)
        files.append(outputs.folder / subject.picture_file)
        write(png, files[-1])
    if film is not None:
        gif = film.end(model, metrics["epochs_finished"], metrics["validation_accuracy"])
        files.append(outputs.folder / ANIMATION_FILE)
        write(gif, files[-1])
    return files


def table(
    subject: Subject, metrics: dict[str, Any], trained: float, files: list[Path], who: str
) -> Table:
    """What a person wants to know at the end.

    trained  seconds in training steps since the command was started
    who      which ranks have computed on what; "" without --distributed
    """
    config = subject.config
    epochs = f"{metrics['epochs_finished']} of {subject.epochs} epochs"
    if metrics["interrupted"]:
        epochs += ", interrupted"
    rows = {
        **subject.rows(metrics),
        "samples/s": f"{metrics['samples_per_second']:,.0f}",
        "backend": f"{metrics['backend']}, {config.dtype}  ({metrics['backend_version']})",
        "time": f"{metrics['seconds']:.1f} s  ({epochs})",
    }
    if who:
        seconds = metrics["communication_seconds"]
        share = f"{seconds / trained:.1%} of the training" if trained else "nothing was left"
        rows["ranks"] = who
        rows["communication"] = f"{seconds:.2f} s on rank 0, {share}"
    rows["files written"] = "\n".join(str(file) for file in files)
    return two_columns(rows)
