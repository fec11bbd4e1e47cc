"""Checkpoints: a training run that is killed goes on where it was, and ends with the same bits.

`Model.train(..., checkpoint=DIR)` keeps one file, DIR/checkpoint.safetensors. It is a model
file (`files/model_file.py`; `Model.load` reads it) with kind "checkpoint" and, beside the model,
    training   settings     of the run, see below
               epochs_done, steps_done (of the epoch after them)
               accumulated  the epoch's sums so far of loss and accuracy
               callbacks    class, settings and state of each that has any
    random     NumPy's global stream, always
    training.history.*, training.callbacks.n.*       tensors: the curve, callbacks' arrays

Written to a temporary file, forced to the disk and renamed: at any moment the whole old
checkpoint or the whole new one is there. The order of shuffled samples and dropout's masks are
functions of numbers that it holds, so that no generator's state is lost.

Resuming: the same program is started again. An empty or missing folder: a new run. A
checkpoint of this run: parameters, optimizer, history, sums, callbacks and random stream are
put back, and the missing steps are trained. A finished one: nothing is left to train.
More `epochs` than before: the run grows. Anything else that differs (layers, loss, optimizer,
backend, data, batch size, shuffling, engine, callbacks' settings) is refused by name.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from .. import checks
from ..files import (
    folder_lock,
    forms as file_forms,
    model_file as storage,
    random_state,
    tensor_file,
    vocabulary as parts,
)
from ..files.tensor_file import Document, ModelFileError, Tensors
from ..files.tensor_reader import Forms, reason
from .callbacks import Callback
from .checkpoint_file import CheckpointError, history_in, not_whole, read
from .checkpoint_settings import differences, settings_in, settings_of, with_memory
from .run import Run

FILE = "checkpoint.safetensors"
MOST_NAMED = 4  # differences in an error


class Checkpoint:
    """The checkpoint file of one run.

    fetch   brings the run's history up to date
    folder  made where it is missing
    every   steps between two checkpoints; None: one after every epoch
    writes  False on ranks beside the first: they read what it has written, and write nothing
    """

    def __init__(
        self,
        run: Run,
        fetch: Callable[[], None],
        folder: Any,
        every: int | None,
        writes: bool = True,
    ):
        self._run, self._fetch, self._writes = run, fetch, writes
        self.every = None if every is None else checks.positive_int(every, "checkpoint_every")
        self.path = Path(folder).absolute() / FILE  # the same wherever a callback goes
        self._folder = folder_lock.TrainingFolder(self.path.parent)
        self._made: list[Path] = []  # folders
        self._settings: dict[str, Any] = {}
        self._found: tuple[Document, Tensors] | None = None
        self._saved: tuple[int, int] | None = None  # (epochs, steps) done in the file

    # ---- called by Training ----
    def open(self) -> None:
        """Lock the folder and read the file in it, where there is one; nothing else changes.

        Raises CheckpointError for another run's checkpoint, ModelFileError for a damaged
        file, FolderLockedError while another training is at work there.
        """
        if self._writes:
            self._made = tensor_file.make_folder(self.path.parent)
            self._folder.enter()
        self._settings = settings_of(self._run)
        if self.path.exists():
            self._found = self._read()

    @property
    def document(self) -> Document | None:
        """That of the file which `open` has read; None where there was none."""
        return None if self._found is None else self._found[0]

    def begin(self) -> bool:
        """Resume from the file and return True, or write the first one of a new run.

        Raises ModelFileError for a state that does not fit; whoever calls puts back what has
        changed by then.
        """
        resumed = self._found is not None
        if self._found is not None:
            self._resume(*self._found)
            self._found = None
        for left in self.path.parent.glob(f".{FILE}.*") if self._writes else ():
            with contextlib.suppress(OSError):  # of a run killed while it wrote
                left.unlink()
        if not resumed:
            self._save()
        return resumed

    def step_done(self) -> None:
        """Write where `every` steps have been made."""
        if self.every is not None:
            steps = self._run.epochs_done * self._run.steps + self._run.steps_done
            if steps % self.every == 0:
                self._save()

    def epoch_done(self) -> None:
        """Write where no number of steps was given."""
        if self.every is None:
            self._save()

    def end(self) -> None:
        """Write where training stands now, unless the file says so already."""
        if self._saved != (self._run.epochs_done, self._run.steps_done):
            self._save()

    def leave(self) -> None:
        """Let others have the folder. One that was made and has stayed empty is removed."""
        if self._writes:
            self._folder.leave()
        tensor_file.remove_empty(self._made)

    # ---- writing ----
    def _save(self) -> None:
        self._fetch()
        if self._writes:
            self._write()
        self._saved = self._run.epochs_done, self._run.steps_done

    def _write(self) -> None:
        run = self._run
        document, tensors = storage.contents(run.model)
        random_state.add(document, tensors)
        document["kind"] = "checkpoint"
        document["training"] = {
            "settings": self._settings,
            "epochs_done": run.epochs_done,
            "steps_done": run.steps_done,
            "accumulated": [
                [float(part.accumulated_sum), _count(part.accumulated_count)]
                for part in (run.loss, run.accuracy)
            ],
            "callbacks": [],
        }
        for name, curve in run.history.history.items():
            tensors[f"{file_forms.HISTORY}{name}"] = np.array(curve, np.float64)
        for number, callback in enumerate(with_memory(run.callbacks)):
            numbers, arrays = _split(callback.get_state())
            document["training"]["callbacks"].append(numbers)
            for name, values in arrays.items():
                tensors[f"training.callbacks.{number}.{name}"] = values
        tensor_file.write(self.path, document, tensors)

    # ---- reading ----
    def _read(self) -> tuple[Document, Tensors]:
        """Document and tensors, of this very run and of this model's shapes."""

        def judge(document: Document, forms: Forms) -> None:
            stored = document["training"]
            self._check_progress(stored["epochs_done"], stored["steps_done"])
            try:
                file_forms.check_tensors(self._run.model, file_forms.own_tensors(forms))
            except ValueError:
                self._check_settings(document)  # what differs, in better words
                raise

        document, tensors = read(self.path, judge)
        self._check_settings(document)
        return document, tensors

    def _check_settings(self, document: Document) -> None:
        try:
            found = differences(settings_in(document, self._settings), self._settings)
        except storage.NOT_A_MODEL as error:
            raise not_whole(self.path, error) from error
        if found:
            more = f" and {len(found) - MOST_NAMED} more" if len(found) > MOST_NAMED else ""
            raise CheckpointError(
                f"{self.path} is of another run: {'; '.join(found[:MOST_NAMED])}{more}. Train "
                "as before to go on with it, or give another folder to begin anew"
            )

    def _check_progress(self, epochs: int, steps: int) -> None:
        if epochs > self._run.epochs:
            raise CheckpointError(
                f"{self.path} has {epochs} epochs already, got epochs={self._run.epochs}; give "
                "at least as many"
            )
        if steps > self._run.steps:
            raise ModelFileError(f"{self.path}: {steps} steps of an epoch of {self._run.steps}")

    def _resume(self, document: Document, tensors: Tensors) -> None:
        try:
            actions = _restoring(self._run, document, tensors)
            for action in actions:
                action()
        except ModelFileError as error:
            raise ModelFileError(f"{self.path}: {error}") from error
        except storage.NOT_A_MODEL as error:
            raise ModelFileError(f"{self.path}: does not fit the model: {reason(error)}") from error
        self._saved = self._run.epochs_done, self._run.steps_done


