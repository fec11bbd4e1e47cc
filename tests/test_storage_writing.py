"""Saving: whole or not at all, and a failed save leaves the old file and nothing else."""

import os
import stat

import numpy as np
import pytest
from model_files import build

from nnfs_gpu import (
    Layer_Dense,
    Model,
    use_backend,
)
from nnfs_gpu.storage import write_atomically

pytestmark = pytest.mark.default_backend


@pytest.fixture
def file(tmp_path):
    """A file that a float32 NumPy model wrote."""
    use_backend("numpy", dtype="float32")
    path = tmp_path / "model.safetensors"
    build().save(path)
    return path


def test_text_paths_and_overwriting(file):
    model = Model.load(file)
    model.layers[0].biases = np.ones((1, 4))
    model.save(str(file))
    assert np.asarray(Model.load(str(file)).layers[0].biases).tolist() == [[1, 1, 1, 1]]
    assert os.listdir(file.parent) == [file.name]


@pytest.mark.parametrize(
    "broken", ["os.replace", "os.fsync", "shutil.copymode", "nnfs_gpu.tensor_file.open"]
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
