"""Pictures as data: a folder of PNG files in the layout of the book's chapter 19.

    folder/train/0/0000.png      the folder's name is the class: 0, 1, 2, ...
    folder/train/1/0000.png
    folder/test/0/0000.png

`load_images` reads such a folder, `save_images` writes one, `save_npz` makes one of an .npz of
Fashion-MNIST, `draw_shapes` makes pictures where none are at hand. PNG files are read and
written by Pillow, which comes with matplotlib and is imported when the first file is touched;
decoding itself is exact: what was saved as uint8 is read as the same uint8.

Pictures stay NumPy arrays, on every backend: they are shuffled and scaled on the host, and
`Model.train` moves them once.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from . import checks

SPLITS = ("train", "test")
# What systems leave beside files: hidden ones, among them macOS's ._0000.png, which is no
# picture; the folders of a Mac's archives and of network drives.
NOT_OURS = (".", "__MACOSX", "@eaDir")
SHAPES = ("square", "disc", "cross", "triangle", "ring", "stripes")  # what draw_shapes can draw


class ImageFolderError(ValueError):
    """A folder of pictures that is empty, incomplete or not of one size, or a bad file in it."""


def load_images(
    folder: str | os.PathLike[str],
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Pictures and classes from a folder: the book's create_data_mnist.

    Classes and files come in the order of their numbers and names, in blocks: shuffle before
    training in batches. Other files than PNG are left alone, and what systems leave there
    (._0000.png of macOS, .DS_Store).

    Parameters
    ----------
    folder : path
        Holds the folders train and test, and these a folder for each class, 0, 1, 2, ...

    Returns
    -------
    X : numpy.ndarray of shape (N, height, width)
        Grey levels, uint8, from 0 (black) to 255.
    y : numpy.ndarray of shape (N,)
        Classes, int32.
    X_test : numpy.ndarray of shape (N, height, width)
        Pictures of the other half.
    y_test : numpy.ndarray of shape (N,)
        Their classes.

    Raises
    ------
    FileNotFoundError
        Where the folder or one of its two halves is missing.
    ImageFolderError
        For a half without class folders, a class folder whose name is no number or that holds
        no PNG, a file that cannot be read, and pictures of different sizes.
    """
    found = [load_split(Path(folder) / split) for split in SPLITS]
    (X, y), (X_test, y_test) = found
    if X.shape[1:] != X_test.shape[1:]:
        raise ImageFolderError(
            f"{folder}: pictures of {_size(X.shape[1:])} in train and {_size(X_test.shape[1:])} in "
            "test; expected one size: resize one half"
        )
    return X, y, X_test, y_test


def load_split(folder: str | os.PathLike[str]) -> tuple[np.ndarray, np.ndarray]:
    """Pictures and classes from one half, in the order and with the errors of `load_images`.

    Parameters
    ----------
    folder : path
        Holds a folder of PNG files for each class.

    Returns
    -------
    X : numpy.ndarray of shape (N, height, width)
        Grey levels, uint8, from 0 (black) to 255.
    y : numpy.ndarray of shape (N,)
        Classes, int32.
    """
    files = list(class_files(Path(folder)))
    return read_images(path for _, path in files), np.array([c for c, _ in files], np.int32)


