"""Trains with checkpoints and is killed, again and again: for test_checkpoint.py.

    PYTHONPATH=tests python tests/training/killed_run.py FOLDER BACKEND NETWORK PLAN
PLAN is a list of "step N" (SIGKILL after N more steps), "write N" (in the middle of the Nth
write from here), "rename N" (just before its rename), "after N" (just after it) and "time S"
(by the parent, after S seconds). Each is carried out by a child made with fork: a process of
its own, killed for good. At last one child trains to the end and writes FOLDER/result.
"""

import json
import os
import signal
import sys
import time

import numpy as np
from networks import dense_model, dropout

from nnfs_gpu import (
    Activation_Linear,
    Activation_ReLU,
    Activation_Sigmoid,
    Callback,
    EarlyStopping,
    Optimizer_Adam,
    Optimizer_RMSprop,
    init,
    spiral_data,
    use_backend,
)
from nnfs_gpu.files import tensor_file

EPOCHS, BATCH = 6, 16


def network(kind):
    """(model, X, y, arguments of train): everything that has state is in one of them."""
    np.random.seed(5)
    X, y = spiral_data(40, 3)
    arguments = {"batch_size": BATCH, "epochs": EPOCHS}
    if kind == "book":
        init(random_seed=5)
    if kind == "regression":
        hidden, y = [Activation_Sigmoid, dropout(0.2)], X[:, :1] * 2
        optimizer = Optimizer_RMSprop(0.02, 1e-2)
        model = dense_model(
            *(2, 6, 1), hidden=hidden, last=Activation_Linear, optimizer=optimizer, seed=None
        )
        arguments["callbacks"] = [EarlyStopping("loss", 2, 1e-3, restore_best=True)]
    else:
        hidden, optimizer = [Activation_ReLU, dropout(0.1)], Optimizer_Adam(0.05, 1e-2)
        model = dense_model(
            *(2, 6, 3), hidden=hidden, optimizer=optimizer, seed=None, weight_regularizer_l2=1e-3
        )
        early = EarlyStopping("val_accuracy", None, restore_best=True)
        arguments |= {"validation_data": (X[::2], y[::2]), "callbacks": [early]}
        arguments |= {"shuffle": kind == "shuffled", "seed": 3}
    return model, X, y, arguments


def die():
    os.kill(os.getpid(), signal.SIGKILL)


class Killer(Callback):
    """Ends the process after so many steps, without a word."""

    def __init__(self, steps):
        self.steps = steps

    def on_train_batch_end(self, batch, logs):
        self.steps -= 1
        if self.steps == 0:
            die()


def killed_in_write(number, moment):
    """Arrange the death in a write of the checkpoint."""
    count, real, names = 0, os.replace, {"write": "fsync", "rename": "replace", "after": "replace"}

    def watched(*arguments):
        nonlocal count
        if moment == "write" and os.path.isdir(f"/proc/self/fd/{arguments[0]}"):
            return None  # the folder's sync
        count += 1
        if count >= number:
            if moment == "write":
                os.ftruncate(arguments[0], os.fstat(arguments[0]).st_size // 2)
            if moment == "after":
                real(*arguments)
            die()
        return real(*arguments) if moment != "write" else None

    setattr(tensor_file.os, names[moment], watched)


def train(folder, kind, what, number):
    """One start of the program; `what` happens to it after `number`. Returns the result."""
    model, X, y, arguments = network(kind)
    if what == "step":
        arguments["callbacks"].append(Killer(int(number)))
    elif what in ("write", "rename", "after"):
        killed_in_write(int(number), what)
    elif what == "time":
        arguments["callbacks"].append(Slow())
    every = {"checkpoint": folder, "checkpoint_every": 3 if kind != "book" else None}
    every = {} if folder is None else every
    history = model.train(X, y, print_every=None, **arguments, **every)
    return result(model, history, arguments["callbacks"][0])


class Slow(Callback):
    """Steps that take a while, for a death from outside at any moment."""

    def on_train_batch_end(self, batch, logs):
        time.sleep(0.002)


def result(model, history, early):
    """Everything that a run ends with, as text."""
    to_numpy = model.backend.to_numpy
    names = ("weights", "biases", "weight_momentums", "weight_cache", "bias_cache")
    arrays = [
        to_numpy(getattr(layer, name)).tobytes().hex()
        for layer in model.trainable_layers
        for name in names
        if hasattr(layer, name)
    ]
    dropout = model.layers[2]
    return json.dumps(
        {
            "arrays": arrays,
            "history": history.history,
            "epochs": history.epoch,
            "iterations": model.optimizer.iterations,
            "rate": model.optimizer.current_learning_rate,
            "dropout": [dropout.seed, dropout.calls],
            "sums": [float(p.accumulated_sum) for p in (model.loss, model.accuracy)],
            "counts": [p.accumulated_count for p in (model.loss, model.accuracy)],
            "early": [early.best, early.best_epoch, early.stopped_epoch, early.wait],
            "precision": getattr(model.accuracy, "precision", None),
            "random": np.random.rand(3).tolist(),
        }
    )


def main(folder, backend, kind, plan):
    use_backend(backend)
    kills = 0
    for what, number in [*plan, ("end", 0)]:
        child = os.fork()
        if child == 0:
            text = train(folder, kind, what, number)
            with open(folder + "/result", "w") as file:
                file.write(text)
            os._exit(0)
        if what == "time":
            time.sleep(float(number))
            os.kill(child, signal.SIGKILL)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert status in (0, -signal.SIGKILL), status
        kills += status != 0
    print(json.dumps({"kills": kills, "whole": train(None, kind, "", 0)}))


if __name__ == "__main__":
    main(*sys.argv[1:4], [pair.split() for pair in json.loads(sys.argv[4])])
