"""Which backend does the work: chosen here, once, and nowhere else.

`get_backend(name)` gives one; `use_backend(name)` makes it the default that layers, losses
and data sets take when they are constructed and keep as `.backend`; `available_backends()`
says what works on this machine and, where something does not, why and what to do.
The default is the environment variable NNFS_GPU_BACKEND, else "auto": the first that works
in the order of `AUTO_ORDER`.
"""

from __future__ import annotations

import copyreg
import importlib
import logging
import os
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .cpu.probe import import_compiling_numba, import_numba
from .driver import UnavailableError
from .identity import SETTINGS, current_device
from .numpy_backend import NumpyBackend, real_dtype
from .protocol import Backend, DTypeLike

__all__ = [
    "AUTO_ORDER",
    "Backend",
    "BackendStatus",
    "BackendUnavailableError",
    "available_backends",
    "get_backend",
    "use_backend",
]

logger = logging.getLogger("nnfs_gpu")

AUTO_ORDER = ("cupy", "numba", "numpy")  # fastest first
ENVIRONMENT_VARIABLE = "NNFS_GPU_BACKEND"

_MODULES = {  # name: (module, class); imported when asked for, never before
    "cupy": ("nnfs_gpu.backend.cupy_backend", "CupyBackend"),
    "numba-cuda": ("nnfs_gpu.backend.numba_cuda_backend", "NumbaCudaBackend"),
    "numba": ("nnfs_gpu.backend.numba_backend", "NumbaBackend"),
    "numpy": ("nnfs_gpu.backend.numpy_backend", "NumpyBackend"),
}
_NEEDS = {"numba": import_compiling_numba, "numba-cuda": import_numba}  # tried before the module
_REMEDIES = {  # for errors that the backend itself does not foresee
    "cupy": "reinstall CuPy: pip install --force-reinstall 'cupy-cuda13x[ctk]>=14' (or "
    "cupy-cuda12x, as pip list names it)",
    "numba-cuda": "reinstall it with: pip install --upgrade numba-cuda",
    "numba": "reinstall it with: pip install --upgrade numba",
    "numpy": "reinstall it with: pip install --upgrade numpy",
}

Settings = tuple[str, np.dtype, bool, bool]  # name, dtype, precise_dot, book_random
_made: dict[Settings, dict[int | None, Backend]] = {}  # by settings, then by device
_default: Backend | None = None


class BackendUnavailableError(RuntimeError):
    """A backend that was asked for by name cannot work here; says why and what to do."""


@dataclass(frozen=True)
class BackendStatus:
    """Whether one backend works on this machine.

    Parameters
    ----------
    name : str
        Of the backend.
    usable : bool
        Whether it works.
    reason : str
        What was found, or why it does not work.
    remedy : str
        What to do about it; empty when usable.
    error : Exception, optional
        What was raised when it was tried.
    """

    name: str
    usable: bool
    reason: str
    remedy: str
    error: Exception | None = field(default=None, compare=False, repr=False)


def get_backend(
    name: str | Backend | None = None,
    *,
    dtype: DTypeLike | None = None,
    precise_dot: bool | None = None,
    book_random: bool | None = None,
) -> Backend:
    """The backend of a name and settings.

    The same name and settings give the same object on the same device: where the caller's
    current CUDA device is another one, so is the backend. A backend given as `name` comes back
    as it is.

    Parameters
    ----------
    name : str or Backend, optional
        A name of `available_backends()` or "auto", the first that works; None: the default.
    dtype : {"float32", "float64"}, optional
        Of parameters, activations and data. None, here and below: as the current default.
    precise_dot : bool, optional
        Sum matrix products in float64 and round once, as `nnfs.init()` asks for.
    book_random : bool, optional
        Draw dropout masks from NumPy's global stream, in the book's order.

    Returns
    -------
    Backend
        Ready to work.

    Raises
    ------
    TypeError, ValueError
        For an unknown name or dtype.
    BackendUnavailableError
        With the reason and the remedy, for a backend that cannot work here.
    """
    if isinstance(name, NumpyBackend):
        return name
    if name is not None and not isinstance(name, str):
        raise TypeError(f"backend: got {name!r}, expected a name or a backend")
    if all(one is None for one in (name, dtype, precise_dot, book_random)):
        return _get_default()
    base = _default
    chosen = _resolve(name if name is not None else _get_default().name)
    dtype = real_dtype(dtype if dtype is not None else base.dtype if base else np.float32)
    if precise_dot is None:
        precise_dot = base.precise_dot if base else False
    if book_random is None:
        book_random = base.book_random if base else False
    return _make(chosen, dtype, precise_dot, book_random)


