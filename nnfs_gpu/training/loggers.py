"""Callbacks that write down an epoch's numbers: to a CSV file, or for TensorBoard."""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path
from typing import Any

from .. import checks
from ..files import tensor_file
from ..files.tensor_file import AnyPath
from .callbacks import Callback


class CSVLogger(Callback):
    """Writes the numbers of each epoch to a line of a CSV file: epoch, and the epoch's logs.

    A line is in the file as soon as its epoch has ended, numbers in full precision. A run that is
    killed and goes on from its checkpoint (`train(checkpoint=)`) writes each epoch once: lines that
    the checkpoint does not know of are cut off first. The arguments are Keras's; epochs count from
    1.

    Parameters
    ----------
    filename : str or path
        The file. Folders that are missing are made.
    separator : str
        One character between two numbers.
    append : bool
        True: go on behind what the file holds; False: begin it anew.

    Raises
    ------
    ValueError
        For another separator; when training begins, for other columns in a file to go on with.
    OSError
        Where the file cannot be written.
    """

    rank_0 = True

    def __init__(self, filename: AnyPath, separator: str = ",", append: bool = False):
        if not isinstance(separator, str) or len(separator) != 1 or separator in '\r\n"':
            raise ValueError(f"separator: got {separator!r}, expected one character such as ','")
        self.filename, self.separator = os.fsdecode(filename), separator
        self.append = bool(append)
        self._path = Path(self.filename)
        self._length = 0  # bytes that are in the file for good

    def on_train_begin(self, logs: dict[str, Any]) -> None:
        """Find out where the lines go. Nothing is written before the first epoch has ended."""
        self._path = Path(self.filename).absolute()  # the same wherever others go
        self._length = 0
        if self._path.is_dir():
            raise IsADirectoryError(f"filename: {self._path} is a folder; give a file in it")
        if self.append and self._path.exists():
            self._length = self._path.stat().st_size
            self._check_columns(logs["metrics"])

    def _check_columns(self, metrics: tuple[str, ...]) -> None:
        expected = self._line(["epoch", *metrics])
        with open(self._path, "rb") as file:
            first = file.readline(4096)
        if self._length and first.rstrip(b"\r\n") != expected.rstrip(b"\n"):
            raise ValueError(
                f"filename: {self._path} begins with {first[:80]!r}, expected the columns "
                f"{expected!r}; give another file, or append=False to begin it anew"
            )

    def _line(self, values: list[Any]) -> bytes:
        text = io.StringIO()
        csv.writer(text, delimiter=self.separator, lineterminator="\n").writerow(values)
        return text.getvalue().encode()

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """Write its line, behind the title where it is the first."""
        tensor_file.make_folder(self._path.parent)
        with open(self._path, "ab") as file:  # made where it is missing
            length = min(self._length, file.tell())
            file.truncate(length)
            title = b"" if length else self._line(["epoch", *logs])
            if length and not self._ends_a_line():
                title = b"\n"
            file.write(title + self._line([epoch, *logs.values()]))
            file.flush()
            self._length = file.tell()

    def _ends_a_line(self) -> bool:
        with open(self._path, "rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read() == b"\n"

    # ---- for checkpoints ----
    def settings(self) -> dict[str, Any]:
        """What one file cannot have two of."""
        return {"separator": self.separator}

    def get_state(self) -> dict[str, Any]:
        """How much of the file is of finished epochs; forced to the disk, as the checkpoint is."""
        if self._path.is_file():
            with open(self._path, "rb") as file:
                os.fsync(file.fileno())
        return {"bytes": self._length}

    def set_state(self, state: dict[str, Any]) -> None:
        """What lies behind is cut off when the next epoch has ended.

        A file that is gone, or shorter, is gone on with as it is. Raises ValueError or TypeError
        for another state.
        """
        if state.keys() != {"bytes"}:
            raise ValueError(f"got {sorted(state)}, expected ['bytes']")
        self._length = checks.seed(state["bytes"], "bytes")


class TensorBoard(Callback):
    """Writes the numbers of each epoch for TensorBoard: `tensorboard --logdir runs` shows them.

    Needs tensorboardX: pip install 'nnfs-gpu[tensorboard]'.

    Parameters
    ----------
    log_dir : str or path
        The folder of this run, made where it is missing. A run that goes on from a checkpoint, or a
        new one in the same folder, takes the place of the epochs that it does again.

    Raises
    ------
    ModuleNotFoundError
        When training begins without tensorboardX.
    """

    rank_0 = True

    def __init__(self, log_dir: AnyPath = "runs"):
        self.log_dir = os.fsdecode(log_dir)
        self._path = Path(self.log_dir)
        self._writer: Any = None

    def on_train_begin(self, logs: dict[str, Any]) -> None:
        """Find out whether it can be written."""
        _summary_writer()
        self._path, self._writer = Path(self.log_dir).absolute(), None
        if self._path.is_file():
            raise NotADirectoryError(f"log_dir: {self._path} is a file, expected a folder")

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """Write its numbers under the names of the logs."""
        if self._writer is None:
            self._writer = _summary_writer()(str(self._path), purge_step=epoch)
        for name, value in logs.items():
            self._writer.add_scalar(name, value, epoch)
        self._writer.flush()  # a kill loses none

    def on_train_end(self, logs: dict[str, float]) -> None:
        """Close the file."""
        self._close()

    def on_exception(self, error: BaseException) -> None:
        """Close the file."""
        self._close()

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def _summary_writer() -> Any:
    try:
        from tensorboardX import SummaryWriter
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "tensorboardX is not installed, which the callback TensorBoard needs: "
            "pip install 'nnfs-gpu[tensorboard]'"
        ) from error
    return SummaryWriter
