"""Model: a chain of layers, a loss, an optimizer and an accuracy, trained in batches.

Book, chapters 18 to 22, with its printed lines. `train` and `evaluate` also return what they
measured. Data and labels are checked and moved to the backend once, before the first step, or
block by block where they are larger than memory: `data/held.py`. `network.py` puts the parts
together, `training/loop.py` holds the loop, `files/model_file.py` the files.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from . import fused
from .data.held import data_of, validation_of
from .files import model_file as storage, onnx_file
from .files.tensor_file import AnyPath
from .network.network import Network
from .ranks.failures import together
from .ranks.world import World
from .show import summary
from .training import inference
from .training.callbacks import Callback
from .training.history import History
from .training.loop import Training
from .training.progress import with_bar
from .training.ranks import RankTraining
from .training.run import Run

Array = Any


class Model(Network):
    """A network: add layers, set loss, optimizer and accuracy, finalize, train."""

    def __repr__(self) -> str:
        return summary.line(self)

    def _repr_html_(self) -> str:
        return summary.html(self)

    def summary(self, print_fn: Callable[[str], Any] | None = None) -> None:
        """Print the layers with their shapes and sizes, and what would train them.

        Works while the model is built, as far as things are known, and with own layers.

        Parameters
        ----------
        print_fn : callable, optional
            Gets the whole text instead, such as `lines.append` or `logger.info`.
        """
        summary.print_summary(self, print_fn)

    def explain(self) -> None:
        """Print how training would run: the fused plan, its bytes and operations, the engine."""
        self._require("explain", "loss", "optimizer")
        print(fused.explain(self))

    # ---- training ----
    def train(
        self,
        X: Any,
        y: Any = None,
        *,
        epochs: int = 1,
        batch_size: int | None = None,
        print_every: int | None = 1,
        sample_weight: Any = None,
        class_weight: Any = None,
        validation_data: Any = None,
        check_finite: bool = False,
        callbacks: Sequence[Callback] = (),
        shuffle: bool = False,
        seed: int = 0,
        checkpoint: Any = None,
        checkpoint_every: int | None = None,
        engine: str = "auto",
        world: World | None = None,
        progress: bool = False,
    ) -> History:
        """Train on X (N, features) and targets y; returns the history, epoch by epoch.

        Data larger than memory: X and y may be NumPy memory maps (`np.load(file,
        mmap_mode="r")`), whose rows are read when their step comes, or X alone a source of
        blocks (`nnfs_gpu.data.sources`). A step over more samples than a block has adds up the
        gradients of its blocks: it is the step over all of them, up to rounding.

        Parameters
        ----------
        X : array, table, memory map or source of blocks
            Data of shape (N, features), of any real dtype; computed in the model's.
        y : array or memory map, optional
            Targets as the loss takes them: classes (N,), one-hot or soft rows (N, C), numbers
            (N, O) or (N,). None where a source gives them.
        epochs : int
            Passes over the data.
        batch_size : int, optional
            Samples a step; None takes all at once. The last batch may be smaller.
        print_every : int, optional
            Print every so many steps, in the book's format; None or 0: nothing.
        sample_weight : array or memory map, optional
            What each sample counts, (N,) finite numbers of at least 0. The loss of a batch is
            sum w l / sum w, so that a whole number counts as so many copies of the sample, as in
            scikit-learn (Keras divides by the number of samples instead). The penalty and the
            accuracy are not weighted. A source gives (X, y, sample_weight) in its blocks.
        class_weight : dict or "balanced", optional
            What each class counts, {class: number}, classes not named 1; "balanced": N / (K times
            the samples of the class), of K classes. Multiplied by the sample's own weight.
        validation_data : tuple (X, y) or (X, y, sample_weight), or source of blocks, optional
            What to evaluate after every epoch.
        check_finite : bool
            Raise ValueError where X holds NaN or infinity.
        callbacks : sequence of Callback
            Objects with the methods of `nnfs_gpu.Callback`; one that sets
            `model.stop_training = True` ends training after the step.
        shuffle : bool
            Take the samples in another order in every epoch; without it in the order given:
            mix data first whose classes come in blocks. Memory maps are then read row by row,
            from all over the files.
        seed : int
            Of the shuffling: an epoch's order depends on (seed, epoch) alone.
        checkpoint : path, optional
            A folder for `checkpoint.safetensors`. Where it holds one of this very run, training
            goes on from there and ends with the bits of a run that was never interrupted:
            start the same program again.
        checkpoint_every : int, optional
            Steps between two checkpoints; None: one after every epoch. There is one at the
            start and at the end, too.
        engine : {"auto", "layers", "fused"}
            "layers": one layer after the other, as the book; "fused": a whole step at once;
            "auto": fused where it can be, else layers.
        world : World, optional
            Ranks that train this model together: each calls this with the same model and data
            and does some of the rows of every batch, in fused steps. Parameters, history and
            files are the same bits for any number of ranks; rank 0 alone prints and writes.
        progress : bool
            Show a bar (`nnfs_gpu.ProgressBar`) in place of the lines of `print_every`.

        Returns
        -------
        History
            What was measured, epoch by epoch.

        Raises
        ------
        ValueError, TypeError
            For data that does not fit the network. Blocks are looked at when they first come;
            nothing changes in a step that fails.
        RuntimeError
            Before `set` and `finalize`.
        CheckpointError
            For a checkpoint of another run.
        RankError
            Over ranks, where another rank has failed or was given something else.
        CannotFuse
            Over ranks or with engine="fused", where the network cannot be fused.

        Warns
        -----
        RuntimeWarning
            Once where a loss, weight or bias becomes NaN or infinite.
        """

        def prepared() -> Training:
            self._require("train", "loss", "optimizer", "accuracy")
            data = data_of(self, X, y, "train", check_finite, sample_weight, class_weight)
            validation = None
            if validation_data is not None:
                validation = validation_of(self, validation_data, check_finite)
            shown, every = with_bar(callbacks, print_every, progress)
            run = Run(self, data, epochs, batch_size, every, validation, shown, shuffle, seed)
            if world is not None:
                return RankTraining(run, engine, checkpoint, checkpoint_every, world)
            return Training(run, engine, checkpoint, checkpoint_every)

        return together(world or World(), prepared).train()

    # ---- using ----
    def evaluate(
        self,
        X_val: Any,
        y_val: Any = None,
        *,
        sample_weight: Any = None,
        batch_size: int | None = None,
        check_finite: bool = False,
        verbose: bool = True,
        world: World | None = None,
    ) -> dict[str, float]:
        """Loss and accuracy on X_val, y_val: printed in the book's format and returned.

        Memory maps, sources of blocks and ranks as in `train`: each rank measures some of the
        batches, all get the same numbers. Raises as `train`; needs a loss and an accuracy, no
        optimizer.

        Parameters
        ----------
        X_val : array, table, memory map or source of blocks
            Data of shape (N, features).
        y_val : array or memory map, optional
            Their targets; None where a source gives them.
        sample_weight : array or memory map, optional
            What each sample counts in the loss, as in `train`; the accuracy is not weighted.
        batch_size : int, optional
            Samples at a time; None: all at once.
        check_finite : bool
            Raise ValueError where X_val holds NaN or infinity.
        verbose : bool
            Print the book's line.
        world : World, optional
            Ranks that share the batches.

        Returns
        -------
        dict of str to float
            "loss" and "accuracy".
        """

        def prepared() -> Any:
            self._require("evaluate", "loss", "accuracy")
            return data_of(self, X_val, y_val, "evaluate", check_finite, sample_weight)

        data = together(world or World(), prepared)
        return inference.evaluate(self, data, batch_size, verbose, world)

    def predict(
        self,
        X: Any,
        *,
        batch_size: int | None = None,
        check_finite: bool = False,
        world: World | None = None,
        gather: bool = True,
    ) -> Array:
        """Outputs of the last layer for X (N, features): for a softmax, probabilities (N, C).

        A NumPy array for a NumPy array or a list, else an array of the backend. A memory map
        is read in blocks; its outputs are an array in memory.

        Parameters
        ----------
        X : array, table or memory map
            Data of shape (N, features).
        batch_size : int, optional
            Samples at a time; None: all at once.
        check_finite : bool
            Raise ValueError where X holds NaN or infinity.
        world : World, optional
            Ranks that share the rows of X, which each is given whole.
        gather : bool
            True: every rank gets all outputs; False: those of its own rows, from row
            N rank // size on, as many as N (rank + 1) // size is beyond that.

        Returns
        -------
        array of shape (N, outputs)
            In the model's dtype.
        """
        self._require("predict")
        return inference.predict(self, X, batch_size, check_finite, world or World(), gather)

    # ---- files ----
    def save_parameters(self, path: AnyPath) -> None:
        """Write weights and biases to a safetensors file (see files/model_file.py).

        Parameters
        ----------
        path : path
            Of the file, which is replaced only when the new one is complete.
        """
        storage.save_parameters(self, path)

    def load_parameters(self, path: AnyPath) -> None:
        """Take the parameters in a file of `save_parameters` or `save`, or a book's `.parms`.

        Parameters
        ----------
        path : path
            Of the file.

        Raises
        ------
        ModelFileError
            For a file that does not fit; then nothing has changed.
        """
        storage.load_parameters(self, path)

    def save(self, path: AnyPath) -> None:
        """Write the model with its training state to a safetensors file (files/model_file.py).

        Parameters
        ----------
        path : path
            Of the file, which is replaced only when the new one is complete.

        Raises
        ------
        TypeError
            For a class of the user's own that is not registered: `nnfs_gpu.register`.
        """
        storage.save(self, path)

    def to_onnx(self, path: AnyPath, *, class_names: Sequence[Any] | None = None) -> None:
        """Write what `predict` computes to an ONNX file, for other programs (files/onnx_file.py).

        Input "X" (N, features), output "output" (N, outputs), in the model's dtype, N of any size.
        Dropout is left out, as in every prediction. Needs `pip install "nnfs-gpu[onnx]"`.

        Parameters
        ----------
        path : path
            Of the file, which is replaced only when the new one is complete.
        class_names : sequence of str or int, optional
            One for each output, kept in the file's metadata as the JSON list "class_names"; None:
            those of the table that the model was trained on, if it was.

        Raises
        ------
        ImportError
            Without the package onnx.
        TypeError, ValueError
            For a layer of your own; for bad names.
        OSError
            Where the folder cannot be written.
        """
        self._require("to_onnx")
        onnx_file.save(self, path, class_names)

    @staticmethod
    def load(path: AnyPath, *, random_state: bool = False) -> Model:
        """The finalized model in a file of `save`, or a book's `.model`, on the default backend.

        Parameters
        ----------
        path : path
            Of the file.
        random_state : bool
            Also put NumPy's global stream back where it was when the file was written, if the
            file says so (models made after `nnfs_gpu.init()`).

        Returns
        -------
        Model
            Ready to predict, evaluate and train on.

        Raises
        ------
        FileNotFoundError, ModelFileError
            Then nothing has changed.
        """
        return storage.load(Model, path, random_state)
