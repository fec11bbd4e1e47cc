"""Engines: what one step of training does.

`LayerSteps` goes through the layers as the book does; a fused engine (`nnfs_gpu/fused/`)
computes the same in one call. Fused ones can also `run` many steps on one batch, and the CPU's
can `sweep` over the batches of an epoch: see `fused/cpu/engine.py`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import fused
from ..backend.interrupts import insist
from ..network.engine import Batch, Engine, Measured
from ..network.network import Network, accuracy_of, loss_of, optimizer_of
from ..targets import per_weight, weights_of
from ..undo import Undo

Array = Any


class LayerSteps:
    """The book's step: one layer after the other, forward and back.

    Of a batch in blocks, a dropout layer draws a mask for each block.
    """

    name = "layers"
    weights = True

    # Of the batch under way: sums, and how many were compared.
    _loss: Any
    _right: Any
    _weight: Any  # of the samples; None where they count alike
    _compared: int
    _gradients: list[Array]
    _ahead: list[Any]  # what the layers' counters have come to

    def __init__(self, model: Network):
        self.model = model
        self._undo, self._batch = Undo(model), Batch()
        self.loss, self.accuracy = loss_of(model), accuracy_of(model)
        self.optimizer = optimizer_of(model)
        self._forget()

    def step(self, X: Array, y: Any) -> Measured:
        """One batch: forward, loss and penalty, accuracy, backward, update."""
        try:
            self._undo.begin()
            measured = self._step(X, y)
            self._undo.done()
        except BaseException:
            insist(self._undo.back)
            raise
        return measured

    def _step(self, X: Array, y: Any) -> Measured:
        model = self.model
        output = model.forward(X, training=True)
        data_loss, penalty = self.loss.calculate(output, y, include_regularization=True)
        predictions = model.output_layer_activation.predictions(output)
        accuracy = self.accuracy.calculate(predictions, y)
        model.backward(output, y)
        self._update()
        return data_loss, penalty, accuracy

    def accumulate(self, X: Array, y: Any, total: int) -> None:
        """The next rows of a batch of `total`: losses, comparisons and gradients are added up.

        Layers give the gradient of the mean over the rows at hand, g = mean + penalty. Times
        rows / total, all of them add up to the mean over the batch and the penalty once: these
        factors' sum is 1. Where samples have weights w, and the mean is sum w l / sum w, the factor
        is the rows' sum w, by whose sum over the batch `finish` divides. The sums are in float64,
        whatever the dtype.
        """
        n = X.shape[0]
        first = self._batch.first(n, total)
        try:
            if not first:
                self._undo.begin()
            self._undo.resume(self._ahead)
            self._add(X, y, total)
            self._ahead = self._undo.set_aside()
            self._batch.add(n, total)
        except BaseException:
            insist(self._give_up)
            raise

    def _add(self, X: Array, y: Any, total: int) -> None:
        model, backend, n = self.model, self.model.backend, X.shape[0]
        output = model.forward(X, training=True)
        losses, weights = self.loss.forward(output, y), weights_of(y)
        if weights is None:
            share = n / total
        else:
            losses, share = losses * weights, backend.sum(weights)
            self._weight = share + (0.0 if self._weight is None else self._weight)
        predictions = model.output_layer_activation.predictions(output)
        comparisons = self.accuracy.compare(predictions, y)
        model.backward(output, y)
        gradients = [one.gradient for one in model.parameters()]
        if not self._gradients:
            self._gradients = [backend.zeros(dw.shape, np.float64) for dw in gradients]
        for added, dw in zip(self._gradients, gradients, strict=True):
            added += share * dw
        self._loss = self._loss + backend.sum(losses)
        self._right = self._right + backend.sum(comparisons)
        self._compared += comparisons.size

    def finish(self) -> Measured:
        """The update from all rows. Raises RuntimeError where some are missing."""
        n = self._batch.end()
        try:
            self._undo.resume(self._ahead)
            measured = self._end(n)
            self._forget()
            self._undo.done()
        except BaseException:
            insist(self._give_up)
            raise
        return measured

    def _end(self, n: int) -> Measured:
        model = self.model
        penalty, count = self.loss.regularization_loss(), n
        if self._weight is not None:
            count = self._weight
            self._divide(count)
        gradients = iter(self._gradients)
        for layer in model.trainable_layers:
            layer.dweights = model.backend.asarray(next(gradients), layer.weights.dtype)
            layer.dbiases = model.backend.asarray(next(gradients), layer.biases.dtype)
        loss, right, compared = self._loss, self._right, self._compared
        self.loss.accumulated_sum = self.loss.accumulated_sum + loss
        self.loss.accumulated_count = self.loss.accumulated_count + count
        self.accuracy.accumulated_sum = self.accuracy.accumulated_sum + right
        self.accuracy.accumulated_count += compared
        self._update()
        return per_weight(loss, count), penalty, right / compared

    def _divide(self, weight: Any) -> None:
        """The gradients by the batch's `weight`; where that is 0, the penalty's alone is left."""
        for added, one in zip(self._gradients, self.model.parameters(), strict=True):
            added[...] = per_weight(added, weight) + (weight == 0) * one.gradient

    def _forget(self) -> None:
        self._batch.forget()
        self._compared = 0
        self._loss = self._right = 0.0
        self._weight = None
        self._gradients, self._ahead = [], []

    def _give_up(self) -> None:
        self._undo.back()
        self._forget()

    def _update(self) -> None:
        self._undo.keep()
        optimizer = self.optimizer
        optimizer.pre_update_params()
        for layer in self.model.trainable_layers:
            optimizer.update_params(layer)
        optimizer.post_update_params()


def steps_for(model: Network, engine: str, weighted: bool = False) -> Engine:
    """The engine called `engine` for this model, and for targets with weights where `weighted`.

    Raises ValueError for an unknown name, its subclass `fused.CannotFuse` for "fused" where the
    model cannot be fused.
    """
    if engine not in ("auto", "fused", "layers"):
        raise ValueError(f"engine: got {engine!r}, expected 'auto', 'fused' or 'layers'")
    if engine != "layers":
        try:
            steps: Engine = fused.engine(model)
            if weighted and not fused.takes_weights(steps):
                raise fused.CannotFuse(
                    f"the fused steps of {model.backend.name} take no weights of samples"
                )
            return steps
        except fused.CannotFuse as reason:
            if engine == "fused":
                raise fused.CannotFuse(
                    f"engine='fused': {reason}; use engine='layers', or 'auto' to take what can be"
                ) from reason
    return LayerSteps(model)
