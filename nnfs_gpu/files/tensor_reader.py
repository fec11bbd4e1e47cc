"""Reading sealed safetensors files (`tensor_file.py`): the header is judged before the rest.

A file is opened once. Its first eight bytes promise a header of some length; the header
promises tensors. Neither promise is believed: a length that the file does not have, or that no
file of ours needs, is refused before anything of that length is read, and the caller's `judge`
sees document, names, shapes and dtypes, and may refuse them, before the tensors are read.
"""

from __future__ import annotations

import json
import math
import os
import reprlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from .tensor_file import KEY, MOST_HEADER, VERSION, AnyPath, Document, ModelFileError, Tensors, seal

Forms = dict[str, tuple[tuple[int, ...], str]]  # name -> shape, NumPy's name of the dtype
Judge = Callable[[Document, Forms], None]  # raises ModelFileError for what is not to be read

BYTES = {"F64": 8, "F32": 4, "F16": 2, "BOOL": 1}
BYTES |= {f"{kind}{8 * size}": size for kind in "IU" for size in (1, 2, 4, 8)}
NUMPY_NAMES = {"BOOL": "bool", "F": "float", "I": "int", "U": "uint"}
MOST_AXES = 32  # of an array in NumPy 1
MOST_SHOWN = 400  # characters of a value in an error
NOT_JSON = (ValueError, RecursionError)  # of what json cannot read


def open_file(path: AnyPath) -> BinaryIO:
    """The file, open for reading. Raises FileNotFoundError where there is none."""
    if not Path(path).is_file():
        what = "is a folder, expected a model file" if Path(path).is_dir() else "no such model file"
        raise FileNotFoundError(f"{path}: {what}")
    return open(path, "rb")


