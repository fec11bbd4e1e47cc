"""`nnfs-gpu train`: make the data, train, measure, write the files.

Which data      Training points are `spiral_data` of the seed, validation points of seed + 1,
                about as many, within `VALIDATION_POINTS`; weights come from np.random.seed(seed).
Accuracies      are those of the final model: on the validation points, and on at most 100,000
                of the training points. The curve's training accuracy is a mean over the epoch,
                measured while the model changes, as is usual.
Diverged        (loss NaN or infinite): nothing is written, because there is no model to keep
                and an earlier one in DIR is worth more. Exit code 1.
Checkpoints     see `config.py`.
"""

from __future__ import annotations

import math
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from .. import datasets, layers, losses
from ..accuracy import Accuracy_Categorical
from ..activations import Activation_ReLU, Activation_Softmax
from ..backend import get_backend
from ..files import folder_lock
from ..files.model_file import ModelFileError
from ..model import Model
from ..training import divergence
from ..training.callbacks import History
from ..training.checkpoint_file import CheckpointError
from .common import (
    BATCH,
    METRICS_FILE,
    MODEL_FILE,
    PICTURE_FILE,
    InputError,
    OutputFolder,
    check_target,
    choose_backend,
    console_for,
    naming,
    to_json,
    two_columns,
    versions,
    write,
)
from .config import RULES, Config, Outputs, check_rates
from .progress import DivergedError, StopRequest, TrainingWatch, display_for

# The standard error of an accuracy near 0.91 is then between 0.003 and 0.0009.
VALIDATION_POINTS = (10_000, 100_000)


def run(config: Config, outputs: Outputs) -> int:
    """The whole command; returns the exit code."""
    started = time.perf_counter()
    check_rates(config.learning_rate, config.decay)
    console = console_for(outputs.json_target)
    backend = choose_backend(config.backend, config.dtype)
    check_target(outputs.json_target, "--json")
    folder = OutputFolder(outputs.folder)
    try:
        claim(outputs.folder)
        training, validation = make_data(config)
        model = build_model(config)
        console.print(
            f"{beginning(outputs)} {config.network} on {config.points:,} points with "
            f"{config.optimizer}, backend {backend.name} ({backend.version()})",
            soft_wrap=True,
        )
        # Overflow shows where it matters, in the loss, and is reported once.
        with StopRequest() as stop, np.errstate(all="ignore"):
            stored = asdict(config) | {"backend": backend.name}
            watch = TrainingWatch(display_for(console), config.batch_size, stop, stored)
            history = train(model, config, training, validation, watch, outputs)
            metrics = measure(model, config, training, validation, watch, history)
            metrics["interrupted"] = len(history.epoch) < config.epochs
            metrics["seconds"] = time.perf_counter() - started
            files = write_files(model, config, metrics, validation, outputs)
    except BaseException:
        folder.discard()
        raise
    console.print(table(config, metrics, files))
    return 128 + stop.signum if stop.signum else 0


# ---- before ----
def claim(folder: Path) -> None:
    """Keep other runs out of the folder until this process ends. Raises InputError."""
    try:
        folder_lock.lock(folder)
    except folder_lock.FolderLockedError as error:
        raise InputError(str(error)) from error


def beginning(outputs: Outputs) -> str:
    """What is about to happen; a new run takes an old checkpoint's place."""
    if outputs.resume:
        if outputs.checkpoint.exists():
            return "going on with the training of"
        return f"no checkpoint in {outputs.folder}, a new run: training"
    with naming(outputs.checkpoint):
        outputs.checkpoint.unlink(missing_ok=True)
    return "training"


def make_data(config: Config) -> tuple[Any, Any]:
    """((X, y), (X, y)): training points in mixed order, validation points."""
    X, y = datasets.spiral_data(config.samples, config.classes, seed=config.seed)
    # The classes come one after the other, and Model.train keeps the order it is given: a
    # batch would hold one class and unlearn the others. Mixed once, each holds them all.
    mixed = np.random.default_rng(config.seed).permutation(config.points)
    rows = get_backend().asarray(mixed, np.int64)
    training = X[rows], y[rows]
    fresh = min(max(config.points, VALIDATION_POINTS[0]), VALIDATION_POINTS[1])
    samples = math.ceil(fresh / config.classes)
    return training, datasets.spiral_data(samples, config.classes, seed=config.seed + 1)


