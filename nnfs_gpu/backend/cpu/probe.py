"""Does Numba start and compile for the CPU? Asked before a kernel is imported.

Numba reads its settings, the environment variables NUMBA_..., when it is imported. People set
them to debug and to measure coverage, and forget them: a backend that cannot work because of one
says which.
"""

from __future__ import annotations

import os
from typing import Any

from ..driver import UnavailableError


def import_numba() -> Any:
    """Numba. Raises ImportError where it is missing, UnavailableError where it refuses to start
    with the settings in the environment.
    """
    try:
        import numba
    except ImportError:
        raise
    except Exception as error:
        variables = _to_blame(str(error))
        if not variables:
            raise
        first = str(error).partition("\n")[0].rstrip(".")
        raise UnavailableError(
            f"Numba does not start with {' '.join(f'{k}={v}' for k, v in variables.items())} in "
            f"the environment: {type(error).__name__}: {first}",
            _remedy(variables),
        ) from error
    return numba


def import_compiling_numba() -> Any:
    """Numba, with its compiler for the CPU on; raises as `import_numba` does where it is off.

    Without it `numba.njit` leaves functions as Python has them, and kernels call intrinsics, which
    only the compiler knows. (CUDA kernels are compiled all the same; the simulator needs none.)
    """
    numba = import_numba()
    if numba.config.DISABLE_JIT:
        value = os.environ.get("NUMBA_DISABLE_JIT", "0")
        if value.strip() in ("", "0"):
            raise UnavailableError(
                "Numba's compiler is turned off by numba.config.DISABLE_JIT",
                "set numba.config.DISABLE_JIT = 0 before the backend is first used",
            )
        raise UnavailableError(
            f"Numba's compiler is turned off by NUMBA_DISABLE_JIT={value} in the environment",
            "unset it (env -u NUMBA_DISABLE_JIT ...)",
        )
    return numba


def _to_blame(message: str) -> dict[str, str]:
    """Variables in the environment that the message is about, or else all of Numba's."""
    present = {name: value for name, value in os.environ.items() if name.startswith("NUMBA_")}
    threads = "NUMBA_NUM_THREADS" if "threads" in message.lower() else "no variable"
    named = {name: value for name, value in present.items() if name in message or name == threads}
    return named or present


def _remedy(variables: dict[str, str]) -> str:
    unset = " ".join(f"-u {name}" for name in variables)
    if set(variables) == {"NUMBA_NUM_THREADS"}:
        return f"set NUMBA_NUM_THREADS to 1 or more threads, or unset it (env {unset} ...)"
    return f"set a value that Numba knows, or unset it (env {unset} ...)"
