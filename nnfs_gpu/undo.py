"""A training step is done or not done: where it fails, what it has changed is put back.

It may fail anywhere: at Ctrl-C, for lack of memory, in a part of the user's own. Used by the
engines that go through the layers: a fused engine changes everything in one call instead.
`rollback.py` does the same for a call, where nothing need be quick.
"""

from __future__ import annotations

from operator import attrgetter, is_
from typing import Any

import numpy as np

from .network.network import Network
from .own.state import OF_A_BATCH, OwnState, is_own
from .rollback import attributes, refill

Array = Any

_sums = attrgetter("accumulated_sum", "accumulated_count")


class Undo:
    """What a step changes of `model`, as it was before.

    begin()    a step begins: sums, counters of layers and the optimizer's numbers are kept
    keep()     its update begins: parameters and their state are kept, too
    done()     the step is done: nothing to put back
    back()     everything as it was at `begin`, wherever the step is now; may be done again

    A batch that comes in pieces has changed nothing between two of them:
    set_aside()       puts the layers' counters back and returns what they had come to,
    resume(numbers)  and goes on from there

    Kept are numbers that layers, loss, accuracy and optimizer hold, and the trainable layers'
    arrays of the shape of their weights or biases: what an optimizer writes. Of parts of the
    user's own everything they hold is (`own/state.py`).
    """

    def __init__(self, model: Network):
        self._model = model
        self._counted: list[tuple[dict[str, Any], tuple[str, ...]]] | None = None
        self._copies = Copies(model)
        known = [*model.layers, model.loss, model.optimizer, model.accuracy]
        own = [part for part in known if is_own(part)]
        self._own = OwnState(own, [model, *(one for one in known if not is_own(one))])
        self._saved: list[Any] | None = None

    def begin(self) -> None:
        """Before anything of the step."""
        model = self._model
        if self._counted is None:
            self._look()
        counts = self._counts() if self._counted else ()
        random = np.random.get_state() if self._draws else None
        if self._own.parts:
            self._own.record(vars(model.input_layer).get("output"))
        sums = _sums_of(model.loss), _sums_of(model.accuracy)
        self._saved = [sums, attributes(model.optimizer).copy(), counts, random, False]

    def keep(self) -> None:
        """Before the update."""
        self._copies.record()
        assert self._saved is not None
        self._saved[-1] = True

    def done(self) -> None:
        """After all of the step."""
        self._saved = None

    def back(self) -> None:
        """The model as it was at `begin`."""
        if self._saved is None:
            return
        model = self._model
        sums, settings, counts, random, kept = self._saved
        if kept:
            self._copies.put_back()
        refill(attributes(model.optimizer), settings)
        for one, values in zip((model.loss, model.accuracy), sums, strict=True):
            if values is not None:
                one.accumulated_sum, one.accumulated_count = values
        self.resume(counts)
        if self._own.parts:
            self._own.put_back()
        if random is not None:
            np.random.set_state(random)
        self._saved = None

    def set_aside(self) -> list[Any]:
        """The layers' counters; the layers have those of `begin` again."""
        assert self._saved is not None
        found = self._counts()
        self.resume(self._saved[2])
        return found

    def resume(self, numbers: Any) -> None:
        """Give the layers the counters that `set_aside` gave."""
        for held, names, values in numbers:
            held.update(zip(names, values, strict=True))

    def _look(self) -> None:
        """Which layers hold numbers that a step may change. A seed that was drawn stays drawn."""
        self._draws, found = False, []
        for layer in self._model.layers:
            # Masks in the book's order, and layers of the user's own, draw from NumPy's stream.
            own = is_own(layer)
            self._draws |= own or (hasattr(layer, "seed") and layer.backend.book_random)
            if own or not hasattr(layer, "weights"):
                held = attributes(layer)
                names = [name for name, value in held.items() if type(value) in (int, float)]
                found.append((held, tuple(name for name in names if name != "seed")))
        self._counted = [(held, names) for held, names in found if names]

    def _counts(self) -> list[Any]:
        """(attributes, names, values) of the layers that count."""
        counted = self._counted or ()
        return [(held, names, [held[name] for name in names]) for held, names in counted]


class Copies:
    """The arrays that an update may write, and room for what they hold.

    Small arrays take longer to find than to copy: which there are is looked at again only when
    a layer holds others.
    """

    def __init__(self, model: Network):
        self._layers = model.trainable_layers
        self._xp = getattr(model.backend, "xp", np)
        self._looked: list[tuple[Any, ...]] = []  # by layer: see `_look`
        self._flat: list[Array] = []  # arrays that lie in one piece, as a row each
        self._room: Array = None
        self._odd: list[tuple[Array, Array]] = []  # the others, and room for each

    def record(self) -> None:
        """Copy them all."""
        for held, count, names, arrays, *_ in self._looked:
            if len(held) != count or not all(map(is_, map(held.get, names), arrays)):
                self._looked = []
                break
        if not self._looked:
            self._look()
        if self._flat:
            self._xp.concatenate(self._flat, out=self._room)
        for array, room in self._odd:
            room[...] = array

    def put_back(self) -> None:
        """The layers as they were at `record`; may be done again."""
        at = 0
        for row in self._flat:
            row[...] = self._room[at : at + row.size]
            at += row.size
        for array, room in self._odd:
            array[...] = room
        for held, *_, before, names in self._looked:
            refill(held, before, names)

    def _look(self) -> None:
        looked, found = [], []
        for layer in self._layers:
            held = attributes(layer)
            own = [getattr(layer, name, None) for name in ("weights", "biases")]
            shapes = [array.shape for array in own if array is not None]
            written = [
                name
                for name, value in held.items()
                if name not in OF_A_BATCH and getattr(value, "shape", None) in shapes
            ]
            kind = {name: held[name] for name in ("optimizer_kind",) if name in held}
            before = {name: held[name] for name in written} | kind
            arrays = [held[name] for name in written]
            looked.append((held, len(held), written, arrays, before, set(held)))
            found += arrays
        # A NumPy array that somebody has assigned on a GPU is moved only when it is written.
        own_kind = [a for a in found if isinstance(a, self._xp.ndarray) and a.flags.c_contiguous]
        flat = [a for a in own_kind if a.dtype == own_kind[0].dtype]
        self._flat = [a.reshape(-1) for a in flat]
        self._room = self._xp.concatenate(self._flat) if flat else None
        self._odd = [(a, a.copy()) for a in found if not any(a is one for one in flat)]
        self._looked = looked


def _sums_of(one: Any) -> Any:
    """Sum and count of a loss or an accuracy, of one that has them."""
    try:
        return _sums(one)
    except AttributeError:
        return None