# ---- going on ----
def _restoring(run: Run, document: Document, tensors: Tensors) -> list[Callable[[], None]]:
    """What is to be done, in this order, to go on; everything of ours is checked by now."""
    stored, model = document["training"], run.model
    stream = random_state.checked(document["random"], tensors.get(random_state.KEY))
    set_values = storage.checked_values(model, document, file_forms.own_tensors(tensors))
    roles = [(getattr(model, role), document[role], role) for role in file_forms.SINGLE]
    pairs = zip(model.layers, document["layers"], strict=True)
    roles += [(layer, description, "layers") for layer, description in pairs]
    arguments = [(one[0], parts.checked_arguments(*one)) for one in roles]
    history = history_in(tensors, stored["epochs_done"], run.metrics)
    callbacks = _callback_states(run, stored["callbacks"], tensors)

    def restore() -> None:
        for part, values in arguments:
            parts.set_attributes(part, values)
        set_values()
        for part, sums in zip((run.loss, run.accuracy), stored["accumulated"], strict=True):
            part.accumulated_sum, part.accumulated_count = float(sums[0]), sums[1]
        run.history = history
        run.epochs_done, run.steps_done = stored["epochs_done"], stored["steps_done"]

    def restore_stream() -> None:
        if stream is not None:
            np.random.set_state(stream)

    return [restore, *callbacks, restore_stream]


def _callback_states(
    run: Run, states: list[dict[str, Any]], tensors: Tensors
) -> list[Callable[[], None]]:
    """For each callback that keeps something, what gives it its state."""

    def give(callback: Callback, state: dict[str, Any]) -> None:
        try:
            callback.set_state(state)
        except storage.NOT_A_MODEL as error:
            raise ModelFileError(
                f"holds a state that {type(callback).__name__} cannot take: {reason(error)}"
            ) from error

    actions: list[Callable[[], None]] = []
    called = set(map(id, run.called))
    pairs = zip(with_memory(run.callbacks), states, strict=True)
    for number, (callback, state) in enumerate(pairs):
        if id(callback) not in called:  # on another rank
            continue
        prefix = f"training.callbacks.{number}."
        arrays = {n.removeprefix(prefix): a for n, a in tensors.items() if n.startswith(prefix)}
        actions.append(functools.partial(give, callback, state | arrays))
    return actions


def _count(count: Any) -> int | float:
    """Samples, or the sum of their weights, which may be on the device."""
    return count if isinstance(count, int) else float(count)


def _split(state: dict[str, Any]) -> tuple[dict[str, Any], Tensors]:
    arrays = {name: value for name, value in state.items() if isinstance(value, np.ndarray)}
    return {name: value for name, value in state.items() if name not in arrays}, arrays
