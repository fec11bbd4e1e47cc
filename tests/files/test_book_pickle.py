"""Pickles that no program of the book writes: refused, and nothing in them is run.

Written operation by operation; `RAN` would show what was run.
"""

import copyreg
import pickle
import struct
import sys

import numpy as np
import pytest
from model_files import bits, refused

from nnfs_gpu import Layer_Dense, Model, use_backend


class Reduced:
    """Pickles as a call of anything."""

    def __init__(self, *call):
        self.call = call

    def __reduce__(self):
        return self.call


def marked(name):
    """A call that would leave a mark in this module."""
    return Reduced(exec, (f"import sys; sys.modules['test_book_pickle'].RAN.append({name!r})",))


RAN: list[str] = []
ARRAY = np.arange(6, dtype=np.float32).reshape(2, 3)
PAIR = (ARRAY, np.zeros((1, 3), np.float32))


class Extension:
    """What a number of the extension registry would stand for."""


def text(value):
    data = value.encode()
    return b"\x8c" + bytes([len(data)]) + data


def named(module, name):
    return text(module) + text(name) + b"\x93"


PRELUDE = b"\x80\x04"
RECONSTRUCT = "numpy._core.multiarray", "_reconstruct"
NDARRAY, DTYPE = named("numpy", "ndarray"), named("numpy", "dtype")
EMPTY_ARRAY = named(*RECONSTRUCT) + NDARRAY + b"K\x00\x85C\x01b\x87R"  # ndarray, (0,), b"b"
F4 = DTYPE + text("f4") + b"\x89\x88\x87R"
F4_STATE = b"(K\x03" + text("<") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"


def array_state(shape, data, dtype=F4 + F4_STATE):
    return b"(K\x01" + shape + dtype + b"\x89" + data + b"tb"


