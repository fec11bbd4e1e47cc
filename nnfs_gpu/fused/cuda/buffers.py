"""What a fused step on the GPU keeps on the device between launches.

`Parameters`: weights, gradients and optimizer state of all layers, each kind in one array that
the layers see parts of. `Schedule`: learning rates of the steps to come and records of those
done. `Settings`: everything else that the model's objects say. Used by `cuda_steps`; array code
alone, so that it also runs on NumPy arrays.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter, is_
from typing import Any

import numpy as np

from ...backend import philox
from ...backend.powers import powers
from ...network.network import Network
from ...optimizers import moved
from ...parameters import NAMES, factors
from ..plan import Plan
from ..stages import StageParts
from ..vocabulary import ACTIVATIONS, OPTIMIZERS

Array = Any

MASK = 0xFFFFFFFF


class Parameters:
    """Flat arrays (P,): stage after stage weights (I, O), then biases (1, O).

    parameters, gradients, momentums, caches   what the kernel reads and writes; those that the
                optimizer does not have are one zero
    """

    def __init__(self, model: Network, plan: Plan, parts: tuple[StageParts, ...]):
        xp, dtype = model.backend.xp, model.backend.dtype
        kept = OPTIMIZERS[plan.optimizer].states
        self.parameters = xp.zeros(plan.parameters, dtype)
        self.gradients = xp.zeros(plan.parameters, dtype)
        self.momentums = xp.zeros(plan.parameters if "momentums" in kept else 1, dtype)
        self.caches = xp.zeros(plan.parameters if "cache" in kept else 1, dtype)
        states = {"momentums": self.momentums, "cache": self.caches}
        self._views: list[tuple[Any, str, Array]] = []
        self._places: list[tuple[slice, tuple[int, int]]] = []
        first = 0
        for part, stage in zip(parts, plan.stages, strict=True):
            model.optimizer.take_over(part.dense)
            shapes = (stage.n_inputs, stage.n_outputs), (1, stage.n_outputs)
            for one, shape in zip(NAMES, shapes, strict=True):
                last = first + shape[0] * shape[1]
                self._places.append((slice(first, last), shape))
                for name, flat in (
                    (f"_{one.values}", self.parameters),
                    (one.gradient, self.gradients),
                    *((one.state(name), states[name]) for name in kept),
                ):
                    view = flat[first:last].reshape(shape)
                    self._views.append((part.dense, name, view))
                first = last
        self._layers = []  # the same by layer, to look at in one call each
        for part in parts:
            mine = [(name, view) for layer, name, view in self._views if layer is part.dense]
            names, views = zip(*mine, strict=True)
            self._layers.append((part.dense, attrgetter(*names), views))

    def cut(self, flat: Array) -> list[tuple[Array, Array]]:
        """Weights' and biases' parts of such an array, of each stage."""
        found = [flat[place].reshape(shape) for place, shape in self._places]
        return list(zip(found[::2], found[1::2], strict=True))

    def refresh(self) -> None:
        """Let the layers' attributes be parts of our arrays, with the values that they have.

        An attribute that somebody assigned since the last step is copied, from the host too;
        one that is not there yet (the state before the first step) begins as zeros.
        """
        if not self._same():
            self._adopt()

    def _same(self) -> bool:
        try:
            for layer, ask, views in self._layers:
                if not all(map(is_, ask(layer), views)):
                    return False
        except AttributeError:
            return False
        return True

    def _adopt(self) -> None:
        for layer, name, view in self._views:
            held = getattr(layer, name, None)
            if held is view:
                continue
            if held is None:
                view[...] = 0
            else:
                view[...] = moved(layer, name, view)
            setattr(layer, name, view)


class Schedule:
    """Rows for ROWS steps: rates (ROWS, 3) for the kernel, records (ROWS, 3) from it.

    The kernel's counters say which row comes next and how many there are; so a launch that a
    CUDA graph replays takes the next rows by itself.
    """

    ROWS = 1024

    def __init__(self, xp: Any, dtype: np.dtype, optimizer: Any):
        self._xp, self._dtype, self._optimizer = xp, dtype, optimizer
        betas = [name for name in ("beta_1", "beta_2") if hasattr(optimizer, name)]
        self._ask = attrgetter("learning_rate", "decay", "current_learning_rate", *betas)
        self.rates = self.records = xp.zeros((0, 3), dtype)
        self.next = self.ROWS  # the row that comes next; none left
        self._key: tuple[float, ...] = ()
        self._iteration = -1  # of the row that comes next

    def prepare(self, steps: int, counters: Array) -> int:
        """Makes rows where there are none that fit; how many of `steps` steps they are for.

        New rows are new arrays: callers hold the old ones.
        """
        optimizer = self._optimizer
        key = self._ask(optimizer)
        if key[1]:  # with decay, the current rate follows from the others
            key = (*key[:2], *key[3:])
        used_up = self.next >= self.ROWS
        if used_up or optimizer.iterations != self._iteration or key != self._key:
            rows = _rates(optimizer, self.ROWS)
            self.rates = self._xp.asarray(rows.astype(self._dtype))
            self.records = self._xp.zeros((self.ROWS, 3), self._dtype)
            counters[:2] = self._xp.asarray(np.array([0, self.ROWS], np.uint32))
            self.next, self._key, self._iteration = 0, key, optimizer.iterations
        return min(steps, self.ROWS - self.next)

    def done(self, row: int, iteration: int) -> None:
        """The rows before `row` are used up, and the steps before `iteration` done."""
        self.next, self._iteration = row, iteration


def _rates(optimizer: Any, rows: int) -> np.ndarray:
    """Learning rate and the factors of Adam's corrections of steps iterations, iterations + 1, ...:
    (rows, 3).
    """
    iterations = np.arange(optimizer.iterations, optimizer.iterations + rows)
    found = np.ones((rows, 3))
    if optimizer.decay:
        found[:, 0] = optimizer.learning_rate * (1.0 / (1.0 + optimizer.decay * iterations))
    else:
        found[:, 0] = optimizer.current_learning_rate
    for column, name in ((1, "beta_1"), (2, "beta_2")):
        beta = float(getattr(optimizer, name, 0.0))
        found[:, column] = 1 / (1 - powers(beta, iterations + 1))
    return found


class Settings:
    """Numbers and dropout counters that the kernel reads, kept as the model's objects have them.

    numbers    `settings` of fused.cu
    dropouts   `dropouts` of fused.cu, whose calls the kernel counts on
    penalties  True where a layer has L1 or L2
    """

    def __init__(self, model: Network, plan: Plan, parts: tuple[StageParts, ...], clip: float):
        self._model, self._parts, self._clip = model, parts, clip
        self._xp, self._dtype = model.backend.xp, model.backend.dtype
        self.numbers = self._xp.zeros(10 + 6 * len(parts), self._dtype)
        self.dropouts = self._xp.zeros((len(parts), 5), np.uint32)
        self.penalties = False
        self._denses = [part.dense for part in parts]
        self._dropped = [part.dropout for part in parts if part.dropout is not None]
        self._rule = OPTIMIZERS[plan.optimizer].settings
        self._ask: list[tuple[Callable[[Any], Any], Any]] = [
            (attrgetter(name), model.optimizer) for name in self._rule.values()
        ]
        self._ask += [(attrgetter("rate"), layer) for layer in self._dropped]
        self._known = [ACTIVATIONS[stage.activation] for stage in plan.stages]
        self._ask += [
            (known.constants, part.activation)
            for known, part in zip(self._known, parts, strict=True)
            if known.constant is not None
        ]
        if hasattr(model.accuracy, "precision"):
            self._ask.append((attrgetter("precision"), model.accuracy))
        self._asked: list[Any] = []
        self._masks: list[tuple[Any, int]] = []

    def refresh(self) -> None:
        """Brings what somebody changed since the last step to the device: usually nothing."""
        asked: list[Any] = list(map(factors, self._denses))
        for ask, one in self._ask:
            asked.append(ask(one))
        if asked != self._asked:
            self._write()
            self._asked = asked
        if not self._dropped:
            return
        masks = [(layer.seed, layer.calls) for layer in self._dropped]
        if masks != self._masks:
            self._write_masks()  # draws missing seeds
            self._masks = [(layer.seed, layer.calls) for layer in self._dropped]

    def calls(self) -> list[int]:
        """The masks that each dropout layer has made."""
        return [layer.calls for layer in self._dropped]

    def advance(self, calls: list[int], steps: int) -> None:
        """The kernel has done `steps` steps after these `calls`: a mask each."""
        if not self._dropped:
            return
        for layer, count in zip(self._dropped, calls, strict=True):
            layer.calls = count + steps
        self._masks = [(layer.seed, layer.calls) for layer in self._dropped]

    def _write(self) -> None:
        """What `settings` of fused.cu holds, in its order."""
        optimizer = self._model.optimizer
        precision = getattr(self._model.accuracy, "precision", 0.0)
        if precision is None:
            raise RuntimeError("Accuracy_Regression has no precision yet; call init(y) first")
        rule = {role: getattr(optimizer, name) for role, name in self._rule.items()}
        first, second = rule.get("first", 0.0), rule.get("second", 0.0)
        found = [self._clip, 1 - self._clip, precision, rule.get("epsilon", 0.0)]
        found += [first, 1.0 - first, second, 1.0 - second]
        found += [rule.get("weight_decay", 0.0), 0.0]
        self.penalties = False
        for part, known in zip(self._parts, self._known, strict=True):
            penalties = factors(part.dense)
            self.penalties |= any(factor > 0 for factor in penalties)
            keep = 1.0 if part.dropout is None else part.dropout.rate
            constant = (*known.constants(part.activation), 0.0)[0]
            found += [*penalties, float(1 / self._dtype.type(keep)), constant]
        self.numbers[...] = self._xp.asarray(np.array(found, self._dtype))
        self._masks = []  # a rate is part of them, too

    def _write_masks(self) -> None:
        words = [dropout_words(part.dropout) for part in self._parts]
        self.dropouts[...] = self._xp.asarray(np.array(words, np.uint32))


def dropout_words(layer: Any) -> tuple[int, ...]:
    """Seed and share kept in units of 2^-32, low word first, and the number of the next mask.

    Draws a missing seed, as the layer's own forward does.
    """
    if layer is None:
        return (0,) * 5
    if layer.seed is None:
        layer.seed = int(np.random.randint(2**63 - 1, dtype=np.int64))
    seed, _, call = philox.counter(layer.seed, philox.STREAM_DROPOUT, layer.calls)
    keep = philox.keep_below(layer.rate)
    return seed & MASK, seed >> 32, keep & MASK, keep >> 32, call
