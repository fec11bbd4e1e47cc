"""Which backend does the work: the default, its scope, "auto", and what is said when one fails.

Proves `get_backend`, `use_backend` and `available_backends`: the same settings give the same
object, blocks nest and end well whatever happens inside, objects keep the backend they were
made with, NNFS_GPU_BACKEND decides from outside, "auto" takes the first that works and says
once why not the others, and an explicit choice that cannot work says what to do.
"""

import logging
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from helpers import BACKENDS

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
    spiral_data,
    use_backend,
)
from nnfs_gpu.backend import AUTO_ORDER, BackendStatus, BackendUnavailableError

NAMES = ", ".join(("auto", *available_backends()))
IMPLEMENTATIONS = ("nnfs_gpu.backend.numba_backend", "nnfs_gpu.backend.launch", "nnfs_gpu.kernels")


@pytest.fixture
def fresh(monkeypatch):
    """Selection as in a new process: no default, nothing made, nothing logged; on the CPU."""
    monkeypatch.delenv("NNFS_GPU_BACKEND", raising=False)
    monkeypatch.setattr(selection, "AUTO_ORDER", ("numba", "numpy"))  # with a GPU or without
    monkeypatch.setattr(selection, "_default", None)
    monkeypatch.setattr(selection, "_made", {})
    monkeypatch.setattr(selection, "_logged", set())


@pytest.fixture
def no_numba(fresh, monkeypatch):
    """Numba cannot be imported, as where it is not installed."""
    for name in list(sys.modules):
        if name.startswith(IMPLEMENTATIONS):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "numba", None)


