"""When two backends are the same one, what tells them apart, and what a copy of one is.

Backends are equal where the same call gives the same numbers in the same memory: class, name,
dtype, settings and device. So layers that were pickled, copied or sent to another process fit
those that are made here. `NumpyBackend` takes these functions as its methods.
"""

from __future__ import annotations

from typing import Any

SETTINGS = ("precise_dot", "book_random")


def current_device(xp: Any) -> int | None:
    """Number of the GPU on which the array module makes arrays now; None: they are the host's."""
    cuda = getattr(xp, "cuda", None)
    return None if cuda is None else int(cuda.Device().id)


def arrays(backend: Any) -> tuple[Any, ...]:
    """What arrays of a backend are: two for which this is equal can exchange them."""
    return type(backend), backend.name, backend.dtype.name, backend.device_number


def identity(backend: Any) -> tuple[Any, ...]:
    """The arrays, and the settings."""
    return *arrays(backend), *(bool(getattr(backend, name)) for name in SETTINGS)


def equal(self: Any, other: object) -> bool:
    """What `==` gives."""
    if not hasattr(other, "device_number"):
        return NotImplemented  # type: ignore[no-any-return]
    return identity(self) == identity(other)


def hashed(self: Any) -> int:
    """What `hash()` gives."""
    return hash(identity(self))


def words(self: Any) -> str:
    """What `repr()` gives: all that can differ, so that a message about two shows what does."""
    device = [] if self.device_number is None else [f"device {self.device_number}"]
    settings = [name for name in SETTINGS if getattr(self, name)]
    return f"<nnfs_gpu backend {', '.join([repr(self.name), self.dtype.name, *settings, *device])}>"


def reduced(self: Any) -> tuple[Any, ...]:
    """For copy and pickle: class and settings; of backends with a name see `backend._reduced`."""
    return _made_like, (
        type(self),
        self.dtype.name,
        {name: getattr(self, name) for name in SETTINGS},
    )


def _made_like(kind: Any, dtype: str, settings: dict[str, bool]) -> Any:
    return kind(dtype, **settings)
