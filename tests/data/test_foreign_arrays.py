"""Arrays and tables of other libraries train, or their refusal says how they do.

PyTorch, pandas and polars are tested where they are installed; stand-ins of their manners
(`foreign_arrays.py`) are tested everywhere.
"""

import copy

import numpy as np
import pytest
import scipy.sparse
from foreign_arrays import DataLoader, DLPackOnly, Tensor, TensorDataset
from remedies_followed import follow, network, regression

import nnfs_gpu as ng

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 2)).astype(np.float32)
Y = np.arange(40) % 3
QUIET = {"print_every": None}


@pytest.fixture(autouse=True)
def _backend(backend_name):
    ng.use_backend(backend_name)


def curve(*data, make=network, **arguments):
    """The losses of two epochs: those of equal data are equal to the last bit."""
    np.random.seed(0)
    return make().train(*data, epochs=2, **QUIET | arguments)["loss"]


def torch_tensor(values, **arguments):
    return pytest.importorskip("torch").tensor(values, **arguments)


TENSORS = {"stand-in": Tensor, "torch": torch_tensor}


# ---- tensors ----
@pytest.mark.parametrize("tensor", TENSORS.values(), ids=TENSORS)
def test_tensors_train_as_arrays(tensor):
    expected = curve(X, Y)
    assert curve(tensor(X), tensor(Y)) == expected
    wants = tensor(X, requires_grad=True)
    with pytest.raises(RuntimeError, match=r"^train: X: got a .* requires gradients") as refused:
        network().train(wants, Y, **QUIET)
    assert curve(follow(str(refused.value), X=wants)["X"], tensor(Y)) == expected
    assert curve(tensor(X), tensor(np.eye(3)[Y])) == curve(X, np.eye(3)[Y])
    values = X[:, :1] * 2
    assert curve(tensor(X), tensor(values), make=regression) == curve(X, values, make=regression)


@pytest.mark.parametrize("tensor", TENSORS.values(), ids=TENSORS)
def test_blocks_of_tensors(tensor):
    for y, make in ((Y, network), (np.eye(3)[Y], network), (X[:, :1] * 2, regression)):
        pairs = [(X[i : i + 16], y[i : i + 16]) for i in range(0, 40, 16)]
        tensors = [(tensor(a), tensor(b)) for a, b in pairs]
        found = curve(ng.Blocks(tensors), make=make, validation_data=ng.Blocks(tensors))
        assert found == curve(ng.Blocks(pairs), make=make, validation_data=ng.Blocks(pairs))
        np.random.seed(0)
        model = make()
        model.train(X, y, **QUIET)
        found = model.evaluate(ng.Blocks(tensors), verbose=False)
        assert found == model.evaluate(ng.Blocks(pairs), verbose=False)


@pytest.mark.parametrize("tensor", TENSORS.values(), ids=TENSORS)
def test_losses_and_accuracies_of_tensors(tensor):
    p = np.array([[0.7, 0.1, 0.2], [0.1, 0.5, 0.4], [0.02, 0.9, 0.08]])
    for y in (np.array([0, 1, 2]), np.eye(3)[[0, 1, 2]]):
        loss, accuracy = ng.Loss_CategoricalCrossentropy(), ng.Accuracy_Categorical()
        assert loss.calculate(tensor(p), tensor(y)) == loss.calculate(p, y)
        assert float(accuracy.calculate(np.array([0, 1, 1]), tensor(y))) == pytest.approx(2 / 3)
        assert float(accuracy.calculate(tensor([0, 1, 1]), tensor(y))) == pytest.approx(2 / 3)
    values, near = np.array([[1.0], [2.0]]), np.array([[1.0], [3.0]])
    accuracy = ng.Accuracy_Regression()
    accuracy.init(tensor(values))
    assert float(accuracy.calculate(near, tensor(values))) == 0.5
    binary = ng.Accuracy_Categorical(binary=True)
    assert float(binary.calculate(np.array([[0], [1]]), tensor([0, 0]))) == 0.5


@pytest.mark.parametrize("tensor", TENSORS.values(), ids=TENSORS)
def test_remedies_for_tensors(tensor):
    pictures = tensor(X.reshape(40, 2, 1))
    for x, y in (
        (tensor(X), tensor(Y * 1.0)),
        (tensor(X), tensor(Y + 1)),
        (tensor(X), tensor(Y.reshape(-1, 1))),
        (pictures, tensor(Y)),
    ):
        with pytest.raises((TypeError, ValueError), match=r"^train: .*got .*expected") as refused:
            network().train(x, y, **QUIET)
        found = follow(str(refused.value), X=x, y=y)
        network().train(found["X"], found["y"], **QUIET)


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta")
def test_tensors_that_numpy_cannot_read():
    torch = pytest.importorskip("torch")
    for x, remedy in (
        (torch.tensor(X).to_sparse(), "X.to_dense()"),
        (torch.tensor(X).to_sparse_csr(), "X.to_dense()"),
        (torch.tensor(X).bfloat16(), "X.float()"),
        (torch.tensor(X) * 1j, "X.real"),
    ):
        with pytest.raises(TypeError, match=r"^train: X: .*got .*use ") as refused:
            network().train(x, Y, **QUIET)
        assert f"use {remedy}" in str(refused.value)
        network().train(follow(str(refused.value), X=x)["X"], Y, **QUIET)


