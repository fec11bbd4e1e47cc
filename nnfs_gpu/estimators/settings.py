"""The settings of the estimators: scikit-learn's names, what they mean here, and their old names.

Names and defaults are those of `sklearn.neural_network.MLPClassifier` and `MLPRegressor`, where
these have them; `max_fun` and the solver "lbfgs" are not here. Old names (`hidden`, `epochs`,
`optimizer`, `l2`, a number for `learning_rate`) work, with a FutureWarning that says the new one.
"""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, fields
from typing import Any, TypeVar

import numpy as np

from .. import checks

Kind = TypeVar("Kind")

OLD = "deprecated"  # an old name that is not used; scikit-learn's word for it
RENAMED = {"hidden": "hidden_layer_sizes", "epochs": "max_iter", "optimizer": "solver"}
SCHEDULES = ("constant", "invscaling", "adaptive")
AUTO_BATCH = 200

# What makes the network and its optimizer: must stay as it was for a warm start.
NETWORK = (
    *("hidden_layer_sizes", "activation", "dropout", "loss", "solver", "momentum"),
    *("beta_1", "beta_2", "epsilon", "decay", "backend", "dtype"),
)


@dataclass(eq=False, repr=False)
class Settings:
    """What the constructors of both estimators take, and keep as it is given.

    Parameters
    ----------
    hidden_layer_sizes : tuple of int
        Widths of the hidden layers; () gives a linear model.
    activation : {"relu", "tanh", "logistic", "identity", "leaky_relu", "sigmoid"}
        Of the hidden layers; "sigmoid" is the book's word for "logistic".
    solver : {"adam", "sgd", "adamw", "rmsprop", "adagrad"} or callable
        The optimizer, or what makes one: functools.partial(Optimizer_SGD, momentum=0.5). It is
        called with learning_rate=learning_rate_init and decay=decay, where it takes them and they
        are not None.
    alpha : float
        Of the penalty alpha / (2 n) sum(w^2) of a step over n samples, on the weights of all
        layers (not on biases).
    batch_size : int or "auto", optional
        Samples a step; "auto": 200; None: all. Never more than there are.
    learning_rate : {"constant", "invscaling", "adaptive"}
        How the rate changes, with solver "sgd" alone. "invscaling": after an epoch it is
        learning_rate_init / (t_ + 1)^power_t. "adaptive": where training would end, it is
        divided by 5 instead, until it is 1e-6.
    learning_rate_init : float, optional
        The rate of the first step; None: the solver's own.
    power_t : float
        See learning_rate.
    max_iter : int
        Passes over the data, at most.
    shuffle : bool
        Take the samples in another order in every epoch.
    random_state : int, RandomState instance, optional
        An int repeats a fit bit by bit on the same machine; None draws a seed from NumPy's global
        stream, as everywhere in scikit-learn.
    tol : float
        See n_iter_no_change.
    verbose : bool
        Print the book's lines, every 100 steps.
    warm_start : bool
        Fit goes on with the network and the optimizer of the last fit.
    momentum : float
        Of "sgd", in [0, 1).
    nesterovs_momentum : bool
        False: there is none here, and True is refused.
    early_stopping : bool
        Set a share of the samples aside (of a classifier's classes alike), stop by the score on
        them, keep the best weights. A classifier's score is its accuracy, over all labels where
        there are several; a regressor's is the negative loss.
    validation_fraction : float
        That share, in (0, 1).
    beta_1, beta_2, epsilon : float
        Of the solvers that have them.
    n_iter_no_change : int or inf
        Training ends where the loss, or with early_stopping the score, has not got better by more
        than tol for so many epochs; inf: all max_iter are run.
    dropout : float
        Share of every hidden layer's outputs to zero in training, in [0, 1).
    l1 : float
        Of the penalty l1 sum(|w|).
    decay : float, optional
        The rate of step t is rate / (1 + decay t); None: the solver's own decay.
    backend : str, optional
        Where to compute; None: on the default of `nnfs_gpu.use_backend`.
    dtype : {"float32", "float64"}
        In which precision.
    hidden, epochs, optimizer, l2 : object
        Old names of hidden_layer_sizes, max_iter, solver, and of what alpha does now.
    """

    hidden_layer_sizes: Any = (100,)
    activation: str = "relu"
    _: KW_ONLY
    solver: Any = "adam"
    alpha: float = 0.0001
    batch_size: int | str | None = "auto"
    learning_rate: Any = "constant"
    learning_rate_init: float | None = 0.001
    power_t: float = 0.5
    max_iter: int = 200
    shuffle: bool = True
    random_state: Any = None
    tol: float = 1e-4
    verbose: bool = False
    warm_start: bool = False
    momentum: float = 0.9
    nesterovs_momentum: bool = False
    early_stopping: bool = False
    validation_fraction: float = 0.1
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8
    n_iter_no_change: float = 10
    dropout: float = 0.0
    l1: float = 0.0
    decay: float | None = None
    backend: str | None = None
    dtype: Any = "float32"
    hidden: Any = OLD
    epochs: Any = OLD
    optimizer: Any = OLD
    l2: Any = OLD


# The two below are dataclasses apart from the estimators because type checkers know the arguments
# of a constructor only where scikit-learn's classes, which have no types, are no bases of it.
@dataclass(eq=False, repr=False)
class ClassifierSettings(Settings):
    """What the constructor of `NNFSClassifier` takes; that says what they mean."""

    _: KW_ONLY
    class_weight: Any = None