def run(code, **environment):
    """`code` in a new process: (exit status, stdout, stderr)."""
    clean = {key: value for key, value in os.environ.items() if key != "NNFS_GPU_BACKEND"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=clean | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout.strip(), done.stderr


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


# ---- what works here ----


def test_available_backends_has_them_all():
    found = available_backends()
    assert {*BACKENDS, *AUTO_ORDER} <= set(found)
    assert AUTO_ORDER[-2:] == ("numba", "numpy")
    for name, status in found.items():
        assert isinstance(status, BackendStatus)
        assert status.name == name
        assert bool(status.remedy) is not status.usable
        assert status.reason
    assert found["numpy"] == BackendStatus("numpy", True, f"numpy {np.__version__}", "")
    assert found["numba"].usable
    assert found["numba"].reason.startswith("numba ")


def test_available_backends_says_why_not(no_numba):
    status = available_backends()["numba"]
    assert not status.usable
    assert status.reason.startswith("ModuleNotFoundError: ")
    assert "numba" in status.reason
    assert "pip install" in status.remedy
    assert available_backends()["numpy"].usable


# ---- auto ----


def test_auto_takes_the_first_usable_of_its_order():
    usable = [name for name in AUTO_ORDER if available_backends()[name].usable]
    assert get_backend("auto").name == usable[0]


def test_auto_takes_the_first_that_works_and_says_so_once(fresh, caplog):
    caplog.set_level(logging.INFO, logger="nnfs_gpu")
    assert get_backend().name == "numba"
    for _ in range(3):
        get_backend("auto")
        get_backend("auto", dtype="float64")
        use_backend("auto")
        Layer_Dense(2, 3)
        spiral_data(5, 3)
    assert caplog.record_tuples == [("nnfs_gpu", logging.INFO, "backend auto: took numba")]


def test_auto_without_numba_is_numpy_and_says_why(no_numba, caplog):
    caplog.set_level(logging.INFO, logger="nnfs_gpu")
    assert get_backend().name == "numpy"
    assert get_backend("auto").name == "numpy"
    assert np.isfinite(Layer_Dense(2, 3).forward([[1.0, 2.0]])).all()
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("nnfs_gpu", logging.INFO)
    assert record.getMessage().startswith(
        "backend auto: took numpy; not numba: ModuleNotFoundError: "
    )


@pytest.mark.parametrize(
    "error",
    [ImportError("needs NumPy 2.3 or less"), RuntimeError("no"), OSError(), SystemError("x")],
)
def test_a_broken_numba_is_passed_over_with_its_own_words(fresh, monkeypatch, caplog, error):
    """Whatever an installation raises when it is imported."""

    def fail(name):
        if name.endswith("numba_backend"):
            raise error
        return importer(name)

    importer = selection.importlib.import_module
    caplog.set_level(logging.INFO, logger="nnfs_gpu")
    monkeypatch.setattr(selection.importlib, "import_module", fail)
    assert get_backend().name == "numpy"
    assert caplog.messages == [
        f"backend auto: took numpy; not numba: {type(error).__name__}: {error}"
    ]
    with pytest.raises(BackendUnavailableError, match=type(error).__name__) as caught:
        get_backend("numba")
    assert str(error) in str(caught.value)


def test_nothing_is_printed_by_a_choice(fresh, capfd):
    get_backend()
    available_backends()
    assert capfd.readouterr() == ("", "")


def test_no_backend_at_all(fresh, monkeypatch):
    def fail(name):
        raise ImportError(f"no {name}")

    monkeypatch.setattr(selection.importlib, "import_module", fail)
    with pytest.raises(BackendUnavailableError, match=r"no backend works here: numba: .*; numpy: "):
        get_backend()
    assert not any(status.usable for status in available_backends().values())


def test_an_explicit_choice_that_cannot_work_says_what_to_do(no_numba):
    use_backend("numpy")
    before = get_backend()
    for call in (get_backend, use_backend):
        with pytest.raises(
            BackendUnavailableError,
            match=r"^backend 'numba' cannot be used: ModuleNotFoundError: .*numba.*; "
            r"reinstall it with: pip install .*numba, or choose another backend$",
        ):
            call("numba")
    assert get_backend() is before


def test_a_backend_that_failed_works_once_it_is_repaired(no_numba, monkeypatch):
    assert get_backend("auto").name == "numpy"
    monkeypatch.undo()  # Numba is back
    assert get_backend("numba").name == "numba"


# ---- from outside ----

SHOW = "import nnfs_gpu as n; b = n.get_backend(); print(b.name, b.dtype, b.precise_dot)"
BLOCK = "import sys; sys.modules['numba'] = sys.modules['cupy'] = None; "


@pytest.mark.parametrize(
    ("value", "expected"),
    [("numpy", "numpy"), ("numba", "numba"), ("auto", "numba"), ("", "numba"), (None, "numba")],
)
def test_environment_variable(fresh, monkeypatch, value, expected):
    if value is not None:
        monkeypatch.setenv("NNFS_GPU_BACKEND", value)
    assert (get_backend().name, get_backend().dtype) == (expected, "float32")
    assert Layer_Dense(2, 3).backend.name == expected


def test_environment_variable_is_only_the_default(fresh, monkeypatch):
    monkeypatch.setenv("NNFS_GPU_BACKEND", "numpy")
    assert get_backend("numba").name == "numba"
    assert get_backend().name == "numpy"
    use_backend("numba")
    assert get_backend().name == "numba"


def test_environment_variable_in_a_new_process():
    assert run(SHOW, NNFS_GPU_BACKEND="numpy") == (0, "numpy float32 False", "")


def test_unknown_name_in_the_environment_of_a_new_process():
    status, out, err = run(SHOW, NNFS_GPU_BACKEND="gpu")
    assert (status, out) == (1, "")
    assert err.splitlines()[-1].startswith(
        f"ValueError: unknown backend 'gpu': expected one of {NAMES}"
    )


def test_the_message_says_where_the_name_comes_from(fresh, monkeypatch):
    monkeypatch.setenv("NNFS_GPU_BACKEND", "gpu")
    with pytest.raises(ValueError, match="NNFS_GPU_BACKEND"):
        get_backend()


def test_unusable_name_in_the_environment_of_a_new_process():
    status, out, err = run(BLOCK + SHOW, NNFS_GPU_BACKEND="numba")
    assert (status, out) == (1, "")
    last = err.splitlines()[-1]
    assert "BackendUnavailableError: backend 'numba' cannot be used: ModuleNotFoundError" in last
    assert "pip install" in last


def test_auto_without_numba_in_a_new_process():
    logs = "import logging; logging.basicConfig(level='INFO', format='%(name)s %(message)s'); "
    status, out, err = run(BLOCK + logs + SHOW + "; n.Layer_Dense(2, 3)", NNFS_GPU_BACKEND="auto")
    assert (status, out) == (0, "numpy float32 False")
    (line,) = err.splitlines()
    assert re.match(
        "nnfs_gpu backend auto: took numpy;.* not numba: ModuleNotFoundError: .*numba", line
    )
