"""What the tests of weights share: the engines that take them, whole numbers as weights, files."""

import numpy as np
from model_programs import X, Y, parameters

ENGINES = ["layers", "auto"]
GIVEN = {"print_every": None}
COPIES = np.random.RandomState(3).randint(0, 4, len(X))  # of each sample
TOLERANCE = {"float32": 2e-5, "float64": 1e-12}


def repeated(*arrays, copies=COPIES):
    """Each sample as often as its weight says."""
    return [np.repeat(a, copies, axis=0) for a in arrays]


def tolerance(backend):
    return TOLERANCE[backend.dtype.name]


def assert_like(model, expected, rtol):
    """The same parameters; rtol 0: to the bit."""
    for a, b in zip(parameters(model), parameters(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol)


def memory_maps(folder):
    """Of X, Y and the weights COPIES / 2."""
    found = []
    for name, values in (("X", X), ("y", Y), ("w", COPIES * 0.5)):
        np.save(folder / f"{name}.npy", values)
        found.append(np.load(folder / f"{name}.npy", mmap_mode="r"))
    return found
