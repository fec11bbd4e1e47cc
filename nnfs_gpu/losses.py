"""Losses: how wrong the predictions are, and the gradient that starts backpropagation.

Book, chapters 5, 9, 14 and 18. A loss gives one number a sample; `calculate` averages them.
Sums over an epoch stay on the device until somebody reads them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from . import checks
from .activations import Activation_Softmax
from .own.parts import Part, backend_of, ours
from .own.values import AsGiven, per_row
from .parameters import penalized
from .passing import LeftByPass
from .targets import Labels, Targets, Values, per_weight, weights_of

Array = Any


class Loss(Part):
    """What all losses share: the mean, the sums over an epoch, the regularization penalty.

    A loss of your own needs `forward` and `backward`; `__init__` need not call ours. In a
    `Model` both get plain arrays, targets in the form in which they were given.

    Attributes
    ----------
    sample_weights : bool
        Of a loss of your own, whether samples may have weights: True where row i of `dinputs` is
        the derivative of loss i divided by the number of samples.
    """

    dinputs: Any = LeftByPass()
    accumulated_sum: Any = 0.0
    accumulated_count: Any = 0  # samples, or the sum of their weights
    sample_weights: bool = False
    trainable_layers: Sequence[Any] = ()

    def forward(self, y_pred: Any, y_true: Any) -> Array:
        """Losses of the samples. Each loss defines its own.

        Parameters
        ----------
        y_pred : array of shape (N, O)
            Outputs of the network.
        y_true : array or Targets
            Targets of the same samples.

        Returns
        -------
        array of shape (N,)
            One loss a sample.
        """
        raise NotImplementedError

    def targets(self, y: Any, outputs: int, samples: int) -> Targets:
        """`y` checked and on the backend, for a network of `outputs` outputs: sliceable.

        forward, backward and the accuracies take it in place of raw targets and check no more.
        A loss that says nothing of its targets gets them as they were given.

        Parameters
        ----------
        y : array
            Raw targets.
        outputs : int
            Outputs of the network, O.
        samples : int
            How many targets there must be, N.

        Returns
        -------
        Targets
            Slices of it are targets, too.
        """
        return AsGiven.of(y, self.backend, samples)

    def _checked(self, y_pred: Any, y_true: Any) -> tuple[Array, Array]:
        """Predictions (N, O) and targets as arrays of the backend that fit each other."""
        y_pred = checks.matrix(self.backend, y_pred, None, type(self).__name__)
        return y_pred, self.targets(y_true, y_pred.shape[1], y_pred.shape[0]).values

    def remember_trainable_layers(self, trainable_layers: Sequence[Any]) -> None:
        """Keep the layers that `regularization_loss()` without an argument adds up.

        Parameters
        ----------
        trainable_layers : sequence of layer
            Those with parameters.
        """
        self.trainable_layers = trainable_layers

    def calculate(self, output: Any, y: Any, *, include_regularization: bool = False) -> Any:
        """Mean loss of the batch, which is added to the sums of the epoch.

        Parameters
        ----------
        output : array of shape (N, O)
            Outputs of the network.
        y : array or Targets
            Their targets.
        include_regularization : bool
            Return the penalty, too.

        Returns
        -------
        scalar, or tuple of two
            The mean, on the backend; with `include_regularization` (mean, penalty). Of targets
            with weights w the mean is sum w l / sum w.
        """
        sample_losses = self.forward(output, y)
        if not ours(self, "forward"):
            what = f"{type(self).__name__}, losses"
            sample_losses = per_row(self.backend, sample_losses, output, what, y)
        weights = weights_of(y)
        if weights is None:
            total, count = self.backend.sum(sample_losses), sample_losses.shape[0]
            data_loss = self.backend.mean(sample_losses, total)
        else:
            total, count = self.backend.sum(sample_losses * weights), self.backend.sum(weights)
            data_loss = per_weight(total, count)
        self.accumulated_sum = self.accumulated_sum + total
        self.accumulated_count = self.accumulated_count + count
        if include_regularization:
            return data_loss, self.regularization_loss()
        return data_loss

    def calculate_accumulated(self, *, include_regularization: bool = False) -> Any:
        """Mean loss of all samples since `new_pass`.

        Parameters
        ----------
        include_regularization : bool
            Return the penalty, too.

        Returns
        -------
        scalar, or tuple of two
            As `calculate`.

        Raises
        ------
        RuntimeError
            Before the first batch.
        """
        if not self.accumulated_count:
            raise RuntimeError("no loss has been calculated since new_pass(); calculate one first")
        data_loss = self.accumulated_sum / self.accumulated_count
        if include_regularization:
            return data_loss, self.regularization_loss()
        return data_loss

    def new_pass(self) -> None:
        """Forget the accumulated sums: an epoch begins."""
        self.accumulated_sum = 0.0
        self.accumulated_count = 0

    def regularization_loss(self, layer: Any = None) -> Any:
        """Penalty on large parameters: l1 sum|p| + l2 sum p^2.

        Parameters
        ----------
        layer : layer, optional
            Whose parameters; None: those of all remembered layers.

        Returns
        -------
        scalar
            On the backend.
        """
        layers = self.trainable_layers if layer is None else (layer,)
        total: Any = 0
        for one in layers:
            for p in penalized(one):
                backend = backend_of(one, self.backend)
                total = total + backend.regularization_loss(p.values, p.l1, p.l2)
        return total


class Loss_CategoricalCrossentropy(Loss):  # noqa: N801 - the book's name
    """Categorical cross-entropy: -log of the probability given to the true class.

    y_pred (N, C) probabilities, as softmax gives them; y_true class indices (N,), or (N, C)
    one-hot or soft rows. Probabilities are clipped to [1e-7, 1 - 1e-7], so that no loss
    exceeds 16.118 and no gradient is infinite.
    """

    def forward(self, y_pred: Any, y_true: Any) -> Array:
        """Losses of the samples, (N,)."""
        p, t = self._checked(y_pred, y_true)
        return self.backend.cross_entropy_forward(p, t)

    def backward(self, dvalues: Any, y_true: Any) -> Array:
        """dinputs (N, C): gradient of the mean loss at the probabilities `dvalues`."""
        p, t = self._checked(dvalues, y_true)
        self.dinputs = self.backend.cross_entropy_backward(p, t)
        return self.dinputs

    def targets(self, y: Any, outputs: int, samples: int) -> Labels:
        """Class indices (N,) or probabilities (N, C), checked. Raises as `targets.Labels`."""
        return Labels.of(y, outputs, self.backend, samples)


class Loss_BinaryCrossentropy(Loss):  # noqa: N801 - the book's name
    """Cross-entropy of yes-or-no outputs, averaged over the outputs (book, chapter 16).

    y_pred (N, O) probabilities, as the sigmoid gives them; y_true (N, O), or (N,) for one
    output: 0, 1 or a probability between. Probabilities are clipped to [1e-7, 1 - 1e-7].
    """

    def forward(self, y_pred: Any, y_true: Any) -> Array:
        """-(t log p + (1 - t) log(1 - p)), mean over the outputs: (N,)."""
        return self.backend.binary_cross_entropy_forward(*self._checked(y_pred, y_true))

    def backward(self, dvalues: Any, y_true: Any) -> Array:
        """dinputs (N, O): gradient of the mean loss at the probabilities `dvalues`."""
        self.dinputs = self.backend.binary_cross_entropy_backward(*self._checked(dvalues, y_true))
        return self.dinputs

    def targets(self, y: Any, outputs: int, samples: int) -> Values:
        """Numbers of 0 to 1, (N, O), checked. Raises as `targets.Values`."""
        return Values.of(y, outputs, self.backend, samples, unit=True)


class Loss_MeanSquaredError(Loss):  # noqa: N801 - the book's name
    """Mean squared error over the outputs (book, chapter 17): the mean of their (t - y)^2.

    y_true (N, O), or (N,) for O = 1.
    """

    def forward(self, y_pred: Any, y_true: Any) -> Array:
        """Losses of the samples, (N,)."""
        return self.backend.squared_error_forward(*self._checked(y_pred, y_true))

    def backward(self, dvalues: Any, y_true: Any) -> Array:
        """dinputs = -2 (t - y) / O / N, (N, O)."""
        self.dinputs = self.backend.squared_error_backward(*self._checked(dvalues, y_true))
        return self.dinputs

    def targets(self, y: Any, outputs: int, samples: int) -> Values:
        """Numbers (N, O), checked. Raises as `targets.Values`."""
        return Values.of(y, outputs, self.backend, samples)


class Loss_MeanAbsoluteError(Loss):  # noqa: N801 - the book's name
    """Mean absolute error over the outputs (book, chapter 17): the mean of their |t - y|.

    y_true (N, O), or (N,) for O = 1.
    """

    def forward(self, y_pred: Any, y_true: Any) -> Array:
        """Losses of the samples, (N,)."""
        return self.backend.absolute_error_forward(*self._checked(y_pred, y_true))

    def backward(self, dvalues: Any, y_true: Any) -> Array:
        """dinputs = sign(y - t) / O / N, (N, O); the book has the opposite sign, uphill."""
        self.dinputs = self.backend.absolute_error_backward(*self._checked(dvalues, y_true))
        return self.dinputs

    def targets(self, y: Any, outputs: int, samples: int) -> Values:
        """Numbers (N, O), checked. Raises as `targets.Values`."""
        return Values.of(y, outputs, self.backend, samples)


class Activation_Softmax_Loss_CategoricalCrossentropy(Part):  # noqa: N801 - the book's name
    """Softmax and cross-entropy as one: their derivatives cancel to (p - t) / N.

    `forward` takes scores (chapters 9 to 17); `backward` the probabilities that the softmax
    gave. Soft labels keep their values (the book takes their argmax).
    """

    output: Any = LeftByPass()
    dinputs: Any = LeftByPass()

    def __init__(self) -> None:
        self.activation = Activation_Softmax()
        self.loss = Loss_CategoricalCrossentropy()

    def forward(self, inputs: Any, y_true: Any) -> Any:
        """Mean loss at the scores; the probabilities are left in `output`.

        Parameters
        ----------
        inputs : array of shape (N, C)
            Scores.
        y_true : array
            Class indices (N,), or (N, C) one-hot or soft rows.

        Returns
        -------
        scalar
            On the backend.
        """
        self.output = self.activation.forward(inputs)
        return self.loss.calculate(self.output, y_true)

    def backward(self, dvalues: Any, y_true: Any) -> Array:
        """Gradient of the mean loss at the scores.

        Parameters
        ----------
        dvalues : array of shape (N, C)
            The probabilities that the softmax gave.
        y_true : array
            As `forward` takes it.

        Returns
        -------
        array of shape (N, C)
            Dinputs.
        """
        p = checks.matrix(self.backend, dvalues, None, type(self).__name__)
        t = Labels.of(y_true, p.shape[1], self.backend, p.shape[0]).values
        self.dinputs = self.backend.softmax_cross_entropy_backward(p, t)
        return self.dinputs
