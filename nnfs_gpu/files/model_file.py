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
    preprocessing
                of a model of a table what `Preprocessing.describe` gives; else it is not there
    Of a class of the user's own (`vocabulary.register`), whose arrays are the tensors n.name or
    role.name, also: {"tensor": name}.
Loading builds only the classes of `vocabulary.PARTS` and runs no code from the file. What one
backend saved, another loads. Pickles of the book's programs load through `book_file.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from ..backend import get_backend, use_backend
from ..network import checks as network_checks
from ..network.network import Network
from ..own.parts import backend_of
from ..parameters import PARAMETERS
from ..tables.preprocessing import Preprocessing
from . import (
    book_file as book_files,
    forms as file_forms,
    random_state,
    tensor_file,
    tensor_reader,
    vocabulary as parts,
)
from .book_pickle import is_pickle
from .forms import SINGLE
from .random_state import KEY as RANDOM_KEY, checked as checked_stream
from .tensor_file import AnyPath, Document, ModelFileError, Tensors
from .tensor_reader import Forms, Judge, reason, short

__all__ = ["ModelFileError", "load", "load_parameters", "save", "save_parameters"]

Made = TypeVar("Made", bound=Network)
# What a made-up document raises: names and types that are others, numbers that no float holds.
NOT_A_MODEL = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError)


# ---- saving ----
def save(model: Network, path: AnyPath) -> None:
    """Write `model` to `path`, replacing it only when the new file is complete.

    Raises TypeError for a part of a class that a file cannot name, ValueError for parts that do
    not fit one another, OSError where the folder cannot be written.
    """
    document, tensors = contents(model)
    if any(backend_of(part, model.backend).book_random for part in (model, *model.layers)):
        random_state.add(document, tensors)
    tensor_file.write(path, document, tensors)


def contents(model: Network) -> tuple[Document, Tensors]:
    """Document and tensors of `model`, without a random state.

    Raises TypeError or ValueError for a model that could not be loaded again.
    """
    described = describe(model)  # refuses what has no name in a file
    if not model.layers:
        raise ValueError("Model.save: the model has no layers; add some first")
    network_checks.check(model.layers, model.loss, model.accuracy, model.backend)
    _check_preprocessing(model)
    _claim_layers(model)  # what an earlier optimizer has left is no state of this model
    tensors = _arrays(model, parts.kept_on_layers(model.optimizer))
    state: dict[str, Any] = {
        name: parts.get_state(getattr(model, name), name, tensors) for name in SINGLE
    }
    state["layers"] = [
        parts.get_state(layer, str(number), tensors) for number, layer in enumerate(model.layers)
    ]
    return {"kind": "model", **described, "state": state, "random": None}, tensors


def describe(model: Network) -> dict[str, Any]:
    """The model's parts, dtype and preprocessing: what `contents` holds of them."""
    single = {name: parts.describe(getattr(model, name)) for name in SINGLE}
    layers = [parts.describe(layer) for layer in model.layers]
    described = {"dtype": model.backend.dtype.name, "layers": layers, **single}
    made = model.preprocessing
    if made is not None:
        if not isinstance(made, Preprocessing):
            raise TypeError(f"preprocessing: got {type(made).__name__}, expected a Preprocessing")
        described["preprocessing"] = made.describe()
    return described


def _check_preprocessing(model: Network) -> None:
    """Raises ValueError for a preprocessing that is another network's."""
    made = model.preprocessing
    if made is None:
        return
    inputs = network_checks.width_in(model.layers) or made.width  # own layers do not say
    sizes = inputs, network_checks.width_out(model.layers, inputs) or made.outputs
    if sizes != (made.width, made.outputs):
        raise ValueError(
            f"preprocessing: it has {made.width} inputs and {made.outputs} outputs, expected "
            f"{sizes[0]} and {sizes[1]}, as the network"
        )


def _claim_layers(model: Network) -> None:
    for layer in model.trainable_layers if hasattr(model.optimizer, "take_over") else ():
        model.optimizer.take_over(layer)


def _arrays(model: Network, names: tuple[str, ...]) -> Tensors:
    return {
        f"{number}.{name}": model.backend.to_numpy(getattr(layer, name))
        for number, layer in enumerate(model.layers)
        for name in names
        if getattr(layer, name, None) is not None
    }


def save_parameters(model: Network, path: AnyPath) -> None:
    """Write weights and biases alone. Raises OSError where the folder cannot be written."""
    document = {"kind": "parameters", "dtype": model.backend.dtype.name}
    tensor_file.write(path, document, _arrays(model, PARAMETERS))


# ---- loading ----
def read(path: AnyPath, judge: Judge) -> tuple[Document, Tensors]:
    """Document and tensors of our file or of a book's pickle. Raises ModelFileError.

    `judge` sees the document and the tensors' shapes, of ours before a tensor is read; what it
    raises for them becomes a ModelFileError that names the file.
    """

    def judged(document: Document, forms: Forms) -> None:
        try:
            judge(document, forms)
        except ModelFileError as error:
            raise ModelFileError(f"{path}: {error}") from error
        except NOT_A_MODEL as error:
            raise _cannot_be_built(path, error) from error

    with tensor_reader.open_file(path) as file:
        if not is_pickle(file.read(9)):
            return tensor_reader.read(file, path, judged)
        file.seek(0)
        document, tensors = book_files.parse(file, path)
    judged(document, tensor_reader.forms_of(tensors))
    return document, tensors


