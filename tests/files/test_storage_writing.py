"""Saving: whole or not at all, and a failed save leaves the old file and nothing else."""

import errno
import os
import stat
import subprocess
import sys

import numpy as np
import pytest
from model_files import X, Y, bits, build

from nnfs_gpu import (
    Layer_Dense,
    Model,
    use_backend,
)
from nnfs_gpu.files.tensor_file import write_atomically

pytestmark = pytest.mark.default_backend


def test_text_paths_and_overwriting(file):
    model = Model.load(file)
    model.layers[0].biases = np.ones((1, 4))
    model.save(str(file))
    assert np.asarray(Model.load(str(file)).layers[0].biases).tolist() == [[1, 1, 1, 1]]
    assert os.listdir(file.parent) == [file.name]


@pytest.mark.parametrize(
    "broken", ["os.replace", "os.fsync", "shutil.copymode", "nnfs_gpu.files.tensor_file.open"]
)
def test_a_failed_save_leaves_the_old_file_and_nothing_else(file, monkeypatch, broken):
    model = Model.load(file)
    model.layers[0].biases = np.ones((1, 4))
    before = file.read_bytes()

    def fail(*arguments, **options):
        raise OSError("no space left on device")

    monkeypatch.setattr(broken, fail, raising=not broken.endswith(".open"))
    with pytest.raises(OSError, match="no space left"):
        model.save(file)
    monkeypatch.undo()
    assert file.read_bytes() == before
    assert os.listdir(file.parent) == [file.name]
    model.save(file)
    assert file.read_bytes() != before


def test_an_interrupted_save_leaves_the_old_file_and_nothing_else(file, monkeypatch):
    model, before = Model.load(file), file.read_bytes()

    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        model.save(file)
    assert file.read_bytes() == before
    assert os.listdir(file.parent) == [file.name]


def test_a_full_disk_says_which_file(file, monkeypatch):
    """The system's error of a write holds no name."""
    model = Model.load(file)

    def fail(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match=rf"No space left on device: '{file}'"):
        model.save(file)


def test_folders_that_cannot_be_written(file):
    """Under a file, in no folder, and where a folder stands: root may write elsewhere."""
    model = Model.load(file)
    (file.parent / "folder").mkdir()
    for path, error in (
        (file / "under", NotADirectoryError),
        (file.parent / "none" / "m", FileNotFoundError),
        (file.parent / "folder", IsADirectoryError),
    ):
        with pytest.raises(error, match=rf"^{file.parent}"):  # in our words, no temporary name
            model.save(path)
    assert sorted(os.listdir(file.parent)) == ["folder", file.name]
    assert os.listdir(file.parent / "folder") == []


def test_what_is_no_plain_file_is_not_replaced(file):
    model = Model.load(file)
    pipe = file.parent / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(OSError, match="pipe"):
        model.save(pipe)
    assert stat.S_ISFIFO(pipe.stat().st_mode)


class Layer_Own(Layer_Dense):  # noqa: N801 - named as the book's
    """A layer that no file can name."""


def test_a_layer_that_a_file_cannot_name_writes_nothing(backend, tmp_path):
    model = Model()
    model.add(Layer_Own(2, 3))
    with pytest.raises(TypeError, match=r"cannot hold a Layer_Own; it can hold Layer_Dense, "):
        model.save(tmp_path / "m")
    model.layers = [type("Layer_Dense", (Layer_Dense,), {})(2, 3)]  # another of the same name
    with pytest.raises(TypeError, match="cannot hold a Layer_Dense"):
        model.save(tmp_path / "m")
    assert os.listdir(tmp_path) == []


