"""Model: a chain of layers, a loss, an optimizer and an accuracy, trained in batches.

Book, chapters 18 to 22, with its printed lines. `train` and `evaluate` also return what they
measured. Data and labels are checked and moved to the backend once, before the first step;
loss and accuracy are fetched from the device only to be printed or at the end of an epoch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from . import checks, storage
from .activations import Activation_Softmax
from .backend import get_backend, use_backend
from .callbacks import Callback, History
from .layers import Layer_Dense, Layer_Input
from .losses import Activation_Softmax_Loss_CategoricalCrossentropy, Loss_CategoricalCrossentropy

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
        self.optimizer = optimizer if optimizer is not None else self.optimizer
        self.accuracy = accuracy if accuracy is not None else self.accuracy
        self._finalized = False

    def finalize(self) -> None:
        """Connect the layers. Raises ValueError for layers that do not fit one another."""
        if not self.layers:
            raise ValueError("Model.finalize: the model has no layers; add some first")
        self._check_chain()
        with use_backend(self.backend):
            self.input_layer = Layer_Input()
            combined = Activation_Softmax_Loss_CategoricalCrossentropy()
        chain = [self.input_layer, *self.layers, self.loss]
        for before, layer, after in zip(chain, chain[1:], chain[2:], strict=False):
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

    def _check_backend(self, what: str, part: Any) -> None:
        if getattr(part, "backend", self.backend) is not self.backend:
            raise ValueError(
                f"{what} ({type(part).__name__}) was made for {part.backend!r}, the "
                f"model for {self.backend!r}; make both under the same use_backend(...)"
            )

    def _check_chain(self) -> None:
        width = None
        self._check_backend("the loss", self.loss)
        self._check_backend("the accuracy", self.accuracy)
        for number, layer in enumerate(self.layers):
            self._check_backend(f"layer {number}", layer)
            if isinstance(layer, Layer_Dense):
                if width is not None and layer.n_inputs != width:
                    raise ValueError(
                        f"layer {number} is Dense({layer.n_inputs}, {layer.n_neurons}), but the "
                        f"layers before it give {width} outputs; expected Dense({width}, ...)"
                    )
                width = layer.n_neurons
        if (
            isinstance(self.loss, Loss_CategoricalCrossentropy)
            and not self._is_softmax_classifier()
        ):
            raise ValueError(
                "categorical cross-entropy needs probabilities, but the last layer is "
                f"{type(self.layers[-1]).__name__}; add Activation_Softmax() at the end"
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

    # ---- training ----
    def train(
        self,
        X: Any,
        y: Any,
        *,
        epochs: int = 1,
        batch_size: int | None = None,
        print_every: int | None = 1,
        validation_data: tuple[Any, Any] | None = None,
        check_finite: bool = False,
        callbacks: Sequence[Callback] = (),
    ) -> History:
        """Train on X (N, features) and targets y; returns the history, epoch by epoch.

        epochs           passes over the data
        batch_size       samples a step; None takes all at once. The last batch may be smaller
        print_every      print every so many steps, in the book's format; None or 0: nothing
        validation_data  (X, y) to evaluate after every epoch
        check_finite     raise ValueError where X holds NaN or infinity
        callbacks        objects with the methods of `nnfs_gpu.callbacks.Callback`

        Data is taken in the order given: shuffle it first where classes come in blocks and
        batches are smaller than the data. Raises ValueError or TypeError for data that does
        not fit the network, RuntimeError before `set`.
        """
        self._require("train", "loss", "optimizer", "accuracy")
        epochs = checks.positive_int(epochs, "epochs")
        print_every = checks.positive_int(print_every, "print_every") if print_every else 0
        X, y = self._data(X, y, "train", check_finite)
        if validation_data is not None:
            X_val, y_val = checks.pair(validation_data, "validation_data")
            validation_data = self._data(X_val, y_val, "validation_data", check_finite)
        batches = list(_batches(X.shape[0], batch_size))
        self.accuracy.init(y)
        history, logs = History(), {}
        for callback in callbacks:
            callback.model = self
            callback.on_train_begin(
                {"epochs": epochs, "steps": len(batches), "samples": X.shape[0]}
            )
        for epoch in range(1, epochs + 1):
            if print_every:
                print(f"epoch: {epoch}")
            self.loss.new_pass()
            self.accuracy.new_pass()
            for step, rows in enumerate(batches):
                data_loss, penalty, accuracy = self._step(X[rows], y[rows])
                if print_every and (step % print_every == 0 or step == len(batches) - 1):
                    self._print(f"step: {step}", accuracy, float(data_loss), float(penalty))
                for callback in callbacks:
                    callback.on_train_batch_end(step, {"epoch": epoch})
            logs = self._epoch_logs()
            if print_every:
                self._print("training", logs["accuracy"], logs["data_loss"], logs["reg_loss"])
            if validation_data is not None:
                measured = self.evaluate(
                    *validation_data, batch_size=batch_size, verbose=bool(print_every)
                )
                logs |= {f"val_{key}": value for key, value in measured.items()}
            history.append(epoch, logs)
            for callback in callbacks:
                callback.on_epoch_end(epoch, logs)
        for callback in callbacks:
            callback.on_train_end(logs)
        return history

    def _step(self, X: Array, y: Any) -> tuple[Any, Any, Any]:
        """One batch: forward, loss and penalty, accuracy, backward, update."""
        output = self.forward(X, training=True)
        data_loss, penalty = self.loss.calculate(output, y, include_regularization=True)
        predictions = self.output_layer_activation.predictions(output)
        accuracy = self.accuracy.calculate(predictions, y)
        self.backward(output, y)
        self.optimizer.pre_update_params()
        for layer in self.trainable_layers:
            self.optimizer.update_params(layer)
        self.optimizer.post_update_params()
        return data_loss, penalty, accuracy

    def _epoch_logs(self) -> dict[str, float]:
        data_loss, penalty = self.loss.calculate_accumulated(include_regularization=True)
        return {
            "loss": float(data_loss) + float(penalty),
            "data_loss": float(data_loss),
            "reg_loss": float(penalty),
            "accuracy": float(self.accuracy.calculate_accumulated()),
            "learning_rate": float(self.optimizer.current_learning_rate),
        }

    def _print(self, what: str, accuracy: Any, data_loss: float, penalty: float) -> None:
        print(
            f"{what}, acc: {float(accuracy):.3f}, loss: {data_loss + penalty:.3f} "
            f"(data_loss: {data_loss:.3f}, reg_loss: {penalty:.3f}), "
            f"lr: {self.optimizer.current_learning_rate}"
        )

    # ---- using ----
    def evaluate(
        self,
        X_val: Any,
        y_val: Any,
        *,
        batch_size: int | None = None,
        check_finite: bool = False,
        verbose: bool = True,
    ) -> dict[str, float]:
        """Loss and accuracy on X_val, y_val: printed in the book's format and returned.

        Raises as `train`; needs a loss and an accuracy, no optimizer.
        """
        self._require("evaluate", "loss", "accuracy")
        X, y = self._data(X_val, y_val, "evaluate", check_finite)
        # Sums of its own: an epoch that is under way keeps the accumulated ones.
        losses, right, compared = 0.0, 0.0, 0
        for rows in _batches(X.shape[0], batch_size):
            output = self.forward(X[rows], training=False)
            losses = losses + self.backend.sum(self.loss.forward(output, y[rows]))
            predictions = self.output_layer_activation.predictions(output)
            comparisons = self.accuracy.compare(predictions, y[rows])
            right = right + self.backend.sum(comparisons)
            compared += comparisons.size
        loss, accuracy = float(losses) / X.shape[0], float(right) / compared
        if verbose:
            print(f"validation, acc: {accuracy:.3f}, loss: {loss:.3f}")
        return {"loss": loss, "accuracy": accuracy}

    def predict(
        self, X: Any, *, batch_size: int | None = None, check_finite: bool = False
    ) -> Array:
        """Outputs of the last layer for X (N, features): for a softmax, probabilities (N, C)."""
        self._require("predict")
        X = checks.matrix(self.backend, X, self._width_in(), "predict")
        if check_finite:
            checks.finite(self.backend, X, "predict")
        outputs = [self.forward(X[rows], False) for rows in _batches(X.shape[0], batch_size)]
        if len(outputs) == 1:
            return outputs[0]
        result = self.backend.zeros((X.shape[0], outputs[0].shape[1]))
        for rows, output in zip(_batches(X.shape[0], batch_size), outputs, strict=True):
            result[rows] = output
        return result

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

    def save(self, path: Any) -> None:
        """Write parameters and architecture to a safetensors file (see `nnfs_gpu.storage`)."""
        storage.save(self, path)

    @staticmethod
    def load(path: Any) -> Model:
        """The finalized model in a file that `save` wrote, on the default backend."""
        return storage.load(path)

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

    def _data(self, X: Any, y: Any, what: str, check_finite: bool) -> tuple[Array, Any]:
        """Data and targets, checked and on the backend."""
        X = checks.matrix(self.backend, X, self._width_in(), what)
        if check_finite:
            checks.finite(self.backend, X, what)
        if isinstance(self.loss, Loss_CategoricalCrossentropy):
            dense = self._dense_layers()
            classes = dense[-1].n_neurons if dense else X.shape[1]
            y = checks.Labels.of(y, classes, self.backend, X.shape[0])
        return X, y


def _batches(samples: int, batch_size: int | None) -> Iterator[slice]:
    size = samples if batch_size is None else checks.positive_int(batch_size, "batch_size")
    return (slice(start, start + size) for start in range(0, samples, size))