def build_model(config: Config) -> Model:
    """Dense layers with ReLU between them and a softmax at the end, ready to train."""
    np.random.seed(config.seed)
    model = Model()
    width = 2
    for neurons in config.hidden:
        model.add(layers.Layer_Dense(width, neurons))
        model.add(Activation_ReLU())
        width = neurons
    model.add(layers.Layer_Dense(width, config.classes))
    model.add(Activation_Softmax())
    rule = RULES[config.optimizer]
    model.set(
        loss=losses.Loss_CategoricalCrossentropy(),
        optimizer=rule.make(
            learning_rate=config.learning_rate, decay=config.decay, **rule.settings
        ),
        accuracy=Accuracy_Categorical(),
    )
    model.finalize()
    return model


# ---- during ----
def train(
    model: Model,
    config: Config,
    training: Any,
    validation: Any,
    watch: TrainingWatch,
    outputs: Outputs,
) -> History:
    """Train to the end, or until a signal ends it. Raises DivergedError."""
    new = not outputs.checkpoint.exists()
    try:
        with divergence.reported_by_caller():
            return model.train(
                *training,
                epochs=config.epochs,
                batch_size=config.batch_size,
                print_every=None,
                validation_data=validation,
                callbacks=[watch],
                checkpoint=outputs.folder,
                checkpoint_every=outputs.checkpoint_every,
            )
    except (CheckpointError, ModelFileError) as error:
        raise InputError(str(error)) from error
    except DivergedError:
        if new:
            outputs.checkpoint.unlink(missing_ok=True)
        raise
    finally:
        watch.display.end()


# ---- after ----
def measure(
    model: Model,
    config: Config,
    training: Any,
    validation: Any,
    watch: TrainingWatch,
    history: History,
) -> dict[str, Any]:
    """What metrics.json holds, but for "interrupted" and "seconds". Raises DivergedError."""
    X, y = training
    rows = slice(0, VALIDATION_POINTS[1])  # of mixed points: a fair sample of all classes
    seen = model.evaluate(X[rows], y[rows], batch_size=BATCH, verbose=False)
    fresh = model.evaluate(*validation, batch_size=BATCH, verbose=False)
    if not math.isfinite(seen["loss"] + fresh["loss"]):
        raise DivergedError(seen["loss"] + fresh["loss"], config.learning_rate)
    return {
        "train_accuracy": seen["accuracy"],
        "validation_accuracy": fresh["accuracy"],
        "bayes_limit": datasets.spiral_bayes_limit(config.classes),
        "samples_per_second": watch.samples_per_second,
        "train_loss": seen["loss"],
        "validation_loss": fresh["loss"],
        "epochs_finished": len(history.epoch),
        "steps": watch.steps,
        "training_seconds": watch.training_seconds,
        "backend": model.backend.name,
        "backend_version": model.backend.version(),
        "config": asdict(config),
        "versions": versions(),
        "curve": {"epoch": history.epoch, **history.history},
    }


def write_files(
    model: Model, config: Config, metrics: dict[str, Any], validation: Any, outputs: Outputs
) -> list[Path]:
    """Write the results, the model first: it is the one that cannot be made again."""
    files = [outputs.folder / MODEL_FILE, outputs.folder / METRICS_FILE]
    with naming(files[0]):
        model.save(files[0])
    write(to_json(metrics), files[1])
    if outputs.json_target is not None:
        write(to_json(metrics), outputs.json_target)
    if outputs.plot:
        from . import picture  # Matplotlib takes longer to import than a small run to train

        png = picture.draw(
            model,
            model.backend.to_numpy(validation[0]),
            model.backend.to_numpy(validation[1]),
            metrics["curve"],
            metrics["bayes_limit"],
            f"Spiral classifier: network {config.network}, {config.points:,} training points",
        )
        files.append(outputs.folder / PICTURE_FILE)
        write(png, files[2])
    return files


def table(config: Config, metrics: dict[str, Any], files: list[Path]) -> Table:
    """What a person wants to know at the end."""
    epochs = f"{metrics['epochs_finished']} of {config.epochs} epochs"
    if metrics["interrupted"]:
        epochs += ", interrupted"
    rows = {
        "train accuracy": f"{metrics['train_accuracy']:.4f}",
        "validation accuracy": f"{metrics['validation_accuracy']:.4f}",
        "Bayes limit": f"{metrics['bayes_limit']:.4f}  (no classifier can do better)",
        "samples/s": f"{metrics['samples_per_second']:,.0f}",
        "backend": f"{metrics['backend']}, {config.dtype}  ({metrics['backend_version']})",
        "time": f"{metrics['seconds']:.1f} s  ({epochs})",
        "files written": "\n".join(str(file) for file in files),
    }
    return two_columns(rows)
