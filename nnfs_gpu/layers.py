"""Layers: the parts of a network that carry parameters (book, chapters 3 and 9).

`forward` stands beside `backward`, so that one checks the other: what forward multiplies,
backward sends the gradient through. Arithmetic is the backend's; nothing here names a device.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from . import checks, remedies
from .own.parts import Part
from .own.values import shape_of
from .parameters import REGULARIZERS, add_penalties
from .passing import LeftByPass, Passed

Array = Any


class Layer_Dense(Part, Passed):  # noqa: N801 - the book's name
    """A dense layer: every output is a weighted sum of all inputs plus a bias.

    weights (I, O) start as 0.01 * randn from NumPy's global stream, on every backend the
    same; biases (1, O) as zeros. Assigning to either converts to the layer's dtype and
    device, copies and checks the shape. After `backward`: dweights (I, O), dbiases (1, O) and
    dinputs (N, I).

    Parameters
    ----------
    n_inputs : int
        I, at least 1.
    n_neurons : int
        O, at least 1.
    weight_regularizer_l1 : float
        Factor of the penalty on the sizes of the weights (book, chapter 14), at least 0.
    weight_regularizer_l2 : float
        Factor of the penalty on their squares.
    bias_regularizer_l1 : float
        Factor of the penalty on the sizes of the biases.
    bias_regularizer_l2 : float
        Factor of the penalty on their squares.

    Raises
    ------
    TypeError, ValueError
        For bad sizes, factors and shapes.
    """

    def __init__(
        self,
        n_inputs: int,
        n_neurons: int,
        weight_regularizer_l1: float = 0,
        weight_regularizer_l2: float = 0,
        bias_regularizer_l1: float = 0,
        bias_regularizer_l2: float = 0,
    ):
        self.n_inputs = checks.positive_int(n_inputs, "Layer_Dense n_inputs")
        self.n_neurons = checks.positive_int(n_neurons, "Layer_Dense n_neurons")
        # float32 draws first, then the factor: rounds as the book's program does.
        draws = np.random.randn(n_inputs, n_neurons).astype(self.backend.dtype)
        self.weights = 0.01 * draws
        self.biases = self.backend.zeros((1, n_neurons))
        given = (
            weight_regularizer_l1,
            weight_regularizer_l2,
            bias_regularizer_l1,
            bias_regularizer_l2,
        )
        for name, factor in zip(REGULARIZERS, given, strict=True):
            setattr(self, name, checks.not_negative(factor, name))
        self.inputs = None
        self.output = None

    DEFAULTS: ClassVar[dict[str, Any]] = dict.fromkeys(REGULARIZERS, 0)
    n_inputs: int
    n_neurons: int
    weight_regularizer_l1: float
    weight_regularizer_l2: float
    bias_regularizer_l1: float
    bias_regularizer_l2: float

    @property
    def weights(self) -> Array:
        """Of shape (I, O), in the backend's dtype."""
        return self._weights

    @weights.setter
    def weights(self, value: Any) -> None:
        self._set_sizes(value, ("n_inputs", "n_neurons"))
        self._weights = self._owned(value, (self.n_inputs, self.n_neurons), "weights")

    @property
    def biases(self) -> Array:
        """Of shape (1, O), in the backend's dtype."""
        return self._biases

    @biases.setter
    def biases(self, value: Any) -> None:
        self._set_sizes(value, (None, "n_neurons"))
        self._biases = self._owned(value, (1, self.n_neurons), "biases")

    def _set_sizes(self, value: Any, names: tuple[str | None, str]) -> None:
        """Sizes from the first arrays of a subclass whose `__init__`, as the book's, keeps none."""
        if "n_inputs" in vars(self) and "n_neurons" in vars(self):
            return
        shape = shape_of(value)
        if len(shape) == 2:
            for name, size in zip(names, shape, strict=True):
                if name is not None:
                    vars(self).setdefault(name, size)
        elif "n_neurons" not in vars(self) or names[0] is not None:
            raise ValueError(
                f"{type(self).__name__} weights and biases: got shape {shape}, expected weights "
                "(inputs, neurons) and biases (1, neurons); begin its __init__ with the line: "
                "super().__init__(n_inputs, n_neurons)"
            )

    def _owned(self, value: Any, shape: tuple[int, int], name: str) -> Array:
        """A copy, unless it is the layer's array already: optimizers write into it."""
        value = self._parameter(value, shape, name)
        mine = value is getattr(self, f"_{name}", None)  # as after layer.weights += change
        return value if mine else self.backend.copy(value)

    def _parameter(self, given: Any, shape: tuple[int, int], name: str) -> Array:
        value = checks.array(self.backend, given, "Layer_Dense", name)
        if value.shape != shape:
            raise ValueError(
                f"Layer_Dense {name}: got shape {value.shape}, expected {shape}"
                + remedies.for_parameter(given, value.shape, shape, name)
            )
        return value

    def forward(self, inputs: Any, training: bool = True) -> Array:
        """output = inputs weights + biases.

        Parameters
        ----------
        inputs : array of shape (N, I)
            Of any kind; moved to the backend.
        training : bool
            Not looked at: a dense layer does the same in both.

        Returns
        -------
        array of shape (N, O)
            The output, which is also kept as the attribute `output`.
        """
        self.inputs = checks.matrix(
            self.backend, inputs, self.n_inputs, f"Layer_Dense({self.n_inputs}, {self.n_neurons})"
        )
        self.output = self.backend.linear_forward(self.inputs, self.weights, self.biases)
        return self.output

    def backward(self, dvalues: Any) -> Array:
        """Set dweights, dbiases and dinputs, penalties included, from the gradient at the output.

        Parameters
        ----------
        dvalues : array of shape (N, O)
            Gradient at the output.

        Returns
        -------
        array of shape (N, I)
            Dinputs, the gradient at the inputs.
        """
        dvalues = checks.gradient(self.backend, dvalues, self.output, "Layer_Dense.backward")
        self.dinputs, self.dweights, self.dbiases = self.backend.linear_backward(
            dvalues, self.backend.asarray(self.inputs), self.weights
        )
        add_penalties(self)
        return self.dinputs

    def get_parameters(self) -> tuple[Array, Array]:
        """The parameters.

        Returns
        -------
        tuple of array
            (weights, biases), the arrays themselves.
        """
        return self.weights, self.biases

    def checked_parameters(self, weights: Any, biases: Any) -> tuple[Array, Array]:
        """Both as arrays of this layer's dtype and device.

        Parameters
        ----------
        weights : array of shape (I, O)
            Of any kind.
        biases : array of shape (1, O)
            Of any kind.

        Returns
        -------
        tuple of array
            (weights, biases).

        Raises
        ------
        TypeError, ValueError
            For what holds no numbers, and for another shape.
        """
        return (
            self._parameter(weights, (self.n_inputs, self.n_neurons), "weights"),
            self._parameter(biases, (1, self.n_neurons), "biases"),
        )

    def set_parameters(self, weights: Any, biases: Any) -> None:
        """Take copies of both; shapes are checked before either changes.

        Parameters
        ----------
        weights : array of shape (I, O)
            Of any kind.
        biases : array of shape (1, O)
            Of any kind.
        """
        self.weights, self.biases = self.checked_parameters(weights, biases)


