"""Checkpoints: a training run that is killed goes on where it was, and ends with the same bits.

`Model.train(..., checkpoint=DIR)` keeps one file, DIR/checkpoint.safetensors. It is a model
file (`storage.py`; `Model.load` reads it) with kind "checkpoint" and, beside the model,
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
put back, and the steps that are missing are made. A finished one: nothing is left to train.
More `epochs` than before: the run grows. Anything else that differs (layers, loss, optimizer,
backend, data, batch size, shuffling, engine, callbacks' settings) is refused by name.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from . import checks, folder_lock, parts, storage, tensor_file
from .backend import Backend
from .callbacks import Callback, History
from .tensor_file import Document, ModelFileError, Tensors

if TYPE_CHECKING:
    from .training import Training

FILE = "checkpoint.safetensors"
ROWS = 1 << 16  # of the data that are hashed at a time
MOST_NAMED = 4  # differences in an error


class CheckpointError(ValueError):
    """A checkpoint that belongs to another run than the one that is to go on from it."""


class Checkpoint:
    """The checkpoint file of one `Training`.

    folder  made where it is missing
    every   steps between two checkpoints; None: one after every epoch
    """

    def __init__(self, folder: Any, every: int | None):
        self.every = None if every is None else checks.positive_int(every, "checkpoint_every")
        self.path = Path(folder) / FILE
        self._settings: dict[str, Any] = {}
        self._saved: tuple[int, int] | None = None  # (epochs, steps) done in the file
        self._locked = False

    # ---- called by Training ----
    def begin(self, training: Training) -> bool:
        """Resume from the file and return True, or write the first one of a new run.

        Raises CheckpointError for another run's checkpoint, ModelFileError for a damaged
        file, FolderLockedError while another process trains there; then nothing has changed.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._locked = folder_lock.lock(self.path.parent)
        for left in self.path.parent.glob(f".{FILE}.*"):  # of a run killed while it wrote
            with contextlib.suppress(OSError):
                left.unlink()
        self._settings = _settings(training)
        if self.path.exists():
            self._resume(training, *read(self.path))
            return True
        self._save(training)
        return False

    def step_done(self, training: Training) -> None:
        """Write where `every` steps have been made."""
        if self.every is not None:
            steps = training.epochs_done * training.steps + training.steps_done
            if steps % self.every == 0:
                self._save(training)

    def epoch_done(self, training: Training) -> None:
        """Write where no number of steps was given."""
        if self.every is None:
            self._save(training)

    def end(self, training: Training) -> None:
        """Write where training stands now, unless the file says so already."""
        if self._saved != (training.epochs_done, training.steps_done):
            self._save(training)

    def leave(self) -> None:
        """Let other processes have the folder, unless this one held it before `begin`."""
        if self._locked:
            folder_lock.release(self.path.parent)

    # ---- writing ----
    def _save(self, training: Training) -> None:
        training.fetch()
        model = training.model
        document, tensors = storage.contents(model)
        storage.add_random_state(document, tensors)
        document["kind"] = "checkpoint"
        document["training"] = {
            "settings": self._settings,
            "epochs_done": training.epochs_done,
            "steps_done": training.steps_done,
            "accumulated": [
                [float(part.accumulated_sum), part.accumulated_count]
                for part in (model.loss, model.accuracy)
            ],
            "callbacks": [],
        }
        for name, curve in training.history.history.items():
            tensors[f"training.history.{name}"] = np.array(curve, np.float64)
        for number, callback in enumerate(_with_memory(training.callbacks)):
            numbers, arrays = _split(callback.get_state())
            document["training"]["callbacks"].append(numbers)
            for name, values in arrays.items():
                tensors[f"training.callbacks.{number}.{name}"] = values
        tensor_file.write(self.path, document, tensors)
        self._saved = training.epochs_done, training.steps_done

    # ---- reading ----
    def _resume(self, training: Training, document: Document, tensors: Tensors) -> None:
        try:
            stored = document["training"]
            found = _differences(_settings_in(document, self._settings), self._settings)
            done, steps = (checks.seed(stored[n], n) for n in ("epochs_done", "steps_done"))
        except storage.NOT_A_MODEL as error:
            raise ModelFileError(f"{self.path}: is no whole checkpoint: {error!r}") from error
        if found:
            more = f" and {len(found) - MOST_NAMED} more" if len(found) > MOST_NAMED else ""
            raise CheckpointError(
                f"{self.path} is of another run: {'; '.join(found[:MOST_NAMED])}{more}. Train "
                "as before to go on with it, or give another folder to begin anew"
            )
        if done > training.epochs:
            raise CheckpointError(
                f"{self.path} has {done} epochs already, got epochs={training.epochs}; give at "
                "least as many"
            )
        if steps > training.steps:
            raise ModelFileError(f"{self.path}: {steps} steps of an epoch of {training.steps}")
        try:
            self._restore(training, document, tensors)
        except storage.NOT_A_MODEL as error:
            raise ModelFileError(f"{self.path}: does not fit the model: {error}") from error
        self._saved = training.epochs_done, training.steps_done

    def _restore(self, training: Training, document: Document, tensors: Tensors) -> None:
        stored, model = document["training"], training.model
        stream = storage.checked_random_state(document["random"], tensors.pop("random.key", None))
        own = {name: a for name, a in tensors.items() if not name.startswith("training.")}
        set_values = storage.checked_values(model, document["state"], own)
        history = _history(tensors, stored["epochs_done"])
        for role in ("loss", "optimizer", "accuracy"):
            parts.take_arguments(getattr(model, role), document[role], role)
        for layer, description in zip(model.layers, document["layers"], strict=True):
            parts.take_arguments(layer, description, "layers")
        set_values()
        sums = zip((model.loss, model.accuracy), stored["accumulated"], strict=True)
        for part, (total, count) in sums:
            part.accumulated_sum, part.accumulated_count = float(total), int(count)
        training.history = history
        training.epochs_done, training.steps_done = stored["epochs_done"], stored["steps_done"]
        callbacks = _with_memory(training.callbacks)
        for number, (callback, state) in enumerate(
            zip(callbacks, stored["callbacks"], strict=True)
        ):
            prefix = f"training.callbacks.{number}."
            arrays = {n.removeprefix(prefix): a for n, a in tensors.items() if n.startswith(prefix)}
            callback.set_state(state | arrays)
        if stream is not None:
            np.random.set_state(stream)


