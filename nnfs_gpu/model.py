"""Model: a chain of layers, a loss, an optimizer and an accuracy, trained in batches.

Book, chapters 18 to 22, with its printed lines. `train` and `evaluate` also return what they
measured. Data and labels are checked and moved to the backend once, before the first step, or
block by block where they are larger than memory: `data.py`. `training.py` holds the loop,
`storage.py` the files, `chain.py` what must fit what.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from . import chain, checks, inference, storage
from .activations import Activation_Softmax
from .backend import get_backend, use_backend
from .blocks import is_source
from .callbacks import Callback, History
from .data import data_of
from .layers import Layer_Input
from .losses import Activation_Softmax_Loss_CategoricalCrossentropy, Loss_CategoricalCrossentropy
from .training import Training

Array = Any


class Model:
    """A network: add layers, set loss, optimizer and accuracy, finalize, train."""

    def __init__(self) -> None:
        self.backend = get_backend()
        self.layers: list[Any] = []
        self.trainable_layers: list[Any] = []
        self.loss: Any = None
        self.optimizer: Any = None
        self.accuracy: Any = None
        self.output_layer_activation: Any = None
        self.softmax_classifier_output: Any = None
        self.stop_training = False
        self._finalized = False

    # ---- building ----
    def add(self, layer: Any) -> None:
        """Append a layer or an activation."""
        if isinstance(layer, type) or not hasattr(layer, "forward"):
            raise TypeError(f"Model.add: got {layer!r}, expected a layer or an activation object")
        self.layers.append(layer)
        self._finalized = False

    def set(self, *, loss: Any = None, optimizer: Any = None, accuracy: Any = None) -> None:
        """Set what is given; what is None stays as it was."""
        self.loss = loss if loss is not None else self.loss
        if optimizer is not None and (
            isinstance(optimizer, type) or not hasattr(optimizer, "update_params")
        ):
            raise TypeError(
                f"Model.set: got the optimizer {optimizer!r}, expected an object such as "
                "Optimizer_Adam()"
            )
        self.optimizer = optimizer if optimizer is not None else self.optimizer
        self.accuracy = accuracy if accuracy is not None else self.accuracy
        self._finalized = False

    def finalize(self) -> None:
        """Connect the layers. Raises ValueError for parts that do not fit one another."""
        if not self.layers:
            raise ValueError("Model.finalize: the model has no layers; add some first")
        chain.check(self.layers, self.loss, self.accuracy, self.backend)
        with use_backend(self.backend):
            self.input_layer = Layer_Input()
            combined = Activation_Softmax_Loss_CategoricalCrossentropy()
        parts = [self.input_layer, *self.layers, self.loss]
        for before, layer, after in zip(parts, parts[1:], parts[2:], strict=False):
            layer.prev, layer.next = before, after
        self.output_layer_activation = self.layers[-1]
        self.trainable_layers = [layer for layer in self.layers if hasattr(layer, "weights")]
        self.softmax_classifier_output = combined if self._is_softmax_classifier() else None
        if self.loss is not None:
            self.loss.remember_trainable_layers(self.trainable_layers)
        self._finalized = True

    def _is_softmax_classifier(self) -> bool:
        return isinstance(self.layers[-1], Activation_Softmax) and isinstance(
            self.loss, Loss_CategoricalCrossentropy
        )

    # ---- one pass ----
    def forward(self, X: Any, training: bool = True) -> Array:
        """Output of the last layer for X (N, features)."""
        self._require("forward")
        output = self.input_layer.forward(X, training)
        for layer in self.layers:
            output = layer.forward(output, training)
        return output

    def backward(self, output: Array, y: Any) -> None:
        """Gradients of all layers, from the `output` of the last forward and its targets."""
        self._require("backward", "loss")
        layers = self.layers
        if self.softmax_classifier_output is not None:
            # One difference instead of the softmax's and the loss's gradients one by one.
            dvalues = self.softmax_classifier_output.backward(output, y)
            layers[-1].dinputs = dvalues
            layers = layers[:-1]
        else:
            dvalues = self.loss.backward(output, y)
        for layer in reversed(layers):
            dvalues = layer.backward(dvalues)

    def explain(self) -> None:
        """Print how training would run: the fused plan, its bytes and operations, the engine."""
        from . import fused

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
        validation_data: Any = None,
        check_finite: bool = False,
        callbacks: Sequence[Callback] = (),
        shuffle: bool = False,
        seed: int = 0,
        checkpoint: Any = None,
        checkpoint_every: int | None = None,
        engine: str = "auto",
    ) -> History:
        """Train on X (N, features) and targets y; returns the history, epoch by epoch.

        Data larger than memory: X and y may be NumPy memory maps (`np.load(file,
        mmap_mode="r")`), whose rows are read when their step comes, or X alone a source of
        blocks (`nnfs_gpu.blocks`). A step over more samples than a block has adds up the
        gradients of its blocks: it is the step over all of them, up to rounding.

        epochs            passes over the data
        batch_size        samples a step; None takes all at once. The last batch may be smaller
        print_every       print every so many steps, in the book's format; None or 0: nothing
        validation_data   (X, y), or a source of blocks, to evaluate after every epoch
        check_finite      raise ValueError where X holds NaN or infinity
        callbacks         objects with the methods of `nnfs_gpu.callbacks.Callback`; one that
                          sets `model.stop_training = True` ends training after the step
        shuffle           take the samples in another order in every epoch; without it in the
                          order given: mix data first whose classes come in blocks. Memory
                          maps are then read row by row, from all over the files
        seed              of the shuffling: an epoch's order depends on (seed, epoch) alone
        checkpoint        a folder for `checkpoint.safetensors`. Where it holds one of this
                          very run, training goes on from there and ends with the bits of a
                          run that was never interrupted: start the same program again
        checkpoint_every  steps between two checkpoints; None: one after every epoch. There is
                          one at the start and at the end, too
        engine            "layers": one layer after the other, as the book; "fused": a whole
                          step at once; "auto": fused where it can be, else layers

        Raises ValueError or TypeError for data that does not fit the network (blocks are
        looked at when they first come; nothing changes in a step that fails), RuntimeError
        before `set`, CheckpointError for a checkpoint of another run (see `checkpoint.py`).
        """
        self._require("train", "loss", "optimizer", "accuracy")
        data = data_of(self, X, y, "train", check_finite)
        validation = None
        if validation_data is not None:
            X_val, y_val = validation_data, None
            if not is_source(validation_data):
                X_val, y_val = checks.pair(validation_data, "validation_data")
            validation = data_of(self, X_val, y_val, "validation_data", check_finite)
        return Training(
            self,
            data,
            epochs=epochs,
            batch_size=batch_size,
            print_every=print_every,
            validation=validation,
            callbacks=callbacks,
            shuffle=shuffle,
            seed=seed,
            checkpoint=checkpoint,
            checkpoint_every=checkpoint_every,
            engine=engine,
        ).run()

    # ---- using ----
    def evaluate(
        self,
        X_val: Any,
        y_val: Any = None,
        *,
        batch_size: int | None = None,
        check_finite: bool = False,
        verbose: bool = True,
    ) -> dict[str, float]:
        """Loss and accuracy on X_val, y_val: printed in the book's format and returned.

        Memory maps and sources of blocks as in `train`. Raises as `train`; needs a loss and an
        accuracy, no optimizer.
        """
        self._require("evaluate", "loss", "accuracy")
        data = data_of(self, X_val, y_val, "evaluate", check_finite)
        return inference.evaluate(self, data, batch_size, verbose)

    def predict(
        self, X: Any, *, batch_size: int | None = None, check_finite: bool = False
    ) -> Array:
        """Outputs of the last layer for X (N, features): for a softmax, probabilities (N, C).

        A NumPy array for a NumPy array or a list, else an array of the backend. A memory map
        is read in blocks; its outputs are an array in memory.
        """
        self._require("predict")
        return inference.predict(self, X, batch_size, check_finite)

    # ---- parameters and files ----
    def get_parameters(self) -> list[tuple[Array, Array]]:
        """(weights, biases) of every trainable layer."""
        return [layer.get_parameters() for layer in self._dense_layers()]

    def set_parameters(self, parameters: Sequence[tuple[Any, Any]]) -> None:
        """Take parameters as `get_parameters` gives them; all are checked before any changes."""
        layers = self._dense_layers()
        if len(parameters) != len(layers):
            raise ValueError(
                f"set_parameters: got {len(parameters)} layers, expected {len(layers)}"
            )
        checked = [
            layer.checked_parameters(*values)
            for layer, values in zip(layers, parameters, strict=True)
        ]
        for layer, values in zip(layers, checked, strict=True):
            layer.set_parameters(*values)

    def save_parameters(self, path: Any) -> None:
        """Write weights and biases to a safetensors file (see `nnfs_gpu.storage`)."""
        storage.save_parameters(self, path)

    def load_parameters(self, path: Any) -> None:
        """Take the parameters in a file of `save_parameters` or `save`, or a book's `.parms`.

        Raises ModelFileError, and changes nothing, for a file that does not fit.
        """
        storage.load_parameters(self, path)

    def save(self, path: Any) -> None:
        """Write the model with its training state to a safetensors file (`nnfs_gpu.storage`)."""
        storage.save(self, path)

    @staticmethod
    def load(path: Any, *, random_state: bool = False) -> Model:
        """The finalized model in a file of `save`, or a book's `.model`, on the default backend.

        random_state  also put NumPy's global stream back where it was when the file was
                      written, if the file says so (models made after `nnfs_gpu.init()`)
        Raises FileNotFoundError or ModelFileError; then nothing has changed.
        """
        return storage.load(path, random_state=random_state)

    # ---- inside ----
    def _dense_layers(self) -> list[Any]:
        return [layer for layer in self.layers if hasattr(layer, "weights")]

    def _width_in(self) -> int | None:
        dense = self._dense_layers()
        return dense[0].n_inputs if dense else None

    def _require(self, what: str, *parts: str) -> None:
        missing = [part for part in parts if getattr(self, part) is None]
        if missing:
            raise RuntimeError(
                f"Model.{what} needs {', '.join(missing)}; give them to Model.set(...) first"
            )
        if not self._finalized:
            raise RuntimeError(f"Model.{what}: call finalize() after the last add and set")

    def _inputs(self, X: Any, what: str, check_finite: bool) -> Array:
        """Data, checked and on the backend."""
        X = checks.matrix(self.backend, X, self._width_in(), what)
        if check_finite:
            checks.finite(self.backend, X, what)
        return X

    def _targets(self, X: Array, y: Any, what: str) -> checks.Targets:
        """The targets of X, checked and on the backend."""
        dense = self._dense_layers()
        outputs = dense[-1].n_neurons if dense else X.shape[1]
        try:
            return self.loss.targets(y, outputs, X.shape[0])
        except (TypeError, ValueError) as error:
            kind = TypeError if isinstance(error, TypeError) else ValueError
            raise kind(f"{what}: {error}") from error

    def _data(self, X: Any, y: Any, what: str, check_finite: bool) -> tuple[Array, checks.Targets]:
        """Data and targets, checked and on the backend."""
        X = self._inputs(X, what, check_finite)
        return X, self._targets(X, y, what)
