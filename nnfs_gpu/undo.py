"""A step of training is done or not done: what it has changed is put back where it fails.

It may fail anywhere, at Ctrl-C, for want of memory, in a part of the user's own. Used by the
engines that go through the layers: a fused engine changes everything in one call instead.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = Any

SUMS = ("accumulated_sum", "accumulated_count")
OF_A_BATCH = {"inputs", "output", "dinputs", "binary_mask", "dweights", "dbiases"}


class Undo:
    """What a step changes of `model`, as it was before.

    begin()    a step begins: sums, counters of layers and the optimizer's numbers are kept
    keep()     its update begins: parameters and their state are kept, too
    done()     the step is done: nothing to put back
    back()     everything as it was at `begin`, wherever the step is now; may be done again

    A batch that comes in pieces has changed nothing between two of them:
    set_aside()       puts the layers' counters back and returns what they had come to,
    take_up(numbers)  and goes on from there

    Kept are numbers that layers, loss, accuracy and optimizer hold, and the trainable layers'
    arrays of the shape of their weights or biases: what an optimizer writes. Copies go to arrays
    that are made once.
    """

    def __init__(self, model: Any):
        self._model = model
        self._counted: list[tuple[dict[str, Any], list[str]]] | None = None
        self._spare: dict[tuple[int, str], Array] = {}
        self._names: dict[int, tuple[int, list[str]]] = {}
        self._saved: tuple[Any, ...] | None = None  # written at once, so never half of it

    def begin(self) -> None:
        if self._counted is None:
            self._counted = self._counters()
        sums = [
            (vars(one), SUMS, [getattr(one, name, 0) for name in SUMS])
            for one in (self._model.loss, self._model.accuracy)
            if one is not None
        ]
        optimizer = vars(self._model.optimizer)
        random = np.random.get_state() if self._draws else None
        self._saved = (sums, self._numbers(), optimizer, optimizer.copy(), random, ())

    def keep(self) -> None:
        kept = []
        for place, layer in enumerate(self._model.trainable_layers):
            held = vars(layer)
            pairs = [(held[name], self._copy(place, name, held)) for name in self._written(place)]
            kept.append((held, held.copy(), pairs))
        assert self._saved is not None
        self._saved = (*self._saved[:-1], kept)

    def done(self) -> None:
        self._saved = None

    def back(self) -> None:
        if self._saved is None:
            return
        sums, numbers, optimizer, settings, random, kept = self._saved
        for held, before, pairs in kept:
            for array, copy in pairs:
                array[...] = copy
            _put_back(held, before)
        _put_back(optimizer, settings)
        for held, names, values in (*sums, *numbers):
            held.update(zip(names, values, strict=True))
        if random is not None:
            np.random.set_state(random)
        self._saved = None

    def set_aside(self) -> list[Any]:
        found = self._numbers()
        assert self._saved is not None
        self.take_up(self._saved[1])
        return found

    def take_up(self, numbers: list[Any]) -> None:
        for held, names, values in numbers:
            held.update(zip(names, values, strict=True))

    # ---- inside ----
    def _counters(self) -> list[tuple[dict[str, Any], list[str]]]:
        """The layers that hold numbers, and which. A seed that was drawn stays drawn."""
        found = []
        # Masks in the book's order, and layers of the user's own, draw from NumPy's stream.
        self._draws = False
        for layer in self._model.layers:
            own = not type(layer).__module__.startswith("nnfs_gpu.")
            self._draws |= own or (hasattr(layer, "seed") and layer.backend.book_random)
            if layer not in self._model.trainable_layers or own:
                held = vars(layer)
                names = [name for name, value in held.items() if type(value) in (int, float)]
                if "seed" in names:
                    names.remove("seed")
                if names:
                    found.append((held, names))
        return found

    def _numbers(self) -> list[Any]:
        assert self._counted is not None
        return [(held, names, list(map(held.get, names))) for held, names in self._counted]

    def _written(self, place: int) -> list[str]:
        """The names of a layer's arrays that an update may write; looked for when some come."""
        layer = self._model.trainable_layers[place]
        held = vars(layer)
        count, names = self._names.get(place, (-1, []))
        if count != len(held):
            parameters = (held.get(name) for name in ("weights", "biases"))
            shapes = [array.shape for array in parameters if array is not None]
            names = [
                name
                for name, value in held.items()
                if name not in OF_A_BATCH and getattr(value, "shape", None) in shapes
            ]
            self._names[place] = len(held), names
        return names

    def _copy(self, place: int, name: str, held: dict[str, Any]) -> Array:
        array = held[name]
        spare = self._spare.get((place, name))
        if spare is None or spare.shape != array.shape or spare.dtype != array.dtype:
            spare = self._spare[place, name] = array.copy()
        else:
            spare[...] = array
        return spare


def _put_back(held: dict[str, Any], before: dict[str, Any]) -> None:
    """The attributes of an object as they were: also those that have come or gone."""
    held.update(before)
    for name in held.keys() - before.keys():
        held.pop(name, None)
