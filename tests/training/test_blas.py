"""BLAS threads: one for narrow networks, and what it was before when the work is done."""

from __future__ import annotations

import os
import signal
import sys
import threading
import warnings

import numpy as np
import pytest
from interruptions import cut_off, instructions
from networks import dense_model

import nnfs_gpu as ng
from nnfs_gpu.training import blas

MANY = int(os.environ.get("NNFS_GPU_INTERRUPTS", "60"))


class Library:
    """A BLAS library as threadpoolctl shows it."""

    def __init__(self, threads):
        self.num_threads, self.changes = threads, 0

    def set_num_threads(self, threads):
        self.num_threads = threads
        self.changes += 1


@pytest.fixture
def libraries(monkeypatch):
    """Two, with 8 and 3 threads."""
    found = [Library(8), Library(3)]
    monkeypatch.setattr(blas, "_libraries", lambda: found)
    monkeypatch.setattr(blas, "_ONE_THREAD", blas._OneThread())
    return found


def threads(libraries):
    return [library.num_threads for library in libraries]


def test_without_threadpoolctl_the_libraries_keep_their_threads(monkeypatch):
    """NumPy alone is enough for the numpy backend."""
    monkeypatch.setitem(sys.modules, "threadpoolctl", None)
    blas._libraries.cache_clear()
    try:
        monkeypatch.setattr(blas, "_ONE_THREAD", blas._OneThread())
        history = model_of().train(np.zeros((6, 2)), np.zeros(6, int), epochs=1, print_every=None)
    finally:
        blas._libraries.cache_clear()
    assert len(history["loss"]) == 1


class Seen(ng.Callback):
    """How many threads BLAS has in each epoch; then what an epoch's end shall do."""

    def __init__(self, libraries, act=lambda callback: None):
        self.libraries, self.act, self.seen = libraries, act, []

    def on_epoch_end(self, epoch, logs):
        self.seen.append(threads(self.libraries))
        self.act(self)


def model_of(widths=(2, 16, 3), backend="numpy"):
    return dense_model(*widths, hidden=(), optimizer=ng.Optimizer_SGD(), backend=backend)


def data(widths=(2, 16, 3), n=50):
    rng = np.random.default_rng(0)
    return rng.normal(size=(n, widths[0])), rng.integers(0, widths[-1], n)


def train(model, libraries, act=lambda callback: None, widths=(2, 16, 3), **options):
    callback = Seen(libraries, act)
    try:
        model.train(*data(widths), epochs=2, print_every=None, callbacks=[callback], **options)
    finally:
        callback.after = threads(libraries)
    return callback


# ---- who gets one thread ----
@pytest.mark.parametrize(("backend", "engine"), [("numpy", "auto"), ("numba", "layers")])
def test_a_narrow_network_trains_on_one_thread(libraries, backend, engine):
    told = train(model_of(backend=backend), libraries, engine=engine)
    assert told.seen == [[1, 1]] * 2
    assert told.after == [8, 3]


@pytest.mark.parametrize("widths", [(2, 16, 129, 3), (200, 16, 3)])
def test_a_wide_network_keeps_all_threads(libraries, widths):
    told = train(model_of(widths), libraries, widths=widths)
    assert told.seen == [[8, 3]] * 2


def test_a_fused_step_has_no_products_by_blas(libraries):
    train(model_of(backend="numba"), libraries, engine="fused")
    assert [library.changes for library in libraries] == [0, 0]


def test_evaluation_and_prediction_have_one_thread_too(libraries, monkeypatch):
    model, seen = model_of(), []
    forward = model.layers[0].forward

    def watched(*given):
        seen.append(threads(libraries))
        return forward(*given)

    monkeypatch.setattr(model.layers[0], "forward", watched)
    X, y = data(n=3_000)
    model.evaluate(X, y, verbose=False)
    model.predict(X)
    model.predict(X, batch_size=1_500)
    assert seen == [[1, 1]] * 4
    model.predict(X[:1])  # too small to be shared, and not worth a word
    assert seen[4:] == [[8, 3]]
    assert threads(libraries) == [8, 3]


