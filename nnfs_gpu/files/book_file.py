"""The book's pickled files, `.parms` and `.model`, as documents of our own.

`book_pickle.py` reads them without running anything in them; here what it returns becomes a
document and tensors as those of `tensor_file.py`, which `model_file.py` checks and builds.
Arguments that a chapter's class did not have yet keep our default. The optimizer's arrays are
rounded to the weights' dtype (the book's float64 dropout mask makes them float64, B8).
"""

from __future__ import annotations

import os
from typing import Any, BinaryIO

import numpy as np

from ..parameters import PARAMETERS, STATE_ARRAYS
from . import book_pickle
from .book_pickle import ForeignError
from .book_stand_ins import Array, Record, RefusedError
from .tensor_file import AnyPath, Document, ModelFileError, Tensors
from .tensor_reader import reason
from .vocabulary import PARTS

MOST_NAMED = 8  # classes in an error
NAMES = frozenset(
    ["Model", "Layer_Input", "Activation_Softmax_Loss_CategoricalCrossentropy", *PARTS]
)


# What gets the weights out where the classes are, as one line of Python.
WRITE_PARMS = (
    "import pathlib, pickle; model = pickle.loads(pathlib.Path({model!r}).read_bytes()); "
    "pathlib.Path({parms!r}).write_bytes(pickle.dumps([(layer.weights, layer.biases) "
    "for layer in model.layers if hasattr(layer, 'weights')]))"
)


def parse(file: BinaryIO, path: AnyPath) -> tuple[Document, Tensors]:
    """Document and tensors of a book's `.model` or `.parms`. Raises ModelFileError."""
    size = os.fstat(file.fileno()).st_size
    try:
        found = book_pickle.read(file, NAMES)
        if isinstance(found, Record):
            return _model(found, size)
        return _parameters(found, size)
    except ForeignError as error:
        raise ModelFileError(f"{path}: {_get_weights(error.names, path)}") from error
    except RefusedError as error:
        raise ModelFileError(
            f"{path}: is no .model or .parms file of the book's programs: it holds {error}; "
            "nothing in it was run"
        ) from error
    except Exception as error:  # whatever a program of another's making runs into
        raise ModelFileError(
            f"{path}: a damaged pickle: {type(error).__name__}: {reason(error)}"
        ) from error


def _get_weights(names: list[str], path: AnyPath) -> str:
    """What to do about classes that only another program has."""
    named = ", ".join(names[:MOST_NAMED])
    named += f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    model = os.path.abspath(os.fsdecode(path))
    beginning, ending = os.path.splitext(model)
    parms = (model if ending == ".parms" else beginning) + ".parms"
    line = WRITE_PARMS.format(model=model, parms=parms)
    return (
        f"holds objects of classes that nnfs_gpu does not have: {named}; nothing in it was run. "
        "To use its weights, make a Model of the same shapes here and load the file that its "
        f"program's save_parameters has written: model.load_parameters({parms!r}). Where there "
        f"is none, this line, in the program that has the classes, writes it: {line}"
    )


def _parameters(found: Any, size: int) -> tuple[Document, Tensors]:
    """`.parms`: what the book's `get_parameters` gives, a list of (weights, biases)."""
    if not isinstance(found, list) or not found:
        raise RefusedError(f"a {type(found).__name__}, expected a list of (weights, biases)")
    held: dict[str, Any] = {}
    for number, pair in enumerate(found):
        if not isinstance(pair, (tuple, list)) or len(pair) != len(PARAMETERS):
            raise RefusedError("a list of something else than (weights, biases)")
        for name, values in zip(PARAMETERS, pair, strict=True):
            held[f"{number}.{name}"] = values
    tensors = _tensors(held, size)
    return {"kind": "parameters", "dtype": _dtype(tensors)}, tensors


def _model(record: Record, size: int) -> tuple[Document, Tensors]:
    """`.model`: the record of a Model as the document and tensors of one of our files."""
    if not type(record).__name__ == "Model":
        raise RefusedError(f"a {type(record).__name__}, expected a Model")
    layers = record.attributes.get("layers")
    if not isinstance(layers, list) or not all(isinstance(layer, Record) for layer in layers):
        raise RefusedError("a Model without a list of layers")
    if len({id(layer) for layer in layers}) != len(layers):
        raise RefusedError("one layer several times")
    held = {
        f"{number}.{name}": layer.attributes[name]
        for number, layer in enumerate(layers)
        for name in PARAMETERS + STATE_ARRAYS
        if name in layer.attributes
    }
    tensors = _tensors(held, size)
    dtype = _dtype(tensors)
    # The book's dropout mask is float64 and turns the optimizer's arrays into it.
    tensors = {
        name: a if name.endswith(PARAMETERS) else a.astype(dtype) for name, a in tensors.items()
    }
    single = {name: record.attributes.get(name) for name in ("loss", "optimizer", "accuracy")}
    document: Document = {"kind": "model", "dtype": dtype, "random": None}
    document["layers"] = [_description(layer) for layer in layers]
    document |= {name: _description(part) for name, part in single.items()}
    document["state"] = {name: _state(part) for name, part in single.items()}
    document["state"]["layers"] = [_state(layer) for layer in layers]
    return document, tensors


def _description(record: Any) -> dict[str, Any] | None:
    """Class and arguments; what a chapter's class did not have yet keeps our default."""
    if record is None:
        return None
    name = type(record).__name__
    if not isinstance(record, Record) or name not in PARTS or PARTS[name].own:
        raise RefusedError(f"a {name} as a part of the model")
    held = record.attributes
    found = {a: _number(held[a], a) for a in PARTS[name].arguments if a in held}
    if name == "Layer_Dense":
        weights = held.get("weights")
        shape = weights.values.shape if isinstance(weights, Array) else ()
        if len(shape) != 2:
            raise RefusedError("a Layer_Dense without a matrix of weights")
        found |= dict(zip(("n_inputs", "n_neurons"), shape, strict=True))
    elif name == "Layer_Dropout":
        found["rate"] = 1 - found["rate"]  # the attribute is the share that is kept
    return {"class": name} | found


def _state(record: Any) -> dict[str, Any]:
    """Iterations and rate, precision; dropout's masks come from a stream, not from calls."""
    if record is None:
        return {}
    defaults = {"seed": None, "calls": 0, "precision": None}
    held = defaults | record.attributes
    names = PARTS[type(record).__name__].state
    return {name: None if held[name] is None else _number(held[name], name) for name in names}


def _tensors(held: dict[str, Any], size: int) -> Tensors:
    """The arrays in C order and native bytes; together not larger than the file's `size`."""
    for name, value in held.items():
        if not isinstance(value, Array) or value.values.dtype.kind != "f":
            raise RefusedError(f"{name} that are no array of real numbers")
    if sum(value.values.nbytes for value in held.values()) > size:
        raise RefusedError("one array several times")
    return {
        name: np.ascontiguousarray(value.values, value.values.dtype.newbyteorder("="))
        for name, value in held.items()
    }


def _number(value: Any, name: str) -> int | float | bool:
    if isinstance(value, Array) and value.values.ndim == 0:
        value = value.values.item()
    if not isinstance(value, (bool, int, float)):
        raise RefusedError(f"{name} that is no number")
    return value


def _dtype(tensors: Tensors) -> str:
    """The dtype of weights and biases, which must be one."""
    found = {a.dtype.name for name, a in tensors.items() if name.endswith(PARAMETERS)}
    if len(found) > 1:
        raise RefusedError(f"weights and biases of {' and '.join(sorted(found))}")
    return found.pop() if found else "float32"
