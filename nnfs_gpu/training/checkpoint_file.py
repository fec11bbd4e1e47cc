"""Reading a checkpoint's file: it is judged before its tensors are read; and the curve in it.

For `checkpoint.py`, which says what the file holds, and for `nnfs-gpu train --resume`.
"""

from __future__ import annotations

from ..files import forms as file_forms, model_file as storage, tensor_reader
from ..files.forms import HISTORY
from ..files.tensor_file import AnyPath, Document, ModelFileError, Tensors
from ..files.tensor_reader import Forms, Judge, reason, short
from .history import History


class CheckpointError(ValueError):
    """A checkpoint that belongs to another run than the one that is to go on from it."""


def read(path: AnyPath, judge: Judge | None = None) -> tuple[Document, Tensors]:
    """Document and tensors of a checkpoint. Raises ModelFileError for any other file.

    `judge` sees the document and the tensors' shapes, which fit one another, before the
    tensors are read.
    """

    def judged(document: Document, forms: Forms) -> None:
        if document.get("kind") != "checkpoint":
            raise ModelFileError(
                f"{path}: holds {short(document.get('kind'))}, expected a checkpoint; give "
                "another folder"
            )
        try:
            file_forms.judge_layers(document, forms)
            file_forms.judge_training(document["training"], forms)
            if judge is not None:
                judge(document, forms)
        except (CheckpointError, ModelFileError):  # of `judge`
            raise
        except storage.NOT_A_MODEL as error:
            raise not_whole(path, error) from error

    with tensor_reader.open_file(path) as file:
        return tensor_reader.read(file, path, judged)


def not_whole(path: AnyPath, error: Exception) -> ModelFileError:
    """The error of a file in which parts of a checkpoint are missing or of another form."""
    return ModelFileError(f"{path}: is no whole checkpoint: {reason(error)}")


def history_in(tensors: Tensors, epochs: int, names: tuple[str, ...]) -> History:
    """The curve so far. Raises ValueError where a number of the epochs is missing."""
    history = History()
    history.epoch = list(range(1, epochs + 1))
    found = {n.removeprefix(HISTORY): a for n, a in tensors.items() if n.startswith(HISTORY)}
    if found.keys() != set(names if epochs else ()):
        raise ValueError(f"history: got {short(sorted(found))}, expected {', '.join(names)}")
    history.history = {name: found[name].tolist() for name in names if epochs}
    return history
