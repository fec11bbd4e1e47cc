"""Model files: what `Model.save`, `load`, `save_parameters` and `load_parameters` do.

A file is a sealed safetensors file (`tensor_file.py`), which any safetensors reader opens.
Tensors, where n is the layer's place in `Model.layers`:
    n.weights (I, O), n.biases (1, O)         parameters
    n.weight_momentums, n.weight_cache,
    n.bias_momentums, n.bias_cache            the optimizer's arrays, once it has made them
    random.key (624,) uint32                  see random
Its JSON document:
    kind        "model", "parameters" (parameters and dtype alone) or "checkpoint"
                (a model with all that `checkpoint.py` adds)
    dtype       "float32" or "float64"
    layers, loss, optimizer, accuracy
                each object as its class name and its constructor's arguments
    state       layers (a list), optimizer, accuracy: what training has changed beside the
                arrays, such as iterations, dropout's seed and calls, a precision
    random      position of NumPy's global stream (MT19937) for models made after `init()`,
                whose dropout draws from it; else null
Loading builds only the classes of `parts.PARTS` and runs no code from the file. What one
backend saved, another loads. Pickles of the book's programs load through `book_files.py`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from . import book_files, chain, checks, parts, tensor_file
from .backend import get_backend, use_backend
from .book_pickle import is_pickle
from .parts import ARRAYS, OPTIMIZER_ARRAYS
from .tensor_file import Document, ModelFileError, Tensors, write_atomically

if TYPE_CHECKING:
    from .model import Model

__all__ = ["ModelFileError", "load", "load_parameters", "save", "save_parameters"]
__all__ += ["write_atomically"]

MOST_UNCHECKED = 1 << 20  # weights that are built before their number is compared
SINGLE = ("loss", "optimizer", "accuracy")
NOT_A_MODEL = (KeyError, TypeError, ValueError, AttributeError)  # what a made-up document raises


# ---- saving ----
def save(model: Model, path: str | os.PathLike) -> None:
    """Write `model` to `path`, replacing it only when the new file is complete.

    Raises TypeError for a part of a class that a file cannot name, ValueError for parts that do
    not fit one another, OSError where the folder cannot be written.
    """
    document, tensors = contents(model)
    if any(part.backend.book_random for part in (model, *model.layers)):
        add_random_state(document, tensors)
    tensor_file.write(path, document, tensors)


def contents(model: Model) -> tuple[Document, Tensors]:
    """Document and tensors of `model`, without a random state.

    Raises TypeError or ValueError for a model that could not be loaded again.
    """
    described = describe(model)  # refuses what has no name in a file
    if not model.layers:
        raise ValueError("Model.save: the model has no layers; add some first")
    chain.check(model.layers, model.loss, model.accuracy, model.backend)
    state: dict[str, Any] = {name: parts.get_state(getattr(model, name)) for name in SINGLE}
    state["layers"] = [parts.get_state(layer) for layer in model.layers]
    document = {"kind": "model", **described, "state": state, "random": None}
    _claim_layers(model)  # what an earlier optimizer has left is no state of this model
    return document, _arrays(model, ARRAYS + OPTIMIZER_ARRAYS)


def describe(model: Model) -> dict[str, Any]:
    """The model's parts and dtype: what `contents` holds of them."""
    single = {name: parts.describe(getattr(model, name)) for name in SINGLE}
    layers = [parts.describe(layer) for layer in model.layers]
    return {"dtype": model.backend.dtype.name, "layers": layers, **single}


def _claim_layers(model: Model) -> None:
    for layer in model.trainable_layers if model.optimizer is not None else ():
        model.optimizer.take_over(layer)


def _arrays(model: Model, names: tuple[str, ...]) -> Tensors:
    return {
        f"{number}.{name}": model.backend.to_numpy(getattr(layer, name))
        for number, layer in enumerate(model.layers)
        for name in names
        if getattr(layer, name, None) is not None
    }