def read(file: BinaryIO, path: AnyPath, judge: Judge) -> tuple[Document, Tensors]:
    """Document and tensors of an open file, with the seal checked.

    Raises ModelFileError, with `path` in it, for a foreign, truncated or altered file, and
    what `judge` raises.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load as from_bytes

    header = _header_text(file, path)
    try:
        metadata, forms = _parts(_object(header.decode()), _rest(file, header))
    except NOT_JSON as error:
        raise _unreadable(path, error) from error
    document = _document_in(metadata, path)
    judge(document, forms)
    data = b"".join((len(header).to_bytes(8, "little"), header, file.read()))
    try:
        tensors = from_bytes(data)
    except (SafetensorError, ValueError, TypeError, KeyError, OverflowError) as error:
        raise _unreadable(path, error) from error
    if document.get("sha256") != seal(document, tensors):
        raise ModelFileError(f"{path}: was altered or damaged: its checksum differs")
    return document, tensors


def forms_of(tensors: Tensors) -> Forms:
    """What a header says of `tensors`."""
    return {name: (tuple(values.shape), values.dtype.name) for name, values in tensors.items()}


def short(value: Any) -> str:
    """`value` of a file in an error: its repr, cut where it is long."""
    text = reprlib.repr(value)
    return text if len(text) <= MOST_SHOWN else f"{text[: MOST_SHOWN - 3]}..."


def reason(error: Any) -> str:
    """What an exception says, in one line and cut where it is long; its class where a key or
    an empty text alone would not say what happened.
    """
    text = " ".join(str(error).split())
    if isinstance(error, KeyError) or not text:
        text = f"{type(error).__name__} {text}"
    return text if len(text) <= MOST_SHOWN else f"{text[: MOST_SHOWN - 3]}..."


# ---- the header ----
def _header_text(file: BinaryIO, path: AnyPath) -> bytes:
    file.seek(0)
    start = file.read(8)
    length, size = int.from_bytes(start, "little"), os.fstat(file.fileno()).st_size
    if len(start) < 8:
        raise _unreadable(path, f"it has {size} bytes, expected 8 and a header")
    if length > min(size - 8, MOST_HEADER):
        most = f"at most {MOST_HEADER}" if length > MOST_HEADER else f"{size - 8}"
        raise _unreadable(path, f"it promises a header of {length} bytes, expected {most}")
    return file.read(length)


def _rest(file: BinaryIO, header: bytes) -> int:
    return os.fstat(file.fileno()).st_size - 8 - len(header)


def _unreadable(path: AnyPath, error: Any) -> ModelFileError:
    return ModelFileError(f"{path}: not a readable safetensors file ({reason(error)})")


def _parts(header: dict[str, Any], size: int) -> tuple[dict[str, str], Forms]:
    """Metadata and forms. Raises ValueError where the tensors are not `size` bytes together."""
    metadata = header.pop("__metadata__", None)
    metadata = {} if metadata is None else metadata
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise ValueError(f"__metadata__ is {short(metadata)}, expected texts by name")
    forms, places = {}, []
    for name, entry in header.items():
        shape, dtype = _form(name, entry)
        forms[name] = shape, _numpy_name(dtype)
        begin, end = entry["data_offsets"]
        if end - begin != math.prod(shape) * BYTES[dtype]:
            raise ValueError(
                f"{short(name)}: {short(end - begin)} bytes for {short(shape)} {dtype}"
            )
        places.append((begin, end))
    at = 0
    for begin, end in sorted(places):  # one after the other, from the first byte to the last
        if begin != at:
            raise ValueError(f"a tensor begins at byte {short(begin)}, expected {short(at)}")
        at = end
    if at != size:
        raise ValueError(f"it promises tensors of {short(at)} bytes, it has {size}")
    return metadata, forms


def _form(name: str, entry: Any) -> tuple[tuple[int, ...], str]:
    """Shape and safetensors' dtype of one entry. Raises ValueError for anything else."""
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"{short(name)} has no dtype, shape and data_offsets")
    dtype, shape = entry["dtype"], entry["shape"]
    if not isinstance(dtype, str) or dtype not in BYTES:
        raise ValueError(f"{short(name)}: dtype {short(dtype)}, expected one of {', '.join(BYTES)}")
    sizes = isinstance(shape, list) and all(type(n) is int and 0 <= n < 2**63 for n in shape)
    if not sizes or len(shape) > MOST_AXES:
        raise ValueError(
            f"{short(name)}: shape {short(shape)}, expected at most {MOST_AXES} whole numbers"
        )
    offsets = entry["data_offsets"]
    places = isinstance(offsets, list) and all(type(n) is int and n >= 0 for n in offsets)
    if not places or len(offsets) != 2:
        raise ValueError(f"{short(name)}: data_offsets {short(offsets)}, expected two of bytes")
    return tuple(shape), dtype


def _numpy_name(dtype: str) -> str:
    return NUMPY_NAMES.get(dtype) or NUMPY_NAMES[dtype[0]] + dtype[1:]


# ---- the document ----
def _document_in(metadata: dict[str, str], path: AnyPath) -> Document:
    if KEY not in metadata:
        raise ModelFileError(
            f"{path}: got the metadata {short(sorted(metadata))}, expected {KEY!r}, as in a file "
            "that nnfs_gpu wrote"
        )
    document = _document(metadata[KEY], path)
    if document.get("format_version") != VERSION:
        raise ModelFileError(
            f"{path}: got format version {short(document.get('format_version'))}, expected "
            f"{VERSION}; a newer nnfs_gpu may read it"
        )
    return document


def _document(text: str, path: AnyPath) -> Document:
    try:
        document = _object(text)
        json.dumps(document)  # as `seal` will: it is not nested too deep
    except NOT_JSON as error:
        raise ModelFileError(
            f"{path}: its architecture cannot be read ({reason(error)})"
        ) from error
    return document


def _object(text: str) -> dict[str, Any]:
    """JSON whose names are each there once. Raises ValueError for anything but an object."""
    found = json.loads(text, object_pairs_hook=_once)
    if not isinstance(found, dict):
        raise ValueError(f"got {type(found).__name__}, expected an object")
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Two readers of a name that is there twice could each take another value."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name is there twice")
    return found
