"""Compiled CUDA kernels on disk, named after all that they are made of.

They lie in the folder `nnfs_gpu` of CuPy's cache of kernels (CUPY_CACHE_DIR, by default
~/.cupy/kernel_cache); CUPY_CACHE_IN_MEMORY=1 turns both off. A file holds the SHA-256 of the
code, then the code: one that is cut off or damaged counts as missing. A file is complete
before it has its name, so that processes may compile the same kernel at the same time. Where
the folder cannot be written, kernels are compiled again in each process.
"""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
from pathlib import Path

logger = logging.getLogger("nnfs_gpu")

DIGEST = hashlib.sha256().digest_size


def load(key: object) -> bytes | None:
    """What was saved under `key`, or None."""
    file = _file(key)
    if file is None:
        return None
    try:
        found = file.read_bytes()
    except OSError:
        return None
    digest, code = found[:DIGEST], found[DIGEST:]
    return code if hashlib.sha256(code).digest() == digest else None


def save(key: object, code: bytes) -> None:
    """Keep `code` under `key`, where there is a folder to keep it in."""
    file = _file(key)
    if file is None:
        return
    temporary = None
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=file.parent, delete=False) as out:
            temporary = Path(out.name)
            out.write(hashlib.sha256(code).digest() + code)
        temporary.replace(file)
    except OSError as error:
        logger.debug("compiled kernels are not kept: %s", error)
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def folder() -> Path | None:
    """Where compiled kernels lie; None where they are not kept."""
    if os.environ.get("CUPY_CACHE_IN_MEMORY") == "1":
        return None
    cupy = os.environ.get("CUPY_CACHE_DIR") or Path("~/.cupy/kernel_cache").expanduser()
    return Path(cupy, "nnfs_gpu")


def _file(key: object) -> Path | None:
    kept = folder()
    return kept and kept / f"{hashlib.sha256(repr(key).encode()).hexdigest()}.bin"