EVIL = {
    "exec": pickle.dumps(marked("exec"), 4),
    "in a list": pickle.dumps([PAIR, marked("list")], 4),
    "beside weights": pickle.dumps([(ARRAY, marked("pair"))], 4),
    "nested": pickle.dumps(Reduced(list, ((marked("a"), marked("b")),)), 4),
    "protocol 3": pickle.dumps(marked("three"), 3),
    "protocol 5": pickle.dumps(marked("five"), 5),
    "os.system": PRELUDE + named("os", "system") + text("exit") + b"\x85R.",
    "posix.system": PRELUDE + named("posix", "system") + text("exit") + b"\x85R.",
    "builtins.eval": PRELUDE + named("builtins", "eval") + text("1+1") + b"\x85R.",
    "builtins.getattr": PRELUDE + named("builtins", "getattr") + b"N" + text("x") + b"\x86R.",
    "GLOBAL": PRELUDE + b"cos\nsystem\n(" + text("exit") + b"tR.",
    "INST": PRELUDE + b"(" + text("exit") + b"ios\nsystem\n.",
    "OBJ": PRELUDE + b"(" + named("os", "system") + text("exit") + b"o.",
    "NEWOBJ": PRELUDE + named("builtins", "list") + b")\x81.",
    "NEWOBJ_EX": PRELUDE + named("__main__", "Layer_Dense") + b")}\x92.",
    "NEWOBJ with arguments": PRELUDE + named("__main__", "Layer_Dense") + text("x") + b"\x85\x81.",
    "NEWOBJ of NumPy": PRELUDE + DTYPE + b")\x81.",
    "REDUCE of a book's class": PRELUDE + named("__main__", "Layer_Dense") + b")R.",
    "copyreg": PRELUDE + named("copyreg", "_reconstructor") + b"N" + b"N" + b"N\x87R.",
    "copyreg.__newobj__": PRELUDE + named("copyreg", "__newobj__") + b"N\x85R.",
    "dotted name": PRELUDE + named("__main__", "Layer_Dense.__init__") + b")R.",
    "dotted module": PRELUDE + named("numpy", "dtype.__init__") + b")R.",
    "name that is no text": PRELUDE + b"K\x01K\x02\x93.",
    "name as a list": PRELUDE + text("__main__") + b"]\x93.",
    "persistent id": PRELUDE + text("id") + b"Q.",
    "persistent text": PRELUDE + b"Pid\n.",
    "buffer": b"\x80\x05" + b"\x97.",
    "STRING": PRELUDE + b"S'abc'\n.",
    "numpy.load": PRELUDE + named("numpy", "load") + text("x") + b"\x85R.",
    "numpy.array": PRELUDE + named("numpy", "array") + b"]\x85R.",
    "numpy.f2py": PRELUDE + named("numpy.f2py.crackfortran", "myeval") + text("1") + b"\x85R.",
    "numpy.testing": PRELUDE + named("numpy.testing._private.utils", "runstring") + b")R.",
    "object array": pickle.dumps([(np.array([marked("object")], object), PAIR[1])], 4),
    "structured array": pickle.dumps([(np.zeros(2, "f4,i4"), PAIR[1])], 4),
    "text array": pickle.dumps([(np.array(["a"]), PAIR[1])], 4),
    "datetime array": pickle.dumps([(np.zeros(2, "M8[s]"), PAIR[1])], 4),
    "ndarray called": PRELUDE + NDARRAY + b"K\x05\x85R.",
    "reconstruct of another": PRELUDE + named(*RECONSTRUCT) + b"NK\x00\x85C\x01b\x87R.",
    "dtype of an object": PRELUDE + DTYPE + text("O") + b"\x89\x88\x87R.",
    "dtype of parts": PRELUDE + F4 + b"(K\x03" + text("<") + b"N" + text("x") + b"\x85}tb.",
    "array of too few bytes": PRELUDE
    + EMPTY_ARRAY
    + array_state(b"K\x09\x85", b"C\x04abcd")
    + b".",
    "array of a huge shape": PRELUDE
    + EMPTY_ARRAY
    + array_state(b"\x8a\x08" + b"\xff" * 7 + b"\x7f" + b"K\x00\x86", b"C\x00")
    + b".",
    "array of a negative shape": PRELUDE
    + EMPTY_ARRAY
    + array_state(b"J\xff\xff\xff\xff\x85", b"C\x04abcd")
    + b".",
    "array of objects in a list": PRELUDE
    + EMPTY_ARRAY
    + array_state(b"K\x01\x85", b"]K\x01a")
    + b".",
    "state of a class": PRELUDE + named("__main__", "Layer_Dense") + b"}" + text("x") + b"K\x01sb.",
    "slots of a class": PRELUDE + NDARRAY + b"N}" + text("x") + b"K\x01s\x86b.",
    "state of a list": PRELUDE + b"]}" + text("x") + b"K\x01sb.",
    "slots of an object": PRELUDE
    + named("__main__", "Model")
    + b")\x81N}"
    + text("set_state")
    + b"K\x01s\x86b.",
    "key that is no text": PRELUDE + b"}K\x01K\x02s.",
    "append to a dict": PRELUDE + b"}K\x01a.",
    "memo of 2^32": PRELUDE + b"Nr\xff\xff\xff\xff0.",
    "bytes of 2^60": PRELUDE + b"\x8e" + struct.pack("<Q", 2**60) + b"abc.",
    "bytearray of 2^60": b"\x80\x05\x96" + struct.pack("<Q", 2**60) + b"abc.",
    "frame of 2^60": PRELUDE + b"\x95" + struct.pack("<Q", 2**60) + b"N.",
    "text of 2^60": PRELUDE + b"\x8d" + struct.pack("<Q", 2**60) + b"abc.",
    "tuples in tuples": PRELUDE + b")" + b"\x85" * 300_000 + b".",
    "twice and twice again": PRELUDE + b")" + b"\x94h\x00\x86" * 100 + b".",
    "nothing": PRELUDE + b"N" * 9 + b".",
    "no end": PRELUDE + b"N" * 9,
    "empty stack": PRELUDE + b"." * 9,
    "a number": pickle.dumps(10**20, 4),
    "an array": pickle.dumps(ARRAY, 4),
    "a dict": pickle.dumps({"weights": ARRAY, "biases": ARRAY}, 4),
    "triples": pickle.dumps([(ARRAY, ARRAY, ARRAY)], 4),
    "no arrays": pickle.dumps([(1.0, 2.0), (3.0, 4.0)], 4),
    "whole numbers": pickle.dumps([(ARRAY.astype(int), PAIR[1])], 4),
    "two dtypes": pickle.dumps([(ARRAY.astype(np.float64), PAIR[1])], 4),
    "one array often": pickle.dumps([PAIR] * 1000, 4),
}


@pytest.mark.parametrize("name", EVIL)
def test_what_no_book_s_file_holds_runs_nothing(tmp_path, name):
    use_backend("numpy", dtype="float32")
    model = Model()
    model.add(Layer_Dense(2, 3))
    before, modules = bits(model), set(sys.modules)
    data = EVIL[name] if len(EVIL[name]) > 8 else EVIL[name][:-1] + b"0" * 9 + b"."
    (tmp_path / "file").write_bytes(data)
    refused(tmp_path / "file", "file: (is no .model|a damaged pickle|holds)")
    refused(tmp_path / "file", load=model.load_parameters)
    assert bits(model) == before
    assert RAN == []
    assert set(sys.modules) == modules


def test_the_marks_would_be_left(monkeypatch):
    """The same bytes in Python's own reader: the test above can fail."""
    monkeypatch.setitem(sys.modules, "test_book_pickle", sys.modules[__name__])
    for name in ("exec", "in a list", "protocol 3"):
        pickle.loads(EVIL[name])
    assert RAN == ["exec", "list", "three"]
    RAN.clear()


def test_the_extension_registry_is_not_asked(tmp_path):
    use_backend("numpy")
    copyreg.add_extension(__name__, "Extension", 240)
    try:
        data = pickle.dumps([Extension] * 3, 4)
        assert pickle.loads(data)[0] is Extension  # also fills the registry's cache
        (tmp_path / "file").write_bytes(data)
        refused(tmp_path / "file", "it holds the operation EXT1; nothing in it was run")
    finally:
        copyreg.remove_extension(__name__, "Extension", 240)
