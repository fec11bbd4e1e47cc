"""The plan of a network: what a fused training step needs to know, and nothing more.

`make_plan(model)` reads a finalized `Model` and says which stages it has, one a dense layer
with the activation and the dropout behind it, which loss ends it and which optimizer moves
it. A plan holds structure: two models with equal plans run the same code, so a plan can be
the key of a cache. What may change from one step to the next (learning rates, factors of
L1 and L2, the share that dropout keeps, a precision) is in the plan as it was when the plan was
made, to be shown; engines read it from the model's objects at each step.

What no engine can fuse raises `CannotFuse` with the reason. The objects behind the stages
are `stage_parts(model)`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..network.network import Network
from ..own.parts import name_of
from ..parameters import factors, penalties
from .stages import StageParts, check_unchanged, stage_parts
from .vocabulary import ACCURACIES, ACTIVATIONS, LOSSES, OPTIMIZERS, CannotFuse, name_in

MOST_PRODUCTS = 8  # of a narrow network


@dataclass(frozen=True)
class Stage:
    """A dense layer (I inputs, O outputs), its activation, and the dropout after it.

    activation  its name in `vocabulary.ACTIVATIONS`
    keep        share of the outputs that dropout keeps; 1.0 without dropout
    dropout     whether there is a dropout layer at all: one that keeps everything now
                still counts its calls, and may keep less at the next step
    constants   numbers of the activation, such as a slope
    """

    n_inputs: int
    n_outputs: int
    activation: str
    keep: float = 1.0
    weight_l1: float = 0.0
    weight_l2: float = 0.0
    bias_l1: float = 0.0
    bias_l2: float = 0.0
    dropout: bool = False
    constants: tuple[float, ...] = ()

    @property
    def parameters(self) -> int:
        """Weights and biases."""
        return (self.n_inputs + 1) * self.n_outputs


@dataclass(frozen=True)
class Plan:
    """A network as stages.

    dtype      "float32" or "float64"
    stages     first to last. The last activation is the one that the vocabulary has for the
               loss ("linear" before a softmax, which belongs to it); nothing is dropped after it
    loss, optimizer   their names in `vocabulary.LOSSES` and `vocabulary.OPTIMIZERS`
    accuracy   "argmax" of the scores equal to the class, "threshold": outputs above 1/2 equal
               to the targets, "close": targets nearer than the accuracy's precision, "none"
    """

    dtype: str
    stages: tuple[Stage, ...]
    loss: str
    optimizer: str
    accuracy: str

    @property
    def n_inputs(self) -> int:
        """Columns of the data."""
        return self.stages[0].n_inputs

    @property
    def n_outputs(self) -> int:
        """Columns of the last layer."""
        return self.stages[-1].n_outputs

    @property
    def itemsize(self) -> int:
        """Bytes of a number."""
        return 4 if self.dtype == "float32" else 8

    @property
    def parameters(self) -> int:
        """Weights and biases of all stages."""
        return sum(stage.parameters for stage in self.stages)

    @property
    def classes(self) -> bool:
        """Whether a sample belongs to one class, and so has one loss and one answer; else it has
        one of each for every output, and the loss is their mean.
        """
        return LOSSES[self.loss].classes

    @property
    def answers(self) -> int:
        """What is compared of a sample."""
        return 1 if self.classes else self.n_outputs

    @property
    def name(self) -> str:
        """The widths, such as 2-64-3."""
        return "-".join(str(n) for n in (self.n_inputs, *(s.n_outputs for s in self.stages)))

    @property
    def narrow(self) -> tuple[int, int] | None:
        """(inputs, outputs) of a network with one hidden layer between few of both, whose gradients
        follow from masked sums (kernels/fused_cpu/narrow.py); None for others.

        A softmax sees differences of scores only, so it has one output less. By count: a unit
        costs an addition for each product of an input (or 1) and an output, the other way three
        multiply-adds for each output and two for each input, with as many loads.
        """
        first = self.stages[0]
        if len(self.stages) != 2 or not ACTIVATIONS[first.activation].narrow or first.dropout:
            return None
        outputs = self.n_outputs - self.classes
        products = (self.n_inputs + 1) * outputs
        return (self.n_inputs, outputs) if 0 < products <= MOST_PRODUCTS else None

    def flops(self) -> int:
        """Operations of the matrix products of one sample, a multiplication and an addition
        counted as two: forward, gradient of the weights, and of all inputs but the data.
        """
        products = [2 * stage.n_inputs * stage.n_outputs for stage in self.stages]
        return 3 * sum(products) - products[0]

    def bytes_fused(self, soft_labels: bool = False) -> int:
        """Bytes of one sample that a fused step reads: its data and its target, once."""
        return self.n_inputs * self.itemsize + self._target_bytes(soft_labels)

    def bytes_layers(self, soft_labels: bool = False) -> int:
        """Bytes of one sample that the step layer by layer reads and writes, operation by
        operation: what a fused step keeps in cache or in registers.
        """
        numbers = 0
        for k, stage in enumerate(self.stages):
            i, o = stage.n_inputs, stage.n_outputs
            numbers += i + o + 2 * o  # product; bias added in place
            numbers += (i + o) + o  # gradients of weights and biases
            numbers += o + i  # gradient of the inputs
            last = k == len(self.stages) - 1
            if stage.activation != "linear" and not last:
                numbers += 2 * o + 3 * o
            if stage.dropout:
                numbers += 3 * o + 3 * o  # input, mask, output; gradient, mask, gradient
        o = self.n_outputs
        if self.classes:
            numbers += 2 * o + 1 + 2 * o + o  # softmax, loss, gradient, argmax
        else:
            numbers += 5 * o + 5 * o  # activation, loss, gradients, accuracy
        return numbers * self.itemsize + 3 * self._target_bytes(soft_labels)

    def _target_bytes(self, soft_labels: bool) -> int:
        if self.classes and not soft_labels:
            return 4
        return self.n_outputs * self.itemsize

    def describe(self) -> str:
        """The plan for people: stages, loss, optimizer, bytes and operations a sample."""
        lines = [f"{self.name}, {self.dtype}, {self.parameters:,} parameters"]
        for number, stage in enumerate(self.stages):
            line = f"  {number}  dense {stage.n_inputs} -> {stage.n_outputs}, {stage.activation}"
            line += "".join(f" {constant:g}" for constant in stage.constants)
            if stage.dropout:
                line += f", dropout keeps {stage.keep:g}"
            given = stage.weight_l1, stage.weight_l2, stage.bias_l1, stage.bias_l2
            line += "".join(f", {penalty}" for penalty in penalties(given))
            lines.append(line)
        lines.append(f"  loss {self.loss}, accuracy {self.accuracy}, optimizer {self.optimizer}")
        fused, apart, flops = self.bytes_fused(), self.bytes_layers(), self.flops()
        lines.append(
            f"  a sample: {flops:,} operations; {fused:,} bytes fused, "
            f"{apart:,} layer by layer ({apart / fused:.0f} times)"
        )
        return "\n".join(lines)


METHODS = {"loss": ("forward", "backward", "calculate"), "optimizer": ("update_params", "_update")}


def make_plan(model: Network) -> Plan:
    """The plan of a finalized model with a loss and an optimizer.

    Classes are compared exactly: a subclass may compute something else. Raises CannotFuse
    with the reason where the network does not fit.
    """
    check_unchanged(model, "the model", "forward", "backward")
    loss = _known(LOSSES, model.loss, "loss")
    parts = stage_parts(model)
    if any(part.dense.backend.precise_dot for part in parts):
        raise CannotFuse(
            "the backend sums matrix products in float64 (precise_dot, which init() sets)"
        )
    output, last_activation = LOSSES[loss].output, LOSSES[loss].activation
    if type(model.layers[-1]) is not output:
        raise CannotFuse(
            f"{type(model.loss).__name__} is fused after {output.__name__}, the last layer is "
            f"{type(model.layers[-1]).__name__}"
        )
    if any(part.dropout is not None and part.dropout.backend.book_random for part in parts):
        raise CannotFuse(
            "dropout masks come from NumPy's global stream (book_random, which init() sets)"
        )
    stages = tuple(_stage(part, last_activation if part is parts[-1] else None) for part in parts)
    return Plan(
        dtype=model.backend.dtype.name,
        stages=stages,
        loss=loss,
        optimizer=_known(OPTIMIZERS, model.optimizer, "optimizer"),
        accuracy=_accuracy(model.accuracy, loss),
    )


def _known(table: dict[str, Any], thing: Any, what: str) -> str:
    name = name_in(table, thing)
    if name is None:
        raise CannotFuse(f"the {what} is {name_of(thing)}, which no fused step knows")
    check_unchanged(thing, f"the {what}", *METHODS[what])
    return name


def _stage(part: StageParts, forced: str | None) -> Stage:
    dense = part.dense
    activation = forced or _activation(part.activation)
    weight_l1, weight_l2, bias_l1, bias_l2 = map(float, factors(dense))
    return Stage(
        n_inputs=dense.n_inputs,
        n_outputs=dense.n_neurons,
        activation=activation,
        keep=1.0 if part.dropout is None else float(part.dropout.rate),
        weight_l1=weight_l1,
        weight_l2=weight_l2,
        bias_l1=bias_l1,
        bias_l2=bias_l2,
        dropout=part.dropout is not None,
        constants=ACTIVATIONS[activation].constants(part.activation),
    )


def _activation(activation: Any) -> str:
    name = "linear" if activation is None else str(name_in(ACTIVATIONS, activation))
    if not ACTIVATIONS[name].from_output:
        raise CannotFuse(
            f"the gradient of {name_of(activation)} needs its inputs, fused steps keep outputs"
        )
    return name


def _accuracy(wanted: Any, loss: str) -> str:
    """The name of the comparison, where it is the one that fits the loss."""
    if wanted is None:
        return "none"
    found = [name for name, known in ACCURACIES.items() if known.make is type(wanted)]
    if found:
        check_unchanged(wanted, "the accuracy", "compare", "calculate")
    binary = bool(getattr(wanted, "binary", False))
    for name in found:
        if loss in ACCURACIES[name].losses and ACCURACIES[name].binary == binary:
            return name
    kind = name_of(wanted) + ("(binary=True)" if found and binary else "")
    raise CannotFuse(f"the accuracy {kind} is not fused with {loss}")
