"""Sealed safetensors files: tensors and one JSON document, whole or not at all.

Format 2. A safetensors file with one metadata entry, `nnfs_gpu`, whose text is a JSON object
with sorted keys. Its `sha256` seals the rest of the object and the names, dtypes, shapes and
bytes of all tensors: a file in which anything was altered is refused. One entry, because
safetensors writes several in no fixed order; so equal content gives equal bytes.

Reading: `tensor_reader.py`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import shutil
from pathlib import Path
from typing import Any

import numpy as np

KEY, VERSION = "nnfs_gpu", 2
MOST_HEADER = 16 << 20  # bytes of names, shapes and document; read whole before anything else

AnyPath = str | os.PathLike[str]
Document = dict[str, Any]
Tensors = dict[str, np.ndarray]


class ModelFileError(ValueError):
    """A file that is no model of ours, is damaged, or does not fit what it is loaded into."""


# ---- writing ----
def write(path: AnyPath, document: Document, tensors: Tensors) -> None:
    """Write both to `path`, replacing it only when the new file is complete.

    Raises OSError where the folder cannot be written, TypeError or ValueError for a document
    that no file can hold.
    """
    from safetensors.numpy import save as to_bytes

    tensors = {name: np.asarray(values, order="C") for name, values in tensors.items()}
    document = document | {"format_version": VERSION}
    document["sha256"] = seal(document, tensors)
    data = to_bytes(tensors, {KEY: _canonical(document)})
    header = int.from_bytes(data[:8], "little")
    if header > MOST_HEADER:
        raise ValueError(
            f"{path}: got {header} bytes beside the tensors, expected at most {MOST_HEADER}; "
            "keep long lists of numbers in a callback's state as NumPy arrays"
        )
    write_atomically(path, data)


def seal(document: Document, tensors: Tensors) -> str:
    """SHA-256 of everything in the file but itself."""
    rest = {key: value for key, value in document.items() if key != "sha256"}
    digest = hashlib.sha256(_canonical(rest).encode())
    for name in sorted(tensors):
        values = np.asarray(tensors[name], order="C")
        digest.update(f"\0{name}\0{values.dtype.name}\0{values.shape}\0".encode())
        digest.update(values.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _canonical(document: Document) -> str:
    return json.dumps(document, sort_keys=True, separators=(",", ":"), default=_plain)


def _plain(value: Any) -> Any:
    """NumPy's numbers as Python's: JSON knows no others."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(
        f"a model file cannot hold {value!r}; expected numbers, texts, lists and dicts of them"
    )


def write_atomically(path: AnyPath, data: bytes) -> None:
    """Write `data` to a temporary file beside `path`, then rename it: whole or not at all.

    A link is followed, the permissions of a file that is replaced are kept. Raises OSError
    where something else than a plain file has that name, or the folder cannot be written.
    """
    path = Path(os.path.realpath(os.fsdecode(path)))
    if path.is_dir():
        raise IsADirectoryError(f"{path}: is a folder; give the name of a file in it")
    if path.exists() and not path.is_file():
        raise OSError(f"{path} is there already and is no plain file; choose another name")
    if path.parent.is_file():
        raise NotADirectoryError(f"{path.parent}: is a file, expected a folder")
    if not path.parent.exists():
        raise FileNotFoundError(f"{path.parent}: no such folder; make it first")
    # Not tempfile's: its files are for their owner alone, whatever the umask says.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            shutil.copymode(path, temporary)
        os.replace(temporary, path)
    except BaseException as error:
        with contextlib.suppress(OSError):  # the first error is the one to hear of
            temporary.unlink()
        if isinstance(error, OSError) and error.errno and error.filename is None:
            error.filename = str(path)  # a full disk's error does not say where
        raise
    _sync_folder(path.parent)


def make_folder(path: AnyPath) -> list[Path]:
    """Make the folder `path` where it is missing; those that were made, the innermost first.

    The folder that each stands in is forced to the disk, too: else a power cut takes the new
    one, with all the files that were forced into it. Raises OSError where that cannot be.
    """
    folder = Path(path)
    made = [one for one in (folder, *folder.parents) if not one.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        remove_empty(made)
        raise
    for one in reversed(made):
        _sync_folder(one.parent)
    return made


def remove_empty(folders: list[Path]) -> None:
    """Take back folders that `make_folder` made, as long as nobody has filled them."""
    for folder in folders:
        with contextlib.suppress(OSError):
            folder.rmdir()


def _sync_folder(folder: Path) -> None:
    """Make a new name in it last. Not every system can: a file is whole either way."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
