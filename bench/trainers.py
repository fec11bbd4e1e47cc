"""Whole training steps in each library, behind one small interface: what suite `train` times.

A trainer is made from (parameters, X, y, optimizer, rate), the data on its device; `run(n)`
makes n steps on the whole batch and comes back when they are done; `loss()` is the mean loss of
the last step, before its update; `parameters()` are (weights, biases) of each layer in NumPy.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from nnfs_gpu import (
    Accuracy_Categorical,
    Activation_ReLU,
    Activation_Softmax,
    Layer_Dense,
    Loss_CategoricalCrossentropy,
    Model,
    Optimizer_Adam,
    Optimizer_SGD,
    use_backend,
)
from nnfs_gpu.backend import Backend

from .book import BookNetwork
from .peers import Peers, jax_array

Parameters = list[tuple[np.ndarray, np.ndarray]]
RATE = 0.01


def parameters(widths: tuple[int, ...], biases: float = 0.0) -> Parameters:
    """Weights and biases of every layer, float32, the same in every run; `biases` is how far the
    latter spread around 0.
    """
    rng, found = np.random.default_rng(0), []
    for i, o in itertools.pairwise(widths):
        w = (rng.standard_normal((i, o)) * (2 / i) ** 0.5).astype(np.float32)
        b = biases * rng.standard_normal((1, o)) if biases else np.zeros((1, o))
        found.append((w, b.astype(np.float32)))
    return found


def network(backend: Backend, start: Parameters, optimizer: Any) -> Model:
    """Dense, ReLU, ..., softmax on a backend, from these parameters."""
    with use_backend(backend):
        model = Model()
        for number, (w, b) in enumerate(start):
            layer = Layer_Dense(*w.shape)
            layer.set_parameters(w, b)
            model.add(layer)
            model.add(Activation_Softmax() if number == len(start) - 1 else Activation_ReLU())
        model.set(
            loss=Loss_CategoricalCrossentropy(),
            optimizer=optimizer,
            accuracy=Accuracy_Categorical(),
        )
        model.finalize()
    return model


def name_of(widths: tuple[int, ...]) -> str:
    """Such as 2-64-3."""
    return "-".join(map(str, widths))


def flops(widths: tuple[int, ...]) -> int:
    """Of a sample's matrix products: forward, weights' gradients, inputs' but the first's."""
    products = [2 * i * o for i, o in itertools.pairwise(widths)]
    return 3 * sum(products) - products[0]


class Trainer(Protocol):
    """See the file's docstring."""

    def run(self, steps: int) -> None:
        """So many steps over all the data; returns when they are done, on the device too."""

    def loss(self) -> float:
        """The mean loss of the last step, before its update."""

    def parameters(self) -> Parameters:
        """Weights (I, O) and biases (1, O) of every layer, as they are now, on the host."""


Make = Callable[[Parameters, np.ndarray, np.ndarray, str, float], Trainer]


def sgd_and_adam(
    make: Make,
    given: tuple[Parameters, np.ndarray, np.ndarray],
    rate: float,
    adam_rate: float,
    few: int | None = None,
) -> tuple[Trainer, Trainer]:
    """One to be checked, on the first `few` samples, and one to be timed; given: start, X and y."""
    start, X, y = given
    return make(start, X[:few], y[:few], "sgd", rate), make(*given, "adam", adam_rate)


def trainers(backends: list[Backend], peers: Peers) -> dict[str, tuple[str, Make]]:
    """(role, how one is made) of every contender by name."""
    found: dict[str, tuple[str, Make]] = {"book": ("book", Book)}
    for backend in backends:
        for engine in ("layers", "fused"):
            found[f"nnfs_gpu {backend.name} {engine}"] = (
                "ours",
                lambda *given, b=backend, e=engine: Ours(*given, backend=b, engine=e),
            )
    if torch := peers.torch:
        device = "cpu" if backends[0].xp is np else "cuda"
        for name, forward in torch_forwards(torch, device).items():
            found[name] = (
                "peer",
                lambda *given, f=forward: Torch(*given, torch=torch, device=device, forward=f),
            )
    if jax := peers.jax:
        found["jax"] = ("peer", lambda *given: Jax(*given, jax=jax))
    return found


class Book:
    """The notes' classes."""

    def __init__(
        self,
        parameters: Parameters,
        X: np.ndarray,
        y: np.ndarray,
        optimizer: str,
        rate: float,
        **settings: Any,
    ):
        self._network, self._X, self._y = BookNetwork(parameters, optimizer, rate, **settings), X, y

    def run(self, steps: int) -> None:
        for _ in range(steps):
            self._network.step(self._X, self._y)

    def loss(self) -> float:
        return self._network.loss

    def parameters(self) -> Parameters:
        return self._network.layers


class Ours:
    """`Model.train` on a backend; engine "layers" or "fused".

    Raises where the network cannot be fused.
    """

    def __init__(
        self,
        parameters: Parameters,
        X: np.ndarray,
        y: np.ndarray,
        optimizer: str,
        rate: float,
        *,
        backend: Backend,
        engine: str,
        batch_size: int | None = None,
        shuffle: bool = False,
    ):
        self._settings: dict[str, Any] = {
            "engine": engine,
            "batch_size": batch_size,
            "shuffle": shuffle,
            "print_every": None,
        }
        self.backend = backend
        made = Optimizer_Adam(rate) if optimizer == "adam" else Optimizer_SGD(rate)
        self.model = network(backend, parameters, made)
        self._X, self._y = backend.asarray(X), backend.asarray(y, np.int32)
        self._loss = np.nan

    def run(self, steps: int) -> None:
        history = self.model.train(self._X, self._y, epochs=steps, **self._settings)
        self.backend.synchronize()
        self._loss = history["loss"][-1]

    def loss(self) -> float:
        return self._loss

    def parameters(self) -> Parameters:
        to_numpy = self.backend.to_numpy
        return [(to_numpy(w), to_numpy(b)) for w, b in self.model.get_parameters()]


