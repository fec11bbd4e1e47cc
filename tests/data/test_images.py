"""A folder of PNG files comes in as it was written, and every defect of one is named.

Exact grey levels through PNG and back, the book's layout and order, Pillow imported only when a
file is touched, folders made of an .npz; and each way in which a folder, a file or
an argument can be wrong.
"""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from nnfs_gpu import images
from nnfs_gpu.images import ImageFolderError


def noise(n, height=5, width=7, seed=0):
    """Every grey level may occur; height and width differ, so that a transposition shows."""
    return np.random.RandomState(seed).randint(0, 256, (n, height, width)).astype(np.uint8)


@pytest.fixture
def folder(tmp_path):
    """A good folder: classes 0, 2 and 11, in an order that is none."""
    X, X_test = noise(9), noise(4, seed=1)
    y, y_test = np.array([2, 0, 11, 2, 0, 0, 11, 2, 2]), np.array([11, 0, 2, 0])
    images.save_images(tmp_path / "data", X, y, X_test, y_test)
    return tmp_path / "data"


# ---- there and back ----
def test_what_is_saved_is_loaded(folder):
    X, y, X_test, y_test = images.load_images(folder)
    assert (X.dtype, y.dtype, X_test.dtype, y_test.dtype) == ("uint8", "int32", "uint8", "int32")
    np.testing.assert_array_equal(y, [0, 0, 0, 2, 2, 2, 2, 11, 11])  # 11 after 2: numbers
    np.testing.assert_array_equal(X, noise(9)[[1, 4, 5, 0, 3, 7, 8, 2, 6]])
    np.testing.assert_array_equal(y_test, [0, 0, 2, 11])
    np.testing.assert_array_equal(X_test, noise(4, seed=1)[[1, 3, 2, 0]])


def test_the_layout_is_the_books(folder):
    found = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.png"))
    assert len(found) == 13
    assert found[0] == "test/0/0000.png"
    assert found[-1] == "train/2/0003.png"


def test_more_than_10000_of_a_class_stay_in_order():
    """Names are sorted as text; 10000 would come before 9999."""
    names = [images.file_name(number, 10_001) for number in (0, 9_999, 10_000)]
    assert names == sorted(names) == ["00000.png", "09999.png", "10000.png"]
    assert images.file_name(5, 10_000) == "0005.png"


def test_all_grey_levels_survive(tmp_path):
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    images.write_image(tmp_path / "levels.png", levels)
    np.testing.assert_array_equal(images.read_image(tmp_path / "levels.png"), levels)


def test_not_contiguous(tmp_path):
    levels = noise(1, 8, 12)[0]
    images.write_image(tmp_path / "a.png", levels[::2, ::-3])
    np.testing.assert_array_equal(images.read_image(tmp_path / "a.png"), levels[::2, ::-3])


def test_other_files_are_left_alone(folder):
    (folder / "train" / "0" / "notes.txt").write_text("not a picture")
    (folder / "train" / "README.md").write_text("not a class")
    (folder / "train" / ".cache").mkdir()
    assert len(images.load_images(folder)[0]) == 9


def test_what_systems_leave_is_left_alone(folder):
    """A Mac writes ._0000.png beside 0000.png on other disks, and __MACOSX into archives."""
    X, y, *_ = images.load_images(folder)
    for name in ("._0000.png", ".DS_Store", ".hidden.png", "Thumbs.db", "desktop.ini"):
        (folder / "train" / "0" / name).write_bytes(b"\x00\x05\x16\x07")
        (folder / "train" / name).write_bytes(b"\x00\x05\x16\x07")
    for name in ("__MACOSX", ".Spotlight-V100", "@eaDir"):
        (folder / "train" / name / "0").mkdir(parents=True)
        (folder / "train" / "0" / name).mkdir()
    found = images.load_images(folder)
    np.testing.assert_array_equal(found[0], X)
    np.testing.assert_array_equal(found[1], y)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_every_kind_of_png_is_read_as_grey_levels(tmp_path, mode):
    """White, black and a grey in between, however the file stores them."""
    levels = np.array([[255, 0, 255], [0, 255, 0]], np.uint8)
    image = Image.fromarray(levels)
    if mode == "I;16":
        image = Image.fromarray(levels.astype(np.uint16) * 257)
    else:
        image = image.convert(mode)
    image.save(tmp_path / "a.png")
    read = images.read_image(tmp_path / "a.png")
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, levels)


def test_colours_become_grey_as_the_eye_weighs_them(tmp_path):
    Image.fromarray(np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]]], np.uint8)).save(
        tmp_path / "a.png"
    )
    assert images.read_image(tmp_path / "a.png").tolist() == [[76, 150, 29]]  # ITU-R 601


# ---- what is wrong with a folder ----
def remove(folder):
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    folder.rmdir()


def no_folder(folder):
    remove(folder)


def no_test_half(folder):
    remove(folder / "test")


def empty_half(folder):
    remove(folder / "train")
    (folder / "train").mkdir()


def empty_class(folder):
    (folder / "train" / "5").mkdir()


def class_with_a_name(folder):
    (folder / "train" / "boots").mkdir()


def another_size(folder):
    images.write_image(folder / "train" / "2" / "0002.png", noise(1, 7, 5)[0])


def other_half_of_another_size(folder):
    remove(folder / "test")
    for label in (0, 2):
        (folder / "test" / str(label)).mkdir(parents=True)
        images.write_image(folder / "test" / str(label) / "a.png", noise(1, 6, 6)[0])


def no_picture(folder):
    (folder / "train" / "2" / "0001.png").write_text("no picture")


def empty_file(folder):
    (folder / "train" / "2" / "0001.png").write_bytes(b"")


