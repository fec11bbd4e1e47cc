"""Sealed safetensors files: tensors and one JSON document, whole or not at all.

Format 2. A safetensors file with one metadata entry, `nnfs_gpu`, whose text is a JSON object
with sorted keys. Its `sha256` seals the rest of the object and the names, dtypes, shapes and
bytes of all tensors: a file in which anything was altered is refused. One entry, because
safetensors writes several in no fixed order; so equal content gives equal bytes.

Format 1 (before 0.2) had the entries format, format_version, architecture and sha256, the
last of the tensors alone; it is read, not written.
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

Document = dict[str, Any]
Tensors = dict[str, np.ndarray]


class ModelFileError(ValueError):
    """A file that is no model of ours, is damaged, or does not fit what it is loaded into."""


# ---- writing ----
def write(path: str | os.PathLike, document: Document, tensors: Tensors) -> None:
    """Write both to `path`, replacing it only when the new file is complete.

    Raises OSError where the folder cannot be written.
    """
    from safetensors.numpy import save as to_bytes

    tensors = {name: np.ascontiguousarray(values) for name, values in tensors.items()}
    document = document | {"format_version": VERSION}
    document["sha256"] = seal(document, tensors)
    write_atomically(path, to_bytes(tensors, {KEY: _canonical(document)}))


def seal(document: Document, tensors: Tensors) -> str:
    """SHA-256 of everything in the file but itself."""
    rest = {key: value for key, value in document.items() if key != "sha256"}
    digest = hashlib.sha256(_canonical(rest).encode())
    for name in sorted(tensors):
        values = np.ascontiguousarray(tensors[name])
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


def write_atomically(path: str | os.PathLike, data: bytes) -> None:
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
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno and error.filename is None:
            error.filename = str(path)  # a full disk's error does not say where
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Make the rename itself last. Not every system can: the file is whole either way."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


# ---- reading ----
def read_bytes(path: str | os.PathLike) -> bytes:
    """The content of a file. Raises FileNotFoundError where there is none."""
    if not Path(path).is_file():
        what = "is a folder, expected a model file" if Path(path).is_dir() else "no such model file"
        raise FileNotFoundError(f"{path}: {what}")
    return Path(path).read_bytes()


def parse(data: bytes, path: Any) -> tuple[Document, Tensors]:
    """Document and tensors of a file's bytes, format 1 or 2, with the seal checked.

    Raises ModelFileError, with `path` in it, for a foreign, truncated or altered file.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load as from_bytes

    try:
        tensors = from_bytes(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    except (SafetensorError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise ModelFileError(f"{path}: not a readable safetensors file ({error})") from error
    metadata = header.get("__metadata__", {})
    document = _format_2(metadata, path) if KEY in metadata else _format_1(metadata, path)
    sealed = seal_1(tensors) if document["format_version"] == 1 else seal(document, tensors)
    if document.get("sha256") != sealed:
        raise ModelFileError(f"{path}: was altered or damaged: its checksum differs")
    return document, tensors


def _format_2(metadata: dict[str, str], path: Any) -> Document:
    document = _json(metadata[KEY], path)
    if document.get("format_version") != VERSION:
        raise ModelFileError(
            f"{path}: got format version {document.get('format_version')!r}, expected {VERSION}; "
            "a newer nnfs_gpu may read it"
        )
    return document


def _format_1(metadata: dict[str, str], path: Any) -> Document:
    found = metadata.get("format"), metadata.get("format_version")
    if found != ("nnfs_gpu", "1"):
        raise ModelFileError(
            f"{path}: got format {found[0]!r} version {found[1]!r}, expected a file that "
            f"nnfs_gpu wrote: metadata {KEY!r}, or format 'nnfs_gpu' version '1'"
        )
    architecture = _json(metadata.get("architecture", ""), path)
    return architecture | {
        "format_version": 1,
        "kind": "model",
        "sha256": metadata.get("sha256"),
    }


def seal_1(tensors: Tensors) -> str:
    """The checksum of format 1: names and bytes of the tensors."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode() + b"\0" + np.ascontiguousarray(tensors[name]).tobytes())
    return digest.hexdigest()


def _json(text: str, path: Any) -> Document:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"{path}: its architecture cannot be read ({error})") from error
    if not isinstance(document, dict):
        raise ModelFileError(
            f"{path}: its architecture cannot be read: got {type(document).__name__}, "
            "expected an object"
        )
    return document
