"""A plan says what a network is; what no engine can fuse is refused with the reason.

Proves the plans of networks, their operations and bytes a sample against numbers counted by
hand, every refusal, and the choice of an engine.
"""

import networks
import pytest

import nnfs_gpu as ng
from nnfs_gpu import fused
from nnfs_gpu.fused import CannotFuse, Plan, Stage, make_plan


@pytest.fixture(autouse=True)
def backend():
    """Objects are made for numba in float32; nothing is computed."""
    with ng.use_backend("numba", dtype="float32", precise_dot=False, book_random=False) as chosen:
        yield chosen


def model_of(*layers, loss=None, optimizer=None, accuracy=None):
    return networks.model_of(
        *layers,
        loss=loss or ng.Loss_CategoricalCrossentropy(),
        optimizer=optimizer,
        accuracy=accuracy or ng.Accuracy_Categorical(),
    )


def spiral_model(**parts):
    return model_of(
        ng.Layer_Dense(2, 64),
        ng.Activation_ReLU(),
        ng.Layer_Dense(64, 3),
        ng.Activation_Softmax(),
        **parts,
    )


def test_plan_of_the_spiral():
    plan = make_plan(spiral_model())
    assert plan == Plan(
        dtype="float32",
        stages=(Stage(2, 64, "relu"), Stage(64, 3, "linear")),
        loss="softmax_cross_entropy",
        optimizer="adam",
        accuracy="argmax",
    )
    assert hash(plan) == hash(make_plan(spiral_model()))
    assert (plan.name, plan.parameters) == ("2-64-3", 387)
    assert (plan.n_inputs, plan.n_outputs, plan.itemsize) == (2, 3, 4)
    # 2 * (2 * 64 + 64 * 3) forward, as much for the weights, 2 * 64 * 3 back to the first layer
    assert plan.flops() == 1664
    assert plan.bytes_fused() == 2 * 4 + 4
    assert plan.bytes_fused(soft_labels=True) == 2 * 4 + 3 * 4
    assert plan.bytes_layers() > 2000


def test_plan_with_everything():
    with ng.use_backend("numba", dtype="float64"):
        model = model_of(
            ng.Layer_Dense(4, 8, 0.1, 0.2, 0.3, 0.4),
            ng.Activation_Sigmoid(),
            ng.Layer_Dropout(0.25),
            ng.Layer_Dense(8, 8),
            ng.Layer_Dense(8, 2),
            ng.Activation_Sigmoid(),
            loss=ng.Loss_BinaryCrossentropy(),
            optimizer=ng.Optimizer_SGD(momentum=0.5),
            accuracy=ng.Accuracy_Categorical(binary=True),
        )
    assert make_plan(model) == Plan(
        dtype="float64",
        stages=(
            Stage(4, 8, "sigmoid", 0.75, 0.1, 0.2, 0.3, 0.4, dropout=True),
            Stage(8, 8, "linear"),
            Stage(8, 2, "sigmoid"),
        ),
        loss="binary_cross_entropy",
        optimizer="momentum",
        accuracy="threshold",
    )
    parts = fused.stage_parts(model)
    assert [part.dense for part in parts] == [model.layers[0], model.layers[3], model.layers[4]]
    assert parts[0].dropout is model.layers[2]
    assert parts[1] == fused.StageParts(model.layers[3], None, None)


@pytest.mark.parametrize(
    ("loss", "name"),
    [(ng.Loss_MeanSquaredError, "squared_error"), (ng.Loss_MeanAbsoluteError, "absolute_error")],
)
def test_plan_of_a_regression(loss, name):
    model = model_of(
        ng.Layer_Dense(1, 8),
        ng.Activation_ReLU(),
        ng.Layer_Dense(8, 1),
        ng.Activation_Linear(),
        loss=loss(),
        optimizer=ng.Optimizer_RMSprop(),
        accuracy=ng.Accuracy_Regression(),
    )
    plan = make_plan(model)
    assert (plan.loss, plan.accuracy, plan.optimizer) == (name, "close", "rmsprop")
    assert plan.stages[-1].activation == "linear"


@pytest.mark.parametrize(
    ("optimizer", "name"),
    [
        (ng.Optimizer_SGD, "sgd"),
        (ng.Optimizer_Adagrad, "adagrad"),
        (ng.Optimizer_RMSprop, "rmsprop"),
        (ng.Optimizer_Adam, "adam"),
    ],
)
def test_optimizers(optimizer, name):
    assert make_plan(spiral_model(optimizer=optimizer())).optimizer == name


