"""Networks for the tests of the GPU's fused step, their data, and what they are compared with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from emulation import backend as emulated
from networks import ACTIVATIONS, ENDS, Network

from nnfs_gpu import Model, get_backend
from nnfs_gpu.fused import make_plan
from nnfs_gpu.fused.cuda import build as cuda_build
from nnfs_gpu.fused.cuda.engine import KernelSteps
from nnfs_gpu.training.engines import LayerSteps

BOUND = {"float32": 3e-6, "float64": 1e-12}  # of the largest value of an array
STATES = ("momentums", "cache")


@dataclass(frozen=True)
class Net(Network):
    """A small network with its data; every factor of its regularizers is another one."""

    dropout_seeds: tuple[int, ...] = (17, 2**62 + 5, 3)
    rows: int = 70
    narrow: bool = False

    def regularizers(self) -> tuple[float, ...]:
        return self.l1, 2 * self.l1, 3 * self.l1, self.l1

    def set_parameters(self, model: Model, seed: int) -> None:
        """The same numbers in both dtypes."""
        rng = np.random.default_rng(1)
        for layer in model.trainable_layers:
            i, o = layer.n_inputs, layer.n_neurons
            layer.weights = single(rng.standard_normal((i, o)) / np.sqrt(i))
            layer.biases = single(0.3 * rng.standard_normal((1, o)))

    def data(self, model: Model) -> tuple[Any, Any]:  # type: ignore[override]
        """X and checked targets on the model's backend, the same numbers in both dtypes."""
        rng = np.random.default_rng(2)
        n, outputs = self.rows, self.widths[-1]
        X = single(rng.standard_normal((n, self.widths[0])))
        if self.loss == "softmax_cross_entropy" and self.soft:
            y = rng.dirichlet(np.ones(outputs), n)
        elif self.loss == "softmax_cross_entropy":
            y = rng.integers(0, outputs, n)
        elif self.loss == "binary_cross_entropy":
            y = rng.integers(0, 2, (n, outputs)).astype(float)
        else:
            y = single(rng.standard_normal((n, outputs)))
        y = model.loss.targets(y, outputs, n)
        model.accuracy.init(y)
        return model.backend.asarray(X), y


def single(a: np.ndarray) -> np.ndarray:
    """Numbers that float32 holds exactly."""
    return a.astype(np.float32).astype(np.float64)


def net(*widths: int, **settings: Any) -> Net:
    return Net(widths, **settings)


def random_net(seed: int) -> Net:
    """Depths 1 to 4, widths 1 to 128, up to 40 outputs, 1 to 200 rows, whatever may go together."""
    rng = np.random.default_rng([seed, 5])
    hidden = int(rng.integers(0, 4))
    loss = str(rng.choice(list(ENDS)))
    widths = [int(2 ** rng.uniform(0, 7)) for _ in range(hidden + 1)]
    outputs = (
        int(rng.integers(2, 41)) if loss == "softmax_cross_entropy" else int(rng.integers(1, 6))
    )
    return net(
        *(*widths, outputs),
        activation=tuple(map(str, rng.choice([*ACTIVATIONS, "none"], hidden))),
        loss=loss,
        optimizer=str(rng.choice(["sgd", "momentum", "rmsprop", "adam"])),
        rows=int(rng.integers(1, 201)),
        keep=tuple(rng.choice([0.5, 0.7, 0.9], hidden)) if rng.random() < 0.3 else 1.0,
        l1=float(rng.choice([0, 1e-3])),
        soft=bool(rng.random() < 0.3),
    )


