"""Activations: what a layer's sums pass through (book, chapters 4 and 9).

Each keeps what its backward needs: the ReLU its inputs, the softmax its output.
"""

from __future__ import annotations

from typing import Any

from . import checks
from .own.parts import Part
from .passing import Passed

Array = Any


class Activation_ReLU(Part, Passed):  # noqa: N801 - the book's name
    """Rectified linear: output = max(inputs, 0), any shape. The derivative at 0 is taken as 0."""

    def __init__(self) -> None:
        self.inputs = None
        self.output = None

    def forward(self, inputs: Any, training: bool = True) -> Array:
        """inputs -> output, same shape."""
        self.inputs = self.backend.asarray(inputs)
        self.output = self.backend.relu_forward(self.inputs)
        return self.output

    def backward(self, dvalues: Any) -> Array:
        """dinputs = dvalues where inputs > 0, else 0."""
        dvalues = checks.gradient(self.backend, dvalues, self.output, "Activation_ReLU.backward")
        self.dinputs = self.backend.relu_backward(dvalues, self.backend.asarray(self.inputs))
        return self.dinputs

    def predictions(self, outputs: Any) -> Array:
        """The outputs themselves."""
        return outputs


class Activation_Softmax(Part, Passed):  # noqa: N801 - the book's name
    """Turns each row of scores into probabilities: output = exp(x) / sum(exp(x)).

    The largest score of the row is subtracted first: the result is the same and exp cannot
    overflow.
    """

    def __init__(self) -> None:
        self.inputs = None
        self.output = None

    def forward(self, inputs: Any, training: bool = True) -> Array:
        """inputs (N, C) -> output (N, C), rows with sum 1."""
        self.inputs = checks.matrix(self.backend, inputs, None, "Activation_Softmax")
        self.output = self.backend.softmax_forward(self.inputs)
        return self.output

    def backward(self, dvalues: Any) -> Array:
        """dinputs = each row's Jacobian times its dvalues, all rows at once.

        The book builds the Jacobian diag(s) - s s^T of every sample in a Python loop. Its
        product with a vector v is s * (v - s . v): one pass, no matrix. See
        `backend.softmax_jacobian` for the matrices themselves.
        """
        dvalues = checks.gradient(self.backend, dvalues, self.output, "Activation_Softmax.backward")
        self.dinputs = self.backend.softmax_backward(dvalues, self.backend.asarray(self.output))
        return self.dinputs

    def predictions(self, outputs: Any) -> Array:
        """The class with the largest probability of each row, int32 (N,); NumPy for NumPy."""
        classes = self.backend.argmax(self.backend.asarray(outputs))
        return checks.like(outputs, self.backend, classes)


class Activation_Sigmoid(Part, Passed):  # noqa: N801 - the book's name
    """Sigmoid: output = 1 / (1 + exp(-inputs)), any shape (book, chapter 16).

    Each output is a probability of its own: of "yes" in a yes-or-no question. Written with
    exp(-|inputs|), so that no input overflows.
    """

    def __init__(self) -> None:
        self.inputs = None
        self.output = None

    def forward(self, inputs: Any, training: bool = True) -> Array:
        """inputs -> output between 0 and 1, same shape."""
        self.inputs = self.backend.asarray(inputs)
        self.output = self.backend.sigmoid_forward(self.inputs)
        return self.output

    def backward(self, dvalues: Any) -> Array:
        """dinputs = dvalues * (1 - output) * output."""
        dvalues = checks.gradient(self.backend, dvalues, self.output, "Activation_Sigmoid.backward")
        self.dinputs = self.backend.sigmoid_backward(dvalues, self.backend.asarray(self.output))
        return self.dinputs

    def predictions(self, outputs: Any) -> Array:
        """1 where the probability is above 0.5, else 0: int32, as outputs; NumPy for NumPy."""
        yes = self.backend.threshold(self.backend.asarray(outputs), 0.5)
        return checks.like(outputs, self.backend, yes)


class Activation_Tanh(Part, Passed):  # noqa: N801 - named like the book's
    """Hyperbolic tangent: output = tanh(inputs), any shape; a sigmoid from -1 to 1, and 0 at 0."""

    def __init__(self) -> None:
        self.inputs = None
        self.output = None

    def forward(self, inputs: Any, training: bool = True) -> Array:
        """inputs -> output between -1 and 1, same shape."""
        self.inputs = self.backend.asarray(inputs)
        self.output = self.backend.tanh_forward(self.inputs)
        return self.output

    def backward(self, dvalues: Any) -> Array:
        """dinputs = dvalues * (1 - output^2)."""
        dvalues = checks.gradient(self.backend, dvalues, self.output, "Activation_Tanh.backward")
        self.dinputs = self.backend.tanh_backward(dvalues, self.backend.asarray(self.output))
        return self.dinputs

    def predictions(self, outputs: Any) -> Array:
        """The outputs themselves."""
        return outputs


class Activation_LeakyReLU(Part, Passed):  # noqa: N801 - named like the book's
    """Leaky ReLU: output = inputs above 0, negative_slope * inputs below.

    No unit is ever without a gradient. The derivative at 0 is taken as negative_slope. Source:
    Maas, Hannun, Ng (2013).

    Parameters
    ----------
    negative_slope : float
        0 or more.
    """

    def __init__(self, negative_slope: float = 0.01) -> None:
        self.negative_slope = checks.not_negative(negative_slope, "negative_slope")
        self.inputs = None
        self.output = None

    def forward(self, inputs: Any, training: bool = True) -> Array:
        """inputs -> output, same shape."""
        self.inputs = self.backend.asarray(inputs)
        self.output = self.backend.leaky_relu_forward(self.inputs, self.negative_slope)
        return self.output

    def backward(self, dvalues: Any) -> Array:
        """dinputs = dvalues where inputs > 0, else negative_slope * dvalues."""
        name = "Activation_LeakyReLU.backward"
        dvalues = checks.gradient(self.backend, dvalues, self.output, name)
        inputs = self.backend.asarray(self.inputs)
        self.dinputs = self.backend.leaky_relu_backward(dvalues, inputs, self.negative_slope)
        return self.dinputs

    def predictions(self, outputs: Any) -> Array:
        """The outputs themselves."""
        return outputs


class Activation_Linear(Part, Passed):  # noqa: N801 - the book's name
    """Identity: output = inputs, the output activation of regression (book, chapter 17).

    Nothing is copied: operations leave their arguments untouched.
    """

    def __init__(self) -> None:
        self.inputs = None
        self.output = None

    def forward(self, inputs: Any, training: bool = True) -> Array:
        """The inputs themselves, as an array of the backend."""
        self.inputs = self.output = self.backend.asarray(inputs)
        return self.output

    def backward(self, dvalues: Any) -> Array:
        """The derivative is 1: dinputs = dvalues."""
        self.dinputs = checks.gradient(
            self.backend, dvalues, self.output, "Activation_Linear.backward"
        )
        return self.dinputs

    def predictions(self, outputs: Any) -> Array:
        """The outputs themselves."""
        return outputs
