"""Compiled kernels on disk: reused only if nothing that they are made of has changed.

Numba's own cache looks at the file of the function that is called, and trusts what it finds. Four
things go wrong with it:
* A kernel calls functions and reads constants of other files here. After an update that changes
  only those, Numba runs the old code, with a table laid out as it used to be: wrong numbers or
  a crash. Here the stamp is that of all Python files of kernels/: of what is in them, so that a
  cache goes on counting where the package is installed anew, as in every run of CI.
* Two processes that compile two signatures of one function at the same time may give both the
  same file name (Numba takes the next free number), and one runs the other's code. Here the
  name of a file is a hash of its signature and stamp, and it is complete before the index
  names it: the worst that a race can do is to compile once more.
* A file that is empty, cut off or changed stops the program, or is run. Here every file begins
  with the hash of what follows; one that does not fit is like none, and is replaced.
* A disk that is full stops the program, although the code is there, in memory. And a folder that
  can be read but not written, as in an image, is not looked into. Here all folders are read, the
  first that takes a file is written, and where none does the run goes on and says so once.
"""

import contextlib
import functools
import hashlib
import inspect
import logging
import os
import pickle
import platform
import uuid
from pathlib import Path

import llvmlite
import numba
from numba.core.caching import FunctionCache, IndexDataCacheFile
from numba.core.compiler import CompileResult
from numba.misc.appdirs import AppDirs

logger = logging.getLogger("nnfs_gpu")

ROOT = Path(__file__).absolute().parent.parent  # kernels/
HASH = hashlib.sha256
HASH_BYTES = HASH().digest_size


@functools.cache
def stamp():
    """The versions that compile, and a digest of all Python files of kernels/."""
    versions = numba.__version__, llvmlite.__version__, platform.python_version()
    digest = HASH()
    for file in sorted(ROOT.glob("**/*.py")):
        content = file.read_bytes()
        digest.update(f"{file.relative_to(ROOT).as_posix()}\0{len(content)}\0".encode())
        digest.update(content)
    return versions, digest.hexdigest()


# What Numba compiles otherwise: a run that debugs leaves no slow kernels to those that follow.
SETTINGS = ("OPT", "LOOP_VECTORIZE", "SLP_VECTORIZE", "BOUNDSCHECK", "DEBUGINFO_DEFAULT")


@functools.cache
def warn_once(message):
    """A warning through `logging`, the first time in this process."""
    logger.warning(message)


class KernelFiles(IndexDataCacheFile):
    """In one folder: the index of a function's compiled signatures, and a file for each."""

    def __init__(self, folder, name, source_stamp):
        super().__init__(str(folder), name, source_stamp)
        self.folder = folder

    def load(self, key):
        """The code of one signature, or None."""
        name = self._load_index().get(key)
        return None if name is None else self._read(self._data_path(name))

    def save(self, key, data):
        """Write the code of one signature, then the index that names it. Raises OSError."""
        self.folder.mkdir(parents=True, exist_ok=True)
        digest = HASH(repr((key, self._source_stamp)).encode()).hexdigest()[:16]
        name = self._named(digest)
        if not self._load_index():  # no index, or one of an older state: so are its files
            for old in self.folder.glob(self._named("*")):
                old.unlink(missing_ok=True)
        self._write(self._data_path(name), data)
        self._save_index(self._load_index() | {key: name})

    def _named(self, digest):
        return self._data_name_pattern.replace("{number:d}", digest)

    def _load_index(self):
        found, overloads = self._read(self._index_path) or (None, {})
        return overloads if found == self._source_stamp else {}

    def _save_index(self, overloads):
        self._write(self._index_path, (self._source_stamp, overloads))

    # ---- a file ----
    def _read(self, path):
        """What `_write` has written; None where there is no such file, or something else."""
        try:
            content = Path(path).read_bytes()
        except OSError:
            return None
        if content[:HASH_BYTES] != HASH(content[HASH_BYTES:]).digest():
            warn_once(f"kernel cache {self.folder}: damaged files; their kernels are compiled anew")
            return None
        return pickle.loads(content[HASH_BYTES:])

    def _write(self, path, value):
        """Replace a file as a whole, whoever reads or writes it at the same time."""
        content = self._dump(value)
        new = f"{path}.{uuid.uuid4().hex}"
        try:
            Path(new).write_bytes(HASH(content).digest() + content)
            os.replace(new, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(new)
            raise


class KernelCache(FunctionCache):
    """What a dispatcher of Numba asks for the code of one function, over `KernelFiles`.

    Nothing is looked for before the function is compiled.
    """

    def __init__(self, function):
        self._name, self._py_func = repr(function), function
        self.enable()

    @functools.cached_property
    def folders(self):
        """Where Numba looks: NUMBA_CACHE_DIR alone, or __pycache__ and the user's cache."""
        path = Path(inspect.getfile(self._py_func)).absolute()
        home = ROOT if path.is_relative_to(ROOT) else path.parent  # one folder for all kernels
        apart = f"{home.name}_{HASH(bytes(home)).hexdigest()[:16]}"
        if numba.config.CACHE_DIR:
            folders = [Path(numba.config.CACHE_DIR, apart)]
        else:
            user = AppDirs(appname="numba", appauthor=False).user_cache_dir
            folders = [home / "__pycache__", Path(user, apart)]
        version = platform.python_version_tuple()
        line = self._py_func.__code__.co_firstlineno
        function = self._py_func.__qualname__.replace("<", "").replace(">", "")
        module = ".".join(path.relative_to(home).with_suffix("").parts)
        name = f"{module}.{function}-{line}.py{version[0]}{version[1]}.{HASH().name}"
        return [KernelFiles(folder, name, stamp()) for folder in folders]

    @property
    def cache_path(self):
        """The first folder, for people who ask Numba where the code is."""
        return str(self.folders[0].folder)

    def flush(self):
        """Forget all signatures."""
        for files in self.folders:
            Path(files._index_path).unlink(missing_ok=True)

    def _index_key(self, sig, codegen):
        """What the code of a signature is found by: with the settings it is compiled with."""
        settings = tuple(str(getattr(numba.config, name, None)) for name in SETTINGS)
        return super()._index_key(sig, codegen), settings

    def load_overload(self, sig, target_context):
        """The compiled function for this signature, or None."""
        target_context.refresh()
        key = self._index_key(sig, target_context.codegen())
        for files in self.folders:
            data = files.load(key)
            if data is not None:
                return CompileResult._rebuild(target_context, *data)
        return None

    def save_overload(self, sig, data):
        """Keep a compiled function in the first folder that can be written, if there is one."""
        key, reduced = self._index_key(sig, data.codegen), data._reduce()
        problems = []
        for files in self.folders:
            try:
                files.save(key, reduced)
                break
            except OSError as error:
                problems.append(f"{files.folder} ({error.strerror})")
        else:
            warn_once(
                f"compiled kernels cannot be kept in {' or '.join(problems)}: "
                "the run goes on, and every process compiles them again"
            )
