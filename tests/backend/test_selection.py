"""Which backend does the work: the default, its scope, "auto", and what is said when one fails.

Proves `get_backend`, `use_backend` and `available_backends`: the same settings give the same
object, blocks nest and end well whatever happens inside, and objects keep the backend they were
made with. What "auto" takes is proved by test_selection_auto.py, machines with half a GPU by
test_selection_gpu.py.
"""

import numpy as np
import pytest

import nnfs_gpu
import nnfs_gpu.backend as selection
from nnfs_gpu import (
    Accuracy_Categorical,
    Activation_ReLU,
    Activation_Softmax,
    Activation_Softmax_Loss_CategoricalCrossentropy,
    Layer_Dense,
    Layer_Input,
    Loss_CategoricalCrossentropy,
    Model,
    available_backends,
    get_backend,
    use_backend,
)

NAMES = ", ".join(("auto", *available_backends()))

# ---- get_backend ----


def test_the_same_settings_give_the_same_object(backend_name):
    one = get_backend(backend_name, dtype="float32", precise_dot=False, book_random=False)
    for dtype in ("float32", np.float32, np.dtype("float32"), "f4"):
        other = get_backend(backend_name, dtype=dtype, precise_dot=False, book_random=False)
        assert other is one
    for changed in ({"dtype": "float64"}, {"precise_dot": True}, {"book_random": True}):
        settings = {"dtype": "float32", "precise_dot": False, "book_random": False} | changed
        other = get_backend(backend_name, **settings)
        assert other is not one
        assert other is get_backend(backend_name, **settings)
        assert other.name == backend_name
        assert {key: getattr(other, key) for key in settings} == settings


def test_backends_differ_by_name():
    usable = [name for name, status in available_backends().items() if status.usable]
    made = [get_backend(name) for name in usable]
    assert [backend.name for backend in made] == usable
    assert len(set(map(id, made))) == len(usable) >= 2


def test_settings_left_out_are_those_of_the_default(backend_name):
    for settings in (
        {"dtype": np.dtype("float64"), "precise_dot": False, "book_random": False},
        {"dtype": np.dtype("float32"), "precise_dot": True, "book_random": False},
        {"dtype": np.dtype("float64"), "precise_dot": False, "book_random": True},
    ):
        with use_backend("numpy", **settings):
            made = get_backend(backend_name)
            assert {key: getattr(made, key) for key in settings} == settings
            one = get_backend(backend_name, dtype="float32", precise_dot=True)
            assert (one.dtype, one.precise_dot) == ("float32", True)
            assert one.book_random == settings["book_random"]
            assert get_backend(dtype="float64").name == "numpy"


def test_without_arguments_the_default(backend_name):
    with use_backend(backend_name, dtype="float64") as backend:
        assert get_backend() is backend
        assert get_backend(None) is backend


def test_asking_does_not_change_the_default():
    use_backend("numpy", dtype="float32")
    before = get_backend()
    get_backend("numba", dtype="float64")
    available_backends()
    assert get_backend() is before


def test_a_backend_given_comes_back(backend_name):
    backend = get_backend(backend_name, dtype="float64")
    assert get_backend(backend) is backend
    with use_backend(backend) as used:
        assert used is get_backend() is backend


@pytest.mark.parametrize("name", ["nunpy", "", "NumPy", "cuda", "auto "])
def test_unknown_names(name):
    use_backend("numpy")
    before = get_backend()
    for call in (get_backend, use_backend):
        with pytest.raises(ValueError, match=f"unknown backend '{name}': expected one of {NAMES}"):
            call(name)
    assert get_backend() is before


@pytest.mark.parametrize("what", [5, np.float32, ["numpy"], b"numpy", nnfs_gpu], ids=repr)
def test_what_is_neither_a_name_nor_a_backend(what):
    use_backend("numpy")
    for call in (get_backend, use_backend):
        with pytest.raises((TypeError, ValueError), match="backend"):
            call(what)


@pytest.mark.parametrize("dtype", ["float16", "int32", "complex128", bool, object])
def test_dtypes_that_are_none_of_ours(backend_name, dtype):
    use_backend("numpy")
    before = get_backend()
    for call in (get_backend, use_backend):
        with pytest.raises(ValueError, match=r"dtype: got .*, expected float32 or float64"):
            call(backend_name, dtype=dtype)
    assert get_backend() is before


