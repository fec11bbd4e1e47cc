"""`nnfs-gpu train`: make the data, train, measure, write the files.

Which data      see `subject.py`; weights come from np.random.seed(seed).
Diverged        (loss NaN or infinite): nothing is written, because there is no model to keep
                and an earlier one in DIR is worth more. Exit code 1.
Checkpoints     see `resume.py`; what is measured and written at the end, `results.py`.
Ranks           see `distributed.py`. All of them come through all of this; rank 0 alone has the
                folder, and the files are those of one process.
"""

from __future__ import annotations

import os
import signal
import time
from dataclasses import asdict
from typing import Any

import numpy as np
from rich.console import Console

from .. import layers
from ..activations import Activation_ReLU
from ..files import folder_lock
from ..model import Model
from ..ranks import launchers
from ..ranks.failures import together
from ..ranks.world import World
from ..show.display import display_for
from ..training import divergence
from ..training.history import History
from .common import OutputFolder, check_target, console_for, naming
from .config import RULES, Config, Outputs, Settings
from .distributed import backend_for, check_shared, on_rank_0, who_computes
from .errors import DISTRIBUTED, InputError
from .film import Film
from .progress import DivergedError, StopRequest, TrainingWatch
from .results import measure, table, write_files
from .spiral import Spirals, network
from .subject import Subject


def run(config: Settings, outputs: Outputs, world: World, distributed: bool) -> int:
    """The whole command, on one of the ranks; returns the exit code."""
    started = time.perf_counter()
    console = console_for(outputs.json_target, quiet=world.rank > 0)
    backend = backend_for(config, world)
    subject = together(world, lambda: subject_of(config, distributed))
    config = subject.config
    model = together(world, lambda: build_model(subject))
    if distributed:
        together(world, lambda: check_shared(model))
    folder = on_rank_0(world, lambda: claimed(outputs, distributed))
    try:
        training, validation = together(world, lambda: (subject.training(), subject.validation()))
        film = on_rank_0(world, lambda: film_of(subject, validation, outputs))
        title = on_rank_0(world, lambda: beginning(outputs))
        console.print(
            f"{title} {network(subject)} on {subject.words} with "
            f"{config.optimizer}, backend {backend.name} ({backend.version()})",
            soft_wrap=True,
            markup=False,
        )
        for note in subject.notes:
            console.print(note, soft_wrap=True, markup=False)
        # Overflow shows where it matters, in the loss, and is reported once.
        with StopRequest(says=world.rank == 0) as stop, np.errstate(all="ignore"):
            stored = asdict(config) | {"backend": backend.name}
            watch = TrainingWatch(
                display_for(console), subject.step, stop, stored, subject.judged, film
            )
            shared = world if distributed else None
            history = train(model, subject, training, validation, watch, outputs, shared)
            tell_of_stop(world, stop, console)
            metrics = measure(model, subject, training, validation, watch, history, shared)
            metrics["interrupted"] = len(history.epoch) < subject.epochs
            metrics["seconds"] = time.perf_counter() - started
            who = who_computes(world, backend) if distributed else ""
            files = on_rank_0(
                world, lambda: write_files(model, subject, metrics, validation, outputs, film)
            )
            stop.agree(world)  # one may have come since
    except BaseException:
        if folder is not None:
            folder.discard()
        raise
    if files is not None:
        console.print(table(subject, metrics, watch.seconds, files, who))
    return 128 + stop.signum if stop.signum else 0


# ---- before ----
def claimed(outputs: Outputs, distributed: bool) -> OutputFolder:
    """The folder, which other runs are kept out of until this process ends. Raises InputError."""
    check_target(outputs.json_target, "--json")
    folder = OutputFolder(outputs.folder)
    try:
        folder_lock.lock(outputs.folder)
    except folder_lock.FolderLockedError as error:
        folder.discard()
        raise InputError(f"{error}{_several(distributed)}") from error
    return folder


def _several(distributed: bool) -> str:
    """What to do where a launcher has started one command several times, which train apart."""
    promise = launchers.promised(os.environ)
    if distributed or promise is None or promise.size == 1:
        return ""
    return f"; {promise.launcher} has started several of this: give {DISTRIBUTED} to share one run"


def beginning(outputs: Outputs) -> str:
    """What is about to happen; a new run takes an old checkpoint's place."""
    if outputs.resume:
        if outputs.checkpoint.exists():
            return "going on with the training of"
        return f"no checkpoint in {outputs.folder}, a new run: training"
    with naming(outputs.checkpoint):
        outputs.checkpoint.unlink(missing_ok=True)
    return "training"


def subject_of(config: Settings, distributed: bool) -> Subject:
    """What is to be trained on; a table is read now. Raises InputError."""
    if isinstance(config, Config):
        return Spirals(config)
    if distributed and "-" in (config.data, config.validation_data):
        raise InputError(f"{DISTRIBUTED}: ranks cannot share standard input; give a file")
    from .table import TableSubject

    return TableSubject(config)


def film_of(subject: Subject, validation: Any, outputs: Outputs) -> Film | None:
    """For --animate. Raises InputError where nothing can be shown."""
    return Film(subject.animation(validation)) if outputs.animate else None


def build_model(subject: Subject) -> Model:
    """Dense layers with ReLU between them and the subject's end, ready to train."""
    config = subject.config
    np.random.seed(config.seed)
    model = Model()
    width = subject.inputs
    for neurons in config.hidden:
        model.add(layers.Layer_Dense(width, neurons))
        model.add(Activation_ReLU())
        width = neurons
    model.add(layers.Layer_Dense(width, subject.outputs))
    activation, loss, accuracy = subject.ends()
    model.add(activation)
    rule = RULES[config.optimizer]
    model.set(
        loss=loss,
        optimizer=rule.make(
            learning_rate=config.learning_rate, decay=config.decay, **rule.settings
        ),
        accuracy=accuracy,
    )
    model.finalize()
    subject.prepare(model)
    return model


# ---- during ----
def train(
    model: Model,
    subject: Subject,
    training: Any,
    validation: Any,
    watch: TrainingWatch,
    outputs: Outputs,
    world: World | None,
) -> History:
    """Train to the end, or until a signal ends it. Raises DivergedError."""
    writes = world is None or world.rank == 0
    new = writes and not outputs.checkpoint.exists()
    try:
        with divergence.reported_by_caller():
            return model.train(
                *training,
                epochs=subject.epochs,
                batch_size=subject.step,
                **subject.options(),
                print_every=None,
                validation_data=validation,
                callbacks=[watch],
                checkpoint=outputs.folder,
                checkpoint_every=outputs.checkpoint_every,
                world=world,
            )
    except DivergedError:
        if new:
            outputs.checkpoint.unlink(missing_ok=True)
        raise
    finally:
        watch.display.end()


def tell_of_stop(world: World, stop: StopRequest, console: Console) -> None:
    """All know of the signal that one was sent. Where that was another rank, rank 0 says so."""
    heard = stop.signum
    rank = stop.agree(world)
    if rank is not None and not heard:
        name = signal.Signals(stop.signum).name
        console.print(f"rank {rank} was sent {name}: all have stopped after the same step")
