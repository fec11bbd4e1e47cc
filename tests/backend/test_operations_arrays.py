"""Arrays of every kind come in, once; results stay where they are made, and come out whole."""

from __future__ import annotations

import math

import numpy as np
import pytest
from helpers import assert_close


# ---- arrays ----
def test_asarray_takes_real_numbers_in_any_form(backend):
    for given in (
        [[1, 2], [3, 4]],
        np.array([[1, 2], [3, 4]], np.uint8),
        np.array([[1, 3], [2, 4]], np.float16).T,
        np.array([[1, 0, 2], [3, 0, 4]], np.int64)[:, ::2],
    ):
        a = backend.asarray(given)
        assert a.flags.c_contiguous
        assert_close(backend.to_numpy(a), [[1, 2], [3, 4]], backend.dtype, ulps=0)
    assert backend.asarray([True, False]).dtype == backend.dtype
    assert backend.asarray([1, 2], np.int32).dtype == np.int32
    a = backend.asarray([[1.0, 2.0]])
    assert backend.asarray(a) is a, "no copy where none is needed"


@pytest.mark.parametrize("given", [[1j], ["1"], [None], np.array(["2020-01-01"], "M8[D]")], ids=str)
def test_asarray_refuses_what_holds_no_real_numbers(backend, given):
    with pytest.raises(TypeError, match="real numbers"):
        backend.asarray(given)


def test_zeros_and_copy(backend):
    assert_close(backend.to_numpy(backend.zeros((2, 3))), np.zeros((2, 3)), backend.dtype, ulps=0)
    assert backend.zeros(4, np.int32).dtype == np.int32
    view = backend.asarray([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])[:, ::2]
    copied = backend.copy(view)
    assert copied.flags.c_contiguous
    view[0, 0] = 9.0
    assert_close(backend.to_numpy(copied), [[1, 3], [4, 6]], backend.dtype, ulps=0)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", [0, 500, 999])
def test_all_finite_finds_one_bad_element(backend, place, value):
    a = np.ones(1000, backend.dtype)
    assert backend.all_finite(backend.asarray(a)) is True
    a[place] = value
    assert backend.all_finite(backend.asarray(a)) is False
