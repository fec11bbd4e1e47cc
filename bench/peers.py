"""The libraries that a user would pick instead, where they are installed.

`find` imports those that are wanted; one that is missing or broken is named with its reason
and everything else goes on. Data goes to them as they want it before anything is timed.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nnfs_gpu.backend.numpy_backend import CLIP, NumpyBackend

from .sheet import short

NAMES = ("torch", "jax")


@dataclass
class Peers:
    """The modules that are there, and why the others are not."""

    modules: dict[str, Any] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)

    @property
    def torch(self) -> Any:
        """PyTorch, or None."""
        return self.modules.get("torch")

    @property
    def jax(self) -> Any:
        """JAX, or None."""
        return self.modules.get("jax")


def find(names: Sequence[str] = NAMES) -> Peers:
    """Import the peers in `names`. The order of imports does not matter to any of them."""
    peers = Peers()
    for name in NAMES:
        if name not in names:
            peers.absent[name] = "not asked for (--peers)"
            continue
        try:
            peers.modules[name] = importlib.import_module(name)
        except ImportError as error:
            missing = isinstance(error, ModuleNotFoundError) and error.name == name
            peers.absent[name] = "not installed" if missing else short(f"broken: {error}")
        except Exception as error:
            peers.absent[name] = short(f"broken: {type(error).__name__}: {error}")
    return peers


# ---- JAX: our specification's own expressions, compiled by XLA ----
class _Traced(NumpyBackend):
    """The specification with jax.numpy for NumPy; overrides what writes into its arrays.

    (The optimizers all do: JAX's are measured by the suite `train`, whole steps at a time.)
    """

    def __init__(self, jax: Any):
        super().__init__(np.float32)
        self.xp = jax.numpy

    def cross_entropy_forward(self, p: Any, t: Any) -> Any:
        if t.ndim == 2:
            return super().cross_entropy_forward(p, t)
        return -self.xp.log(self._clip(self.xp.take_along_axis(p, t[:, None], 1)[:, 0]))

    def cross_entropy_backward(self, p: Any, t: Any) -> Any:
        if t.ndim == 2:
            return super().cross_entropy_backward(p, t)
        hit = self.xp.arange(p.shape[1]) == t[:, None]
        return self.xp.where(hit, -1 / self.xp.maximum(p, CLIP) / p.shape[0], 0)

    def softmax_cross_entropy_backward(self, p: Any, t: Any) -> Any:
        hit = t if t.ndim == 2 else self.xp.arange(p.shape[1]) == t[:, None]
        return (p - hit) / p.shape[0]

    def softmax_cross_entropy_separate(self, p: Any, t: Any) -> Any:
        """Both derivatives one after the other, for the suite `combined`."""
        return self.softmax_backward(self.cross_entropy_backward(p, t), p)

    def softmax_cross_entropy(self, x: Any, t: Any, samples: int | None = None) -> tuple[Any, Any]:
        p = self.softmax_forward(x)
        dx = self.softmax_cross_entropy_backward(p, t)
        return self.cross_entropy_forward(p, t), dx if samples is None else dx * len(x) / samples


JAX_OPERATIONS = {  # those whose expressions JAX can trace and that a JAX user would write so
    *("softmax_forward", "softmax_backward", "softmax_jacobian", "linear_forward"),
    *("linear_backward", "relu_forward", "relu_backward", "sigmoid_forward", "sigmoid_backward"),
    *("cross_entropy_forward", "cross_entropy_backward", "softmax_cross_entropy_backward"),
    *("binary_cross_entropy_forward", "binary_cross_entropy_backward"),
    *("squared_error_forward", "squared_error_backward", "absolute_error_forward"),
    *("absolute_error_backward", "multiply", "regularization_loss", "argmax", "threshold"),
    *("equal", "close", "mean", "softmax_cross_entropy"),
    *("linear_relu_forward", "linear_relu_backward"),
}


def jax_operation(jax: Any, name: str, arguments: dict[str, Any]) -> Callable[[], Any]:
    """A call that runs operation `name` under jax.jit and waits for its results.

    Arrays of `arguments` are copied to JAX's device first; numbers are compiled in.
    """
    arrays = {k: jax_array(jax, v) for k, v in arguments.items() if hasattr(v, "shape")}
    numbers = {k: v for k, v in arguments.items() if k not in arrays}
    operation = getattr(_Traced(jax), name)
    compiled = jax.jit(lambda a: operation(**a, **numbers))
    return lambda: jax.block_until_ready(compiled(arrays))


def jax_array(jax: Any, a: Any) -> Any:
    """An array of NumPy or CuPy as JAX's, on the device where it is."""
    if hasattr(a, "__cuda_array_interface__"):
        return jax.numpy.from_dlpack(a)
    return jax.numpy.asarray(a)