def save_parameters(model: Model, path: str | os.PathLike) -> None:
    """Write weights and biases alone. Raises OSError where the folder cannot be written."""
    document = {"kind": "parameters", "dtype": model.backend.dtype.name}
    tensor_file.write(path, document, _arrays(model, ARRAYS))


# ---- loading ----
def read(path: str | os.PathLike) -> tuple[Document, Tensors]:
    """Document and tensors of our file or of a book's pickle. Raises ModelFileError."""
    data = tensor_file.read_bytes(path)
    if is_pickle(data):
        return book_files.parse(data, path)
    return tensor_file.parse(data, path)


def load(path: str | os.PathLike, *, random_state: bool = False) -> Model:
    """The finalized model in the file `path`, on the default backend, in the file's dtype.

    Raises FileNotFoundError, or ModelFileError for a foreign, truncated or altered file.
    """
    document, tensors = read(path)
    if document.get("kind") not in ("model", "checkpoint"):
        raise ModelFileError(
            f"{path}: holds {document.get('kind')!r}, expected a model; use "
            "Model.load_parameters for parameters"
        )
    key = tensors.pop("random.key", None)
    tensors = {name: a for name, a in tensors.items() if not name.startswith("training.")}
    try:
        _check_size(document, tensors)
        with use_backend(get_backend(get_backend().name, dtype=str(document["dtype"]))):
            model = _build(document)
        stream = checked_random_state(document.get("random"), key)
        set_values = checked_values(model, document.get("state"), tensors)
    except ModelFileError as error:
        raise ModelFileError(f"{path}: {error}") from error
    except NOT_A_MODEL as error:
        raise ModelFileError(f"{path}: its architecture cannot be built: {error}") from error
    set_values()
    if random_state and stream is not None:
        np.random.set_state(stream)
    return model


def load_parameters(model: Model, path: str | os.PathLike) -> None:
    """Weights and biases of the file, in the order of its layers, into the layers of `model`.

    Raises FileNotFoundError, or ModelFileError where anything does not fit; then nothing
    has changed.
    """
    _, tensors = read(path)
    names = [name.split(".") for name in tensors if name.endswith(tuple(f".{a}" for a in ARRAYS))]
    numbers = sorted({int(n) for n, *rest in names if n.isdecimal() and len(rest) == 1})
    held: Any = [tuple(tensors.get(f"{n}.{name}") for name in ARRAYS) for n in numbers]
    found = [[_form(a) for a in pair] for pair in held]
    needed = [[_form(a) for a in pair] for pair in model.get_parameters()]
    if found != needed:
        raise ModelFileError(
            f"{path}: holds weights and biases {_words(found)}, but the model needs "
            f"{_words(needed)}; make the model with the same layers and dtype"
        )
    model.set_parameters(held)


def _form(values: Any) -> tuple[tuple[int, ...], str] | None:
    return None if values is None else (tuple(values.shape), values.dtype.name)


def _words(forms: list[list[Any]]) -> str:
    one = [" ".join("none" if f is None else f"{f[0]} {f[1]}" for f in pair) for pair in forms]
    return "; ".join(one) or "(none)"


def _check_size(document: Document, tensors: Tensors) -> None:
    """ValueError for layers larger than the file, before anything is allocated for them."""
    dense = [layer for layer in document["layers"] if layer["class"] == "Layer_Dense"]
    size = checks.positive_int
    needed = sum(size(d["n_inputs"], "n_inputs") * size(d["n_neurons"], "n_neurons") for d in dense)
    held = sum(values.size for values in tensors.values())
    if needed > max(held, MOST_UNCHECKED):
        raise ValueError(f"its layers need {needed} weights, the file holds {held} numbers")


