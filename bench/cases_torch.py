"""PyTorch's counterpart of each operation, for the ratios of bench/cases.py.

A peer gets the torch module and the operation's arguments as tensors, prepares what PyTorch
prepares once (an optimizer's state, 64-bit labels) and returns the call that is timed. It works
on the same memory as ours; what it returns is compared with the specification, None is not.
Torch is never imported here: where it is not installed, there are no ratios.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

Arguments = dict[str, Any]
Peer = Callable[[Any, Arguments], Callable[[], Any]]  # (torch, tensors) -> the call


def tensors(torch: Any, arguments: Arguments) -> Arguments:
    """The same memory as tensors; what is no array stays as it is."""
    return {k: torch.from_dlpack(v) if hasattr(v, "shape") else v for k, v in arguments.items()}


def by(call: Callable[[Any, Any], Any]) -> dict[str, Peer]:
    """A peer that calls call(torch, a), the tensors being a.x, a.dy, ..."""

    def peer(torch: Any, arguments: Arguments) -> Callable[[], Any]:
        named = SimpleNamespace(**arguments)
        return lambda: call(torch, named)

    return {"torch": peer}


def fused_cross_entropy(torch: Any, a: Arguments) -> Callable[[], Any]:
    """Loss and gradient from logits, as a program in eager mode gets them."""
    x, t = a["x"].detach().requires_grad_(), a["t"].long()

    def call() -> tuple[None, Any]:
        loss = torch.nn.functional.cross_entropy(x, t)
        return None, torch.autograd.grad(loss, x)[0]

    return call


def linear_relu_backward(torch: Any, a: Any) -> tuple[Any, Any, Any]:
    """dx, dw, db through ReLU and dense layer, y being what the ReLU gave."""
    dz = torch.ops.aten.threshold_backward(a.dy, a.y, 0)
    return dz @ a.w.T, a.x.T @ dz, dz.sum(0, keepdim=True)


def not_compared(results: tuple[Any, ...]) -> tuple[None, ...]:
    """For random numbers, which are others in PyTorch."""
    return (None,) * len(results)


def optimizer(name: str, **settings: Any) -> Peer:
    """A step of torch.optim's `name` on a copy of w, with state of its own."""

    def peer(torch: Any, a: Arguments) -> Callable[[], Any]:
        w = a["w"].detach().clone().requires_grad_()
        w.grad = a["dw"]
        return getattr(torch.optim, name)([w], lr=1e-3, **settings).step

    return peer
