"""Optimizers: how a gradient changes the parameters (book, chapter 10).

Each update is one fused operation of the backend that writes weights and state in place.
State lives on the layer under the book's names (`weight_momentums`, `weight_cache` and the
same for the biases), so that a layer can be saved and moved whole.
"""

from __future__ import annotations

from typing import Any

from . import checks
from .own.parts import backend_of
from .parameters import NAMES, STATE_ARRAYS
from .reprs import described


def moved(layer: Any, name: str, w: Any) -> Any:
    """The layer's array `name`, which belongs to its parameter `w`, where `w` lies.

    A NumPy array that somebody assigned on a layer of a GPU, or the other way round, is moved
    and cast once, and the layer then holds what was moved. Raises ValueError for another shape.
    """
    held = getattr(layer, name)
    if type(held) is not type(w):
        held = layer.backend.asarray(held, w.dtype)
        if held.shape != w.shape:
            raise ValueError(
                f"{type(layer).__name__} {name}: got shape {held.shape}, expected {w.shape}, that "
                "of its parameter"
            )
        setattr(layer, name, held)
    return held


class Optimizer:
    """What all optimizers share: a learning rate with decay, rate / (1 + decay * iterations).

    What stands on the classes counts where a subclass's `__init__` does not call ours.

    Parameters
    ----------
    learning_rate : float
        Rate of the first step, at least 0.
    decay : float
        The rate of step t is learning_rate / (1 + decay t), from t = 0.
    """

    decay: float = 0.0
    iterations: int = 0

    def __init__(self, learning_rate: float, decay: float):
        self.learning_rate = checks.not_negative(learning_rate, "learning_rate")
        self.current_learning_rate = self.learning_rate
        self.decay = checks.not_negative(decay, "decay")
        self.iterations = 0

    def __repr__(self) -> str:
        return described(self)

    def pre_update_params(self) -> None:
        """Once before the layers' updates: set the current learning rate."""
        if self.decay:
            self.current_learning_rate = self.learning_rate * (
                1.0 / (1.0 + self.decay * self.iterations)
            )

    def update_params(self, layer: Any) -> None:
        """Change the parameters of a layer by its dweights and dbiases.

        Parameters
        ----------
        layer : layer
            One with weights and biases, whose `backward` has been called.

        Raises
        ------
        RuntimeError
            Where it has no gradient.
        """
        if not hasattr(layer, "dweights"):
            raise RuntimeError(f"{type(layer).__name__} has no gradient; call backward first")
        for one in NAMES:
            w = getattr(layer, one.values)
            self._update(layer, w, moved(layer, one.gradient, w), one.prefix)

    def post_update_params(self) -> None:
        """Once after the layers' updates: count the step."""
        self.iterations += 1

    def _update(self, layer: Any, w: Any, dw: Any, prefix: str) -> None:
        raise NotImplementedError

    def take_over(self, layer: Any) -> None:
        """Make `layer` ours: drop what an optimizer of another class has left on it.

        The arrays mean something else to each: SGD's momentums point downhill and hold the
        rate, Adam's are mean gradients. (The book mixes them up: Adam after SGD jumps.)
        A layer without a note of the class, as one that was filled by hand, is taken as it is.

        Parameters
        ----------
        layer : layer
            One with weights and biases.
        """
        kind = type(self).__name__
        if getattr(layer, "optimizer_kind", kind) != kind:
            forget(layer)
        layer.optimizer_kind = kind

    def state_of(self, layer: Any, name: str, w: Any) -> Any:
        """An array that is kept on a layer, of zeros the first time it is asked for.

        Parameters
        ----------
        layer : layer
            One with weights and biases.
        name : str
            Of the attribute, such as "weight_momentums".
        w : array
            The parameter that it belongs to.

        Returns
        -------
        array
            Of the shape and dtype of `w`, to be written in place.
        """
        if getattr(layer, "optimizer_kind", None) != type(self).__name__:
            self.take_over(layer)
        state = getattr(layer, name, None)
        if state is None:
            state = backend_of(layer).zeros(w.shape, w.dtype)
            setattr(layer, name, state)
        return moved(layer, name, w)


def forget(layer: Any) -> None:
    """Drop what an optimizer keeps on `layer`."""
    for name in STATE_ARRAYS:
        if hasattr(layer, name):
            delattr(layer, name)


class Optimizer_SGD(Optimizer):  # noqa: N801 - the book's name
    """Stochastic gradient descent, with momentum where it is above 0.

    Parameters
    ----------
    learning_rate : float
        Rate of the first step, at least 0.
    decay : float
        The rate of step t is learning_rate / (1 + decay t), from t = 0.
    momentum : float
        Share of the last step that is added to this one, at least 0.
    """

    momentum: float = 0.0

    def __init__(self, learning_rate: float = 1.0, decay: float = 0.0, momentum: float = 0.0):
        super().__init__(learning_rate, decay)
        self.momentum = checks.not_negative(momentum, "momentum")

    def _update(self, layer: Any, w: Any, dw: Any, prefix: str) -> None:
        rate = self.current_learning_rate
        if self.momentum:
            m = self.state_of(layer, f"{prefix}_momentums", w)
            backend_of(layer).momentum_step(w, dw, m, rate, self.momentum)
        else:
            backend_of(layer).sgd_step(w, dw, rate)


