"""Suite `estimators`: fits of ours beside those of scikit-learn's MLPClassifier and MLPRegressor.

The same data, standardized, the same settings, as many passes: none ends early. What is timed is a
whole `fit`, with all checks and conversions, as people call it. Every contender is scored on data
that it has not seen, and is not timed where it learns less than the others.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from nnfs_gpu.backend import Backend
from nnfs_gpu.selftest.timing import Contender

from ..markdown import table
from ..peers import Peers
from ..sheet import Row, Sheet, attempt, duration, of_role, times

Data = tuple[np.ndarray, np.ndarray]
THEIRS = "scikit-learn"
LESS = 0.05  # of accuracy or R2 that one may be below the best


def _iris() -> Data:
    from sklearn.datasets import load_iris

    return load_iris(return_X_y=True)  # type: ignore[no-any-return]


def _digits() -> Data:
    from sklearn.datasets import load_digits

    return load_digits(return_X_y=True)  # type: ignore[no-any-return]


def _friedman() -> Data:
    from sklearn.datasets import make_friedman1

    return make_friedman1(10_000, noise=1.0, random_state=0)  # type: ignore[no-any-return]


def _made() -> Data:
    from sklearn.datasets import make_classification

    settings = {"n_informative": 10, "n_classes": 5, "random_state": 0}
    return make_classification(100_000, 20, **settings)  # type: ignore[no-any-return]


# name: (data, widths of hidden layers, passes, whether numbers are learned)
CASES: dict[str, tuple[Callable[[], Data], tuple[int, ...], int, bool]] = {
    "iris": (_iris, (100,), 100, False),
    "digits": (_digits, (100,), 30, False),
    "10,000 points of Friedman's function": (_friedman, (100,), 20, True),
    "100,000 made points": (_made, (64, 64), 3, False),
}
QUICK = ("iris",)


def run(sheet: Sheet, backends: list[Backend], _peers: Peers, names: tuple[str, ...]) -> None:
    """A row for each data set of CASES that is named."""
    for name in names or tuple(CASES):
        if name not in CASES:
            raise ValueError(f"--sizes: got {name!r}, expected of {', '.join(CASES)}")
        if not sheet.late(name):
            _case(sheet, name, backends)


def _case(sheet: Sheet, name: str, backends: list[Backend]) -> None:
    from sklearn.model_selection import train_test_split
    from sklearn.preprocessing import StandardScaler

    read, hidden, passes, numbers = CASES[name]
    X, y = read()
    X, X_test, y, y_test = train_test_split(X, y, test_size=0.25, random_state=0)
    scaler = StandardScaler().fit(X)
    X, X_test = (scaler.transform(one).astype(np.float32) for one in (X, X_test))
    contenders: dict[str, Contender] = {}
    left_out: dict[str, str] = {}
    scores: dict[str, float] = {}

    def fits(one: str, make: Callable[[], Any]) -> Callable[[], Any]:
        estimator = make()

        def fit() -> Any:
            with warnings.catch_warnings():  # that it has not converged: neither is to
                warnings.simplefilter("ignore")
                return estimator.fit(X, y)

        scores[one] = float(fit().score(X_test, y_test))
        return fit

    def check(_: Callable[[], Any]) -> None:
        one, best = list(scores.values())[-1], max(scores.values())
        assert one >= best - LESS, f"a score of {one:.3f}, others have {best:.3f}"

    for one, make in _estimators(hidden, passes, numbers, backends).items():
        fit = attempt(left_out, one, partial(fits, one, make), check)
        if fit is not None:
            contenders[one] = Contender(fit, "peer" if one == THEIRS else "ours")
    sheet.measure(
        name,
        contenders,
        reference=f"nnfs_gpu {backends[0].name}",
        left_out=left_out,
        samples=len(X),
        features=X.shape[1],
        hidden=list(hidden),
        passes=passes,
        scores=scores,
    )


def _estimators(
    hidden: tuple[int, ...], passes: int, numbers: bool, backends: list[Backend]
) -> dict[str, Callable[[], Any]]:
    """What makes an estimator, by the name of the contender."""
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    from nnfs_gpu import NNFSClassifier, NNFSRegressor

    theirs, ours = (MLPRegressor, NNFSRegressor) if numbers else (MLPClassifier, NNFSClassifier)
    same: dict[str, Any] = {"hidden_layer_sizes": hidden, "max_iter": passes, "random_state": 0}
    same |= {"learning_rate_init": 0.01, "n_iter_no_change": float("inf")}
    made: dict[str, Callable[[], Any]] = {THEIRS: partial(theirs, **same)}
    for backend in backends:
        made[f"nnfs_gpu {backend.name}"] = partial(ours, **same, backend=backend.name)
    return made


# ---- the page ----
def section(result: dict[str, Any]) -> str:
    """The table of docs/estimators.md, and how many threads there were."""
    variables = result["environment"]["thread_variables"]
    threads = "; ".join(f"{name}={number}" for name, number in sorted(variables.items()))
    rows = [_cells(row) for row in result["rows"] if THEIRS in row["contenders"]]
    head = ["data", "training samples", "hidden layers", "passes", "a fit by scikit-learn"]
    text = table([*head, "times ours", "score there", "score here"], rows)
    return f"With {threads}.\n\n{text}" if threads else text


def _cells(row: Row) -> list[str]:
    best = of_role(row, "ours")[0]
    scores = (row["scores"][THEIRS], row["scores"][best])
    return [
        row["case"],
        f"{row['samples']:,} x {row['features']}",
        "-".join(map(str, row["hidden"])),
        str(row["passes"]),
        duration(row["contenders"][THEIRS]["median"]),
        f"{times(row, THEIRS, best):.2f}",
        *(f"{score:.3f}" for score in scores),
    ]