def class_files(folder: Path) -> Iterator[tuple[int, Path]]:
    """(class, file) of all PNG files under `folder`, sorted by class and name.

    Raises as `load_images`, but for what is in the files.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder; expected {folder}/<class number>/*.png")
    classes = sorted((_number(path), path) for path in class_folders(folder))
    if not classes:
        raise ImageFolderError(f"{folder}: has no class folders; expected some named 0, 1, 2, ...")
    for label, inside in classes:
        files = picture_files(inside)
        if not files:
            raise ImageFolderError(f"{inside}: holds no .png file; expected some of class {label}")
        for path in files:
            yield label, path


def class_folders(folder: Path) -> list[Path]:
    """The folders in `folder`, but for those that systems leave there."""
    return [p for p in folder.iterdir() if p.is_dir() and not p.name.startswith(NOT_OURS)]


def picture_files(folder: Path) -> list[Path]:
    """The PNG files in `folder`, sorted by name."""
    files = (path for path in folder.iterdir() if path.suffix.lower() == ".png")
    return sorted(path for path in files if not path.name.startswith(NOT_OURS))


def _number(path: Path) -> int:
    if not (path.name.isascii() and path.name.isdigit()):
        raise ImageFolderError(
            f"{path}: a class folder is named by its number, 0, 1, 2, ...; rename it or move it out"
        )
    return int(path.name)


def read_images(paths: Iterable[Path]) -> np.ndarray:
    """The pictures in these files, (N, height, width) uint8. Raises as `load_images`."""
    pictures: list[np.ndarray] = []
    for path in paths:
        picture = read_image(path)
        if pictures and picture.shape != pictures[0].shape:
            raise ImageFolderError(
                f"{path}: is {_size(picture.shape)}, the pictures before it are "
                f"{_size(pictures[0].shape)}; "
                "expected one size: resize it or take it out"
            )
        pictures.append(picture)
    return np.stack(pictures)


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]} x {shape[0]} pixels"


# ---- one file ----
def read_image(path: str | os.PathLike[str]) -> np.ndarray:
    """One picture as grey levels; colours are averaged by eye, transparent pixels keep theirs.

    Parameters
    ----------
    path : path
        Of a file of any kind that Pillow reads.

    Returns
    -------
    numpy.ndarray of shape (height, width)
        Grey levels, uint8.

    Raises
    ------
    FileNotFoundError, ImageFolderError
        For a file that is not there; for one that is no picture or is damaged.
    """
    from PIL import Image

    try:
        with Image.open(path) as image:
            deep = image.mode.startswith("I") or image.mode == "F"
            if not deep:
                return np.asarray(image.convert("L"))
            levels = np.asarray(image)  # 16 bits a pixel: `convert` would cut off above 255
    except FileNotFoundError:
        raise
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ImageFolderError(
            f"{path}: cannot be read as a picture ({error}); replace it or take it out"
        ) from error
    return (levels // 257).astype(np.uint8)


def write_image(path: str | os.PathLike[str], image: Any) -> None:
    """Write one picture to a PNG file.

    Parameters
    ----------
    path : path
        Of the file.
    image : array of shape (height, width)
        Grey levels, uint8.

    Raises
    ------
    TypeError, ValueError
        For another dtype; for another shape.
    """
    from PIL import Image

    _pictures(np.asarray(image)[None], "image")
    Image.fromarray(np.ascontiguousarray(image)).save(path, format="PNG")


# ---- making a folder ----
def save_images(folder: str | os.PathLike[str], X: Any, y: Any, X_test: Any, y_test: Any) -> None:
    """Write pictures and classes in the layout that `load_images` reads.

    Parameters
    ----------
    folder : path
        A new one, or an empty one: two data sets never mix.
    X : array of shape (N, height, width)
        Pictures of train, uint8.
    y : array of shape (N,)
        Their classes, whole numbers.
    X_test : array of shape (N, height, width)
        Pictures of test, uint8.
    y_test : array of shape (N,)
        Their classes.

    Raises
    ------
    FileExistsError
        For a folder that holds something already.
    TypeError, ValueError
        Before anything is written, for pictures or classes of another kind or number.
    """
    folder = Path(folder)
    halves = []
    for split, images, labels in zip(SPLITS, (X, X_test), (y, y_test), strict=True):
        images, labels = _pictures(np.asarray(images), f"{split} images"), np.asarray(labels)
        if labels.dtype.kind not in "iu" or labels.shape != images.shape[:1]:
            raise ValueError(
                f"{split} labels: got shape {labels.shape} and dtype {labels.dtype}, expected "
                f"{images.shape[0]} whole numbers"
            )
        if labels.min() < 0:
            raise ValueError(f"{split} labels: got {labels.min()}, expected numbers of at least 0")
        halves.append((split, images, labels))
    if folder.exists() and any(not p.name.startswith(NOT_OURS) for p in folder.iterdir()):
        raise FileExistsError(f"{folder}: is not empty; choose another folder or remove it")
    for split, images, labels in halves:
        for label in np.unique(labels):
            place, chosen = folder / split / str(label), images[labels == label]
            place.mkdir(parents=True)
            for number, image in enumerate(chosen):
                write_image(place / file_name(number, len(chosen)), image)


def file_name(number: int, count: int) -> str:
    """The name of a picture's file: sorted as text, names are in order.

    Parameters
    ----------
    number : int
        Of the picture, from 0.
    count : int
        How many there are of its class.

    Returns
    -------
    str
        Such as "0007.png".
    """
    return f"{number:0{max(4, len(str(count - 1)))}d}.png"


def save_npz(path: str | os.PathLike[str], folder: str | os.PathLike[str]) -> None:
    """Write the pictures of an .npz file as PNG files, for the book's chapter 19.

    Parameters
    ----------
    path : path
        Of a file that holds X and X_test (N, height, width) uint8, y and y_test (N,):
        Fashion-MNIST, for instance.
    folder : path
        As in `save_images`, which says what more is raised.

    Raises
    ------
    FileNotFoundError, ValueError
        For a file that is not there; for one without these four arrays.
    """
    names = ("X", "y", "X_test", "y_test")
    if Path(path).is_file() and not zipfile.is_zipfile(path):  # np.load would speak of pickles
        raise ValueError(f"{path}: is no .npz file; expected one with {', '.join(names)}")
    with np.load(path, allow_pickle=False) as file:
        if not set(names) <= set(file.files):
            raise ValueError(f"{path}: holds {file.files}, expected the arrays {', '.join(names)}")
        arrays = [file[name] for name in names]
    save_images(folder, *arrays)


def _pictures(images: np.ndarray, name: str) -> np.ndarray:
    if images.dtype != np.uint8:
        raise TypeError(f"{name}: got dtype {images.dtype}, expected uint8, grey levels 0 to 255")
    if images.ndim != 3 or 0 in images.shape:
        raise ValueError(f"{name}: got shape {images.shape}, expected (N, height, width)")
    return images


def draw_shapes(
    samples: int, classes: int = 3, *, size: int = 16, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Pictures of simple shapes, class by class.

    Class c shows shape SHAPES[c], light on dark, at a random place, in a random size and
    brightness, under noise: a data set that a small network learns in seconds.

    Parameters
    ----------
    samples : int
        Pictures of a class.
    classes : int
        How many shapes, at most six.
    size : int
        Height and width in pixels, at least 8.
    seed : int
        The same seed gives the same pictures.

    Returns
    -------
    X : numpy.ndarray of shape (samples * classes, size, size)
        Grey levels, uint8.
    y : numpy.ndarray of shape (samples * classes,)
        Classes, int32.

    Raises
    ------
    TypeError, ValueError
        For sizes that are no positive whole numbers, more classes than shapes, and a size below
        8.
    """
    samples = checks.positive_int(samples, "samples")
    classes, size = checks.positive_int(classes, "classes"), checks.positive_int(size, "size")
    if classes > len(SHAPES):
        raise ValueError(f"classes: got {classes}, expected at most {len(SHAPES)}: {SHAPES}")
    if size < 8:
        raise ValueError(f"size: got {size} pixels, expected at least 8 to draw a shape in")
    rng = np.random.default_rng(checks.seed(seed, "seed"))
    y = np.repeat(np.arange(classes, dtype=np.int32), samples)
    # One row a picture: the shape's centre and half width in pixels, and its brightness.
    n = len(y)
    half = rng.uniform(0.22, 0.36, (n, 1, 1)) * size
    centre = rng.uniform(-0.08, 0.08, (2, n, 1, 1)) * size + (size - 1) / 2
    row, column = np.mgrid[:size, :size]
    v, u = (row - centre[0]) / half, (column - centre[1]) / half
    inside = np.empty((n, size, size), bool)
    for c, shape in enumerate(SHAPES[:classes]):
        here = y == c
        inside[here] = _inside(shape, u[here], v[here])
    light = rng.uniform(120, 220, (n, 1, 1))
    levels = np.where(inside, light, 20) + rng.normal(0, 15, (n, size, size))
    return levels.clip(0, 255).round().astype(np.uint8), y


def _inside(shape: str, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Whether a point lies in the shape; u to the right, v down, the shape fits [-1, 1]."""
    square = np.maximum(np.abs(u), np.abs(v)) <= 1
    radius = np.hypot(u, v)
    shapes: dict[str, np.ndarray] = {
        "square": square,
        "disc": radius <= 1,
        "cross": square & (np.minimum(np.abs(u), np.abs(v)) <= 0.35),
        "triangle": square & (np.abs(u) <= (v + 1) / 2),
        "ring": (radius <= 1) & (radius >= 0.6),
        "stripes": square & (np.sin(2.5 * np.pi * v) > 0),
    }
    return shapes[shape]
