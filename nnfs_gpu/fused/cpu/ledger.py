"""What steps of the CPU engine leave behind on the model's objects, beside the arrays.

The kernel writes parameters, their state and gradients; the counts and sums that belong to them
are written here, all computed from what they were before: so where this was cut off, it can be
done again.
"""

from __future__ import annotations

from typing import Any

from ...kernels.fused_cpu import tables as k
from ...network.network import Network
from ...targets import per_weight
from ..stages import StageParts

Array = Any
Before = tuple[int, list[int], tuple[Any, Any, Any, int], bool]


class Ledger:
    """The counts and sums of `model`.

    outputs    a sample's share in the count of what was compared
    gradients  (dweights, dbiases) of each stage
    """

    def __init__(
        self,
        model: Network,
        parts: tuple[StageParts, ...],
        gradients: list[tuple[Array, Array]],
        outputs: int,
    ):
        self.model, self._outputs = model, outputs
        self._gradients = [(part.dense, *pair) for part, pair in zip(parts, gradients, strict=True)]
        self._dropouts = [part.dropout for part in parts if part.dropout is not None]

    def before(self, fresh: bool) -> Before:
        """What steps count on from; `fresh`: the sums begin anew with each of them."""
        loss, accuracy = self.model.loss, self.model.accuracy
        sums: tuple[Any, Any, Any, int] = 0.0, 0, 0.0, 0
        if not fresh:
            sums = loss.accumulated_sum, loss.accumulated_count, 0.0, 0
            if accuracy is not None:
                sums = *sums[:2], accuracy.accumulated_sum, accuracy.accumulated_count
        return self.model.optimizer.iterations, [one.calls for one in self._dropouts], sums, fresh

    def done(
        self, before: Before, n: int, steps: int, into: Array, weighted: bool
    ) -> tuple[float, float, float]:
        """`steps` steps over n samples are done, each of which measured a row of `into`; gives the
        mean loss, penalty and accuracy of the last. weighted: the samples have weights.
        """
        iterations, calls, (losses, rows, hits, compared), fresh = before
        loss, right, penalty, _, weight = into[-1].tolist()
        count, model = n * self._outputs, self.model
        new = into[-1 if fresh else 0 :]
        for one in new[:, :2].tolist():  # in order: the bits of single steps
            losses, hits = losses + one[0], hits + one[1]
            rows, compared = rows + n, compared + count
        if weighted:
            rows = before[2][1]
            for one in new[:, k.WEIGHT].tolist():
                rows += one
        optimizer, accuracy = model.optimizer, model.accuracy
        optimizer.iterations = iterations + steps - 1
        optimizer.pre_update_params()  # the rate of the last step, as the kernel had it
        optimizer.post_update_params()
        model.loss.accumulated_sum, model.loss.accumulated_count = losses, rows
        if accuracy is not None:
            accuracy.accumulated_sum, accuracy.accumulated_count = hits, compared
        for dense, dweights, dbiases in self._gradients:
            dense.dweights, dense.dbiases = dweights, dbiases
        for dropout, number in zip(self._dropouts, calls, strict=True):
            dropout.calls = number + steps
        model.forget_pass()
        return per_weight(loss, weight), penalty, right / count