class Optimizer_Adagrad(Optimizer):  # noqa: N801 - the book's name
    """AdaGrad, a rate of its own for every parameter: divided by the root of its summed squares.

    Parameters
    ----------
    learning_rate : float
        Rate of the first step, at least 0.
    decay : float
        The rate of step t is learning_rate / (1 + decay t), from t = 0.
    epsilon : float
        Added to the root, so that nothing is divided by 0; above 0.
    """

    epsilon: float = 1e-7

    def __init__(self, learning_rate: float = 1.0, decay: float = 0.0, epsilon: float = 1e-7):
        super().__init__(learning_rate, decay)
        self.epsilon = checks.positive(epsilon, "epsilon")

    def _update(self, layer: Any, w: Any, dw: Any, prefix: str) -> None:
        cache = self.state_of(layer, f"{prefix}_cache", w)
        backend_of(layer).adagrad_step(w, dw, cache, self.current_learning_rate, self.epsilon)


class Optimizer_RMSprop(Optimizer):  # noqa: N801 - the book's name
    """RMSprop, an AdaGrad that forgets: it has a moving average of the squares.

    Parameters
    ----------
    learning_rate : float
        Rate of the first step, at least 0.
    decay : float
        The rate of step t is learning_rate / (1 + decay t), from t = 0.
    epsilon : float
        Added to the root, so that nothing is divided by 0; above 0.
    rho : float
        Weight of the past in the average, from 0 to below 1.
    """

    epsilon: float = 1e-7
    rho: float = 0.9

    def __init__(
        self,
        learning_rate: float = 0.001,
        decay: float = 0.0,
        epsilon: float = 1e-7,
        rho: float = 0.9,
    ):
        super().__init__(learning_rate, decay)
        self.epsilon = checks.positive(epsilon, "epsilon")
        self.rho = checks.fraction(rho, "rho")

    def _update(self, layer: Any, w: Any, dw: Any, prefix: str) -> None:
        cache = self.state_of(layer, f"{prefix}_cache", w)
        backend_of(layer).rmsprop_step(
            w, dw, cache, self.current_learning_rate, self.epsilon, self.rho
        )


class Optimizer_Adam(Optimizer):  # noqa: N801 - the book's name
    """Adam: momentum over RMSprop, both corrected for having started at zero.

    Parameters
    ----------
    learning_rate : float
        Rate of the first step, at least 0.
    decay : float
        The rate of step t is learning_rate / (1 + decay t), from t = 0.
    epsilon : float
        Added to the root, so that nothing is divided by 0; above 0.
    beta_1 : float
        Weight of the past in the mean gradient, from 0 to below 1.
    beta_2 : float
        Weight of the past in the mean square.
    """

    epsilon: float = 1e-7
    beta_1: float = 0.9
    beta_2: float = 0.999

    def __init__(
        self,
        learning_rate: float = 0.001,
        decay: float = 0.0,
        epsilon: float = 1e-7,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
    ):
        super().__init__(learning_rate, decay)
        self.epsilon = checks.positive(epsilon, "epsilon")
        self.beta_1 = checks.fraction(beta_1, "beta_1")
        self.beta_2 = checks.fraction(beta_2, "beta_2")

    def _update(self, layer: Any, w: Any, dw: Any, prefix: str) -> None:
        m = self.state_of(layer, f"{prefix}_momentums", w)
        cache = self.state_of(layer, f"{prefix}_cache", w)
        backend_of(layer).adam_step(
            w,
            dw,
            m,
            cache,
            self.current_learning_rate,
            self.epsilon,
            self.beta_1,
            self.beta_2,
            self.iterations + 1,
        )


class Optimizer_AdamW(Optimizer_Adam):  # noqa: N801 - named like the book's
    """Adam with decoupled weight decay: parameters shrink by rate * weight_decay of themselves.

    Adam divides the gradient of an L2 penalty by its own root mean square, so that it hardly
    depends on the penalty; here decay does not go through the gradient. Weights and biases decay
    alike, as all parameters do in PyTorch. Source: Loshchilov, Hutter (2019), with PyTorch's
    scaling of the decay by the whole rate.

    Parameters
    ----------
    learning_rate : float
        Rate of the first step, at least 0.
    decay : float
        The rate of step t is learning_rate / (1 + decay t), from t = 0.
    epsilon : float
        Added to the root, so that nothing is divided by 0; above 0.
    beta_1 : float
        Weight of the past in the mean gradient, from 0 to below 1.
    beta_2 : float
        Weight of the past in the mean square.
    weight_decay : float
        Share of itself, times the rate, by which a parameter shrinks in a step.
    """

    weight_decay: float = 0.01

    def __init__(
        self,
        learning_rate: float = 0.001,
        decay: float = 0.0,
        epsilon: float = 1e-7,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        weight_decay: float = 0.01,
    ):
        super().__init__(learning_rate, decay, epsilon, beta_1, beta_2)
        self.weight_decay = checks.not_negative(weight_decay, "weight_decay")

    def _update(self, layer: Any, w: Any, dw: Any, prefix: str) -> None:
        m = self.state_of(layer, f"{prefix}_momentums", w)
        cache = self.state_of(layer, f"{prefix}_cache", w)
        backend_of(layer).adamw_step(
            w,
            dw,
            m,
            cache,
            self.current_learning_rate,
            self.epsilon,
            self.beta_1,
            self.beta_2,
            self.weight_decay,
            self.iterations + 1,
        )
