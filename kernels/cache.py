"""Compiled kernels on disk: found again only if nothing that they are made of has changed.

Numba's own cache looks at the file of the function that is called. Two things go wrong with it:
* A kernel calls functions and reads constants of other files here. After an update that changes
  only those, Numba runs the old code, with a table laid out as it used to be: wrong numbers or
  a crash. Here the stamp is that of all Python files of the folder.
* Two processes that compile two signatures of one function at the same time may give both the
  same file name (Numba takes the next free number), and one runs the other's code. Here the
  name of a file is a hash of its signature and stamp, and it is complete before the index
  names it: the worst that a race can do is to compile once more.

The classes are Numba's, with two methods replaced; `common.jit` uses them.
"""

import functools
import hashlib
from pathlib import Path

from numba.core.caching import FunctionCache, IndexDataCacheFile


@functools.cache
def stamp():
    """Name, time and size of every Python file of this folder."""
    files = sorted(Path(__file__).resolve().parent.glob("*.py"))
    return tuple((f.name, f.stat().st_mtime_ns, f.stat().st_size) for f in files)


class KernelFiles(IndexDataCacheFile):
    """The index of a function's compiled signatures, and a file for each."""

    def save(self, key, data):
        """Write the code of one signature, then the index that names it."""
        digest = hashlib.sha256(repr((key, self._source_stamp)).encode()).hexdigest()[:16]
        name = self._named(digest)
        if not self._load_index():  # no index, or one of an older state: so are its files
            for old in Path(self._cache_path).glob(self._named("*")):
                old.unlink(missing_ok=True)
        self._save_data(name, data)
        overloads = self._load_index()
        overloads[key] = name
        self._save_index(overloads)

    def _named(self, digest):
        return self._data_name_pattern.replace("{number:d}", digest)


class KernelCache(FunctionCache):
    """Numba's cache of one function, over `KernelFiles` and the stamp of the whole folder."""

    def __init__(self, function):
        super().__init__(function)
        self._cache_file = KernelFiles(
            cache_path=self._cache_path,
            filename_base=self._impl.filename_base,
            source_stamp=stamp(),
        )
