"""The history that `Model.train` returns: the numbers of each epoch, to look at and to keep."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .. import checks
from ..files.tensor_file import AnyPath, write_atomically
from ..show import curves

if TYPE_CHECKING:
    from ..show.figure import Picture


class History:
    """The curve of a training run: `history["loss"]` is a list with one number an epoch.

    Attributes
    ----------
    epoch : list of int
        The epochs' numbers, from 1.
    history : dict of str to list of float
        The lists by name, as in Keras.
    communication : float
        Seconds that this rank has spent in the sums of this call's steps, waiting for the
        others included; 0 where one process has trained.
    """

    def __init__(self) -> None:
        self.epoch: list[int] = []
        self.history: dict[str, list[float]] = {}
        self.communication = 0.0

    def append(self, epoch: int, logs: dict[str, float]) -> None:
        """Add numbers of an epoch.

        Parameters
        ----------
        epoch : int
            The last one or the one after it.
        logs : dict of str to float
            Its numbers by name.
        """
        if not self.epoch or self.epoch[-1] != epoch:
            self.epoch.append(epoch)
        for key, value in logs.items():
            self.history.setdefault(key, []).append(value)

    def last(self) -> dict[str, float]:
        """The numbers of the last epoch.

        Returns
        -------
        dict of str to float
            By name; {} before the first epoch.
        """
        return {key: values[-1] for key, values in self.history.items()}

    def __getitem__(self, key: str) -> list[float]:
        if key not in self.history:
            known = ", ".join(self.history) or "nothing yet"
            raise KeyError(f"the history has no {key!r}; it has {known}")
        return self.history[key]

    def __contains__(self, key: str) -> bool:
        return key in self.history

    def __repr__(self) -> str:
        last = ", ".join(f"{key} {value:.4g}" for key, value in self.last().items())
        return f"<History of {len(self.epoch)} epochs; {last}>"

    # ---- to look at, and to keep ----
    def plot(self, *, limit: float | None = None) -> Picture:
        """Draw loss and accuracy by epoch, of training and, where it was measured, validation.

        Parameters
        ----------
        limit : float, optional
            The best possible accuracy, such as `spiral_bayes_limit(3)`: a dashed line.

        Returns
        -------
        matplotlib.figure.Figure
            With a transparent ground and two Axes. A notebook shows it, `savefig` writes it;
            pyplot does not know of it.

        Raises
        ------
        ValueError
            For a limit that is no number of at least 0.
        """
        best = None if limit is None else checks.not_negative(limit, "limit")
        return curves.plot(self.to_dict(), best)

    def to_dict(self) -> dict[str, list[Any]]:
        """All numbers, to be changed at will.

        Returns
        -------
        dict of str to list
            Copies of the lists by name; the first is "epoch".
        """
        return {"epoch": list(self.epoch)} | {key: list(v) for key, v in self.history.items()}

    def to_csv(self, path: AnyPath) -> None:
        """Write a table with a line an epoch, with names in the first line; all digits are there.

        Parameters
        ----------
        path : path-like
            A file that is replaced, or not touched where something fails.

        Raises
        ------
        OSError
            Where the file cannot be written.
        """
        table = self.to_dict()
        lines = [
            ",".join(table),
            *(",".join(map(repr, row)) for row in zip(*table.values(), strict=True)),
        ]
        write_atomically(path, ("\n".join(lines) + "\n").encode())

    def to_frame(self) -> Any:
        """All numbers as a table of pandas.

        Returns
        -------
        pandas.DataFrame
            A column for each name, a row for each epoch, with the epochs' numbers as the index.

        Raises
        ------
        ImportError
            Where pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError as error:
            raise ImportError(
                "History.to_frame needs pandas; pip install pandas, or use to_dict() or to_csv()"
            ) from error
        return pd.DataFrame(self.to_dict()).set_index("epoch")