def read(path: Path) -> tuple[Document, Tensors]:
    """Document and tensors of a checkpoint. Raises ModelFileError for any other file."""
    document, tensors = tensor_file.parse(tensor_file.read_bytes(path), path)
    if document.get("kind") != "checkpoint":
        raise ModelFileError(
            f"{path}: holds {document.get('kind')!r}, expected a checkpoint; give another folder"
        )
    return document, tensors


def fingerprint(backend: Backend, values: Any) -> dict[str, Any]:
    """Shape, dtype and SHA-256 of an array of the backend, in little memory."""
    starts = range(0, values.shape[0], ROWS)
    parts = (backend.to_numpy(values[start : start + ROWS]) for start in starts)
    return hashed(values.shape, values.dtype, parts)


def hashed(shape: Iterable[int], dtype: np.dtype, parts: Iterable[np.ndarray]) -> dict[str, Any]:
    """The same of an array of this shape and dtype whose rows come in `parts`."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.tobytes())
    return {"shape": list(shape), "dtype": dtype.name, "sha256": digest.hexdigest()[:16]}


def _settings(training: Training) -> dict[str, Any]:
    """Everything that decides on the bits of a run, beside its start."""
    backend = training.model.backend
    callbacks = [
        {"class": type(callback).__name__} | callback.settings()
        for callback in _with_memory(training.callbacks)
    ]
    return {
        "backend": backend.name,
        "precise_dot": backend.precise_dot,
        "book_random": backend.book_random,
        **storage.describe(training.model),
        **training.settings(),
        "callbacks": callbacks,
    }


def _settings_in(document: Document, now: dict[str, Any]) -> dict[str, Any]:
    """The settings in a checkpoint, to be compared with those of `now`.

    A dropout seed that is not given, or is the one that the checkpoint has drawn, is taken
    for the same: the one in the checkpoint is used.
    """
    settings, states = document["training"]["settings"], document["state"]["layers"]
    layers = list(settings["layers"])
    for i, (new, old, state) in enumerate(zip(now["layers"], layers, states, strict=False)):
        if old["class"] == new["class"] == "Layer_Dropout" and new["seed"] in (None, state["seed"]):
            layers[i] = old | {"seed": new["seed"]}
    return settings | {"layers": layers}


def _with_memory(callbacks: tuple[Callback, ...]) -> list[Callback]:
    """Those that keep something: the others may come and go between two starts."""
    kept = ("settings", "get_state")
    return [
        c for c in callbacks if any(getattr(type(c), m) is not getattr(Callback, m) for m in kept)
    ]


def _split(state: dict[str, Any]) -> tuple[dict[str, Any], Tensors]:
    arrays = {name: value for name, value in state.items() if isinstance(value, np.ndarray)}
    return {name: value for name, value in state.items() if name not in arrays}, arrays


def _history(tensors: Tensors, epochs: int) -> History:
    history, prefix = History(), "training.history."
    history.epoch = list(range(1, epochs + 1))
    for name, values in tensors.items():
        if name.startswith(prefix):
            if values.shape != (epochs,):
                raise ValueError(f"{name}: got shape {values.shape}, expected ({epochs},)")
            history.history[name.removeprefix(prefix)] = values.tolist()
    return history


def _differences(old: Any, new: Any, where: str = "") -> list[str]:
    """What differs between two trees of dicts, lists and values, in words."""
    if isinstance(old, dict) and isinstance(new, dict):
        pairs: Any = [(key, old.get(key), new.get(key)) for key in (old | new)]
    elif isinstance(old, (list, tuple)) and isinstance(new, (list, tuple)) and len(old) == len(new):
        pairs = [(i, *pair) for i, pair in enumerate(zip(old, new, strict=True))]
    else:
        if old == new:
            return []
        return [f"{where} was {_short(old)}, is now {_short(new)}"]
    dot = f"{where}." if where else ""
    return [text for key, a, b in pairs for text in _differences(a, b, f"{dot}{key}")]


def _short(value: Any) -> str:
    if isinstance(value, dict) and "class" in value:
        return str(value["class"])
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return "[" + ", ".join(_short(one) for one in value) + "]"
    return repr(value)