class Layer_Dropout(Part, Passed):  # noqa: N801 - the book's name
    """Dropout: in training every value is zeroed with probability `rate` (book, chapter 15).

    Inverted dropout: what is kept is divided by the share kept, so that the expected output
    is the input, and nothing changes after training. As in the book, `rate` is turned into
    the share kept: Layer_Dropout(0.1).rate is 0.9. Mask number `calls` is a function of
    (seed, calls, element), the same on every backend; after `nnfs_gpu.init()` it is
    binomial(1, rate) from NumPy's global stream, in the book's order.

    Parameters
    ----------
    rate : float
        Share of values to zero, from 0 to below 1.
    seed : int, optional
        A whole number >= 0 for the masks; None: drawn from NumPy's global stream at the first
        forward pass in training, so that np.random.seed repeats a run.

    Attributes
    ----------
    binary_mask : array or None
        1/rate where the value was kept, else 0, in the layer's dtype; None after a forward pass
        that was not training: backward passes the gradient on then.

    Raises
    ------
    ValueError
        For a rate outside [0, 1) or a bad seed.
    """

    DEFAULTS: ClassVar[dict[str, Any]] = {"seed": None, "calls": 0}
    SHOWN: ClassVar[dict[str, Callable[[Any], Any]]] = {"rate": lambda layer: 1 - layer.rate}
    binary_mask: Any = LeftByPass()

    def __init__(self, rate: float, *, seed: int | None = None):
        self.rate = 1 - checks.fraction(rate, "Layer_Dropout rate")
        self.seed = None if seed is None else checks.seed(seed, "Layer_Dropout seed")
        self.calls = 0
        self.inputs = None
        self.output = None
        self.binary_mask = None

    def forward(self, inputs: Any, training: bool = True) -> Array:
        """inputs, any shape -> output, same shape: masked in training, else the inputs."""
        self.inputs = self.backend.asarray(inputs)
        if not training:
            self.binary_mask, self.output = None, self.inputs
        elif self.backend.book_random:
            drawn = np.random.binomial(1, self.rate, size=self.inputs.shape) / self.rate
            self.binary_mask = self.backend.asarray(drawn)
            self.output = self.backend.multiply(self.inputs, self.binary_mask)
        else:
            if self.seed is None:
                self.seed = int(np.random.randint(2**63 - 1, dtype=np.int64))
            self.output, self.binary_mask = self.backend.dropout_forward(
                self.inputs, self.rate, self.seed, self.calls
            )
            self.calls += 1
        return self.output

    def backward(self, dvalues: Any) -> Array:
        """dinputs = dvalues * mask: what was zeroed takes no part."""
        dvalues = checks.gradient(self.backend, dvalues, self.output, "Layer_Dropout.backward")
        if self.binary_mask is not None:
            dvalues = self.backend.multiply(dvalues, self.backend.asarray(self.binary_mask))
        self.dinputs = dvalues
        return self.dinputs


class Layer_Input(Part, Passed):  # noqa: N801 - the book's name
    """The data itself as a layer: `Model` puts it before the first real one.

    Parameters
    ----------
    any_shape : bool
        Inputs may be (N, ...): for a first layer of the user's own, that takes images.
    """

    def __init__(self, *, any_shape: bool = False) -> None:
        self.any_shape = any_shape
        self.output = None

    def forward(self, inputs: Any, training: bool = True) -> Array:
        """output = inputs (N, I), moved to the backend."""
        if self.any_shape:
            self.output = checks.samples(self.backend, inputs, "input")
        else:
            self.output = checks.matrix(self.backend, inputs, None, "input")
        return self.output
