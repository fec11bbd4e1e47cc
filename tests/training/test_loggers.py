"""CSVLogger and TensorBoard: every epoch once, also after a kill."""

import builtins
import csv
import struct

import pytest
from model_programs import X_VAL, Y_VAL, X, Y, network

from nnfs_gpu import Callback, CheckpointError, CSVLogger, TensorBoard, use_backend
from nnfs_gpu.training.run import METRICS, VALIDATION_METRICS

pytestmark = pytest.mark.default_backend

GIVEN = {"print_every": None, "batch_size": 25, "validation_data": (X_VAL, Y_VAL)}
COLUMNS = ["epoch", *METRICS, *VALIDATION_METRICS]


class Fall(Callback):
    """Ctrl-C at the end of an epoch, or at one of its steps."""

    def __init__(self, epoch, step=None):
        self.epoch, self.step = epoch, step

    def on_train_batch_end(self, batch, logs):
        if (logs["epoch"], batch) == (self.epoch, self.step):
            raise KeyboardInterrupt

    def on_epoch_end(self, epoch, logs):
        if epoch == self.epoch and self.step is None:
            raise KeyboardInterrupt


def rows_of(path, separator=","):
    with open(path, newline="") as file:
        return list(csv.reader(file, delimiter=separator))


def expected_rows(history):
    lines = zip(history.epoch, *(history[name] for name in COLUMNS[1:]), strict=True)
    return [COLUMNS, *([repr(value) for value in line] for line in lines)]


# ---- CSV ----
def test_a_line_an_epoch_in_full_precision(backend, tmp_path):
    path = tmp_path / "new folder" / "log.csv"
    history = network().train(X, Y, epochs=3, callbacks=[CSVLogger(path)], **GIVEN)
    assert rows_of(path) == expected_rows(history)
    history = network().train(X, Y, epochs=2, callbacks=[CSVLogger(path, ";")], **GIVEN)  # anew
    assert rows_of(path, ";") == expected_rows(history)


def test_a_line_is_there_when_its_epoch_has_ended(tmp_path):
    use_backend("numpy")
    path, counts = tmp_path / "log.csv", []
    look = Callback()
    look.on_epoch_end = lambda epoch, logs: counts.append(len(rows_of(path)))
    network().train(X, Y, epochs=3, callbacks=[CSVLogger(path), look], **GIVEN)
    assert counts == [2, 3, 4]


def test_an_old_file_stays_until_the_first_epoch_has_ended(tmp_path):
    use_backend("numpy")
    path = tmp_path / "log.csv"
    path.write_text("old\n")
    with pytest.raises(KeyboardInterrupt):
        network().train(X, Y, callbacks=[CSVLogger(path), Fall(1, 0)], **GIVEN)
    assert path.read_text() == "old\n"


@pytest.mark.parametrize("torn", [False, True], ids=["whole", "without its last line end"])
def test_append_goes_on_behind_what_is_there(tmp_path, torn):
    use_backend("numpy")
    path, model = tmp_path / "log.csv", network()
    first, second = (
        model.train(X, Y, epochs=2, callbacks=[CSVLogger(path, append=True)], **GIVEN)
        for _ in range(2)
    )
    assert rows_of(path) == expected_rows(first) + expected_rows(second)[1:]
    if torn:
        path.write_bytes(path.read_bytes()[:-1])
        before = rows_of(path)
        third = model.train(X, Y, callbacks=[CSVLogger(path, append=True)], **GIVEN)
        assert rows_of(path) == before + expected_rows(third)[1:]


def test_append_to_a_file_of_other_columns_is_refused(tmp_path):
    use_backend("numpy")
    path, model = tmp_path / "log.csv", network()
    path.write_text("name,price\nbolt,3\n")
    with pytest.raises(ValueError, match=r"begins with b'name,price.*expected the columns b'epoch"):
        model.train(X, Y, callbacks=[CSVLogger(path, append=True)], **GIVEN)
    assert (path.read_text(), model.optimizer.iterations) == ("name,price\nbolt,3\n", 0)
    path.write_text("")
    history = model.train(X, Y, callbacks=[CSVLogger(path, append=True)], **GIVEN)
    assert rows_of(path) == expected_rows(history)


@pytest.mark.parametrize("separator", ["", ",,", "\n", '"', 3])
def test_a_separator_that_is_none(separator):
    with pytest.raises(ValueError, match="separator: got"):
        CSVLogger("log.csv", separator)


def test_files_that_cannot_be_written(tmp_path):
    use_backend("numpy")
    (tmp_path / "file").touch()
    for logger in (CSVLogger(tmp_path), CSVLogger(tmp_path, append=True)):
        with pytest.raises(IsADirectoryError, match="is a folder; give a file in it"):
            network().train(X, Y, callbacks=[logger], **GIVEN)
    with pytest.raises(OSError, match="file"):
        network().train(X, Y, callbacks=[CSVLogger(tmp_path / "file" / "log.csv")], **GIVEN)


