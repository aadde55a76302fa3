"""A user's own pictures, one folder for each class."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import Dataset, Subset

from fpgmlab.common.files import as_path, whole
from fpgmlab.common.numbers import whole_number
from fpgmlab.tasks.class_folders import Found, class_folders
from fpgmlab.tasks.classification import Classification, shift_and_flip
from fpgmlab.tasks.parting import fewest, held_out
from fpgmlab.tasks.reading import check_pictures, read_picture


class ClassPictures(Dataset):
    """A map-style data set of ``(image, label)``, read from files when asked for.

    Parameters
    ----------
    found : Found
    transform : callable
        From a picture, uint8 (3, height, width), to a float tensor of a size that all share.

    Attributes
    ----------
    classes : tuple of str
    paths : tuple of Path
    labels : tuple of int
    """

    def __init__(self, found: Found, transform: Callable[[Tensor], Tensor]) -> None:
        self.paths, self.labels, self.classes = found.paths, found.labels, found.classes
        self._transform = transform

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self._transform(read_picture(self.paths[index])), self.labels[index]

    def __repr__(self) -> str:
        counts = (f"{name} {self.labels.count(number)}" for number, name in enumerate(self.classes))
        return f"{len(self)} pictures: {', '.join(counts)}"


def image_folder(
    path: str | Path,
    size: int = 224,
    val_fraction: float = 0.2,
    seed: int = 0,
    *,
    holdout: int | None = None,
    check: bool = True,
    progress: bool = True,
) -> Classification:
    """Make a task of a user's own pictures.

    Parameters
    ----------
    path : path-like
        Either ``path/train/<class>/*.jpg`` with ``path/val/<class>/*.jpg`` or ``path/test/<class>/*.jpg`` or both, or
        ``path/<class>/*.jpg``, which is then split at random. ``valid`` and ``validation`` stand for ``val``. Hidden
        folders and files (``.ipynb_checkpoints``) are left out.
    size : int
        Pictures are resized and cut to ``size`` x ``size`` pixels and normalised with ImageNet's mean and deviation.
    val_fraction : float
        Share of the pictures to train on that validate, of each class the same, when there is no ``val`` folder, unless
        ``holdout`` says how many. At least one of each class that has two.
    seed : int
        Of the splits.
    holdout : int, optional
        So many of the pictures to train on are to validate, and what would validate is to test with; see
        `Classification.holdout`.
    check : bool
        Read each picture once, now, to find the damaged ones before they stop a training.
    progress : bool
        Show a progress bar while they are read.

    Returns
    -------
    Classification
        ``task.counts()`` has the pictures of each class.

    Raises
    ------
    TypeError
        For what is no path.
    FileNotFoundError
        When there is no such folder, or a class folder holds no picture.
    ValueError
        For options out of range, before a picture is read. When pictures are damaged, with their paths; the folders
        have different classes, none is to train on, or they hold pictures and no folders of classes; there are
        pictures for all three already.

    Warns
    -----
    UserWarning
        When a class has too few pictures to have one in each part that is drawn, with its name; and of folders beside
        the splits that are none.

    Notes
    -----
    Grey pictures get three equal channels, transparent ones are laid on white, a JPEG is turned upright as its EXIF
    data say. 16 bits are scaled to eight by their range.
    """
    from torchvision.transforms import v2

    root = as_path(path)
    whole_number("size", size)
    if not 0 < val_fraction < 1:
        raise ValueError(f"val_fraction must lie between 0 and 1; got {val_fraction}")
    if holdout is not None:
        whole_number("holdout", holdout)
    found = class_folders(root)
    if check:
        check_pictures([file for part in found.values() for file in part.paths], whole(root), progress=progress)
    transform = v2.Compose(
        [
            v2.Resize(size, antialias=True),
            v2.CenterCrop(size),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )
    augment, name = shift_and_flip(max(1, size // 16)), root.resolve().name
    sets = {split: ClassPictures(part, transform) for split, part in found.items()}
    pictures = sets.pop("train", None) or sets.pop("")
    if sets:
        first, *other = sets.values()  # in the order val, test
        task = Classification(pictures, first, pictures.classes, augment, name, test=other[0] if other else None)
        if "val" not in sets and holdout is None:
            holdout = _share(pictures.labels, val_fraction)
    else:
        held = held_out(pictures.labels, _share(pictures.labels, val_fraction), seed, pictures.classes, name)
        stay = sorted(set(range(len(pictures))).difference(held))
        task = Classification(Subset(pictures, stay), Subset(pictures, held), pictures.classes, augment, name)
    return task if holdout is None else task.holdout(holdout, seed)


def _share(labels: Sequence[int], val_fraction: float) -> int:
    """Return how many pictures validate: a share of them, and enough for each class to have one."""
    return max(1, fewest(labels), round(len(labels) * val_fraction))
