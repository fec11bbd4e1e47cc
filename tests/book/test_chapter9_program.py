"""The book's chapter 9 program runs with only its imports changed and prints the book's numbers.

The program is the full listing at the end of the notes, class definitions replaced by an
import. It runs as a reader would run it: in a process of its own, with the backend chosen from
outside. The expected numbers were printed by the book's own classes with the `nnfs` package
0.5.1.
"""

from __future__ import annotations

import re

import numpy as np
import pytest
from book_runs import run_alone

PROGRAM = """
import numpy as np
import nnfs_gpu as nnfs
from nnfs_gpu.datasets import spiral_data
from nnfs_gpu import (
    Activation_ReLU, Activation_Softmax_Loss_CategoricalCrossentropy, Layer_Dense
)

nnfs.init()

# Create dataset
X, y = spiral_data(samples=100, classes=3)

# Create Dense layer with 2 input features and 3 output values
dense1 = Layer_Dense(2, 3)

# Create ReLU activation (to be used with Dense layer):
activation1 = Activation_ReLU()

# Create second Dense layer with 3 input features (as we take output
# of previous layer here) and 3 output values (output values)
dense2 = Layer_Dense(3, 3)

# Create Softmax classifier's combined loss and activation
loss_activation = Activation_Softmax_Loss_CategoricalCrossentropy()

# Perform a forward pass of our training data through this layer
dense1.forward(X)

# Perform a forward pass through activation function
# takes the output of first dense layer here
activation1.forward(dense1.output)

# Perform a forward pass through second Dense layer
# takes outputs of activation function of first layer as inputs
dense2.forward(activation1.output)

# Perform a forward pass through the activation/loss function
# takes the output of second dense layer here and returns loss
loss = loss_activation.forward(dense2.output, y)

# Let's see output of the first few samples:
print(loss_activation.output[:5])

# Print loss value
print('loss:', loss)

# Calculate accuracy from output of activation2 and targets
# calculate values along first axis
predictions = np.argmax(loss_activation.output, axis=1)
if len(y.shape) == 2:
    y = np.argmax(y, axis=1)
accuracy = np.mean(predictions==y)

# Print accuracy
print('acc:', accuracy)

# Backward pass
loss_activation.backward(loss_activation.output, y)
dense2.backward(loss_activation.dinputs)
activation1.backward(dense2.dinputs)
dense1.backward(activation1.dinputs)

# Print gradients
print(dense1.dweights)
print(dense1.dbiases)
print(dense2.dweights)
print(dense2.dbiases)
"""

OUTPUT = [
    [0.33333334, 0.33333334, 0.33333334],
    [0.3333332, 0.3333332, 0.33333364],
    [0.3333329, 0.33333293, 0.3333342],
    [0.3333326, 0.33333263, 0.33333477],
    [0.33333233, 0.3333324, 0.33333528],
]
GRADIENTS = {  # name: (numbers, relative tolerance)
    "dense1.dweights": (
        [
            [1.5766357e-04, 7.8368583e-05, 4.7324400e-05],
            [1.8161038e-04, 1.1045573e-05, -3.3096312e-05],
        ],
        1e-6,
    ),
    # In float64: -3.60553678e-04, 9.66122138e-05, -1.03671500e-04. The book adds row after row.
    "dense1.dbiases": ([[-3.60553473e-04, 9.66117223e-05, -1.03671395e-04]], 1e-5),
    "dense2.dweights": (
        [
            [5.44109462e-05, 1.07411419e-04, -1.61822361e-04],
            [-4.07913431e-05, -7.16780924e-05, 1.12469446e-04],
            [-5.30112993e-05, 8.58172934e-05, -3.28059905e-05],
        ],
        1e-5,  # sums of 300 terms that cancel to a tenth
    ),
    # 300 terms of 1e-3 that cancel to 1e-5, each rounded to 1e-10. In float64: -1.0652e-05,
    # -9.4449e-06, 2.0097e-05: two digits of the book's are left, in another order more.
    "dense2.dbiases": ([[-1.0729e-05, -9.4611e-06, 2.0028e-05]], 1e-2),
}
NUMBER = re.compile(r"[-+]?\d+\.?\d*(?:e[-+]?\d+)?")


@pytest.fixture(scope="module")
def printed():
    """Lines printed on each backend, run once: {backend name: text}."""
    runs = {}

    def run(name):
        if name not in runs:
            runs[name] = run_alone(PROGRAM, name)
        return runs[name]

    return run


def numbers(text):
    return [float(number) for number in NUMBER.findall(text)]


def split(text):
    """(probabilities, loss, accuracy, gradients) as printed."""
    output, rest = text.split("loss:")
    loss, rest = rest.split("acc:")
    accuracy, gradients = rest.split("\n", 1)
    return numbers(output), float(loss), float(accuracy), numbers(gradients)


def test_forward_numbers(printed, backend_name):
    output, loss, accuracy, _ = split(printed(backend_name))
    # Two units of the seventh digit: one rounding of exp and one of the division.
    np.testing.assert_allclose(np.reshape(output, (5, 3)), OUTPUT, rtol=0, atol=6e-8)
    assert loss == pytest.approx(1.0986104, abs=2e-7)
    assert accuracy == 0.34


def test_forward_prints_as_in_the_book(printed, backend_name):
    """No wrapper types show: `loss: 1.0986104`, `acc: 0.34`."""
    lines = printed(backend_name).splitlines()
    assert re.fullmatch(r"loss: 1\.09861\d*", lines[5])
    assert lines[6] == "acc: 0.34"
    assert len(lines) == 5 + 2 + 2 + 1 + 3 + 1


def test_gradients(printed, backend_name):
    _, _, _, gradients = split(printed(backend_name))
    assert len(gradients) == 6 + 3 + 9 + 3
    for name, (expected, tolerance) in GRADIENTS.items():
        count = np.size(expected)
        found, gradients = gradients[:count], gradients[count:]
        np.testing.assert_allclose(
            np.reshape(found, np.shape(expected)), expected, rtol=tolerance, atol=0, err_msg=name
        )


def test_nothing_of_numpy_is_patched(backend_name):
    """Unlike the package that the book imports (REFERENCE: `nnfs.init` patches np.dot)."""
    program = (
        "import numpy as np\n"
        "names = [n for n in dir(np) if callable(getattr(np, n, None))]\n"
        "before = {n: getattr(np, n) for n in names}\n"
        "draw = np.random.randn\n" + PROGRAM + "\n"
        "assert all(getattr(np, n) is before[n] for n in names)\n"
        "assert np.random.randn == draw\n"
        "assert isinstance(np.random.randn(), float)\n"
        "assert np.zeros(1).dtype == np.float64\n"
    )
    run_alone(program, backend_name)
