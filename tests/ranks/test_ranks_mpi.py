"""Real ranks end with the bits of one process: processes over MPI, 2 to 4 of them.

The cases are those of rank_cases.py: parameters, gradients, the optimizer's state, sums and
counts, the history, the checkpoint's file, what chance gives next, and the lines of rank 0. The
one process is this one, without a world and with a world of one; the NumPy backend in float64 says
what is right.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import warnings
from pathlib import Path

import numpy as np
import pytest
from fused_state import parameters, state
from helpers import assert_close, summing
from processes import MODULES
from rank_cases import arrays, results, table, write_files
from rank_runs import PACKAGE, run_ranks

from nnfs_gpu import World, get_backend

PROGRAM = Path(__file__).with_name("rank_cases.py")


def ended(folder, world=None):
    """What this process ends with, as it comes out of JSON, and what it prints."""
    out = io.StringIO()
    with warnings.catch_warnings(record=True), contextlib.redirect_stdout(out):
        warnings.simplefilter("always")
        found = results(folder, world)
    return json.loads(json.dumps(found)), out.getvalue().splitlines()


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """(folder, what one process ends with, its lines)."""
    folder = tmp_path_factory.mktemp("ranks")
    write_files(folder)
    return folder, *ended(folder)


def test_however_rows_come_the_bits_are_the_same(alone):
    _, found, _ = alone
    like = {name: case.like for name, case in table().items() if case.like}
    assert len(like) >= 6
    for name, other in like.items():
        for what in ("arrays", "history", "sums", "measured", "next"):
            assert found[name][what] == found[other][what], (name, what)


def test_a_world_of_one_ends_with_the_bits_of_none(alone):
    folder, wanted, lines = alone
    assert ended(folder, World()) == (wanted, lines)


@pytest.mark.parametrize("ranks", [2, 3, 4])
def test_ranks_end_with_the_bits_of_one_process(alone, ranks):
    folder, wanted, lines = alone
    path = os.pathsep.join([str(PACKAGE), MODULES])
    done = run_ranks(ranks, [PROGRAM, folder], timeout=200, env={"PYTHONPATH": path})
    assert done.code == 0, done.err
    assert [(one["rank"], one["size"]) for one in done.said] == [(r, ranks) for r in range(ranks)]
    for said in done.said:
        assert said["found"].keys() == wanted.keys()
        for name, found in said["found"].items():
            expected = dict(wanted[name])
            if said["rank"]:
                expected.pop("file", None)
            assert found == expected, name
    assert [line for line in done.out.splitlines() if not line.startswith("{")] == lines
    warning, _ = done.err.splitlines()  # and its line of code: nothing else, and once
    assert "RuntimeWarning: train: loss of epoch" in warning


@pytest.mark.parametrize("loss", ["softmax_cross_entropy", "squared_error", "soft"])
def test_one_process_ends_with_what_numpy_computes_in_float64(loss):
    """The same steps layer by layer, in the order of the book."""
    case = table()[f"{loss}, momentum"]
    assert case.dtype == "float64"
    model, X, y = arrays(case)
    plain = case.network.model(get_backend("numpy", dtype="float64"))
    case.network.data_of(plain, X, y)  # its precision
    for one in (model, plain):
        one.train(X, y, epochs=3, print_every=None)
    steps = zip(parameters(model), parameters(plain), strict=True)
    states = zip(state(model).values(), state(plain).values(), strict=True)
    for found, wanted in [*steps, *states]:
        size = np.abs(wanted).max()
        assert_close(found, wanted, "float64", ulps=3 * summing(case.n), magnitude=size)