def truncated(folder):
    path = folder / "train" / "2" / "0001.png"
    path.write_bytes(path.read_bytes()[:-30])


def altered(folder):
    """One byte of the pixels: PNG's checksum tells."""
    path = folder / "train" / "2" / "0001.png"
    data = bytearray(path.read_bytes())
    data[data.index(b"IDAT") + 8] ^= 255
    path.write_bytes(data)


def a_folder_as_a_file(folder):
    (folder / "train" / "2" / "9999.png").mkdir()


@pytest.mark.parametrize(
    ("damage", "error", "text"),
    [
        (no_folder, FileNotFoundError, r"data/train: no such folder; expected .*class number"),
        (no_test_half, FileNotFoundError, r"data/test: no such folder"),
        (empty_half, ImageFolderError, r"data/train: .* no class folders; expected .* 0, 1, 2"),
        (empty_class, ImageFolderError, r"train/5: holds no \.png file; expected some of class 5"),
        (class_with_a_name, ImageFolderError, r"train/boots: .* number, 0, 1, 2.*; rename it"),
        (another_size, ImageFolderError, r"0002\.png: is 5 x 7 pixels, .* before it are 7 x 5"),
        (
            other_half_of_another_size,
            ImageFolderError,
            r"7 x 5 pixels in train and 6 x 6 pixels in test",
        ),
        (no_picture, ImageFolderError, r"0001\.png: cannot be read as a picture"),
        (empty_file, ImageFolderError, r"0001\.png: cannot be read as a picture"),
        (truncated, ImageFolderError, r"0001\.png: cannot be read as a picture"),
        (altered, ImageFolderError, r"0001\.png: cannot be read as a picture"),
        (a_folder_as_a_file, ImageFolderError, r"9999\.png: cannot be read as a picture"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_bad_folder_is_one_clear_error(folder, damage, error, text):
    damage(folder)
    with pytest.raises(error, match=text):
        images.load_images(folder)


def test_a_truncated_file_is_refused_or_whole(tmp_path):
    """Cut anywhere: an error, or, where only what follows the pixels is missing, all of them."""
    path, levels = tmp_path / "a.png", noise(1)[0]
    images.write_image(path, levels)
    whole, refused = path.read_bytes(), 0
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        try:
            np.testing.assert_array_equal(images.read_image(path), levels)
        except ImageFolderError:
            refused += 1
    assert refused > len(whole) - 30


def test_a_missing_file_keeps_its_error(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"a\.png"):
        images.read_image(tmp_path / "a.png")


# ---- making a folder ----
def good():
    return [noise(2), np.array([0, 1]), noise(2), np.array([1, 0])]


@pytest.mark.parametrize(
    ("place", "value", "error", "text"),
    [
        (0, noise(2).astype(float), TypeError, r"train images: got dtype float64, expected uint8"),
        (0, noise(2)[:, 0], ValueError, r"train images: got shape \(2, 7\), expected"),
        (2, noise(0), ValueError, r"test images: got shape \(0, 5, 7\)"),
        (1, np.array([0]), ValueError, r"train labels: got shape \(1,\).*expected 2 whole"),
        (1, np.array([0.0, 1.0]), ValueError, r"train labels: .*float64, expected 2 whole"),
        (3, np.array([-1, 0]), ValueError, r"test labels: got -1, expected"),
    ],
)
def test_bad_pictures_are_refused_before_anything_is_written(tmp_path, place, value, error, text):
    arguments = good()
    arguments[place] = value
    with pytest.raises(error, match=text):
        images.save_images(tmp_path / "data", *arguments)
    assert not (tmp_path / "data").exists()


def test_data_sets_are_never_mixed(folder):
    before = sorted(folder.rglob("*"))
    with pytest.raises(FileExistsError, match="is not empty; choose another folder"):
        images.save_images(folder, *good())
    assert sorted(folder.rglob("*")) == before


def test_an_empty_folder_may_be_there_already(tmp_path):
    (tmp_path / ".DS_Store").write_bytes(b"")  # a Mac has looked into it
    images.save_images(tmp_path, *good())
    np.testing.assert_array_equal(images.load_images(tmp_path)[0], noise(2))


def test_from_an_npz(tmp_path):
    X, y, X_test, y_test = good()
    np.savez(tmp_path / "a.npz", X=X, y=y.astype(np.uint8), X_test=X_test, y_test=y_test)
    images.save_npz(tmp_path / "a.npz", tmp_path / "data")
    found = images.load_images(tmp_path / "data")
    np.testing.assert_array_equal(found[0], X)
    np.testing.assert_array_equal(found[2], X_test[::-1])


def test_an_npz_without_the_arrays(tmp_path):
    np.savez(tmp_path / "a.npz", X=noise(1))
    with pytest.raises(ValueError, match=r"a\.npz: holds \['X'\], expected the arrays X, y, X_t"):
        images.save_npz(tmp_path / "a.npz", tmp_path / "data")
    np.save(tmp_path / "b.npy", noise(1))
    with pytest.raises(ValueError, match=r"b\.npy: is no \.npz file; expected one with"):
        images.save_npz(tmp_path / "b.npy", tmp_path / "data")
    (tmp_path / "c.npz").write_text("something else")
    with pytest.raises(ValueError, match=r"c\.npz: is no \.npz file"):
        images.save_npz(tmp_path / "c.npz", tmp_path / "data")
    with pytest.raises(FileNotFoundError):
        images.save_npz(tmp_path / "d.npz", tmp_path / "data")


def test_pillow_is_imported_by_the_first_file_only():
    code = (
        "import sys, nnfs_gpu.images as images; images.draw_shapes(1); print('PIL' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"
