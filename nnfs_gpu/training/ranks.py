"""Training over ranks: one run that several processes do together, each with some of the rows.

Every rank runs the same program: the same model, the same data (arrays given whole, memory maps,
`Rows`), the same callbacks. A batch is cut into leaves by its size alone, a rank has whole leaves,
and what they add up to is exact (`shared.py`): so parameters, history and files are the same bits
for every number of ranks. Rank 0 alone prints and writes. `Model.train(world=...)` comes here.

Ranks that were given different things are told before the first step. One that fails says so in
the next sum, and the others end with an error that names it.
"""

from __future__ import annotations

import contextlib
import json
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..data.held import Held
from ..files.model_file import checked_values, contents
from ..files.tensor_file import Document, Tensors
from ..fused import CannotFuse
from ..fused.stages import stage_parts
from ..network.engine import Measured, SharedEngine
from ..ranks.devices import choose_device
from ..ranks.errors import WorldError
from ..ranks.failures import together
from ..ranks.world import World
from . import divergence
from .checkpoint import MOST_NAMED
from .checkpoint_settings import differences, settings_of
from .history import History
from .loop import Training
from .run import Run
from .shared import SharedSteps


class RankTraining(Training):
    """One call of `Model.train(world=...)`, on one of its ranks."""

    world: World

    def __init__(
        self, run: Run, engine: str, checkpoint: Any, checkpoint_every: int | None, world: World
    ):
        if engine == "layers":
            raise ValueError(
                "engine: got 'layers', expected 'auto' or 'fused' with world: ranks share fused "
                "steps, whose sums are exact"
            )
        super().__init__(run, "fused", checkpoint, checkpoint_every, world)
        self.shared = SharedSteps(self._sharing(), world)
        self._drawn = False  # dropout's seeds
        if world.rank:
            run.print_every = 0
            run.call(one for one in run.callbacks if not getattr(one, "rank_0", False))
        leaf = self.shared.engine.leaf
        run.data.shares(run.batch_size, None, 0, self.shared.share, leaf)  # may raise

    def _sharing(self) -> SharedEngine:
        """The engine. Raises CannotFuse for one that does not share its batches."""
        engine: Any = self.engine
        if not hasattr(engine, "message"):
            raise CannotFuse(f"world: an engine of {engine.describe()} does not share its batches")
        shared: SharedEngine = engine
        return shared

    def train(self) -> History:
        """As `Training.train`. Raises RankError where another rank has failed, on all of the
        others; ReplicasPartedError.
        """
        with contextlib.ExitStack() as quiet:
            if self.world.rank:
                quiet.enter_context(divergence.reported_by_caller())
            history = super().train()
        history.communication = self.shared.seconds
        return history

    def _open(self) -> None:
        """All ranks have been given the same; and the checkpoint, which rank 0 sees first."""
        world, checkpoint, first = self.world, self.checkpoint, self.world.rank == 0
        self._compare(self._arguments)
        self._settle()
        self._compare(lambda: settings_of(self.run))
        self._check_device()
        if checkpoint is None:
            return
        together(world, checkpoint.open if first else lambda: None)
        found = world.broadcast(checkpoint.document)
        if found is not None:
            together(world, lambda: None if first else self._follow(found))

    def _settle(self) -> None:
        """What tells this run from others. Arrays are looked at on every rank, which may have been
        given others; files and rows that are made by rank 0 alone, and only for a checkpoint.
        """
        world, run = self.world, self.run
        held = isinstance(run.data, Held)
        if not held and self.checkpoint is None:
            return
        together(world, lambda: run.settle(self.engine.name) if held or not world.rank else None)
        settings = world.broadcast(run.settings)
        if not held:
            run.settings = settings

    def _check_device(self) -> None:
        """Each rank has a GPU of its own, and its model lies there. Raises WorldError else."""
        model, world = self.run.model, self.world
        here = model.backend.device_number
        if here is None or world.size == 1:
            return
        number = choose_device(world)

        def check() -> None:
            if number != here:
                raise WorldError(
                    f"the model lies on GPU {here}, expected GPU {number}, which is this rank's "
                    "own; call nnfs_gpu.choose_device(world) before anything is made"
                )

        together(world, check)

    def _arguments(self) -> dict[str, Any]:
        """What decides on which calls follow."""
        run, checkpoint = self.run, self.checkpoint
        return {
            "epochs": run.epochs,
            "samples": run.data.samples,
            "data": type(run.data).__name__,
            "batch_size": run.batch_size,
            "shuffle seed": run.seed if run.shuffle else None,
            "validation samples": run.validation and run.validation.samples,
            "checkpoint": checkpoint and {"checkpoint_every": checkpoint.every},
        }

    def _compare(self, describe: Callable[[], dict[str, Any]]) -> None:
        """Raises ValueError where a rank is given something else than rank 0."""
        world = self.world
        mine = together(world, lambda: json.dumps(describe(), sort_keys=True, default=repr))
        first = world.broadcast(mine)

        def check() -> None:
            if mine != first:
                found = "; ".join(differences(json.loads(first), json.loads(mine))[:MOST_NAMED])
                raise ValueError(
                    f"train: got something else than rank 0: {found} (first what rank 0 has); give "
                    "all ranks the same model, data and settings"
                )

        together(world, check)

    def _follow(self, found: Document) -> None:
        """Read what rank 0 has read."""
        assert self.checkpoint is not None
        self.checkpoint.open()
        if json.dumps(self.checkpoint.document) != json.dumps(found):  # NaN is not equal to NaN
            none = self.checkpoint.document is None
            raise FileNotFoundError(
                f"checkpoint: {'no' if none else 'another'} {self.checkpoint.path} than rank 0 has "
                "read; give a folder that all machines share"
            )

    def _renew(self) -> None:
        super()._renew()
        self.shared.engine = self._sharing()

    def _epochs(self) -> None:
        """The epochs that are left. What fails here is told to the other ranks."""
        run, shared = self.run, self.shared
        self._make_alike()
        try:
            while not shared.agree(run.model.stop_training) and run.epochs_done < run.epochs:
                self._draw_seeds()
                shared.within = run.steps_done < run.steps
                if not self._epoch():
                    break
            run.model.stop_training = shared.stop
            self._together(self.fetch)
            shared.compare(together(self.world, self._mark), run.optimizer.iterations + 1)
        except Exception as error:
            shared.tell(error)
            raise

    def _mark(self) -> int:
        """A number made of all weights and biases, after the last update. Waits for the device."""
        mark, fetch = 0, self.run.model.backend.to_numpy
        for values in (a for pair in self.run.model.get_parameters() for a in pair):
            mark = zlib.crc32(fetch(values).tobytes(), mark)
        return mark

    def _make_alike(self) -> None:
        """Parameters and all that training changes as rank 0 has them."""
        model, world = self.run.model, self.world
        if world.size == 1:
            return
        mine = together(world, lambda: contents(model))
        first = world.broadcast(mine)
        together(world, lambda: None if _same(mine, first) else checked_values(model, *first)())

    def _draw_seeds(self) -> None:
        """Dropout's seeds, where nobody has fixed them: those that rank 0 draws, as one process."""
        if self._drawn:
            return
        self._drawn = True
        parts = stage_parts(self.run.model)
        dropouts = [part.dropout for part in parts if part.dropout is not None]
        for dropout in dropouts:
            if dropout.seed is None:
                dropout.seed = int(np.random.randint(2**63 - 1, dtype=np.int64))
        seeds = self.world.broadcast([dropout.seed for dropout in dropouts])
        for dropout, seed in zip(dropouts, seeds, strict=True):
            dropout.seed = seed

    def _measured(self, order: Any, first: int) -> Iterator[Measured]:
        run, shared = self.run, self.shared
        batches = run.data.shares(run.batch_size, order, first, shared.share, shared.engine.leaf)
        for total, rows in batches:
            last = run.steps_done + 1 == run.steps
            step, stop = run.optimizer.iterations + 1, run.model.stop_training
            measured = shared.step(total, rows, step, stop, last)
            if shared.stop:
                return
            yield measured

    def _validated(self) -> dict[str, float]:
        self.shared.agree(self.run.model.stop_training)  # who has failed by now says so
        return super()._validated()

    def _together(self, act: Callable[[], None]) -> None:
        together(self.world, act)

    def _swept(self) -> bool:
        return False  # ranks meet in every step

    def _stops(self) -> bool:
        return False  # the next sum says so


def _same(mine: tuple[Document, Tensors], first: tuple[Document, Tensors]) -> bool:
    """Whether two models' contents are the same bits."""
    (document, tensors), (other, others) = mine, first
    return (
        document == other
        and tensors.keys() == others.keys()
        and all(tensors[name].tobytes() == one.tobytes() for name, one in others.items())
    )