# ---- PyTorch's loaders ----
def loaders():
    """(dataset, loader) as stand-ins, and PyTorch's own where it is installed."""
    data = TensorDataset(Tensor(X), Tensor(Y))
    yield data, DataLoader(data, batch_size=16)
    try:
        import torch
        from torch.utils import data as utils
    except ImportError:
        return
    data = utils.TensorDataset(torch.tensor(X), torch.tensor(Y))
    yield data, utils.DataLoader(data, batch_size=16)


def test_a_loader_belongs_in_blocks():
    for _, loader in loaders():
        expected = curve(ng.Blocks([(X[i : i + 16], Y[i : i + 16]) for i in range(0, 40, 16)]))
        model = network()
        with pytest.raises(TypeError, match=r"^train: got a DataLoader.*Blocks") as refused:
            model.train(loader, **QUIET)
        assert curve(follow(str(refused.value), X=loader)["X"]) == expected
        with pytest.raises(TypeError, match=r"^validation_data: got a DataLoader") as refused:
            model.train(X, Y, validation_data=loader, **QUIET)
        given = follow(str(refused.value), validation_data=loader)["validation_data"]
        assert model.train(X, Y, validation_data=given, **QUIET)["val_loss"]
        with pytest.raises(TypeError, match=r"^evaluate: got a DataLoader") as refused:
            model.evaluate(loader)
        given = follow(str(refused.value), X_val=loader)["X_val"]
        assert model.evaluate(given, verbose=False) == model.evaluate(X, Y, verbose=False)


def test_a_dataset_has_single_samples():
    for dataset, _ in loaders():
        with pytest.raises(TypeError, match=r"got a TensorDataset.*single samples") as refused:
            network().train(dataset, **QUIET)
        loader, rows = str(refused.value).split(", or ")
        found = follow(rows.replace("X, y =", "use X, y ="), X=dataset)
        assert curve(found["X"], found["y"]) == curve(X, Y)
        if "torch" in type(dataset).__module__:
            given = follow(loader, X=dataset)["X"]
            assert curve(given) == pytest.approx(curve(X, Y), rel=1e-5)


def test_a_dataset_that_can_only_be_read_in_order():
    utils = pytest.importorskip("torch.utils.data")

    class Lines(utils.IterableDataset):
        def __iter__(self):
            return iter(zip(X, Y, strict=True))

    with pytest.raises(TypeError, match=r"got a Lines.*Blocks") as refused:
        network().train(Lines(), **QUIET)
    given = follow(str(refused.value), X=Lines())["X"]
    assert curve(given) == pytest.approx(curve(X, Y), rel=1e-5)


# ---- DLPack, sparse matrices ----
def test_what_speaks_dlpack_only():
    assert curve(DLPackOnly(X), DLPackOnly(Y)) == curve(X, Y)
    assert curve(DLPackOnly(X), DLPackOnly(np.eye(3)[Y])) == curve(X, np.eye(3)[Y])
    pairs = [(X[:16], Y[:16]), (X[16:], Y[16:])]
    blocks = [(DLPackOnly(a), DLPackOnly(b)) for a, b in pairs]
    assert curve(ng.Blocks(blocks)) == curve(ng.Blocks(pairs))
    model = network()
    np.testing.assert_array_equal(np.asarray(model.predict(DLPackOnly(X))), model.predict(X))
    model.layers[0].weights = DLPackOnly(np.ones((2, 5)))
    assert float(ng.Accuracy_Categorical().calculate(DLPackOnly(Y), DLPackOnly(Y))) == 1


@pytest.mark.parametrize("kind", ["csr", "csc", "coo"])
@pytest.mark.parametrize("make", ["array", "matrix"])
def test_sparse_matrices_say_how(kind, make):
    x = getattr(scipy.sparse, f"{kind}_{make}")(X)
    hot = getattr(scipy.sparse, f"{kind}_{make}")(np.eye(3)[Y])
    for given in ((x, Y), (X, hot)):
        with pytest.raises(TypeError, match=r"^train: [Xy]: got the sparse .*toarray") as refused:
            network().train(*given, **QUIET)
        found = follow(
            str(refused.value), **{"X" if given[0] is x else "y": [x, hot][given[0] is X]}
        )
        network().train(*(found["X"], Y) if given[0] is x else (X, found["y"]), **QUIET)
    with pytest.raises(TypeError, match=r"the block at row 0: X: got the sparse .*X.toarray\(\)"):
        network().train(ng.Blocks([(x, Y)]), **QUIET)


