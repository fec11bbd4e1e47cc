"""Networks for the tests of the GPU's fused step, their data, and what they are compared with."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from emulation import backend as emulated

from nnfs_gpu import (
    Accuracy_Categorical,
    Accuracy_Regression,
    Activation_Linear,
    Activation_ReLU,
    Activation_Sigmoid,
    Activation_Softmax,
    Layer_Dense,
    Layer_Dropout,
    Loss_BinaryCrossentropy,
    Loss_CategoricalCrossentropy,
    Loss_MeanAbsoluteError,
    Loss_MeanSquaredError,
    Model,
    Optimizer_Adagrad,
    Optimizer_Adam,
    Optimizer_RMSprop,
    Optimizer_SGD,
    get_backend,
    use_backend,
)
from nnfs_gpu.fused import make_plan
from nnfs_gpu.fused.cuda import build as cuda_kernel
from nnfs_gpu.fused.cuda.engine import KernelSteps
from nnfs_gpu.training.engines import LayerSteps

BOUND = {"float32": 3e-6, "float64": 1e-12}  # of the largest value of an array
ACTIVATIONS = {"relu": Activation_ReLU, "sigmoid": Activation_Sigmoid, "linear": Activation_Linear}
ENDS = {
    "categorical": (Activation_Softmax, Loss_CategoricalCrossentropy, Accuracy_Categorical),
    "binary": (
        Activation_Sigmoid,
        Loss_BinaryCrossentropy,
        lambda: Accuracy_Categorical(binary=True),
    ),
    "squared": (Activation_Linear, Loss_MeanSquaredError, Accuracy_Regression),
    "absolute": (Activation_Linear, Loss_MeanAbsoluteError, Accuracy_Regression),
}
OPTIMIZERS = {
    "sgd": lambda: Optimizer_SGD(0.1, decay=0.01),
    "momentum": lambda: Optimizer_SGD(0.1, momentum=0.9),
    "adagrad": lambda: Optimizer_Adagrad(0.1),
    "rmsprop": lambda: Optimizer_RMSprop(0.01),
    "adam": lambda: Optimizer_Adam(0.01, decay=1e-3),
}
STATES = ("momentums", "cache")


@dataclass(frozen=True)
class Net:
    """A network and its data, small."""

    widths: tuple[int, ...]
    activations: tuple[str, ...]
    end: str
    optimizer: str
    rows: int
    keep: tuple[float, ...] = ()
    penalty: float = 0.0
    soft: bool = False
    narrow: bool = False
    seeds: tuple[int, ...] = field(default=(17, 2**62 + 5, 3))

    def model(self, backend: Any) -> Model:
        """On `backend`, from the same parameters every time."""
        rng = np.random.default_rng(1)
        p = self.penalty
        with use_backend(backend):
            model = Model()
            last = len(self.widths) - 2
            for s in range(last + 1):
                i, o = self.widths[s : s + 2]
                layer = Layer_Dense(i, o, p, 2 * p, 3 * p, p)
                layer.weights = single(rng.standard_normal((i, o)) / np.sqrt(i))
                layer.biases = single(0.3 * rng.standard_normal((1, o)))
                model.add(layer)
                if s < last and self.activations[s] != "none":
                    model.add(ACTIVATIONS[self.activations[s]]())
                if s < last and self.keep:
                    model.add(Layer_Dropout(1 - self.keep[s], seed=self.seeds[s]))
            output, loss, accuracy = ENDS[self.end]
            model.add(output())
            optimizer = OPTIMIZERS[self.optimizer]()
            model.set(loss=loss(), optimizer=optimizer, accuracy=accuracy())
            model.finalize()
        return model

    def data(self, model: Model) -> tuple[Any, Any]:
        """X and checked targets on the model's backend."""
        rng = np.random.default_rng(2)
        n, outputs = self.rows, self.widths[-1]
        X = single(rng.standard_normal((n, self.widths[0])))
        if self.end == "categorical" and self.soft:
            y = rng.dirichlet(np.ones(outputs), n)
        elif self.end == "categorical":
            y = rng.integers(0, outputs, n)
        elif self.end == "binary":
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
    hidden = len(widths) - 2
    defaults = {"activations": ("relu",) * hidden, "end": "categorical", "optimizer": "adam"}
    return Net(widths, **{**defaults, "rows": 70, **settings})


def random_net(seed: int) -> Net:
    """Depths 1 to 4, widths 1 to 128, up to 40 outputs, 1 to 200 rows, whatever may go together."""
    rng = np.random.default_rng([seed, 5])
    hidden = int(rng.integers(0, 4))
    end = str(rng.choice(list(ENDS)))
    widths = [int(2 ** rng.uniform(0, 7)) for _ in range(hidden + 1)]
    outputs = int(rng.integers(2, 41)) if end == "categorical" else int(rng.integers(1, 6))
    return net(
        *(*widths, outputs),
        activations=tuple(map(str, rng.choice([*ACTIVATIONS, "none"], hidden))),
        end=end,
        optimizer=str(rng.choice(["sgd", "momentum", "rmsprop", "adam"])),
        rows=int(rng.integers(1, 201)),
        keep=tuple(rng.choice([0.5, 0.7, 0.9], hidden)) if rng.random() < 0.3 else (),
        penalty=float(rng.choice([0, 1e-3])),
        soft=bool(rng.random() < 0.3),
    )


NETS = {
    "the book's": net(2, 64, 3, rows=300, penalty=1e-3, narrow=True),
    "narrow, sigmoid and binary": net(
        *(3, 7, 1), activations=("sigmoid",), end="binary", optimizer="rmsprop", narrow=True
    ),
    "narrow, linear and absolute": net(
        *(1, 33, 2), activations=("none",), end="absolute", optimizer="adagrad", narrow=True
    ),
    "narrow and wide enough": net(5, 130, 4, optimizer="sgd", rows=130, narrow=True),
    "narrow, soft labels": net(2, 20, 5, soft=True, optimizer="momentum", narrow=True),
    "soft labels": net(2, 20, 7, 5, soft=True, optimizer="momentum", penalty=1e-3),
    "dropout": net(
        *(7, 12, 33, 2), activations=("sigmoid", "relu"), keep=(0.8, 0.5), rows=75, penalty=1e-3
    ),
    "dropout after linear": net(3, 9, 6, activations=("linear",), keep=(0.6,), end="squared"),
    "one layer": net(4, 3, optimizer="sgd"),
    "five layers": net(
        *(4, 5, 6, 7, 8, 40), activations=("relu", "sigmoid", "linear", "relu"), rows=33
    ),
    "two of 66": net(3, 70, 66, 1, end="binary", optimizer="adagrad", rows=100),
    "one sample": net(3, 1, 1, 2, end="absolute", optimizer="momentum", rows=1),
}
# Whose float32 can be compared: no output is so sure that clipping to 1 - 1e-7 rounds otherwise.
FLOAT32 = ("the book's", "narrow, soft labels", "soft labels", "dropout", "five layers")


def steps_of(model: Model, device: Any = None) -> KernelSteps:
    return KernelSteps(model, make_plan(model), device)


def on(device: cuda_kernel.Device) -> Any:
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