@pytest.mark.parametrize("append", [False, True])
@pytest.mark.parametrize("falls", [(1,), (3,), (3, 3, 4), ((2, 0), (2, 1))])
@pytest.mark.parametrize("every", [None, 3])
def test_a_run_that_goes_on_writes_every_epoch_once(tmp_path, append, falls, every):
    use_backend("numpy")
    path = tmp_path / "log.csv"
    before = []
    if append:
        earlier = network().train(X, Y, callbacks=[CSVLogger(path, append=True)], **GIVEN)
        before = expected_rows(earlier)

    def run(*more):
        callbacks = [CSVLogger(path, append=append), *more]
        folder = {"checkpoint": tmp_path / "run", "checkpoint_every": every}
        return network().train(X, Y, epochs=5, callbacks=callbacks, **folder, **GIVEN)

    for fall in falls:
        with pytest.raises(KeyboardInterrupt):
            run(Fall(*fall) if isinstance(fall, tuple) else Fall(fall))
    for _ in range(2):  # the second finds a finished run
        history = run()
        assert history.epoch == [1, 2, 3, 4, 5]
        assert rows_of(path) == before + expected_rows(history)[1 if append else 0 :]


def test_lines_of_a_killed_run_that_the_checkpoint_does_not_know_are_cut_off(tmp_path):
    use_backend("numpy")
    path = tmp_path / "log.csv"

    def run(epochs):
        callbacks = [CSVLogger(path)]
        return network().train(
            X, Y, epochs=epochs, callbacks=callbacks, checkpoint=tmp_path, **GIVEN
        )

    run(2)
    with open(path, "ab") as file:
        file.write(b"3,0.5,0.5,0.0")  # a line that a kill has cut off
    expected = expected_rows(run(2))
    assert rows_of(path)[:-1] == expected  # nothing left to do: it is as it was
    expected = expected_rows(run(4))
    assert rows_of(path) == expected
    path.unlink()
    expected = expected_rows(run(5))
    assert rows_of(path) == [COLUMNS, expected[-1]]  # a log that is gone: the rest


def test_another_separator_is_another_run(tmp_path):
    use_backend("numpy")
    log = tmp_path / "log.csv"
    network().train(X, Y, callbacks=[CSVLogger(log)], checkpoint=tmp_path, **GIVEN)
    given = {"callbacks": [CSVLogger(log, ";")], "checkpoint": tmp_path, "epochs": 2}
    with pytest.raises(CheckpointError, match="separator was ',', is now ';'"):
        network().train(X, Y, **given, **GIVEN)
    for state in ({}, {"bytes": -1}, {"bytes": 1.5}, {"bytes": 1, "more": 1}):
        with pytest.raises((TypeError, ValueError)):
            CSVLogger(log).set_state(state)


# ---- TensorBoard ----
def events_in(folder):
    """What TensorBoard reads: (step, name, value), and where a writer began anew."""
    event_pb2 = pytest.importorskip("tensorboardX.proto.event_pb2")
    found = []
    for path in sorted(folder.iterdir(), key=lambda one: one.stat().st_mtime_ns):
        data = path.read_bytes()
        while data:  # length, its sum, the event, its sum
            (length,) = struct.unpack("<Q", data[:8])
            event = event_pb2.Event.FromString(data[12 : 12 + length])
            data = data[16 + length :]
            if event.HasField("session_log"):
                found.append((event.step, "begins", event.session_log.status))
            found += [(event.step, one.tag, one.simple_value) for one in event.summary.value]
    return found


def test_tensorboard_reads_what_the_history_has(backend, tmp_path):
    history = network().train(
        X, Y, epochs=2, callbacks=[TensorBoard(tmp_path / "new" / "run")], **GIVEN
    )
    found = events_in(tmp_path / "new" / "run")
    expected = [
        (epoch, name, pytest.approx(history[name][epoch - 1], rel=1e-6))
        for epoch in (1, 2)
        for name in COLUMNS[1:]
    ]
    assert found == [(1, "begins", 1), *expected]


def test_tensorboard_drops_what_is_done_again(tmp_path):
    """A writer that begins at an epoch has TensorBoard forget what older ones say from there on."""
    use_backend("numpy")

    def run(*more):
        callbacks = [TensorBoard(tmp_path / "events"), *more]
        folder = {"checkpoint": tmp_path / "run"}
        return network().train(X, Y, epochs=4, callbacks=callbacks, **folder, **GIVEN)

    with pytest.raises(KeyboardInterrupt):
        run(Fall(3))
    first = events_in(tmp_path / "events")
    assert first[-1][0] == 3  # written before the kill
    (tmp_path / "old").mkdir()
    for one in (tmp_path / "events").iterdir():
        one.rename(tmp_path / "old" / one.name)
    run()
    again = events_in(tmp_path / "events")
    assert again[0] == (3, "begins", 1)
    assert {step for step, *_ in again} == {3, 4}


def test_without_the_library_training_does_not_begin(tmp_path, monkeypatch):
    use_backend("numpy")
    real, model = builtins.__import__, network()

    def no_library(name, *arguments):
        if name.startswith("tensorboardX"):
            raise ModuleNotFoundError(name)
        return real(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", no_library)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'nnfs-gpu\[tensorboard\]'"):
        model.train(X, Y, callbacks=[TensorBoard(tmp_path)], **GIVEN)
    assert model.optimizer.iterations == 0


def test_a_folder_of_events_that_is_a_file(tmp_path):
    pytest.importorskip("tensorboardX")
    use_backend("numpy")
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match=r"log_dir: .*file is a file, expected a folder"):
        network().train(X, Y, callbacks=[TensorBoard(tmp_path / "file")], **GIVEN)