# ---- tables ----
def test_pandas():
    pd = pytest.importorskip("pandas", reason="pandas is not installed")
    table = pd.DataFrame(X.astype(np.float64), columns=["age", "height"])
    expected = curve(X, Y)
    for x in (table, table.astype("Float64"), table.astype("float64").set_index("age", drop=False)):
        for dtype in ("int64", "Int64", "UInt8", "category"):
            assert curve(x, pd.Series(Y, dtype=dtype)) == expected
        assert curve(x, pd.array(Y, dtype="Int64")) == expected
    assert curve(table.assign(height=Y > 1), Y) == curve(np.c_[X[:, 0], Y > 1], Y)
    nullable = table.assign(height=pd.array(Y > 1, dtype="boolean"))
    assert curve(nullable, Y) == curve(np.c_[X[:, 0], Y > 1], Y)
    hot = pd.get_dummies(pd.Series(Y))
    assert curve(table, hot) == curve(X, np.eye(3)[Y])
    source = ng.Blocks([(table, pd.Series(Y))])
    assert curve(source) == curve(ng.Blocks([(X, Y)]))
    samples = table.rename(columns={"age": "samples"})  # a name that sources have, too
    assert curve(samples, Y) == expected


def test_pandas_remedies():
    pd = pytest.importorskip("pandas", reason="pandas is not installed")
    table, missing = pd.DataFrame(X, columns=["age", "height"]), np.arange(40) == 7
    words = np.array(["ant", "bee", "cat"])[Y]
    day = pd.Timestamp("2024-02-03")

    def gap(values, dtype):
        return pd.Series(values, dtype=dtype).mask(missing)

    for x, message in (
        (table.assign(height=words), "X, column 'height': .*real numbers expected, got dtype"),
        (table.assign(height=words.astype(object)), "X, column 'height': .*real numbers"),
        (table.assign(age=pd.Categorical(words)), "X, column 'age': got the categories"),
        (table.assign(age=day), "X, column 'age': .*got dtype datetime64"),
        (table.assign(age=gap(X[:, 0], "Float64")), "X, column 'age': got 1 missing .* row 7"),
        (table.assign(height=gap(Y, "Int64")), "X, column 'height': got 1 missing .* row 7"),
        (table.assign(age=gap(Y > 1, "boolean")), "X, column 'age': got 1 missing .* row 7"),
    ):
        with pytest.raises(TypeError, match=f"^train: {message}") as refused:
            network().train(x, Y, **QUIET)
        found = follow(str(refused.value), X=copy.deepcopy(x))["X"]
        network().train(found, Y, **QUIET)
    for y, message in (
        (pd.Series(words), r"labels: got dtype .*np.unique"),
        (pd.Series(words, dtype="category"), r"y: got the categories .*y.cat.codes"),
        (pd.Series(words).mask(missing), "1 of them missing, the first in row 7"),
        (pd.Series(Y, dtype="Int64").mask(missing), "y: got 1 missing value"),
        (pd.Series(Y * 1.0).mask(missing), "1 of them missing, the first in row 7"),
        (pd.Series(Y + 1), "count from 1"),
        (pd.DataFrame({"y": Y}), r"got shape \(40, 1\)"),
    ):
        with pytest.raises((TypeError, ValueError), match=message) as refused:
            network().train(X, y, **QUIET)
        found = follow(str(refused.value), X=X, y=y)
        network().train(found["X"], found["y"], **QUIET)


def test_polars():
    pl = pytest.importorskip("polars", reason="polars is not installed")
    table = pl.DataFrame({"age": X[:, 0], "height": X[:, 1]})
    assert curve(table, pl.Series(Y)) == curve(X, Y)
    words = np.array(["ant", "bee", "cat"])[Y]
    gaps = pl.Series([None, *Y[1:].tolist()])
    for x, message in (
        (table.with_columns(height=pl.Series(words)), "X, column 'height': .*real numbers"),
        (table.with_columns(height=gaps), "X, column 'height': got 1 missing .* row 0"),
        (table.with_columns(age=pl.date(2024, 2, 3)), "X, column 'age': .*real numbers"),
    ):
        with pytest.raises(TypeError, match=f"^train: {message}") as refused:
            network().train(x, Y, **QUIET)
        network().train(follow(str(refused.value), X=x)["X"], Y, **QUIET)
    for y in (pl.Series(words), gaps, pl.Series(Y * 1.0), pl.Series(Y + 1)):
        with pytest.raises((TypeError, ValueError), match=r"^train: .*got .*expected") as refused:
            network().train(X, y, **QUIET)
        found = follow(str(refused.value), X=X, y=y)
        network().train(found["X"], found["y"], **QUIET)
