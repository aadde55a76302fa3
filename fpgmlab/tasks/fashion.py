"""Fashion-MNIST, the data set that ships (Xiao, Rasul & Vollgraf, 2017, arXiv:1708.07747; MIT licence)."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from fpgmlab.common.files import data_file
from fpgmlab.tasks.classification import Classification, shift_and_flip

CLASSES = ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
MEAN, STD = 0.2860, 0.3530  # of the 60,000 training images, in [0, 1]


class FashionMNIST(Dataset):
    """Grey 28x28 pictures of clothes, held in memory as bytes.

    Parameters
    ----------
    split : {"train", "test"}
        60,000 or 10,000 images.
    """

    classes = CLASSES

    def __init__(self, split: str) -> None:
        prefix = {"train": "train", "test": "t10k"}.get(split)
        if prefix is None:
            raise ValueError(f"split must be 'train' or 'test'; not {split!r}")
        images = _read_idx(data_file("fashion-mnist", f"{prefix}-images-idx3-ubyte.gz"))
        self.images = torch.from_numpy(images).unsqueeze(1)  # (n, 1, 28, 28) uint8
        self.labels = torch.from_numpy(_read_idx(data_file("fashion-mnist", f"{prefix}-labels-idx1-ubyte.gz"))).long()

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self._read(index)

    def __getitems__(self, indices: list[int]) -> list[tuple[Tensor, Tensor]]:
        # The data loader's way to ask for a whole batch: one conversion instead of one for each image.
        return list(zip(*self._read(torch.as_tensor(indices)), strict=True))

    def _read(self, where: int | Tensor) -> tuple[Tensor, Tensor]:
        return (self.images[where].float() / 255 - MEAN) / STD, self.labels[where]


def fashion_mnist(holdout: int | None = None, seed: int = 0) -> Classification:
    """Return the task of the shipped data: 60,000 images to train on and the 10,000 test images to validate.

    Fashion-MNIST, grey 28x28 pictures of clothes (Xiao, Rasul & Vollgraf, 2017, arXiv:1708.07747).

    Parameters
    ----------
    holdout : int, optional
        So many of the training images are for validation and the 10,000 only to test with, as by
        ``fashion_mnist().holdout(n)``.
    seed : int
        Of the draw.

    Examples
    --------
    >>> task = fl.tasks.fashion_mnist()
    >>> len(task.train), len(task.val), task.classes[:3]
    (60000, 10000, ('T-shirt', 'trouser', 'pullover'))
    >>> [tuple(part.shape) for part in next(task.val_batches(4))]
    [(4, 1, 28, 28), (4,)]
    """
    train, test = FashionMNIST("train"), FashionMNIST("test")
    # The shipped networks and sweeps rest on a holdout that is drawn from all classes alike.
    task = Classification(train, test, CLASSES, shift_and_flip(pixels=2), "fashion-mnist", stratified=False)
    return task if holdout is None else task.holdout(holdout, seed)


def _read_idx(path: Path) -> np.ndarray:
    """Read the idx format of MNIST: 0, 0, type, rank, big-endian sizes, then the bytes."""
    try:
        raw = gzip.decompress(path.read_bytes())
    except (EOFError, gzip.BadGzipFile) as error:
        raise ValueError(f"{str(path)!r} is damaged ({error}); restore it with 'git checkout -- data'") from error
    rank = raw[3]
    shape = tuple(int(size) for size in np.frombuffer(raw, ">u4", rank, offset=4))
    values = np.frombuffer(raw, np.uint8, offset=4 + 4 * rank)
    if raw[:3] != b"\x00\x00\x08" or values.size != np.prod(shape):
        raise ValueError(f"{str(path)!r} is not an idx file of bytes: header {raw[:4]!r}, {values.size} values")
    return values.reshape(shape).copy()
