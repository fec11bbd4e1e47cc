"""Callbacks: what `Model.train` tells others while it runs."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

from ..reprs import described


class Callback:
    """Called by `Model.train`; override what you need. `model` is set before training.

    `logs` of an epoch: loss, data_loss, reg_loss, accuracy, learning_rate and, with
    validation data, val_loss and val_accuracy, as Python floats.
    `self.model.stop_training = True` ends training: after an epoch, or after the step, whose
    epoch is then left unfinished and is not in the history.

    Attributes
    ----------
    model : Model
        The one that is trained.
    rank_0 : bool
        True for one that prints or writes: of several ranks (`world=`) the first alone calls
        it. Others are called on all ranks, with the same numbers; one that stops training
        stops all, after the same step.
    wants_loss : bool
        True for one that asks for the numbers of every step: they are fetched from the device for
        it, and training waits for that.
    """

    model: Any = None
    rank_0 = False
    wants_loss = False

    def __repr__(self) -> str:
        return described(self)

    def on_train_begin(self, logs: dict[str, Any]) -> None:
        """Before the first step.

        Parameters
        ----------
        logs : dict
            Of the run: "epochs", "steps" (of an epoch), "samples", "metrics" (names).
        """

    def on_train_batch_end(self, batch: int, logs: dict[str, Any]) -> None:
        """After a step. Nothing is fetched here but for those with `wants_loss`.

        Parameters
        ----------
        batch : int
            Number of the step within its epoch, from 0.
        logs : dict
            Of the step: "epoch"; with `wants_loss` "loss", "data_loss", "reg_loss" and "accuracy"
            of its batch before the update, too.
        """

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """After an epoch and its validation.

        Parameters
        ----------
        epoch : int
            Its number, from 1.
        logs : dict of str to float
            What was measured.
        """

    def on_train_end(self, logs: dict[str, float]) -> None:
        """After the last epoch.

        Parameters
        ----------
        logs : dict of str to float
            Those of that epoch; {} where none was finished.
        """

    def on_exception(self, error: BaseException) -> None:
        """An exception ends training, such as Ctrl-C or one of a callback; it goes on after.

        Called for every callback that training began with, `on_train_end` done or not.

        Parameters
        ----------
        error : BaseException
            The exception.
        """

    # ---- for checkpoints ----
    def settings(self) -> dict[str, Any]:
        """What must be the same when a run is resumed.

        Returns
        -------
        dict
            Numbers, texts, lists.
        """
        return {}

    def get_state(self) -> dict[str, Any]:
        """What has changed since `on_train_begin`.

        Returns
        -------
        dict
            Numbers, texts, lists and NumPy arrays.
        """
        return {}

    def set_state(self, state: dict[str, Any]) -> None:
        """Take what `get_state` gave; called after `on_train_begin` when a run is resumed.

        The state comes from a file: raise ValueError for one that is of another form. Set
        attributes anew instead of changing what is in them; where the resume fails, in this
        callback or in another, all attributes are put back.

        Parameters
        ----------
        state : dict
            As `get_state` gave it.
        """


class Onlooker(Callback):
    """One that only shows how far training is, now and then: training does not slow down for it.

    It is not told of each step, and of the end of an epoch where it is `due` and of the last. What
    goes into one call of an engine otherwise, many steps or many epochs, does so with it, too, and
    no numbers are fetched but those of the epochs that it is told of.
    """

    def due(self, epoch: int) -> bool:
        """Whether to be told of the end of an epoch now. Asked often: costs next to nothing.

        Parameters
        ----------
        epoch : int
            Its number, from 1.

        Returns
        -------
        bool
            False where it can wait for a later one.
        """
        return True

    def on_progress(self, epochs: int, steps: int) -> None:
        """Called before the first step, and after steps or calls of many.

        The device may still be at work on them.

        Parameters
        ----------
        epochs : int
            How many are done.
        steps : int
            How many of the next epoch are.
        """


def checked(callbacks: Any) -> tuple[Callback, ...]:
    """The callbacks as a tuple. Raises TypeError where they are no list of callback objects."""
    if hasattr(callbacks, "on_epoch_end"):
        raise TypeError(f"callbacks: got one {type(callbacks).__name__}, expected a list: [...]")
    for callback in callbacks:
        if isinstance(callback, type) or not hasattr(callback, "on_epoch_end"):
            raise TypeError(
                f"callbacks: got {callback!r}, expected an object with the methods of "
                "nnfs_gpu.Callback; make one: EarlyStopping(...)"
            )
    return tuple(callbacks)


def wants_loss(callback: Any) -> bool:
    """Whether it asks for the numbers of every step; one that knows nothing of it does not."""
    return bool(getattr(callback, "wants_loss", False))


def tell_of_exceptions(callbacks: Sequence[Callback], ending: contextlib.ExitStack) -> None:
    """Where the block of `ending` is left by an exception, call `on_exception` of each.

    In their order, and of all of them, whatever one of them raises.
    """
    for callback in reversed(callbacks):  # the last one pushed is called first

        def tell(_kind: Any, error: Any, _trace: Any, callback: Callback = callback) -> None:
            if error is not None and hasattr(callback, "on_exception"):
                callback.on_exception(error)

        ending.push(tell)