def torch_forwards(torch: Any, device: str) -> dict[str, Callable[..., Any]]:
    """PyTorch's mean loss of (X, y, weights and biases), eager and compiled.

    torch.compile's backward is compiled with it; on a GPU it uses CUDA graphs. Code of former
    sizes is dropped: each size gets code of its own, as the first one does.
    """
    functional = torch.nn.functional

    def mean_loss(X: Any, y: Any, *parameters: Any) -> Any:
        for number in range(0, len(parameters) - 2, 2):
            X = functional.relu(functional.linear(X, *parameters[number : number + 2]))
        return functional.cross_entropy(functional.linear(X, *parameters[-2:]), y)

    torch.compiler.reset()
    mode = {"mode": "reduce-overhead"} if device == "cuda" else {}
    compiled = torch.compile(mean_loss, dynamic=False, **mode)
    return {"torch": mean_loss, "torch.compile": compiled}


class Torch:
    """PyTorch as its tutorials write it, with the fastest of its optimizers' variants."""

    def __init__(
        self,
        parameters: Parameters,
        X: np.ndarray,
        y: np.ndarray,
        optimizer: str,
        rate: float,
        *,
        torch: Any,
        device: str,
        forward: Callable[..., Any],
    ):
        flat = [a for w, b in parameters for a in (w.T, b[0])]  # torch's weights are (O, I)
        self._parameters = [
            torch.from_numpy(np.array(a, order="C")).to(device).requires_grad_() for a in flat
        ]
        self._X = torch.from_numpy(X.copy()).to(device)
        self._y = torch.from_numpy(y.copy()).long().to(device)
        made = torch.optim.Adam if optimizer == "adam" else torch.optim.SGD
        settings = {"eps": 1e-7} if optimizer == "adam" else {}
        self._optimizer = made(self._parameters, lr=rate, fused=True, **settings)
        self._forward, self._last = forward, np.nan

    def run(self, steps: int) -> None:
        for _ in range(steps):
            self._optimizer.zero_grad(set_to_none=True)
            loss = self._forward(self._X, self._y, *self._parameters)
            loss.backward()
            self._optimizer.step()
        self._last = loss.item()  # waits for the device

    def loss(self) -> float:
        return self._last

    def parameters(self) -> Parameters:
        return self._pairs(self._parameters)

    def gradients(self) -> Parameters:
        """Of the last step, in the shape of `parameters()`."""
        return self._pairs([a.grad for a in self._parameters])

    @staticmethod
    def _pairs(tensors: list[Any]) -> Parameters:
        arrays = [a.detach().cpu().numpy().copy() for a in tensors]
        return [(w.T, b[None]) for w, b in zip(arrays[::2], arrays[1::2], strict=True)]


class Jax:
    """JAX: value, gradient and update in one jitted function that reuses its arguments' memory."""

    def __init__(
        self,
        parameters: Parameters,
        X: np.ndarray,
        y: np.ndarray,
        optimizer: str,
        rate: float,
        *,
        jax: Any,
    ):
        self._jax, jnp = jax, jax.numpy
        zeros = jax.tree.map(np.zeros_like, parameters)
        state = (parameters, zeros, zeros)
        self._state = jax.tree.map(lambda a: jnp.array(a, copy=True), state)
        self._X, self._y = jax_array(jax, X), jax_array(jax, y)
        self._count, self._last = 0, np.nan

        def mean_loss(layers: Any, X: Any, y: Any) -> Any:
            for w, b in layers[:-1]:
                X = jax.nn.relu(X @ w + b)
            scores = jax.nn.log_softmax(X @ layers[-1][0] + layers[-1][1])
            return -jnp.take_along_axis(scores, y[:, None], 1).mean()

        def step(state: Any, X: Any, y: Any, count: Any) -> Any:
            layers, m, cache = state
            loss, d = jax.value_and_grad(mean_loss)(layers, X, y)
            if optimizer == "sgd":
                return (jax.tree.map(lambda p, g: p - rate * g, layers, d), m, cache), loss
            m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, d)
            cache = jax.tree.map(lambda c, g: 0.999 * c + 0.001 * g * g, cache, d)
            one, two = 1 - 0.9**count, 1 - 0.999**count
            layers = jax.tree.map(
                lambda p, m, c: p - rate * (m / one) / (jnp.sqrt(c / two) + 1e-7), layers, m, cache
            )
            return (layers, m, cache), loss

        self._step = jax.jit(step, donate_argnums=0)

    def run(self, steps: int) -> None:
        for _ in range(steps):
            self._count += 1
            self._state, loss = self._step(self._state, self._X, self._y, float(self._count))
        self._jax.block_until_ready(self._state)
        self._last = float(loss)

    def loss(self) -> float:
        return self._last

    def parameters(self) -> Parameters:
        return [(np.asarray(w), np.asarray(b)) for w, b in self._state[0]]
