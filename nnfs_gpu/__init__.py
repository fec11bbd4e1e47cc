"""The network of "Neural Networks from Scratch in Python" over one array-backend boundary.

Same names and numbers as the book, on NumPy, on jitted kernels of all CPU cores, or on CUDA.
Importing compiles nothing and needs no GPU: a backend is loaded when the first layer asks for it.

(PYTEST_DONT_REWRITE: else pytest warns where the package of its plugin is imported before it.)
"""

from typing import TYPE_CHECKING

from ._version import __version__
from .accuracy import Accuracy, Accuracy_Categorical, Accuracy_Regression
from .activations import (
    Activation_LeakyReLU,
    Activation_Linear,
    Activation_ReLU,
    Activation_Sigmoid,
    Activation_Softmax,
    Activation_Tanh,
)
from .backend import available_backends, get_backend, use_backend
from .data.sources import Blocks, Rows, spiral_blocks, spiral_rows
from .datasets import init, sine_data, spiral_bayes_limit, spiral_data, vertical_data
from .files.model_file import ModelFileError
from .files.vocabulary import register
from .layers import Layer_Dense, Layer_Dropout, Layer_Input
from .losses import (
    Activation_Softmax_Loss_CategoricalCrossentropy,
    Loss,
    Loss_BinaryCrossentropy,
    Loss_CategoricalCrossentropy,
    Loss_MeanAbsoluteError,
    Loss_MeanSquaredError,
)
from .model import Model
from .optimizers import (
    Optimizer,
    Optimizer_Adagrad,
    Optimizer_Adam,
    Optimizer_AdamW,
    Optimizer_RMSprop,
    Optimizer_SGD,
)
from .ranks.devices import choose_device
from .ranks.world import World
from .show.picture import picture
from .tables.preprocessing import Preprocessing
from .tables.reading import read_table
from .tables.split import split_rows
from .tables.table import TableError
from .targets import Labels
from .training.callbacks import Callback
from .training.checkpoint_file import CheckpointError
from .training.early_stopping import EarlyStopping
from .training.history import History
from .training.loggers import CSVLogger, TensorBoard
from .training.monitoring import ModelCheckpoint, ReduceLROnPlateau
from .training.progress import ProgressBar

__all__ = [
    "Accuracy",
    "Accuracy_Categorical",
    "Accuracy_Regression",
    "Activation_LeakyReLU",
    "Activation_Linear",
    "Activation_ReLU",
    "Activation_Sigmoid",
    "Activation_Softmax",
    "Activation_Softmax_Loss_CategoricalCrossentropy",
    "Activation_Tanh",
    "Blocks",
    "CSVLogger",
    "Callback",
    "CheckpointError",
    "EarlyStopping",
    "History",
    "Labels",
    "Layer_Dense",
    "Layer_Dropout",
    "Layer_Input",
    "Loss",
    "Loss_BinaryCrossentropy",
    "Loss_CategoricalCrossentropy",
    "Loss_MeanAbsoluteError",
    "Loss_MeanSquaredError",
    "Model",
    "ModelCheckpoint",
    "ModelFileError",
    "Optimizer",
    "Optimizer_Adagrad",
    "Optimizer_Adam",
    "Optimizer_AdamW",
    "Optimizer_RMSprop",
    "Optimizer_SGD",
    "Preprocessing",
    "ProgressBar",
    "ReduceLROnPlateau",
    "Rows",
    "TableError",
    "TensorBoard",
    "World",
    "__version__",
    "available_backends",
    "choose_device",
    "get_backend",
    "init",
    "picture",
    "read_table",
    "register",
    "sine_data",
    "spiral_bayes_limit",
    "spiral_blocks",
    "spiral_data",
    "spiral_rows",
    "split_rows",
    "use_backend",
    "vertical_data",
]


if TYPE_CHECKING:
    from .estimators import NNFSClassifier as NNFSClassifier, NNFSRegressor as NNFSRegressor
else:

    def __getattr__(name: str) -> type:
        if name in ("NNFSClassifier", "NNFSRegressor"):  # scikit-learn is loaded when asked for
            from . import estimators

            return getattr(estimators, name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
