"""A table of people's own as the subject of `nnfs-gpu train --data`: read, split, made arrays.

What cannot be used is an `InputError` before anything is written (`table_input.py`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from .. import losses
from ..accuracy import Accuracy_Categorical, Accuracy_Regression
from ..activations import Activation_Linear, Activation_Softmax
from ..backend import get_backend
from ..model import Model
from ..show.animation import Animation
from ..show.table import Plane, table_overview
from ..tables.features import Number
from ..tables.missing import complete_rows
from ..tables.preprocessing import Preprocessing
from ..tables.reading import read_table
from ..tables.split import split_rows
from ..tables.table import Table, listed
from ..tables.target import Classes, Quantity, fit_classes, task_of
from .common import CURVES_FILE, PICTURE_FILE
from .config import DataConfig
from .errors import InputError
from .spiral import network
from .table_input import form_of, in_options, source_of

MOST_SEEN = 100_000  # training rows that the final model is measured on
MOST_CLASSES = 12  # that are named before training


class TableSubject:
    """See `subject.Subject`. Constructing it reads the table; raises InputError."""

    def __init__(self, config: DataConfig):
        with in_options():
            everything, target = _training_table(config)
            table = complete_rows(everything) if config.missing == "drop" else everything
            rows, aside = _parts(table, target, config)
            if config.class_weight and _task(table, target, config) != Classes.task:
                raise InputError(
                    f"--class-weight {config.class_weight}: {target!r} is a number, and has no "
                    "classes to weigh; leave it out, or give --task classification"
                )
            self.preprocessing = Preprocessing.fit(
                table,
                target,
                task=config.task,
                missing=config.missing,
                training=rows,
                most_categories=config.most_categories,
            )
            apart = self._validation_table(table, config) if aside is None else table.rows(aside)
            self._training = self._arrays(table.rows(rows), config)
            self._validation = self._arrays(apart, config)
        self.source = table.source
        self.config = config.settled(len(rows))
        self.inputs, self.outputs = self.preprocessing.width, self.preprocessing.outputs
        self.judged = isinstance(self.preprocessing.target, Classes)
        self.epochs, self.step = self.config.epochs or 1, self.config.batch_size or 1
        self.words = f"{counted(len(rows), 'row')} of {table.source}"
        self.sizes = {"training": len(rows), "validation": len(apart)}
        self.dropped = len(everything) - len(table)

    def _validation_table(self, table: Table, config: DataConfig) -> Table:
        if config.validation_data is None:
            return self.preprocessing.complete(table.test or table)
        source = source_of(config.validation_data, "--validation-data")
        read = self.preprocessing.read(source, **form_of(config))
        return self.preprocessing.complete(read.test or read)

    def _arrays(self, table: Table, config: DataConfig) -> tuple[np.ndarray, np.ndarray]:
        dtype = get_backend().dtype
        X = self.preprocessing.inputs(table, unknown=config.unknown, dtype=dtype)
        y = self.preprocessing.targets(table)
        return X, y if y.ndim == 1 else y.astype(dtype)

    # ---- the network ----
    def ends(self) -> tuple[Any, Any, Any]:
        """Probabilities of classes, or an estimate of a number."""
        if self.judged:
            return (
                Activation_Softmax(),
                losses.Loss_CategoricalCrossentropy(),
                Accuracy_Categorical(),
            )
        return Activation_Linear(), losses.Loss_MeanSquaredError(), Accuracy_Regression()

    def prepare(self, model: Model) -> None:
        """The model's file keeps how rows become inputs, and outputs answers."""
        model.preprocessing = self.preprocessing

    def options(self) -> dict[str, Any]:
        """Another order in every epoch, and what a class counts."""
        order = {"shuffle": True, "seed": self.config.seed}
        return order | {"class_weight": self.config.class_weight}

    def training(self) -> tuple[Any, ...]:
        """Standardized rows and their targets."""
        return self._training

    def validation(self) -> tuple[Any, Any]:
        """The rows that were kept, or those of another file."""
        return self._validation

    def seen(self, training: tuple[Any, ...]) -> tuple[Any, Any]:
        """At most 100,000 of the training rows, spread over all of them."""
        X, y = training
        step = -(-len(X) // MOST_SEEN)
        return X[::step], y[::step]

    # ---- words and numbers ----
    @property
    def notes(self) -> list[str]:
        """What was understood of the table, for people to look at before they wait."""
        made, target = self.preprocessing, self.preprocessing.target
        features = f"{counted(len(made.features), 'feature')} as {counted(made.width, 'input')}"
        if isinstance(target, Classes):
            more = len(target.classes) - MOST_CLASSES
            names = ", ".join(target.classes[:MOST_CLASSES]) + (f" and {more}" if more > 0 else "")
            learned = f"{len(target.classes)} classes: {names}"
        else:
            learned = f"a number, mean {target.mean:g}, standard deviation {target.std:g}"
        rows = f"{counted(self.sizes['validation'], 'row')} to validate on"
        if self.dropped:
            rows += f", {counted(self.dropped, 'row')} left out, where a cell is missing"
        return [
            f"{features}; {rows}",
            f"{target.name}: {learned}",
        ]

    def measures(self, seen: dict[str, float], fresh: dict[str, float]) -> dict[str, Any]:
        """How good the final model is, in the target's terms."""
        target = self.preprocessing.target
        found: dict[str, Any] = {"task": target.task, "target": target.name}
        found |= {"rows": self.sizes, "dropped": self.dropped}
        if isinstance(target, Classes):
            counts = np.bincount(self._training[1], minlength=len(target.classes))
            return {
                "train_accuracy": seen["accuracy"],
                "validation_accuracy": fresh["accuracy"],
                "baseline_accuracy": float((self._validation[1] == counts.argmax()).mean()),
                **found,
                "classes": list(target.classes),
            }
        for part, measured, y in (
            ("train", seen, self.seen(self._training)[1]),
            ("validation", fresh, self._validation[1]),
        ):
            numbers = target.measures(measured["loss"], y)
            found |= {f"{part}_{name}": value for name, value in numbers.items()}
        return found

    def rows(self, metrics: dict[str, Any]) -> dict[str, str]:
        """The same for people."""
        target = self.preprocessing.target
        if isinstance(target, Classes):
            return {
                "train accuracy": f"{metrics['train_accuracy']:.4f}",
                "validation accuracy": f"{metrics['validation_accuracy']:.4f}",
                "baseline": f"{metrics['baseline_accuracy']:.4f}  (always the commonest class)",
            }
        return quantity_rows(target, metrics, "train_") | quantity_rows(
            target, metrics, "validation_"
        )

    # ---- the picture ----
    @property
    def picture_file(self) -> str:
        """That of decision regions where there are any."""
        return PICTURE_FILE if self._in_a_plane else CURVES_FILE

    @property
    def _in_a_plane(self) -> bool:
        features = self.preprocessing.features
        return self.judged and [type(one) for one in features] == [Number, Number]

    def picture(self, model: Model, validation: Any, metrics: dict[str, Any]) -> bytes:
        """Curves, and for two columns of numbers the decision regions."""
        made, plane = self.preprocessing, self._plane(validation)
        title = f"{made.target.name} of {Path(self.source).name}: network {network(self)}"
        return table_overview(model, metrics["curve"], title, plane, self.judged)

    def animation(self, validation: Any) -> Animation:
        """Of the decision regions of two columns of numbers."""
        plane = self._plane(validation)
        if plane is None:
            features = len(self.preprocessing.features)
            raise InputError(
                f"--animate: got {features} feature{'' if features == 1 else 's'} and "
                f"{self.preprocessing.target.name}, {self.preprocessing.target.task}; expected "
                "classes over two columns of numbers: leave --animate out, or --ignore the others"
            )
        return plane.animation()

    def _plane(self, validation: Any) -> Plane | None:
        """The rows to validate on as points; None where they are none."""
        target = self.preprocessing.target
        if not self._in_a_plane or not isinstance(target, Classes):
            return None
        numbers = [one for one in self.preprocessing.features if isinstance(one, Number)]
        mean, std = (np.array([getattr(n, what) for n in numbers]) for what in ("mean", "std"))
        first, second = (one.name for one in numbers)
        points, labels = validation
        return Plane(points, labels, mean, std, (first, second), target.classes)


def counted(number: int, what: str) -> str:
    """Such as "1 row" and "1,234 rows"."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def quantity_rows(target: Quantity, metrics: dict[str, Any], part: str) -> dict[str, str]:
    """How good estimates are, for people."""
    r2 = "-" if metrics[f"{part}r2"] is None else f"{metrics[f'{part}r2']:.4f}"
    words, rmse = part.replace("_", " "), metrics[f"{part}rmse"]
    return {
        f"{words}error": f"{rmse:.4g}  (root of the mean square, in {target.name})",
        f"{words}R2": f"{r2}  (1 is perfect, 0 is no better than the mean)",
    }


# ---- reading ----
def _training_table(config: DataConfig) -> tuple[Table, str]:
    """The table and the name of its target."""
    target = config.target
    table = read_table(
        source_of(config.data, "--data"),
        text=config.text,
        ignore=config.ignore,
        target=target,
        **form_of(config),
    )
    target = target or table.target
    if target is None:
        raise InputError(
            f"--target: missing; which column of {table.source} is to be learned? It has "
            f"{listed(table.names)}"
        )
    return table, target


def _parts(table: Table, target: str, config: DataConfig) -> tuple[np.ndarray, np.ndarray | None]:
    """The rows to train on, and those kept for validation; None where they stand elsewhere."""
    if config.validation_data is not None or table.test is not None:
        return np.arange(len(table)), None
    classes = None
    if _task(table, target, config) == Classes.task:
        classes = fit_classes(table, target).encode(table, target)
    return split_rows(len(table), config.validation_split, config.seed, classes)


def _task(table: Table, target: str, config: DataConfig) -> str:
    return config.task or task_of(table, target)