class OwnReLU(ng.Activation_ReLU):
    """Might compute anything."""


class OwnAdam(ng.Optimizer_Adam):
    """Might do anything."""


class OwnAccuracy(ng.Accuracy):
    """Might compare anything."""


def first_relu():
    return model_of(ng.Activation_ReLU(), ng.Layer_Dense(2, 3), ng.Activation_Softmax())


def with_middle(*middle):
    return lambda: model_of(
        ng.Layer_Dense(2, 4), *(make() for make in middle), ng.Layer_Dense(4, 3),
        ng.Activation_Softmax(),
    )  # fmt: skip


def squared(*end):
    return lambda: model_of(
        ng.Layer_Dense(2, 1),
        *(make() for make in end),
        loss=ng.Loss_MeanSquaredError(),
        accuracy=ng.Accuracy_Regression(),
    )


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (first_relu, "the first layer is Activation_ReLU, expected a Layer_Dense"),
        (with_middle(OwnReLU), "layer 1 is a OwnReLU, which no fused step knows"),
        (with_middle(ng.Activation_Softmax), "layer 1 is a softmax inside the network"),
        (
            with_middle(ng.Activation_ReLU, ng.Activation_Sigmoid),
            "layer 2 is a second activation of the same dense layer",
        ),
        (
            with_middle(lambda: ng.Layer_Dropout(0.1), ng.Activation_ReLU),
            "layer 2 is an activation after a dropout",
        ),
        (
            with_middle(lambda: ng.Layer_Dropout(0.1), lambda: ng.Layer_Dropout(0.1)),
            "layer 2 is a second dropout in a row",
        ),
        (
            squared(ng.Activation_Sigmoid),
            "Loss_MeanSquaredError is fused after Activation_Linear, the last layer is "
            "Activation_Sigmoid",
        ),
        (
            lambda: model_of(
                ng.Layer_Dense(2, 2),
                ng.Activation_ReLU(),
                ng.Activation_Softmax(),
            ),
            "layer 2 is a second activation of the same dense layer",
        ),
        (
            lambda: spiral_model(optimizer=OwnAdam()),
            "the optimizer is OwnAdam, which no fused step knows",
        ),
        (
            lambda: spiral_model(accuracy=OwnAccuracy()),
            "the accuracy OwnAccuracy is not fused with softmax_cross_entropy",
        ),
        (
            lambda: model_of(ng.Activation_Softmax()),
            "the first layer is Activation_Softmax, expected a Layer_Dense",
        ),
    ],
)
def test_refusals_say_why(make, reason):
    with pytest.raises(CannotFuse) as caught:
        make_plan(make())
    assert str(caught.value) == reason


def test_settings_of_init_are_refused():
    with ng.use_backend("numba", precise_dot=True), pytest.raises(CannotFuse, match="precise_dot"):
        make_plan(spiral_model())
    with ng.use_backend("numba", book_random=True):
        make_plan(spiral_model())  # no dropout: nothing is drawn
        with pytest.raises(CannotFuse, match="book_random"):
            make_plan(with_middle(lambda: ng.Layer_Dropout(0.1))())


def test_without_loss_or_optimizer():
    model = ng.Model()
    model.add(ng.Layer_Dense(2, 3))
    model.add(ng.Activation_Softmax())
    model.finalize()
    with pytest.raises(CannotFuse, match="the loss is NoneType"):
        make_plan(model)


def test_engine_of_each_backend():
    engine = fused.engine(spiral_model())
    assert type(engine).__module__ == "nnfs_gpu.fused.cpu.engine"
    assert engine.name == "fused"
    with ng.use_backend("numpy"), pytest.raises(CannotFuse, match="'numpy' has no fused step"):
        fused.engine(spiral_model())


def test_explain():
    text = fused.explain(spiral_model())
    assert "2-64-3, float32, 387 parameters" in text
    assert "a sample: 1,664 operations; 12 bytes fused" in text
    assert "the CPU's fused step: tiles of" in text
    assert "loss softmax_cross_entropy, accuracy argmax, optimizer adam" in text
    with ng.use_backend("numpy"):
        assert "layer by layer: the backend 'numpy' has no fused step" in fused.explain(
            spiral_model()
        )
    assert fused.explain(first_relu()).startswith("layer by layer: the first layer is")
