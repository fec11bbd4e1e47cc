"""The training loop: epochs, batches, printed lines, callbacks, history, checkpoints.

`Model.train` makes one `Training`, which runs the epochs. Where the samples come from is the
data's (`data/held.py`), what a step does an engine's (`engines.py`).

The loop fetches nothing from the device in a step. Where nobody looks at an epoch when it
ends (no lines, no validation, and no callbacks but onlookers), its numbers stay on the device, too,
and are fetched for many epochs together: a run of tiny epochs costs a few microseconds each beside
the step. Where an epoch is one step of a fused engine, one call does many of them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from ..backend.interrupts import new_pass
from ..data.order import order_of
from ..files.random_state import stream_kept
from ..fused import takes_weights
from ..network.engine import Measured
from ..ranks.world import World
from ..rollback import all_or_nothing
from . import blas, divergence, long_calls
from .callbacks import tell_of_exceptions, wants_loss
from .checkpoint import Checkpoint
from .engines import steps_for
from .history import History
from .inference import evaluate
from .run import METRICS, Run

MOST_PENDING = 1000  # epochs whose numbers wait on the device


class Training:
    """One call of `Model.train`: a run, the engine that does its steps, its checkpoint.

    Over ranks it is a `ranks.RankTraining`, which does its steps and its validation with others.
    """

    def __init__(
        self,
        run: Run,
        engine: str,
        checkpoint: Any,
        checkpoint_every: int | None,
        world: World | None = None,
    ):
        self.run, self.engine_name = run, engine
        self.world = world
        self.engine = steps_for(run.model, engine, weighted=run.data.weighted)
        self.checkpoint = None
        if checkpoint is not None:
            writes = world is None or world.rank == 0
            self.checkpoint = Checkpoint(run, self.fetch, checkpoint, checkpoint_every, writes)
        elif checkpoint_every is not None:
            raise ValueError("checkpoint_every: needs checkpoint, the folder to write to")
        self._pending: list[tuple[int, Any, Any, Any, float]] = []

    # ---- the loop ----
    def train(self) -> History:
        """Train to the end, or until a callback stops it; returns the history.

        Where an exception ends it, the callbacks hear of it, each, whatever the others do.
        """
        run = self.run
        with contextlib.ExitStack() as ending:
            try:
                self._begin(ending)
                run.progress()
                with divergence.numpy_quiet():
                    if self.engine.name == "layers":
                        blas.for_model(run.model, self._epochs)
                    else:  # no products by BLAS
                        self._epochs()
                run.show()
                if self.checkpoint is not None:
                    self._together(self.checkpoint.end)
            finally:
                if self.checkpoint is not None:
                    self.checkpoint.leave()
            self._together(self._tell_of_end)
        self._together(lambda: run.finite.end(run.model, run.epochs_done))
        return run.history

    def _begin(self, ending: contextlib.ExitStack) -> None:
        """Up to the first step. What fails here, such as a resume, has changed nothing."""
        run, model = self.run, self.run.model
        parts = model.loss, model.optimizer, model.accuracy
        with all_or_nothing(model, *model.layers, *parts, *run.callbacks), stream_kept():
            for callback in run.callbacks:
                callback.model = model
            self._open()
            self._together(self._prepare)
            tell_of_exceptions(run.called, ending)

    def _prepare(self) -> None:
        """Accuracy, callbacks and checkpoint begin."""
        run = self.run
        run.data.init_accuracy(run.accuracy)
        run.model.stop_training = False
        logs = {
            "epochs": run.epochs,
            "steps": run.steps,
            "samples": run.data.samples,
            "metrics": run.metrics,
        }
        for callback in run.called:
            callback.on_train_begin(dict(logs))
        if self.checkpoint is not None and self.checkpoint.begin():
            self._renew()
            run.data.init_accuracy(run.accuracy)  # where the file has no precision

    def _tell_of_end(self) -> None:
        logs = self.run.history.last()
        for callback in self.run.called:
            callback.on_train_end(logs)

    def _together(self, act: Callable[[], None]) -> None:
        """Do what each rank does by itself: over ranks, all hear whether it went well."""
        act()

    def _open(self) -> None:
        """What can be said against this run before anything changes."""
        if self.checkpoint is not None:
            self.run.settle(self.engine.name)
            self.checkpoint.open()

    def _epochs(self) -> None:
        """The epochs that are left."""
        run = self.run
        while run.epochs_done < run.epochs and not run.model.stop_training:
            if self.checkpoint is None and long_calls.epochs_fit(run, self.engine):
                long_calls.many_epochs(run, self.engine)
                if run.due(run.epochs_done):
                    run.show()
                run.finite.tell()
                continue
            if not self._epoch():
                break
        self.fetch()

    def _epoch(self) -> bool:
        """The epoch that comes next, or what is left of it; False where it was left unfinished."""
        if not self._steps():
            return False
        self._finish_epoch()
        if self.checkpoint is not None:
            self.checkpoint.epoch_done()
        self.run.finite.tell()
        return True

    def _steps(self) -> bool:
        """The steps of an epoch that are left; False where a callback stopped between two."""
        run, epoch = self.run, self.run.epochs_done + 1
        if run.steps_done == run.steps:  # killed between the last step and the epoch's end
            return True
        if run.print_every:
            print(f"epoch: {epoch}")
        if not run.steps_done:
            new_pass(run.loss, run.accuracy)
        order = order_of(run.data.samples, run.seed, epoch) if run.shuffle else None
        if self._swept():
            long_calls.sweep(run, self.engine, order)
            return True
        step, last = run.steps_done, run.steps - 1
        for measured in self._measured(order, step):
            run.steps_done = step + 1
            if run.printed(step):
                data_loss, penalty, accuracy = measured
                run.print_line(f"step: {step}", accuracy, float(data_loss), float(penalty))
            self._show_step(step, epoch, measured)
            run.progress()
            if self.checkpoint is not None:
                self.checkpoint.step_done()
            if self._stops() and step < last:
                return False
            step += 1
        return bool(run.steps_done == run.steps)

    def _show_step(self, step: int, epoch: int, measured: Measured) -> None:
        """Tell the callbacks of a step, with its numbers where one has asked for them."""
        called, numbers = self.run.told, {}
        if any(map(wants_loss, called)):
            data_loss, penalty, accuracy = map(float, measured)
            values = (data_loss + penalty, data_loss, penalty, accuracy)
            numbers = dict(zip(METRICS, values, strict=False))
        for callback in called:
            more = numbers if wants_loss(callback) else {}
            callback.on_train_batch_end(step, {"epoch": epoch, **more})

    def _measured(self, order: Any, first: int) -> Iterator[Measured]:
        """Do the steps of an epoch from number `first` on: what each has measured."""
        engine, run, rows = self.engine, self.run, 0
        leaf = getattr(engine, "leaf", None)
        for total, X, y in run.data.blocks(run.batch_size, order, first, leaf):
            if y.weights is not None and not takes_weights(engine):  # known when a block comes
                raise ValueError(
                    "train: got blocks with weights, which the fused steps of "
                    f"{run.model.backend.name} do not take; use engine='layers'"
                )
            if total is None:
                yield engine.step(X, y)
                continue
            engine.accumulate(X, y, total)
            rows += X.shape[0]
            if rows == total:
                rows = 0
                yield engine.finish()

    def _swept(self) -> bool:
        """Whether many batches go into one call of the engine."""
        within = self.checkpoint is not None and self.checkpoint.every is not None
        return not within and long_calls.swept(self.run, self.engine) > 0

    def _stops(self) -> bool:
        """Whether training ends after the step that was just done, as far as is known here."""
        return bool(self.run.model.stop_training)

    def _renew(self) -> None:
        """An engine for the parameters just read."""
        self.engine = steps_for(self.run.model, self.engine_name, weighted=self.run.data.weighted)

    # ---- the end of an epoch ----
    def _finish_epoch(self) -> None:
        run, epoch = self.run, self.run.epochs_done + 1
        data_loss, penalty = run.loss.calculate_accumulated(include_regularization=True)
        accuracy = run.accuracy.calculate_accumulated()
        rate = run.optimizer.current_learning_rate
        self._pending.append((epoch, data_loss, penalty, accuracy, rate))
        run.epochs_done, run.steps_done = epoch, 0
        watched, due = run.print_every or run.told or run.validation, run.due(epoch)
        if watched or due or len(self._pending) >= MOST_PENDING:
            self.fetch()
        if watched:
            self._show_epoch(epoch, run.history.last())
        if due:
            run.show()

    def fetch(self) -> None:
        """Move the numbers of finished epochs to the history. Waits for the device."""
        for epoch, data_loss, penalty, accuracy, rate in self._pending:
            data_loss, penalty = float(data_loss), float(penalty)
            values = (data_loss + penalty, data_loss, penalty, float(accuracy), float(rate))
            self.run.history.append(epoch, dict(zip(METRICS, values, strict=True)))
            self.run.finite.look(epoch, values[0], "loss")
        self._pending.clear()

    def _show_epoch(self, epoch: int, logs: dict[str, float]) -> None:
        """Print the epoch, validate, and tell the callbacks."""
        run = self.run
        if run.print_every:
            run.print_line("training", logs["accuracy"], logs["data_loss"], logs["reg_loss"])
        if run.validation is not None:
            measured = {f"val_{key}": value for key, value in self._validated().items()}
            run.finite.look(epoch, measured["val_loss"], "val_loss")
            run.history.append(epoch, measured)
            logs = logs | measured
        for callback in run.told:
            callback.on_epoch_end(epoch, logs)

    def _validated(self) -> dict[str, float]:
        """Loss and accuracy on the validation data."""
        run = self.run
        verbose = bool(run.print_every)
        return evaluate(run.model, run.validation, run.batch_size, verbose, self.world)