NETS = {
    "the book's": net(2, 64, 3, rows=300, l1=1e-3, narrow=True),
    "narrow, sigmoid and binary": net(
        *(3, 7, 1),
        activation=("sigmoid",),
        loss="binary_cross_entropy",
        optimizer="rmsprop",
        narrow=True,
    ),
    "narrow, linear and absolute": net(
        *(1, 33, 2), activation=("none",), loss="absolute_error", optimizer="adagrad", narrow=True
    ),
    "narrow and wide enough": net(5, 130, 4, optimizer="sgd", rows=130, narrow=True),
    "narrow, soft labels": net(2, 20, 5, soft=True, optimizer="momentum", narrow=True),
    "soft labels": net(2, 20, 7, 5, soft=True, optimizer="momentum", l1=1e-3),
    "dropout": net(
        *(7, 12, 33, 2), activation=("sigmoid", "relu"), keep=(0.8, 0.5), rows=75, l1=1e-3
    ),
    "dropout after linear": net(3, 9, 6, activation=("linear",), keep=(0.6,), loss="squared_error"),
    "narrow, tanh": net(2, 20, 3, activation=("tanh",), narrow=True),
    "narrow, leaky": net(2, 20, 3, activation=("leaky_relu",), narrow=True),
    "tanh and leaky": net(
        *(4, 9, 12, 3),
        activation=("tanh", "leaky_relu"),
        loss="squared_error",
        optimizer="rmsprop",
    ),
    "dropout after tanh and leaky": net(
        *(4, 9, 12, 3), activation=("tanh", "leaky_relu"), keep=(0.6, 0.7)
    ),
    "one layer": net(4, 3, optimizer="sgd"),
    "five layers": net(
        *(4, 5, 6, 7, 8, 40), activation=("relu", "sigmoid", "linear", "relu"), rows=33
    ),
    "two of 66": net(3, 70, 66, 1, loss="binary_cross_entropy", optimizer="adagrad", rows=100),
    "one sample": net(3, 1, 1, 2, loss="absolute_error", optimizer="momentum", rows=1),
}
# Whose float32 can be compared: no output is so sure that clipping to 1 - 1e-7 rounds otherwise.
FLOAT32 = ("the book's", "narrow, soft labels", "soft labels", "dropout", "five layers")


def steps_of(model: Model, device: Any = None) -> KernelSteps:
    return KernelSteps(model, make_plan(model), device)


def on(device: cuda_build.Device) -> Any:
    return lambda model: steps_of(model, device)


def emulated_model(of: Net, dtype: str = "float32") -> Model:
    return of.model(emulated.EmulatedCupyBackend(dtype=dtype))


def oracle_model(of: Net) -> Model:
    return of.model(get_backend("numpy", dtype="float64", precise_dot=False, book_random=False))


def state(model: Model) -> dict[str, np.ndarray]:
    """Copies of parameters and optimizer state, by name."""
    names = ["weights", "biases"]
    names += [f"{prefix}_{name}" for name in STATES for prefix in ("weight", "bias")]
    return {
        f"{number} {name}": np.array(model.backend.to_numpy(getattr(layer, name)))
        for number, layer in enumerate(model.trainable_layers)
        for name in names
        if getattr(layer, name, None) is not None
    }


def take_state(model: Model, values: dict[str, np.ndarray]) -> None:
    for key, value in values.items():
        number, name = key.split()
        dtype = model.backend.dtype
        setattr(model.trainable_layers[int(number)], name, np.array(value, dtype))


def gradients(model: Model) -> dict[str, np.ndarray]:
    return {
        f"{number} {name}": np.array(model.backend.to_numpy(getattr(layer, name)))
        for number, layer in enumerate(model.trainable_layers)
        for name in ("dweights", "dbiases")
    }


def assert_near(actual: dict, expected: dict, bound: float, largest: bool = True) -> None:
    assert actual.keys() == expected.keys()
    for key, one in expected.items():
        scale = np.abs(one).max() if largest else np.maximum(np.abs(one), 1e-2)
        error = np.abs(actual[key] - one) / np.maximum(scale, 1e-6)
        assert (error <= bound).all(), f"{key}: {error.max():.3g}, allowed {bound:.3g}"


def assert_steps_agree(
    of: Net, dtype: str, make: Any = None, steps: int = 2, backend: Any = None
) -> None:
    """Each step from our state, layer by layer in float64 and fused; make(model) is the engine,
    `backend` where it runs, or None for the emulator."""
    ours = emulated_model(of, dtype) if backend is None else of.model(backend)
    theirs = oracle_model(of)
    fused, layers = (make or steps_of)(ours), LayerSteps(theirs)
    data, wide_data = of.data(ours), of.data(theirs)
    bound = BOUND[dtype]
    for number in range(steps):
        measured = [float(value) for value in fused.step(*data)]
        expected = [float(value) for value in layers.step(*wide_data)]
        np.testing.assert_allclose(measured, expected, rtol=bound, atol=1e-7)
        assert_near(gradients(ours), gradients(theirs), bound)
        if number:  # Adam's first step is the sign of each gradient: near 0, rounding decides
            assert_near(state(ours), state(theirs), 20 * bound)
        take_state(theirs, state(ours))
    for a, b in ((ours.loss, theirs.loss), (ours.accuracy, theirs.accuracy)):
        assert a.accumulated_count == b.accumulated_count
        np.testing.assert_allclose(float(a.accumulated_sum), float(b.accumulated_sum), rtol=1e-5)
    assert ours.optimizer.iterations == steps
    assert ours.optimizer.current_learning_rate == theirs.optimizer.current_learning_rate
    for one, other in zip(ours.layers, theirs.layers, strict=True):
        assert getattr(one, "calls", 0) == getattr(other, "calls", 0)
