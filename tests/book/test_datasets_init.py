"""`init` sets this library's own state, patches nothing, and changes nothing where it fails."""

import numpy as np
import pytest

from nnfs_gpu import (
    Layer_Dense,
    get_backend,
    init,
    spiral_data,
    use_backend,
)

# ---- init ----


def test_init_sets_this_librarys_own_state(backend_name):
    use_backend(backend_name, dtype="float64", precise_dot=False, book_random=False)
    init()
    backend = get_backend()
    assert backend.name == backend_name
    assert (backend.dtype, backend.precise_dot, backend.book_random) == ("float32", True, True)
    assert np.random.rand() == np.random.RandomState(0).rand()
    init(False, "float64", 7)
    backend = get_backend()
    assert (backend.dtype, backend.precise_dot, backend.book_random) == ("float64", False, True)
    assert np.random.rand() == np.random.RandomState(7).rand()
    init(dot_precision_workaround=True, default_dtype="float32", random_seed=3)
    assert (get_backend().precise_dot, get_backend().dtype) == (True, "float32")
    assert np.random.rand() == np.random.RandomState(3).rand()


def test_init_without_a_seed_leaves_the_stream(backend_name):
    use_backend(backend_name)
    np.random.seed(5)
    np.random.rand()
    init(random_seed=None)
    expected = np.random.RandomState(5)
    expected.rand()
    assert np.random.rand() == expected.rand()


def test_init_does_not_touch_what_exists(backend_name):
    use_backend(backend_name, dtype="float64", precise_dot=False, book_random=False)
    layer, before = Layer_Dense(2, 3), get_backend()
    init()
    assert layer.backend is before
    assert layer.weights.dtype == np.float64
    assert before.precise_dot is False


def test_numpy_is_not_patched(backend_name):
    use_backend(backend_name)
    names = ("dot", "zeros", "eye", "ones", "array", "asarray", "sum", "exp")
    draws = ("randn", "rand", "seed", "binomial", "normal")
    functions = [getattr(np, name) for name in names]
    functions += [getattr(np.random, name) for name in draws]
    init()
    spiral_data(10, 3)
    Layer_Dense(2, 3).forward([[1, 2]])
    now = [getattr(np, name) for name in names] + [getattr(np.random, name) for name in draws]
    assert all(a is b for a, b in zip(functions, now, strict=True))
    assert np.zeros(2).dtype == np.eye(2).dtype == np.random.randn(2).dtype == np.float64
    assert isinstance(np.random.randn(), float)  # the package's patch crashes here
    halves = np.full((1, 3), 0.1, np.float32)
    assert np.dot(halves, halves.T).dtype == np.float32


def test_precise_products_round_once(backend_name):
    """Sums that float32 loses: 1e8 + 1 - 1e8 is 1 in float64 and 0 in float32."""
    use_backend(backend_name)
    init()
    layer = Layer_Dense(3, 1)
    layer.weights = [[1.0], [1.0], [1.0]]
    output = layer.forward([[1e8, 1.0, -1e8]])
    assert get_backend().to_numpy(output).tolist() == [[1.0]]
    assert output.dtype == np.float32


# ---- errors ----


@pytest.mark.parametrize("dtype", ["float16", "int32", "complex64"])
def test_init_with_another_dtype_changes_nothing(backend_name, dtype):
    before = use_backend(backend_name, dtype="float64")._new
    np.random.seed(1)
    with pytest.raises(ValueError, match=f"dtype: got {dtype}, expected float32 or float64"):
        init(default_dtype=dtype)
    assert get_backend() is before
    assert np.random.rand() == np.random.RandomState(1).rand()


@pytest.mark.parametrize("dtype", ["float", "double", ">f8" if np.little_endian else "<f8"])
def test_names_that_numpy_has_for_the_dtypes(dtype):
    use_backend("numpy")
    if dtype[0] in "<>":  # the other byte order is no dtype of ours
        with pytest.raises(ValueError, match=r"dtype: got .*, expected float32 or float64"):
            init(default_dtype=dtype)
    else:
        init(default_dtype=dtype)
        assert get_backend().dtype == np.float64


@pytest.mark.parametrize("dtype", ["single precision", "f9"])
def test_init_with_a_name_that_is_no_dtype(dtype):
    use_backend("numpy")
    with pytest.raises(ValueError, match=r"dtype: got .*, expected float32 or float64"):
        init(default_dtype=dtype)


@pytest.mark.parametrize("seed", [-1, 2**32, "zero"])
def test_init_with_a_bad_seed_changes_nothing(seed):
    before = use_backend("numpy", dtype="float64")._new
    with pytest.raises((TypeError, ValueError)):
        init(random_seed=seed)
    assert get_backend() is before
