"""PyTorch's counterpart of each operation, by the names of bench/cases.py: `PEERS`.

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
        step: Callable[[], Any] = getattr(torch.optim, name)([w], lr=1e-3, **settings).step
        return step

    return peer


def loss(name: str) -> dict[str, Peer]:
    """torch.nn.functional's `name`, a mean for each row.

    PyTorch's losses clip elsewhere than the book, or not at all, which the data do not reach.
    """

    def call(torch: Any, a: Any) -> Any:
        first = a.p if hasattr(a, "p") else a.y
        return getattr(torch.nn.functional, name)(first, a.t, reduction="none").mean(1)

    return by(call)


def negative_log(torch: Any, a: Arguments) -> Callable[[], Any]:
    """Cross-entropy of probabilities, with the 64-bit labels that PyTorch wants."""
    p, t = a["p"], a["t"].long()
    return lambda: torch.nn.functional.nll_loss(p.log(), t, reduction="none")


def less_one(torch: Any, a: Arguments) -> Callable[[], Any]:
    """(p - one-hot) / N."""
    p, t = a["p"], a["t"].long()
    ones = -torch.ones((len(t), 1), device=t.device)
    return lambda: p.scatter_add(1, t[:, None], ones).div_(len(t))


# A string says why PyTorch has none.
AUTOGRAD = "PyTorch computes it inside autograd: no call does it alone"
NUMBERS = "PyTorch draws other random numbers"
PEERS: dict[str, dict[str, Peer] | str] = {
    "linear_forward": by(lambda torch, a: torch.addmm(a.b, a.x, a.w)),
    "linear_backward": by(lambda _, a: (a.dy @ a.w.T, a.x.T @ a.dy, a.dy.sum(0, keepdim=True))),
    "linear_relu_forward": by(lambda torch, a: torch.relu_(torch.addmm(a.b, a.x, a.w))),
    "linear_relu_backward": by(linear_relu_backward),
    "relu_forward": by(lambda torch, a: torch.relu(a.x)),
    "relu_backward": by(lambda torch, a: torch.ops.aten.threshold_backward(a.dy, a.x, 0)),
    "leaky_relu_forward": by(lambda torch, a: torch.nn.functional.leaky_relu(a.x, a.slope)),
    "leaky_relu_backward": by(
        lambda torch, a: torch.ops.aten.leaky_relu_backward(a.dy, a.x, a.slope, False)
    ),
    "tanh_forward": by(lambda torch, a: torch.tanh(a.x)),
    "tanh_backward": by(lambda torch, a: torch.ops.aten.tanh_backward(a.dy, a.y)),
    "sigmoid_forward": by(lambda torch, a: torch.sigmoid(a.x)),
    "sigmoid_backward": by(lambda torch, a: torch.ops.aten.sigmoid_backward(a.dy, a.y)),
    "softmax_forward": by(lambda torch, a: torch.softmax(a.x, 1)),
    "softmax_backward": by(
        lambda torch, a: torch._softmax_backward_data(a.dy, a.y, 1, torch.float32)
    ),
    "softmax_jacobian": "PyTorch never makes the matrices",
    "cross_entropy_forward": {"torch": negative_log},
    "cross_entropy_forward, soft": AUTOGRAD,
    "cross_entropy_backward": AUTOGRAD,
    "cross_entropy_backward, soft": AUTOGRAD,
    "softmax_cross_entropy_backward": {"torch": less_one},
    "softmax_cross_entropy_backward, soft": by(lambda _, a: (a.p - a.t) / len(a.t)),
    "softmax_cross_entropy": {"torch": fused_cross_entropy},
    "softmax_cross_entropy, soft": AUTOGRAD,
    "binary_cross_entropy_forward": loss("binary_cross_entropy"),
    "binary_cross_entropy_backward": AUTOGRAD,
    "squared_error_forward": loss("mse_loss"),
    "squared_error_backward": by(lambda _, a: (a.y - a.t) * (2 / a.y.numel())),
    "absolute_error_forward": loss("l1_loss"),
    "absolute_error_backward": by(lambda torch, a: torch.sign(a.y - a.t).div_(a.y.numel())),
    "dropout_forward": by(lambda torch, a: not_compared(torch.native_dropout(a.x, 0.2, True))),
    "multiply": by(lambda _, a: a.a * a.b),
    "regularization_loss": "PyTorch has weight decay, inside its optimizers",
    "regularization_step": "PyTorch has weight decay, inside its optimizers",
    "sgd_step": {"torch": optimizer("SGD", fused=True)},
    "momentum_step": {"torch": optimizer("SGD", momentum=0.9, fused=True)},
    "adagrad_step": {"torch": optimizer("Adagrad", foreach=True)},
    "rmsprop_step": {"torch": optimizer("RMSprop", foreach=True)},
    "adamw_step": {
        "torch": optimizer("AdamW", fused=True),
        "torch foreach": optimizer("AdamW", foreach=True),
    },
    "adam_step": {
        "torch": optimizer("Adam", fused=True),
        "torch foreach": optimizer("Adam", foreach=True),
    },
    "exact_add": "PyTorch's sums round as they go",
    "exact_value": "PyTorch's sums round as they go",
    "argmax": by(lambda _, a: a.x.argmax(1)),
    "threshold": by(lambda _, a: (a.x > a.limit).int()),
    "equal": by(lambda _, a: a.a == a.b),
    "close": "torch.isclose has another rule",
    "mean": by(lambda _, a: a.a.mean()),
    "sum": by(lambda torch, a: a.a.sum(dtype=torch.float64)),
    "random_words": NUMBERS,
    "spiral": NUMBERS,
}