@dataclass(eq=False, repr=False)
class RegressorSettings(Settings):
    """What the constructor of `NNFSRegressor` takes; that says what they mean."""

    _: KW_ONLY
    loss: str = "squared_error"


def described(*sources: type[Any]) -> Callable[[type[Kind]], type[Kind]]:
    """A decorator: what the docstrings of `sources` say in sections that a class has, too, is said
    there, before its own. A source has one section, its last.
    """

    def fill(kind: type[Kind]) -> type[Kind]:
        text = inspect.getdoc(kind) or ""  # python -OO has none
        for source in sources:
            for section in ("Parameters", "Attributes"):
                _, heading, body = (inspect.getdoc(source) or "").partition(
                    f"{section}\n{'-' * len(section)}\n"
                )
                if heading:
                    text = text.replace(heading, f"{heading}{body}\n", 1)
        kind.__doc__ = text
        return kind

    return fill


def settings_of(estimator: Any) -> dict[str, Any]:
    """The settings of `estimator` under their present names, those of the loop checked.

    `hidden_layer_sizes` is a tuple; `n_iter_no_change` None for infinity; `l2` None where nobody
    uses it. Raises ValueError or TypeError for what cannot be used, and where a setting is given
    by its old and by its present name.
    """
    values = _renamed(estimator)
    hidden = values["hidden_layer_sizes"]
    hidden = (hidden,) if isinstance(hidden, (int, np.integer)) else hidden
    if isinstance(hidden, str) or not hasattr(hidden, "__len__"):
        raise TypeError(f"hidden_layer_sizes: got {hidden!r}, expected a tuple of layer widths")
    name = "hidden_layer_sizes"
    values[name] = tuple(checks.positive_int(width, name) for width in hidden)
    checks.not_negative(values["tol"], "tol")
    checks.positive_int(values["max_iter"], "max_iter")
    if values["learning_rate_init"] is not None:
        name = "learning_rate_init"
        values[name] = checks.not_negative(values[name], name)
    elif values["learning_rate"] == "invscaling":
        raise ValueError(
            "learning_rate_init: got None, expected the rate that invscaling begins with"
        )
    patience = values["n_iter_no_change"]
    endless = isinstance(patience, float) and math.isinf(patience) and patience > 0
    values["n_iter_no_change"] = (
        None if endless else checks.positive_int(patience, "n_iter_no_change")
    )
    if values["learning_rate"] not in SCHEDULES:
        raise ValueError(
            f"learning_rate: got {values['learning_rate']!r}, expected one of "
            f"{', '.join(SCHEDULES)}; the rate itself is learning_rate_init"
        )
    if values["nesterovs_momentum"]:
        raise ValueError(
            "nesterovs_momentum: got True, but there is no such momentum here; use "
            "nesterovs_momentum=False"
        )
    if values["solver"] == "lbfgs":
        raise ValueError(
            "solver: got 'lbfgs', but there is none here; use 'adam', which needs more passes, or "
            "scikit-learn's own MLPClassifier and MLPRegressor"
        )
    return values


def steps_of(values: dict[str, Any], samples: int) -> int:
    """Samples of a step, of so many in all. Raises ValueError or TypeError for a bad setting."""
    size = values["batch_size"]
    if size is None:
        return samples
    size = AUTO_BATCH if size == "auto" else checks.positive_int(size, "batch_size")
    return min(size, samples)


# ---- old names ----
def _renamed(estimator: Any) -> dict[str, Any]:
    """All settings by their present names; warns of each that is given by its old one."""
    kind = type(estimator).__name__
    defaults = {one.name: one.default for one in fields(estimator)}
    values = {name: getattr(estimator, name) for name in defaults}

    def not_both(old: str, new: str) -> None:
        if not _is(values[new], defaults[new]):
            raise ValueError(f"{old} is the old name of {new}: got both; leave {old} out")

    for old, new in RENAMED.items():
        given = values.pop(old)
        if not _is(given, OLD):
            not_both(old, new)
            _warn(f"{kind}: {old} is called {new}, as in scikit-learn; use {new}={given!r}")
            values[new] = given
    rate, l2 = values["learning_rate"], values["l2"]
    if not isinstance(rate, str):
        not_both("a number for learning_rate", "learning_rate_init")
        _warn(
            f"{kind}: the rate is called learning_rate_init, as in scikit-learn, and learning_rate "
            f"says how it changes; use learning_rate_init={rate!r}"
        )
        values |= {"learning_rate": "constant", "learning_rate_init": rate}
    if _is(l2, OLD):
        values["l2"] = None
    else:
        not_both("l2", "alpha")
        _warn(
            f"{kind}: in place of l2 there is alpha, as in scikit-learn, which a step over n "
            f"samples divides by 2 n; use alpha=2 * batch_size * {l2!r}"
        )
    return values


def _is(value: Any, default: Any) -> bool:
    """Equal, and of the same type: an array is not compared."""
    return type(value) is type(default) and bool(value == default)


def _warn(message: str) -> None:
    text = f"{message}. The old name will be gone in version 0.2."
    warnings.warn(text, FutureWarning, stacklevel=6)  # where fit is called