def test_a_model_that_could_not_be_loaded_writes_nothing(backend, tmp_path):
    model = Model()
    with pytest.raises(ValueError, match=r"Model\.save: the model has no layers"):
        model.save(tmp_path / "m")
    model.add(Layer_Dense(2, 3))
    model.add(Layer_Dense(4, 1))
    with pytest.raises(ValueError, match=r"layer 1 is Dense\(4, 1\)"):
        model.save(tmp_path / "m")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_permissions_follow_the_umask(file, umask):
    model = Model.load(file)
    before = os.umask(umask)
    try:
        model.save(file.parent / "new")
        assert os.umask(umask) == umask  # left as it was
    finally:
        os.umask(before)
    assert stat.S_IMODE((file.parent / "new").stat().st_mode) == 0o666 & ~umask


def test_a_file_that_is_replaced_keeps_its_permissions(file):
    model = Model.load(file)
    file.chmod(0o600)
    model.save(file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_paths_may_be_bytes(file):
    Model.load(file).save(os.fsencode(file.parent / "new"))
    assert (file.parent / "new").read_bytes() == file.read_bytes()


def test_write_atomically_is_seen_whole_by_a_reader(tmp_path, monkeypatch):
    """The old content is there until the new is complete, under its own name."""
    path, seen = tmp_path / "f", []
    write_atomically(path, b"old")
    replace = os.replace

    def watch(source, target):
        with open(source, "rb") as new:
            seen.append((path.read_bytes(), new.read()))
        replace(source, target)

    monkeypatch.setattr(os, "replace", watch)
    write_atomically(path, b"new")
    assert seen == [(b"old", b"new")]
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["f"]


def test_a_path_without_a_folder_is_in_the_current_one(backend, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    build().save("m")
    assert os.listdir() == ["m"]
    assert len(Model.load("m").layers) == 4


# ---- disks that fail ----
LIMITED = """
import resource, signal, sys
import numpy as np
from nnfs_gpu import Layer_Dense, Model, use_backend
use_backend("numpy")
model = Model()
model.add(Layer_Dense(200, 200))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))  # the file needs 160,000
try:
    getattr(model, sys.argv[2])(sys.argv[1])
except OSError as error:
    print(error)
"""


@pytest.mark.parametrize("method", ["save", "save_parameters"])
def test_a_write_that_the_system_breaks_off(file, method):
    """A real error of write(2), in the middle of the file: the old one is whole."""
    before = file.read_bytes()
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(file), method], capture_output=True, text=True
    )
    assert done.stdout == f"[Errno 27] File too large: '{file}'\n", done.stderr
    assert file.read_bytes() == before
    assert os.listdir(file.parent) == [file.name]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EIO, errno.EROFS])
@pytest.mark.parametrize("place", ["open", "os.fsync", "os.replace"])
def test_a_checkpoint_that_cannot_be_written_leaves_the_last_one(
    tmp_path, monkeypatch, number, place
):
    """Training ends with the system's error; started again, it goes on from there."""
    use_backend("numpy", dtype="float32")
    folder, whole, calls = tmp_path / "run", build(), iter(range(99))
    settings = {"epochs": 8, "print_every": None, "checkpoint": folder}
    real = {"open": open, "os.fsync": os.fsync, "os.replace": os.replace}[place]

    def broken(*arguments, **options):
        if next(calls) == (5 if place == "os.fsync" else 4):  # every other one is a folder's
            raise OSError(number, os.strerror(number))
        return real(*arguments, **options)

    name = "nnfs_gpu.files.tensor_file.open" if place == "open" else place
    with monkeypatch.context() as patched:
        patched.setattr(name, broken, raising=False)
        with pytest.raises(OSError, match=f"{os.strerror(number)}.*{folder}"):
            build().train(X, Y, **settings)
    assert os.listdir(folder) == ["checkpoint.safetensors"]
    resumed = build()
    resumed.train(X, Y, **settings)
    whole.train(X, Y, **settings | {"checkpoint": None})
    assert bits(resumed) == bits(whole)


def test_a_temporary_file_that_cannot_be_removed_hides_no_error(file, monkeypatch):
    model = Model.load(file)

    def fail(*arguments, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    def stuck(*arguments, **options):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(os, "fsync", fail)
    monkeypatch.setattr(type(file), "unlink", stuck)
    with pytest.raises(OSError, match="No space left on device"):
        model.save(file)
