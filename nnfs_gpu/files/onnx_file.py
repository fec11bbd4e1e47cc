"""ONNX files: what `Model.to_onnx` does. Other programs run a network from them, without us.

A file holds what `predict` computes, in the model's dtype: dense layers as Gemm, activations by the
operators of their names. Dropout does nothing in a prediction and is left out; loss, optimizer and
accuracy are not needed there. The input is "X" (N, features), the output "output" (N, outputs), N
of any size. Metadata: "nnfs_gpu_version"; "class_names", a JSON list, where they were given or the
model knows them; "preprocessing" of a model of a table, the JSON of a model file.

The operators are those of ONNX's opset 16, of 2022: onnxruntime computes earlier ones of PRelu in
float32 alone. Equal models give equal bytes. https://onnx.ai/onnx/operators/
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from .._version import __version__
from ..activations import (
    Activation_LeakyReLU,
    Activation_Linear,
    Activation_ReLU,
    Activation_Sigmoid,
    Activation_Softmax,
    Activation_Tanh,
)
from ..layers import Layer_Dense, Layer_Dropout, Layer_Input
from ..network import checks as network_checks
from ..network.network import Network
from ..own.parts import ours
from .tensor_file import AnyPath, write_atomically

OPSET, FORMAT = 16, 8  # FORMAT is the "IR version" that came with the opset
MOST_BYTES = 2**31 - 1  # what one protobuf message can hold
REMEDY = 'Model.to_onnx needs the package onnx, 1.17 or newer: pip install "nnfs-gpu[onnx]"'

Operator = tuple[str, dict[str, Any], tuple[np.ndarray, ...]]  # its name, attributes, constants


# ---- a layer as an operator ----
def _dense(layer: Any) -> Operator:
    to_numpy = layer.backend.to_numpy
    return "Gemm", {}, (to_numpy(layer.weights), to_numpy(layer.biases))


def _leaky_relu(layer: Any) -> Operator:
    # Not LeakyRelu, whose slope is float32 whatever the numbers are.
    return "PRelu", {}, (np.array([layer.negative_slope], layer.backend.dtype),)


def _plain(name: str, **attributes: Any) -> Callable[[Any], Operator]:
    return lambda layer: (name, attributes, ())  # noqa: ARG005 - as the two above


OPERATORS: dict[type[Any], Callable[[Any], Operator] | None] = {
    Layer_Dense: _dense,
    Layer_Dropout: None,
    Layer_Input: None,
    Activation_Linear: None,
    Activation_ReLU: _plain("Relu"),
    Activation_LeakyReLU: _leaky_relu,
    Activation_Sigmoid: _plain("Sigmoid"),
    Activation_Tanh: _plain("Tanh"),
    Activation_Softmax: _plain("Softmax", axis=1),
}


def operators(layers: Sequence[Any]) -> Iterator[Operator]:
    """What the layers do in a prediction. Raises TypeError for one of the user's own."""
    for number, layer in enumerate(layers):
        kind = next((one for one in type(layer).__mro__ if one in OPERATORS), None)
        if kind is None or not ours(layer, "forward"):
            raise TypeError(
                f"Model.to_onnx: layer {number} is a {type(layer).__name__} of your own, expected "
                f"{', '.join(one.__name__ for one in OPERATORS)}: ONNX has no operator for it; "
                "export the layers before and after it as models of their own"
            )
        make = OPERATORS[kind]
        if make is not None:
            yield make(layer)


# ---- the file ----
def save(model: Network, path: AnyPath, class_names: Sequence[Any] | None) -> None:
    """Write `model` to `path`, replacing it only when the new file is complete.

    Raises ImportError without the package onnx, TypeError or ValueError for a model or names that
    no such file holds, OSError where the folder cannot be written.
    """
    try:
        import onnx
    except ImportError as error:
        raise ImportError(REMEDY) from error

    steps = list(operators(model.layers)) or [("Identity", {}, ())]
    size = sum(array.nbytes for _, _, arrays in steps for array in arrays)
    if size > MOST_BYTES - 2**20:
        raise ValueError(
            f"Model.to_onnx: got {size:,} bytes of parameters, expected less than 2 GiB, the most "
            "that an ONNX file holds; use Model.save"
        )
    features = network_checks.width_in(model.layers)
    outputs = None if features is None else network_checks.width_out(model.layers, features)
    made = onnx.helper.make_model(
        _graph(onnx, steps, model.backend.dtype, features, outputs),
        opset_imports=[onnx.helper.make_opsetid("", OPSET)],
        ir_version=FORMAT,
        producer_name="nnfs_gpu",
        producer_version=__version__,
    )
    metadata, prepared = {"nnfs_gpu_version": __version__}, model.preprocessing
    if prepared is not None:
        metadata["preprocessing"] = json.dumps(prepared.describe())
        class_names = prepared.classes if class_names is None else class_names
    if class_names is not None:
        metadata["class_names"] = json.dumps(checked_names(class_names, outputs))
    onnx.helper.set_model_props(made, metadata)
    onnx.checker.check_model(made)
    write_atomically(path, made.SerializeToString(deterministic=True))


def _graph(
    onnx: Any,
    steps: Sequence[Operator],
    dtype: np.dtype,
    features: int | None,
    outputs: int | None,
) -> Any:
    """The operators, each on what the one before it gives."""
    number = onnx.helper.np_dtype_to_tensor_dtype(dtype)
    nodes: list[Any] = []
    constants: list[Any] = []
    before = "X"
    for place, (name, attributes, arrays) in enumerate(steps):
        last = place == len(steps) - 1
        after = "output" if last else f"{place}.output"
        names = [f"{place}.{one}" for one in ("weights", "biases")[: len(arrays)]]
        nodes.append(
            onnx.helper.make_node(name, [before, *names], [after], f"{place}.{name}", **attributes)
        )
        constants += map(onnx.numpy_helper.from_array, arrays, names)
        before = after
    return onnx.helper.make_graph(
        nodes,
        "nnfs_gpu",
        [onnx.helper.make_tensor_value_info("X", number, ["N", features or "features"])],
        [onnx.helper.make_tensor_value_info("output", number, ["N", outputs or "features"])],
        constants,
    )


def checked_names(names: Any, outputs: int | None) -> list[Any]:
    """Names of the outputs: texts and whole numbers, as many as there are and no two the same.

    Raises TypeError or ValueError for others.
    """
    if isinstance(names, (str, bytes)) or not hasattr(names, "__len__"):
        raise TypeError(f"class_names: got {names!r}, expected a list with a name for each output")
    found = [name.item() if isinstance(name, np.generic) else name for name in names]
    for name in found:
        if not isinstance(name, (str, int)):
            raise TypeError(
                f"class_names: got {name!r}, expected texts or whole numbers: use "
                "[str(name) for name in class_names]"
            )
    if outputs is not None and len(found) != outputs:
        raise ValueError(
            f"class_names: got {len(found)} names, expected {outputs}, one for each output"
        )
    twice = sorted({str(name) for name in found if found.count(name) > 1})
    if twice:
        raise ValueError(f"class_names: got {twice[0]!r} twice, expected another name for each")
    return found
