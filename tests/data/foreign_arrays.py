"""Stand-ins with the manners of other libraries' objects, so that no test needs the libraries."""

import numpy as np


class DLPackOnly:
    """An array that speaks DLPack and nothing else."""

    def __init__(self, inside):
        self._inside = np.asarray(inside)

    def __dlpack__(self, **arguments):
        return self._inside.__dlpack__(**arguments)

    def __dlpack_device__(self):
        return self._inside.__dlpack_device__()


class TensorDtype:
    """A dtype that is not NumPy's and has no `kind`."""

    def __init__(self, name):
        self.name = name

    def __str__(self):
        return f"torch.{self.name}"


class Tensor:
    """A tensor of PyTorch's: NumPy reads it once its gradient is detached, its dtype is its own,
    and it has neither `astype` nor `argmax(axis=...)`.
    """

    def __init__(self, inside, requires_grad=False):
        self._inside, self.requires_grad = np.asarray(inside), requires_grad
        self.shape, self.ndim = self._inside.shape, self._inside.ndim
        self.dtype = TensorDtype(self._inside.dtype.name)

    def detach(self):
        return Tensor(self._inside)

    def cpu(self):
        return self

    def numpy(self):
        return self.__array__()

    def reshape(self, *shape):
        return Tensor(self._inside.reshape(*shape), self.requires_grad)

    def __array__(self, dtype=None, copy=None):
        if self.requires_grad:
            raise RuntimeError("Can't call numpy() on Tensor that requires grad.")
        return self._inside if dtype is None else self._inside.astype(dtype)

    def __dlpack__(self, **arguments):
        return self._inside.__dlpack__(**arguments)

    def __dlpack_device__(self):
        return self._inside.__dlpack_device__()

    def __int__(self):
        return int(self._inside)

    def __float__(self):
        return float(self._inside)

    def __len__(self):
        return len(self._inside)

    def __getitem__(self, rows):
        return Tensor(self._inside[rows], self.requires_grad)


class TensorDataset:
    """Single samples by their number, as PyTorch's."""

    def __init__(self, *tensors):
        self.tensors = tensors

    def __len__(self):
        return len(self.tensors[0])

    def __getitem__(self, i):
        return tuple(tensor[i] for tensor in self.tensors)


class DataLoader:
    """Batches of a dataset, anew in every pass, as lists of tensors."""

    def __init__(self, dataset, batch_size=1):
        self.dataset, self.batch_size = dataset, batch_size

    def __len__(self):
        return -(-len(self.dataset) // self.batch_size)

    def __iter__(self):
        for start in range(0, len(self.dataset), self.batch_size):
            yield list(self.dataset[start : start + self.batch_size])
