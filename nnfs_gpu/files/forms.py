"""Which tensors a model file must hold: judged by their shapes and dtypes, before they are read.

For `model_file.py` and `checkpoint.py`. A form is (shape, NumPy's name of the dtype).
"""

from __future__ import annotations

from typing import Any

from .. import checks
from ..backend import get_backend
from ..network.network import Network
from ..parameters import NAMES, PARAMETERS, STATE, STATE_ARRAYS
from . import random_state
from .tensor_file import Document
from .tensor_reader import MOST_SHOWN, Forms, short
from .vocabulary import PARTS, check_class, tensors_of_own

SINGLE = ("loss", "optimizer", "accuracy")
HISTORY = "training.history."  # what the names of a curve's tensors begin with


# ---- of a model ----
def judge_layers(document: Document, forms: Forms) -> None:
    """Whether the tensors are those of the document's layers, in its dtype.

    Raises ValueError, or another of NOT_A_MODEL for layers that are none.
    """
    dtype = document["dtype"]
    if dtype not in ("float32", "float64"):
        raise ValueError(f"dtype: got {short(dtype)}, expected 'float32' or 'float64'")
    shapes = {}
    for number, layer in enumerate(document["layers"]):
        if layer["class"] == "Layer_Dense":
            sizes = (layer["n_inputs"], "n_inputs"), (layer["n_neurons"], "n_neurons")
            inputs, neurons = (checks.positive_int(*size) for size in sizes)
            shapes[number] = (inputs, neurons), (1, neurons)
    roles = {role: (document[role] or {}).get("class") for role in SINGLE}
    classes = [layer["class"] for layer in document["layers"]]
    for role, name in [*(("layers", name) for name in classes), *roles.items()]:
        if name is not None:
            check_class(name, role)
    own = tensors_of_own(classes, roles)
    for number, name in enumerate(
        classes
    ):  # parameters of the user's own: judged once they are made
        if PARTS[name].own:
            own |= {f"{number}.{one}" for one in (*PARAMETERS, *STATE_ARRAYS)}
    _check_forms(shapes, _without(own_tensors(forms), own), dtype)


def own_tensors(tensors: dict[str, Any]) -> dict[str, Any]:
    """Those of the layers: not the random stream's, nor what a checkpoint adds."""
    return {
        name: values
        for name, values in tensors.items()
        if name != random_state.KEY and not name.startswith("training.")
    }


def judge_training(stored: dict[str, Any], forms: Forms) -> None:
    """What a checkpoint adds to a model. Raises one of NOT_A_MODEL for another form."""
    epochs, _ = (checks.seed(stored[n], n) for n in ("epochs_done", "steps_done"))
    for total, count in stored["accumulated"]:
        if isinstance(total, bool) or not isinstance(total, (int, float)):
            raise TypeError(f"accumulated: got {short(total)}, expected a number")
        float(total)
        if isinstance(count, bool):
            raise TypeError(f"accumulated count: got {count}, expected a number")
        checks.not_negative(count, "accumulated count")
    if len(stored["accumulated"]) != 2:
        raise ValueError("accumulated: expected the sums of loss and accuracy")
    states = stored["callbacks"]
    if not isinstance(states, list) or not all(isinstance(state, dict) for state in states):
        raise TypeError(f"callbacks: got {short(states)}, expected a list of states")
    mine = tuple(f"training.callbacks.{number}." for number in range(len(states)))
    for name, form in forms.items():
        if name.startswith(HISTORY):
            if form != ((epochs,), "float64"):
                raise ValueError(f"{short(name)}: got {short(form)}, expected ({epochs},) float64")
        elif name.startswith("training.") and not name.startswith(mine):
            raise ValueError(f"got a tensor {short(name)}")


def check_tensors(model: Network, forms: Forms) -> None:
    """ValueError where the tensors are not those of the layers of `model`."""
    shapes = {
        number: tuple(tuple(getattr(layer, name).shape) for name in PARAMETERS)
        for number, layer in enumerate(model.layers)
        if getattr(layer, "weights", None) is not None
    }
    roles = {role: type(getattr(model, role)).__name__ for role in SINGLE}
    own = tensors_of_own([type(layer).__name__ for layer in model.layers], roles)
    _check_forms(shapes, _without(forms, own), model.backend.dtype.name)


def _without(forms: Forms, names: set[str]) -> Forms:
    return {name: form for name, form in forms.items() if name not in names}


def _check_forms(shapes: dict[int, tuple[Any, ...]], forms: Forms, dtype: str) -> None:
    """ValueError for tensors that are not those of layers with such weights and biases."""
    allowed: dict[str, Any] = {}
    needed: dict[str, Any] = {}
    for n, pair in shapes.items():
        for one, shape in zip(NAMES, pair, strict=True):
            needed[f"{n}.{one.values}"] = shape
            allowed |= {f"{n}.{one.state(kind)}": shape for kind in STATE}
    allowed |= needed
    found = {name: shape for name, (shape, _) in forms.items()}
    others = {kind for _, kind in forms.values()} - {dtype}
    if others or not needed.items() <= found.items() <= allowed.items():
        raise ValueError(
            f"the file holds parameters {short(found)} of {', '.join(sorted(others)) or dtype}, "
            f"but its architecture needs {short(needed)} of {dtype}, and beside them only the "
            "optimizer's arrays of the same shapes"
        )


# ---- of parameters alone ----
def parameter_names(names: Any) -> list[tuple[str, ...]]:
    """("n.weights", "n.biases") of every layer n that has either."""
    parts = [name.split(".") for name in names]
    numbers = sorted({int(p[0]) for p in parts if len(p) == 2 and _numbered(*p)})
    return [tuple(f"{n}.{name}" for name in PARAMETERS) for n in numbers]


def _numbered(number: str, name: str) -> bool:
    return name in PARAMETERS and number.isascii() and number.isdecimal() and len(number) < 9


def other_dtype(found: list[list[Any]], needed: list[list[Any]]) -> str:
    """The line that makes a model of the file's dtype, where nothing else differs."""
    shapes = [[[form and form[0] for form in pair] for pair in all] for all in (found, needed)]
    dtypes = {form[1] for pair in found for form in pair if form}
    if shapes[0] != shapes[1] or len(dtypes) != 1 or not dtypes <= {"float32", "float64"}:
        return ""
    return f": use_backend({get_backend().name!r}, dtype={dtypes.pop()!r}) before it"


def form(values: Any) -> tuple[tuple[int, ...], str] | None:
    """(shape, name of the dtype) of an array; None of None."""
    return None if values is None else (tuple(values.shape), values.dtype.name)


def words(forms: list[list[Any]]) -> str:
    """The forms of layers, weights and biases each, for a message: cut to MOST_SHOWN."""
    one = [" ".join("none" if f is None else f"{f[0]} {f[1]}" for f in pair) for pair in forms]
    text = "; ".join(one) or "(none)"
    return text if len(text) <= MOST_SHOWN else f"{text[: MOST_SHOWN - 3]}..."