def test_a_dtype_that_numpy_does_not_know(backend_name):
    with pytest.raises(ValueError, match=r"dtype: got .*, expected float32 or float64"):
        get_backend(backend_name, dtype="float31")


def test_unknown_settings():
    with pytest.raises(TypeError, match="precision"):
        get_backend("numpy", precision=64)
    with pytest.raises(TypeError, match="precision"):
        use_backend("numpy", precision=64)


# ---- use_backend ----


def test_a_block_ends_where_it_ends():
    use_backend("numpy", dtype="float32")
    outside = get_backend()
    with use_backend("numba", dtype="float64") as inside:
        assert get_backend() is inside
        assert (inside.name, inside.dtype) == ("numba", "float64")
    assert get_backend() is outside


def test_blocks_nest():
    use_backend("numpy", dtype="float32")
    seen = [get_backend()]
    with use_backend("numba"):
        seen.append(get_backend())
        with use_backend("numpy", dtype="float64"):
            seen.append(get_backend())
        seen.append(get_backend())
    seen.append(get_backend())
    described = [(backend.name, backend.dtype.name) for backend in seen]
    assert described == [
        ("numpy", "float32"),
        ("numba", "float32"),
        ("numpy", "float64"),
        ("numba", "float32"),
        ("numpy", "float32"),
    ]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, GeneratorExit])
def test_an_exception_ends_the_block_and_goes_on(error):
    use_backend("numpy", dtype="float32")
    before = get_backend()
    with pytest.raises(error), use_backend("numba"), use_backend("numpy", dtype="float64"):
        raise error
    assert get_backend() is before


def test_a_call_sets_the_default_for_good():
    use_backend("numpy", dtype="float64")
    assert (get_backend().name, get_backend().dtype) == ("numpy", "float64")
    use_backend("numba")
    assert (get_backend().name, get_backend().dtype) == ("numba", "float64")


def test_a_setter_inside_a_block_ends_with_it():
    use_backend("numpy", dtype="float32")
    before = get_backend()
    with use_backend("numba"):
        use_backend("numpy", dtype="float64")
    assert get_backend() is before


def test_a_choice_that_fails_changes_nothing():
    use_backend("numpy")
    before = get_backend()
    for arguments, settings in ((("none",), {}), (("numpy",), {"dtype": "int8"})):
        with pytest.raises(ValueError, match="expected"):
            use_backend(*arguments, **settings)
    assert get_backend() is before


def test_a_block_before_any_default_leaves_none(fresh):
    with use_backend("numpy", dtype="float64"):
        assert get_backend().dtype == np.float64
    assert get_backend().dtype == np.float32  # chosen now, not left over


def test_objects_keep_their_backend():
    makers = [
        lambda: Layer_Dense(2, 3),
        Layer_Input,
        Activation_ReLU,
        Activation_Softmax,
        Loss_CategoricalCrossentropy,
        Activation_Softmax_Loss_CategoricalCrossentropy,
        Accuracy_Categorical,
        Model,
    ]
    with use_backend("numba", dtype="float64") as backend:
        made = [make() for make in makers]
    use_backend("numpy", dtype="float32")
    assert all(one.backend is backend for one in made)
    assert made[5].activation.backend is made[5].loss.backend is backend
    output = made[0].forward(np.ones((2, 2), np.float32))
    assert output.dtype == np.float64
    assert made[0].backward(output).dtype == np.float64


def test_a_model_finalized_later_keeps_its_backend():
    with use_backend("numba", dtype="float64") as backend:
        model = Model()
        model.add(Layer_Dense(2, 3))
        model.add(Activation_Softmax())
        model.set(loss=Loss_CategoricalCrossentropy())
    use_backend("numpy", dtype="float32")
    model.finalize()
    assert model.input_layer.backend is backend
    assert model.softmax_classifier_output.backend is backend
    assert model.predict(np.ones((2, 2))).dtype == np.float64
    assert get_backend().name == "numpy"


def test_both_names_are_in_both_places():
    assert selection.get_backend is nnfs_gpu.get_backend
    assert selection.use_backend is nnfs_gpu.use_backend
