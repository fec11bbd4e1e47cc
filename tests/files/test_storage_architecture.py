"""Files whose document names what cannot be built, or does not fit its tensors."""

import numpy as np
import pytest
from model_files import architecture, refused, rewrite
from safetensors.numpy import load_file

from nnfs_gpu import (
    Model,
)


def changed(path, change):
    """The file's architecture after `change` has been done to it."""
    new = architecture(path)
    change(new)
    return new


SOFTMAX = {"class": "Activation_Softmax"}
CHANGES = {
    "no layers": lambda a: a.update(layers=[]),
    "layers null": lambda a: a.update(layers=None),
    "layers text": lambda a: a.update(layers="Layer_Dense"),
    "layers numbers": lambda a: a.update(layers=[1, 2]),
    "layer without class": lambda a: a["layers"][1].pop("class"),
    "class list": lambda a: a["layers"][1].update({"class": ["Activation_ReLU"]}),
    "class null": lambda a: a["layers"][1].update({"class": None}),
    "without layers": lambda a: a.pop("layers"),
    "without loss": lambda a: a.pop("loss"),
    "without optimizer": lambda a: a.pop("optimizer"),
    "without dtype": lambda a: a.pop("dtype"),
    "float16": lambda a: a.update(dtype="float16"),
    "complex": lambda a: a.update(dtype="complex128"),
    "dtype text": lambda a: a.update(dtype="single precision"),
    "dtype number": lambda a: a.update(dtype=32),
    "negative penalty": lambda a: a["layers"][0].update(weight_regularizer_l1=-1),
    "text penalty": lambda a: a["layers"][0].update(weight_regularizer_l1="1"),
    "null penalty": lambda a: a["layers"][0].update(weight_regularizer_l1=None),
    "zero neurons": lambda a: a["layers"][0].update(n_neurons=0),
    "float neurons": lambda a: a["layers"][0].update(n_neurons=4.0),
    "NaN rate": lambda a: a["optimizer"].update(learning_rate=float("nan")),
    "beta 1": lambda a: a["optimizer"].update(beta_1=1),
    "layers do not fit": lambda a: a["layers"][2].update(n_inputs=5),
    "no softmax": lambda a: a["layers"].pop(),
    "without n_inputs": lambda a: a["layers"][0].pop("n_inputs"),
    "optimizer as layer": lambda a: a["layers"].insert(0, a["optimizer"]),
    "beyond any array": lambda a: a["layers"][0].update(n_inputs=10**30),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_architecture_that_cannot_be_built(file, change):
    rewrite(file, document=changed(file, change))
    refused(file, "its architecture cannot be built: .")


@pytest.mark.parametrize(
    "name", ["os.system", "eval", "Model", "__import__", "Layer_dense", "", "Optimizer", "object"]
)
@pytest.mark.parametrize("place", ["layers", "loss", "optimizer", "accuracy"])
def test_classes_that_a_file_may_not_name(file, name, place):
    def change(a):
        (a["layers"][1] if place == "layers" else a[place])["class"] = name

    rewrite(file, document=changed(file, change))
    refused(file, "its architecture cannot be built: unknown class '" + name)


@pytest.mark.parametrize("place", [0, 1, 2, "loss", "optimizer", "accuracy"])
@pytest.mark.parametrize("name", ["backend", "self", "weights", "forward", "__class__", "cls"])
def test_arguments_that_no_constructor_has(file, place, name):
    def change(a):
        (a["layers"][place] if isinstance(place, int) else a[place])[name] = "x"

    rewrite(file, document=changed(file, change))
    refused(file, "its architecture cannot be built: .*argument")


def test_sizes_that_the_file_does_not_hold_are_not_allocated(file):
    rewrite(
        file,
        document=changed(file, lambda a: a["layers"][0].update(n_inputs=10**6, n_neurons=10**7)),
    )
    refused(file)


@pytest.mark.parametrize("place", ["loss", "optimizer", "accuracy"])
def test_parts_of_another_kind(file, place):
    rewrite(file, document=changed(file, lambda a: a.update({place: SOFTMAX})))
    refused(file, "its architecture cannot be built")


def test_architecture_without_a_dtype(file):
    rewrite(file, document=changed(file, lambda a: a.update(dtype=None)))
    refused(file, "its architecture cannot be built")


TENSORS = {
    "missing": lambda t: t.pop("0.biases"),
    "more": lambda t: t.update({"4.weights": np.zeros((3, 3), np.float32)}),
    "other name": lambda t: t.update({"weights": t.pop("0.weights")}),
    "name without a number": lambda t: t.update({"x": np.zeros(1, np.float32)}),
    "of an activation": lambda t: t.update({"1.weights": np.zeros((4, 4), np.float32)}),
    "transposed": lambda t: t.update({"0.weights": t["0.weights"].T.copy()}),
    "flat biases": lambda t: t.update({"0.biases": t["0.biases"].reshape(-1)}),
    "wider": lambda t: t.update({"2.weights": np.zeros((4, 4), np.float32)}),
    "empty": lambda t: t.update({"0.weights": np.zeros((2, 0), np.float32)}),
    "none": dict.clear,
}


@pytest.mark.parametrize("change", TENSORS.values(), ids=TENSORS)
def test_parameters_of_another_shape(file, change):
    tensors = load_file(file)
    change(tensors)
    rewrite(file, tensors=tensors)
    refused(file, "holds parameters .*, but its architecture needs .*'0.weights': .2, 4")


@pytest.mark.parametrize("kind", ["float64", "float16", "int64", "bool"])
def test_parameters_of_another_dtype(file, kind):
    rewrite(file, tensors={key: a.astype(kind) for key, a in load_file(file).items()})
    refused(file, kind)


STATES = {
    "missing": lambda s: s.pop("optimizer"),
    "null": lambda s: s.update(layers=None),
    "fewer layers": lambda s: s["layers"].pop(),
    "more layers": lambda s: s["layers"].append({}),
    "of an activation": lambda s: s["layers"][1].update(calls=1),
    "without iterations": lambda s: s["optimizer"].pop("iterations"),
    "another name": lambda s: s["optimizer"].update(momentum=0.5),
    "negative": lambda s: s["optimizer"].update(iterations=-1),
    "fraction": lambda s: s["optimizer"].update(iterations=1.5),
    "true": lambda s: s["optimizer"].update(iterations=True),
    "text": lambda s: s["optimizer"].update(iterations="3"),
    "rate NaN": lambda s: s["optimizer"].update(current_learning_rate=float("nan")),
    "rate list": lambda s: s["optimizer"].update(current_learning_rate=[0.1]),
}


@pytest.mark.parametrize("change", STATES.values(), ids=STATES)
def test_state_of_another_form(file, change):
    document = architecture(file)
    change(document["state"])
    rewrite(file, document=document)
    refused(file, "its architecture cannot be built")


@pytest.mark.parametrize(
    ("position", "key"),
    [
        ({"pos": 700, "has_gauss": 0, "gauss": 0.0}, np.zeros(624, np.uint32)),
        ({"pos": -1, "has_gauss": 0, "gauss": 0.0}, np.zeros(624, np.uint32)),
        ({"pos": 1.5, "has_gauss": 0, "gauss": 0.0}, np.zeros(624, np.uint32)),
        ({"pos": 1, "has_gauss": 2, "gauss": 0.0}, np.zeros(624, np.uint32)),
        ({"pos": 1, "has_gauss": 0}, np.zeros(624, np.uint32)),
        ({"pos": 1, "has_gauss": 0, "gauss": "x"}, np.zeros(624, np.uint32)),
        ({"pos": 1, "has_gauss": 0, "gauss": 0.0}, np.zeros(623, np.uint32)),
        ({"pos": 1, "has_gauss": 0, "gauss": 0.0}, np.zeros(624, np.int32)),
        ({"pos": 1, "has_gauss": 0, "gauss": 0.0}, None),
        ([1], np.zeros(624, np.uint32)),
    ],
)
def test_a_random_state_of_another_form(file, position, key):
    tensors = load_file(file) | ({} if key is None else {"random.key": key})
    rewrite(file, tensors=tensors, document=architecture(file) | {"random": position})
    refused(file, load=lambda path: Model.load(path, random_state=True))