def _build(document: Document) -> Model:
    from .model import Model

    state = np.random.get_state()  # weights drawn here are overwritten: leave no trace
    try:
        model = Model()
        for description in document["layers"]:
            model.add(parts.construct(description, "layers"))
        single = {name: document[name] for name in SINGLE if document[name] is not None}
        model.set(**{name: parts.construct(one, name) for name, one in single.items()})
        model.finalize()
    finally:
        np.random.set_state(state)
    return model


def checked_values(model: Model, state: Any, tensors: Tensors) -> Callable[[], None]:
    """A function that puts arrays and state into `model`; everything is checked before.

    `state` None (format 1): parts stay as constructed. Raises ModelFileError, ValueError,
    TypeError or KeyError for what does not fit the model.
    """
    _check_tensors(model, tensors)
    states = [] if state is None else _checked_states(model, state)

    def set_values() -> None:
        _claim_layers(model)
        for number, layer in enumerate(model.layers):
            for name in ARRAYS + OPTIMIZER_ARRAYS:
                values = tensors.get(f"{number}.{name}")
                if values is not None:
                    setattr(layer, name, layer.backend.copy(layer.backend.asarray(values)))
                elif getattr(layer, name, None) is not None:
                    delattr(layer, name)
        for part, one in states:
            parts.set_state(part, one)

    return set_values


def _check_tensors(model: Model, tensors: Tensors) -> None:
    needed: dict[str, Any] = {}
    allowed: dict[str, Any] = {}
    for number, layer in enumerate(model.layers):
        if hasattr(layer, "weights"):
            shapes = {"weight": layer.weights.shape, "bias": layer.biases.shape}
            needed |= {f"{number}.weights": shapes["weight"], f"{number}.biases": shapes["bias"]}
            allowed |= {f"{number}.{name}": shapes[name.split("_")[0]] for name in OPTIMIZER_ARRAYS}
    found = {name: values.shape for name, values in tensors.items()}
    others = {a.dtype.name for a in tensors.values()} - {model.backend.dtype.name}
    if others or not needed.items() <= found.items() <= (needed | allowed).items():
        raise ModelFileError(
            f"holds parameters {found} of {', '.join(others) or model.backend.dtype.name}, but "
            f"its architecture needs {needed} of {model.backend.dtype.name}, and beside them "
            "only the optimizer's arrays of the same shapes"
        )


def _checked_states(model: Model, state: Any) -> list[tuple[Any, dict[str, Any]]]:
    targets = [*model.layers, *(getattr(model, name) for name in SINGLE)]
    states = [*state["layers"], *(state[name] for name in SINGLE)]
    if len(states) != len(targets):
        raise ValueError(f"got {len(states)} states for {len(targets)} parts")
    pairs = zip(targets, states, strict=True)
    return [(part, parts.checked_state(part, one)) for part, one in pairs]


# ---- NumPy's global stream ----
def add_random_state(document: Document, tensors: Tensors) -> None:
    """Note where the stream stands. (It is an MT19937 unless somebody has replaced it.)"""
    state: Any = np.random.get_state(legacy=False)
    if state["bit_generator"] == "MT19937":
        position = {"pos": int(state["state"]["pos"]), "has_gauss": int(state["has_gauss"])}
        document["random"] = position | {"gauss": float(state["gauss"])}
        tensors["random.key"] = state["state"]["key"]


def checked_random_state(position: Any, key: Any) -> tuple | None:
    """What `np.random.set_state` takes; None where the file has none. Raises ValueError."""
    if position is None:
        return None
    if key is None or key.shape != (624,) or key.dtype != np.uint32:
        raise ValueError("random.key: expected (624,) uint32")
    pos, has_gauss, gauss = (position[name] for name in ("pos", "has_gauss", "gauss"))
    if not (isinstance(pos, int) and 0 <= pos <= 624 and has_gauss in (0, 1)):
        raise ValueError(f"random: got {position}, expected a position from 0 to 624")
    return "MT19937", key, pos, has_gauss, float(gauss)