def test_validation_of_a_fused_training_has_one_thread(libraries, monkeypatch):
    model, seen = model_of(backend="numba"), []
    linear = type(model.backend).linear_forward

    def watched(*given):
        seen.append(threads(libraries))
        return linear(*given)

    monkeypatch.setattr(type(model.backend), "linear_forward", watched)
    told = train(model, libraries, engine="fused", validation_data=data())
    assert seen == [[1, 1]] * 4  # two layers after each of two epochs
    assert told.seen == [[8, 3]] * 2


def test_the_real_library_has_one_thread(capsys):
    from threadpoolctl import threadpool_info, threadpool_limits

    def number(*_):
        return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]

    found = []
    with threadpool_limits(2, user_api="blas"):
        before = number()
        train(model_of(), [], lambda callback: found.append(number()))
        assert number() == before
    if not before:
        pytest.skip("NumPy's BLAS is none that threadpoolctl knows")
    assert found == [[1] * len(before)] * 2


# ---- what it was before comes back ----
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_errors_put_it_back(libraries, error):
    def fail(callback):
        raise error

    with pytest.raises(error):
        train(model_of(), libraries, fail)
    assert threads(libraries) == [8, 3]


def test_a_training_within_a_training_ends_before_it(libraries):
    inner = []

    def nested(callback):
        inner.append(train(model_of(), libraries))

    outer = train(model_of(), libraries, nested)
    assert [told.after for told in inner] == [[1, 1]] * 2
    assert outer.after == [8, 3]


@pytest.mark.parametrize("first_ends_first", [True, False])
def test_trainings_at_the_same_time(libraries, first_ends_first):
    """One thread until both have ended, in whichever order."""
    begun, over = [threading.Event() for _ in range(2)], [threading.Event() for _ in range(2)]
    told = [None, None]

    def work(place):
        def wait(callback):
            begun[place].set()
            assert over[place].wait(60)

        told[place] = train(model_of(), libraries, wait)

    running = [threading.Thread(target=work, args=(place,)) for place in range(2)]
    for place in range(2):
        running[place].start()
        assert begun[place].wait(60)
    order = (0, 1) if first_ends_first else (1, 0)
    for turn, place in enumerate(order):
        over[place].set()
        running[place].join(60)
        assert threads(libraries) == ([8, 3] if turn else [1, 1])
    assert [one.seen for one in told] == [[[1, 1]] * 2] * 2


def test_many_at_the_same_time_leave_it_as_it_was(libraries):
    one = blas._ONE_THREAD
    wrong = []

    def work():
        for _ in range(300):
            one.call(lambda: wrong.extend(n for n in threads(libraries) if n != 1))

    running = [threading.Thread(target=work) for _ in range(6)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    assert not wrong
    assert threads(libraries) == [8, 3]


def test_what_somebody_sets_meanwhile_stays(libraries):
    train(model_of(), libraries, lambda callback: libraries[0].set_num_threads(5))
    assert threads(libraries) == [5, 3]


def test_ctrl_c_at_every_instruction_puts_it_back(libraries):
    def act():
        blas.for_model(model, lambda: None)

    model = model_of()
    total = instructions(act)
    assert total > 100
    for at in range(1, total + 1, max(1, total // MANY)):
        assert cut_off(act, at)
        assert threads(libraries) == [8, 3], at
        assert not blas._ONE_THREAD._callers
        act()
        assert threads(libraries) == [8, 3], at


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_that_is_forked_in_a_training_has_its_own(monkeypatch):
    found = [Library(8)]
    monkeypatch.setattr(blas, "_libraries", lambda: found)

    def in_child(callback):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # with threads, from 3.12 on
            child = os.fork()
        if child == 0:
            status = 1
            try:
                signal.alarm(60)
                told = train(model_of(), found)
                status = int((told.seen, told.after) != ([[1]] * 2, [8]))
            finally:
                os._exit(status)
        assert os.waitpid(child, 0)[1] == 0

    assert train(model_of(), found, in_child).after == [8]