def load(make: Callable[[], Made], path: AnyPath, random_state: bool) -> Made:
    """The finalized model in the file `path`, on the default backend, in the file's dtype.

    make  an empty model: `Model` itself

    Raises FileNotFoundError, or ModelFileError for a foreign, truncated or altered file.
    """
    document, tensors = read(path, _judge_model)
    key = tensors.pop(RANDOM_KEY, None)
    try:
        with use_backend(get_backend(get_backend().name, dtype=document["dtype"])):
            model = _build(make, document)
        stream = checked_stream(document.get("random"), key)
        set_values = checked_values(model, document, file_forms.own_tensors(tensors))
    except NOT_A_MODEL as error:
        raise _cannot_be_built(path, error) from error
    set_values()
    if random_state and stream is not None:
        np.random.set_state(stream)
    return model


def _cannot_be_built(path: AnyPath, error: Exception) -> ModelFileError:
    return ModelFileError(f"{path}: its architecture cannot be built: {reason(error)}")


def _judge_model(document: Document, forms: Forms) -> None:
    """Whether the file can hold a model: what it is, and that its tensors are its layers'."""
    kind = document.get("kind")
    if kind not in ("model", "checkpoint"):
        raise ModelFileError(
            f"holds {short(kind)}, expected a model; use Model.load_parameters for parameters"
        )
    _judge_kind(document, forms)


def _judge_kind(document: Document, forms: Forms) -> None:
    """Whether the tensors are those of what the document says it is. Raises NOT_A_MODEL."""
    if document.get("kind") == "parameters":
        names = {name for pair in file_forms.parameter_names(forms) for name in pair}
        if forms.keys() != names:
            raise ValueError(f"parameters, and {short(sorted(forms.keys() - names))} beside them")
        return
    file_forms.judge_layers(document, forms)
    if document.get("kind") == "checkpoint":
        file_forms.judge_training(document["training"], forms)
    elif any(name.startswith("training.") for name in forms):
        raise ValueError("a model with the tensors of a checkpoint")


def load_parameters(model: Network, path: AnyPath) -> None:
    """Weights and biases of the file, in the order of its layers, into the layers of `model`.

    Raises FileNotFoundError, or ModelFileError where anything does not fit; then nothing
    has changed.
    """
    needed = [[file_forms.form(a) for a in pair] for pair in model.get_parameters()]

    def judge(document: Document, forms: Forms) -> None:
        found = [[forms.get(name) for name in pair] for pair in file_forms.parameter_names(forms)]
        if found != needed:
            raise ModelFileError(
                f"holds weights and biases {file_forms.words(found)}, but the model needs "
                f"{file_forms.words(needed)}; make the model with the same layers and dtype"
                + file_forms.other_dtype(found, needed)
            )
        _judge_kind(document, forms)

    _, tensors = read(path, judge)
    held: Any = [
        tuple(tensors[name] for name in pair) for pair in file_forms.parameter_names(tensors)
    ]
    model.set_parameters(held)


def _build(make: Callable[[], Made], document: Document) -> Made:
    state = np.random.get_state()  # weights drawn here are overwritten: leave no trace
    try:
        model = make()
        for description in document["layers"]:
            model.add(parts.construct(description, "layers"))
        single = {name: document[name] for name in SINGLE if document[name] is not None}
        model.set(**{name: parts.construct(one, name) for name, one in single.items()})
        model.finalize()
        if document.get("preprocessing") is not None:
            model.preprocessing = Preprocessing.construct(document["preprocessing"])
            _check_preprocessing(model)
    finally:
        np.random.set_state(state)
    return model


def checked_values(model: Network, document: Document, tensors: Tensors) -> Callable[[], None]:
    """A function that puts arrays and state into `model`; everything is checked before.

    Format 1 has no state: parts stay as constructed. Raises ModelFileError or one of
    NOT_A_MODEL for what does not fit the model.
    """
    file_forms.check_tensors(model, tensor_reader.forms_of(tensors))
    first = document.get("format_version") == 1
    states = [] if first else _checked_states(model, document["state"], tensors)

    def set_values() -> None:
        _claim_layers(model)
        for number, layer in enumerate(model.layers):
            for name in parts.kept_on_layers(model.optimizer):
                values = tensors.get(f"{number}.{name}")
                if values is not None:
                    backend = backend_of(layer, model.backend)
                    setattr(layer, name, backend.copy(backend.asarray(values, values.dtype)))
                elif getattr(layer, name, None) is not None:
                    delattr(layer, name)
        for part, one in states:
            parts.set_attributes(part, one)

    return set_values


def _checked_states(
    model: Network, state: Any, tensors: Tensors
) -> list[tuple[Any, dict[str, Any]]]:
    targets = [*model.layers, *(getattr(model, name) for name in SINGLE)]
    states = [*state["layers"], *(state[name] for name in SINGLE)]
    if len(states) != len(targets):
        raise ValueError(f"got {len(states)} states for {len(targets)} parts")
    pairs = zip(targets, states, strict=True)
    return [(part, parts.checked_state(part, one, tensors, model.backend)) for part, one in pairs]