class use_backend:  # noqa: N801 - used like a function
    """Make a backend the default from now on; in a `with` statement, until its end.

    Objects that exist already keep the backend they were constructed with. ::

        use_backend("numba")                          # from here on
        with use_backend("numpy", dtype="float64"):   # inside the block only
            oracle = Layer_Dense(2, 64)

    Parameters
    ----------
    backend : str or Backend
        As in `get_backend`, which says what is raised.
    **settings : dict
        The other arguments of `get_backend`.
    """

    def __init__(self, backend: str | Backend, **settings: Any):
        global _default
        new = get_backend(backend, **settings)
        self._before, self._new = _default, new
        _default = new

    def __enter__(self) -> Backend:
        return self._new

    def __exit__(self, *exc: object) -> None:
        global _default
        _default = self._before


def available_backends() -> dict[str, BackendStatus]:
    """Every backend by name: usable or not, what was found, and what to do about it.

    Returns
    -------
    dict of str to BackendStatus
        Its `usable`, `reason` and `remedy`.
    """
    return {name: _probe(name) for name in _MODULES}


def _get_default() -> Backend:
    global _default
    if _default is None:
        name = os.environ.get(ENVIRONMENT_VARIABLE) or "auto"
        try:
            chosen = _resolve(name)
        except ValueError as error:
            raise ValueError(f"{error} (environment variable {ENVIRONMENT_VARIABLE})") from None
        _default = _make(chosen, np.dtype(np.float32), False, False)
    one = _default
    if one.device_number != current_device(one.xp):  # the caller has gone to another GPU
        return _make(one.name, one.dtype, one.precise_dot, one.book_random)
    return one


def _resolve(name: str) -> str:
    if name in _MODULES:
        return name
    if name != "auto":
        raise ValueError(
            f"unknown backend {name!r}: expected one of {', '.join(['auto', *_MODULES])}"
        )
    refused: list[str] = []
    for candidate in AUTO_ORDER:
        status = _probe(candidate)
        if status.usable:
            _log_choice(candidate, tuple(refused))
            return candidate
        refused.append(f"{candidate}: {status.reason}")
    raise BackendUnavailableError("no backend works here: " + "; ".join(refused))


_logged: set[tuple[str, tuple[str, ...]]] = set()


def _log_choice(name: str, refused: tuple[str, ...]) -> None:
    if (name, refused) not in _logged:
        _logged.add((name, refused))
        logger.info("backend auto: took %s%s", name, "".join(f"; not {r}" for r in refused))


def _probe(name: str) -> BackendStatus:
    try:
        return BackendStatus(name, True, _load(name).version(), "")
    except UnavailableError as error:
        return BackendStatus(name, False, str(error), error.remedy, error)
    except Exception as error:  # whatever a broken installation raises is the reason
        reason = f"{type(error).__name__}: {error}"
        return BackendStatus(name, False, reason, _REMEDIES[name], error)


def _load(name: str) -> Any:
    module, attribute = _MODULES[name]
    if name in _NEEDS:
        _NEEDS[name]()
    kind = getattr(importlib.import_module(module), attribute)
    copyreg.pickle(kind, _reduced)
    return kind


def _reduced(backend: Any) -> tuple[Any, ...]:
    """For copy and pickle: a copy is the process's own backend of the same settings.

    Raises BackendUnavailableError where it cannot work in that process.
    """
    settings = {name: getattr(backend, name) for name in SETTINGS}
    return _remade, (backend.name, backend.dtype.name, settings)


def _remade(name: str, dtype: str, settings: dict[str, bool]) -> Backend:
    return get_backend(name, dtype=dtype, **settings)


def _make(name: str, dtype: np.dtype, precise_dot: bool, book_random: bool) -> Backend:
    by_device = _made.setdefault((name, dtype, precise_dot, book_random), {})
    made = next(iter(by_device.values()), None)
    if made is not None:  # whichever it is, its arrays know where the caller is
        current = current_device(made.xp)
        if current in by_device:
            return by_device[current]
    status = _probe(name)
    if not status.usable:
        raise BackendUnavailableError(
            f"backend {name!r} cannot be used: {status.reason}; {status.remedy}, "
            "or choose another backend"
        ) from status.error
    new: Backend = _load(name)(dtype, precise_dot=precise_dot, book_random=book_random)
    by_device[new.device_number] = new
    return new
