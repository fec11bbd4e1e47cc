"""What the fused engines know by name: one vocabulary, and refusals by name.

Proves that whatever the vocabulary names has its kernels, that a name which stands in it but has
none is refused by every engine instead of training as something else, and that the tables of the
CPU's step number each name once.
"""

import ast
import re
from pathlib import Path

import pytest
from test_cuda_compile import build, nvrtc as nvrtc  # a fixture

import nnfs_gpu as ng
from nnfs_gpu import fused
from nnfs_gpu.backend.cuda import source as cuda_source
from nnfs_gpu.fused import CannotFuse, make_plan, vocabulary
from nnfs_gpu.fused.cuda.build import LABELS, NUMBERS, Device, choose
from nnfs_gpu.fused.tiles import TiledSteps
from nnfs_gpu.kernels.fused_cpu import pointers, tables

DEVICE = Device(processors=20, shared=99 * 1024)


class Activation_Swish(ng.Activation_Sigmoid):  # noqa: N801 - as the book names them
    """One that the vocabulary gets, and no engine has."""


class Loss_Hinge(ng.Loss_MeanSquaredError):  # noqa: N801
    """The same for a loss."""


class Optimizer_Lion(ng.Optimizer_Adam):  # noqa: N801
    """The same for an optimizer."""


NEW = {  # what: (its table, its name, its entry)
    "activation": (vocabulary.ACTIVATIONS, "swish", vocabulary.Activation(Activation_Swish)),
    "loss": (
        vocabulary.LOSSES,
        "hinge",
        vocabulary.Loss(Loss_Hinge, ng.Activation_Linear, "linear"),
    ),
    "optimizer": (
        vocabulary.OPTIMIZERS,
        "lion",
        vocabulary.Optimizer(Optimizer_Lion, {"first": "beta_1"}, ("momentums",)),
    ),
}


def model(backend, activation=ng.Activation_ReLU, loss=None, optimizer=ng.Optimizer_Adam):
    """2-4-2 on `backend`."""
    with ng.use_backend(backend, dtype="float32", precise_dot=False, book_random=False):
        made = ng.Model()
        for layer in (ng.Layer_Dense(2, 4), activation(), ng.Layer_Dense(4, 2)):
            made.add(layer)
        made.add(ng.Activation_Softmax() if loss is None else ng.Activation_Linear())
        made.set(
            loss=ng.Loss_CategoricalCrossentropy() if loss is None else loss(),
            optimizer=optimizer(),
            accuracy=ng.Accuracy_Categorical() if loss is None else None,
        )
        made.finalize()
    return made


@pytest.fixture(params=NEW)
def unknown(request, monkeypatch):
    """(what, name, a function that makes a model with it)."""
    table, name, entry = NEW[request.param]
    monkeypatch.setitem(table, name, entry)
    return request.param, name, lambda backend: model(backend, **{request.param: entry.make})


def test_the_cpu_refuses_a_name_without_kernel(unknown):
    what, name, make = unknown
    with pytest.raises(CannotFuse) as caught:
        fused.engine(make("numba"))
    assert str(caught.value) == f"the CPU's fused step has no kernel for the {what} {name!r}"


def test_tiles_refuse_a_name_without_operation(unknown):
    """An optimizer is the model's own object there, and is not known by name."""
    what, name, make = unknown
    made = make("numpy")
    if what == "optimizer":
        TiledSteps(made, make_plan(made))
        return
    with pytest.raises(CannotFuse, match=f"tiles of rows has no kernel for the {what} '{name}'"):
        TiledSteps(made, make_plan(made))


@pytest.mark.parametrize("widths", [(2, 4, 2), (2, 4, 4, 2)], ids=["narrow", "tiles"])
def test_the_cuda_build_refuses_a_name_without_kernel(nvrtc, unknown, widths):
    _, name, make = unknown
    plan = make_plan(make("numpy"))
    if len(widths) == 4:
        first = plan.stages[0]
        middle = fused.Stage(4, 4, first.activation)
        plan = fused.Plan(
            plan.dtype, (first, middle, plan.stages[-1]), plan.loss, plan.optimizer, plan.accuracy
        )
    targets = LABELS if plan.classes else NUMBERS
    definitions = choose(plan, targets, False, 300, DEVICE).definitions
    with pytest.raises(Exception, match=f'identifier "{name.upper()}" is undefined'):
        build(nvrtc, "fused", "float", "sm_90", *definitions)


@pytest.mark.parametrize(
    ("definition", "value", "message"),
    [
        ("ACTIVATIONS", "LINEAR+99,LINEAR", "an activation that is not written here"),
        ("LOSS", "SQUARED_ERROR+99", "a loss that is not written here"),
        ("OPTIMIZER", "ADAM+99", "an optimizer that is not written here"),
    ],
)
def test_a_name_of_the_cuda_build_without_arithmetic_does_not_compile(
    nvrtc, definition, value, message
):
    """One that was added to the enumeration, and forgotten where it is computed."""
    definitions = dict(choose(make_plan(model("numpy")), LABELS, False, 300, DEVICE).definitions)
    definitions[definition] = value
    with pytest.raises(Exception, match=message):
        build(nvrtc, "fused", "float", "sm_90", *definitions.items())


def test_a_gradient_that_needs_inputs_is_refused(monkeypatch):
    entry = vocabulary.Activation(Activation_Swish, from_output=False)
    monkeypatch.setitem(vocabulary.ACTIVATIONS, "swish", entry)
    with pytest.raises(CannotFuse, match="the gradient of Activation_Swish needs its inputs"):
        make_plan(model("numba", activation=Activation_Swish))


def test_every_name_has_its_kernels():
    assert set(pointers.ACTIVATIONS) == set(vocabulary.ACTIVATIONS)
    assert set(pointers.LOSSES) == {*vocabulary.LOSSES, "softmax_cross_entropy_soft"}
    assert set(pointers.UPDATES) == set(vocabulary.OPTIMIZERS)
    text = cuda_source.source("fused")
    enumerations = [
        {name.strip().lower() for name in names.split(",")}
        for names in re.findall(r"enum \{ ([A-Z_, ]+) \};", text)
    ]
    for table in ("ACTIVATIONS", "LOSSES", "OPTIMIZERS", "ACCURACIES"):
        assert set(getattr(vocabulary, table)) in enumerations, table


def test_a_name_of_the_tables_is_numbered_once():
    tree = ast.parse(Path(tables.__file__).read_text())
    names = [
        node.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    ]
    assert len(names) > 80
    assert len(names) == len(set(names))
    for count in (name for name in names if name.endswith("_FIELDS")):
        assert getattr(tables, count) > 2
