"""Model files: safetensors, without pickle, written whole or not at all.

A file holds the tensors "0.weights", "0.biases", "1.weights", ... (the number is the layer's
place in `Model.layers`) and, in its text metadata,
    format          "nnfs_gpu"
    format_version  "1"
    architecture    JSON: dtype, layers, loss, optimizer, accuracy; each object as its class
                    name and its constructor's arguments
    sha256          of the tensors' names and bytes, in the order of the names
so that any safetensors reader gets the parameters and `load` rebuilds the model. Loading
builds only the classes named in `CLASSES` and runs no code from the file.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from . import accuracy, activations, layers, losses, optimizers
from .backend import get_backend, use_backend

if TYPE_CHECKING:
    from .model import Model

FORMAT, FORMAT_VERSION = "nnfs_gpu", "1"
MOST_UNCHECKED = 1 << 20  # weights that are built before their number is compared

# Every class a file may name, and the constructor arguments that rebuild it. The beginning of a
# name says what the class is: see ROLES.
CLASSES: dict[str, tuple[Callable[..., Any], tuple[str, ...]]] = {
    "Layer_Dense": (
        layers.Layer_Dense,
        (
            "n_inputs",
            "n_neurons",
            "weight_regularizer_l1",
            "weight_regularizer_l2",
            "bias_regularizer_l1",
            "bias_regularizer_l2",
        ),
    ),
    "Activation_ReLU": (activations.Activation_ReLU, ()),
    "Activation_Softmax": (activations.Activation_Softmax, ()),
    "Loss_CategoricalCrossentropy": (losses.Loss_CategoricalCrossentropy, ()),
    "Accuracy_Categorical": (accuracy.Accuracy_Categorical, ("binary",)),
    "Optimizer_SGD": (optimizers.Optimizer_SGD, ("learning_rate", "decay", "momentum")),
    "Optimizer_Adagrad": (optimizers.Optimizer_Adagrad, ("learning_rate", "decay", "epsilon")),
    "Optimizer_RMSprop": (
        optimizers.Optimizer_RMSprop,
        ("learning_rate", "decay", "epsilon", "rho"),
    ),
    "Optimizer_Adam": (
        optimizers.Optimizer_Adam,
        ("learning_rate", "decay", "epsilon", "beta_1", "beta_2"),
    ),
}


ROLES = {
    "layers": ("Layer_", "Activation_"),
    "loss": ("Loss_",),
    "optimizer": ("Optimizer_",),
    "accuracy": ("Accuracy_",),
}


class ModelFileError(ValueError):
    """A file that is no model of ours, is damaged, or holds what its architecture does not."""


def save(model: Model, path: str | os.PathLike) -> None:
    """Write `model` to `path`, replacing it only when the new file is complete.

    Raises TypeError for a layer of a class that a file cannot name, OSError where the
    folder cannot be written.
    """
    from safetensors.numpy import save as to_bytes

    parts = {name: getattr(model, name) for name in ("loss", "optimizer", "accuracy")}
    architecture = {
        "dtype": model.backend.dtype.name,
        "layers": [_describe(layer) for layer in model.layers],
        **{name: None if part is None else _describe(part) for name, part in parts.items()},
    }
    tensors = {
        f"{number}.{name}": np.ascontiguousarray(model.backend.to_numpy(getattr(layer, name)))
        for number, layer in enumerate(model.layers)
        for name in ("weights", "biases")
        if hasattr(layer, name)
    }
    metadata = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "architecture": json.dumps(architecture),
        "sha256": _digest(tensors),
    }
    write_atomically(path, to_bytes(tensors, metadata))


def load(path: str | os.PathLike) -> Model:
    """The finalized model in the file `path`, on the default backend, in the file's dtype.

    Raises FileNotFoundError, or ModelFileError for a foreign, truncated or altered file.
    """
    architecture, tensors, checksum = _read(path)
    try:
        _check_size(architecture, tensors)
        with use_backend(get_backend(get_backend().name, dtype=str(architecture["dtype"]))):
            model = _build(architecture)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ModelFileError(f"{path}: its architecture cannot be built: {error}") from error
    expected = {
        f"{number}.{name}": (getattr(layer, name).shape, architecture["dtype"])
        for number, layer in enumerate(model.layers)
        for name in ("weights", "biases")
        if hasattr(layer, name)
    }
    found = {name: (values.shape, values.dtype.name) for name, values in tensors.items()}
    if found != expected:
        raise ModelFileError(
            f"{path}: holds parameters {found}, but its architecture needs {expected}"
        )
    if checksum != _digest(tensors):
        raise ModelFileError(f"{path}: its parameters were altered: their checksum differs")
    for name, values in tensors.items():
        number, attribute = name.split(".")
        setattr(model.layers[int(number)], attribute, values)
    return model


def _check_size(architecture: dict[str, Any], tensors: dict[str, np.ndarray]) -> None:
    """ValueError for layers larger than the file, before anything is allocated for them."""
    dense = [layer for layer in architecture["layers"] if layer["class"] == "Layer_Dense"]
    needed = sum(int(layer["n_inputs"]) * int(layer["n_neurons"]) for layer in dense)
    held = sum(values.size for values in tensors.values())
    if needed > max(held, MOST_UNCHECKED):
        raise ValueError(f"its layers need {needed} weights, the file holds {held} numbers")


def _digest(tensors: dict[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode() + b"\0" + np.ascontiguousarray(tensors[name]).tobytes())
    return digest.hexdigest()


def write_atomically(path: str | os.PathLike, data: bytes) -> None:
    """Write `data` to a temporary file beside `path`, then rename it: whole or not at all.

    A link is followed. Raises OSError where something else than a plain file has that name.
    """
    path = Path(os.path.realpath(path))
    if path.exists() and not path.is_file() and not path.is_dir():
        raise OSError(f"{path} is there already and is no plain file; choose another name")
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _describe(part: Any) -> dict[str, Any]:
    name = type(part).__name__
    if name not in CLASSES or type(part) is not CLASSES[name][0]:
        raise TypeError(f"a model file cannot hold a {name}; it can hold {', '.join(CLASSES)}")
    return {"class": name} | {argument: getattr(part, argument) for argument in CLASSES[name][1]}


def _construct(description: dict[str, Any], role: str) -> Any:
    arguments = dict(description)
    name = arguments.pop("class")
    if name not in CLASSES or not name.startswith(ROLES[role]):
        raise ValueError(f"unknown class {name!r} for {role}")
    return CLASSES[name][0](**arguments)


def _build(architecture: dict[str, Any]) -> Model:
    from .model import Model

    state = np.random.get_state()  # weights drawn here are overwritten: leave no trace
    try:
        model = Model()
        for description in architecture["layers"]:
            model.add(_construct(description, "layers"))
        parts = {
            name: _construct(architecture[name], name)
            for name in ("loss", "optimizer", "accuracy")
            if architecture[name] is not None
        }
        model.set(**parts)
        model.finalize()
    finally:
        np.random.set_state(state)
    return model


def _read(
    path: str | os.PathLike,
) -> tuple[dict[str, Any], dict[str, np.ndarray], str | None]:
    """Architecture, tensors and checksum of a file, none of them checked yet."""
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: no such model file")
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, ValueError, TypeError) as error:
        raise ModelFileError(f"{path}: not a readable safetensors file ({error})") from error
    if metadata.get("format") != FORMAT or metadata.get("format_version") != FORMAT_VERSION:
        raise ModelFileError(
            f"{path}: got format {metadata.get('format')!r} version "
            f"{metadata.get('format_version')!r}, expected {FORMAT!r} version {FORMAT_VERSION!r}"
        )
    try:
        architecture = json.loads(metadata["architecture"])
    except (KeyError, ValueError, RecursionError) as error:
        raise ModelFileError(f"{path}: its architecture cannot be read ({error})") from error
    return architecture, tensors, metadata.get("sha256")
