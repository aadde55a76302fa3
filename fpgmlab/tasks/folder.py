"""A user's own pictures, one folder for each class."""

from __future__ import annotations

from pathlib import Path

import torch
from torch.utils.data import Subset

from fpgmlab.tasks.classification import Classification, shift_and_flip

SPLITS = ("train", "val", "test")


def image_folder(
    path: str | Path, size: int = 224, val_fraction: float = 0.2, seed: int = 0, *, holdout: int | None = None
) -> Classification:
    """Make a task of a user's own pictures.

    Parameters
    ----------
    path : path-like
        Either ``path/train/<class>/*.jpg`` with ``path/val/<class>/*.jpg`` or ``path/test/<class>/*.jpg`` or both, or
        ``path/<class>/*.jpg``, which is then split at random.
    size : int
        Pictures are resized and cut to ``size`` x ``size`` pixels and normalised with ImageNet's mean and deviation.
    val_fraction : float
        Share of the pictures to validate with when there is no ``val`` folder; beside a ``test`` folder of those to
        train on, unless ``holdout`` says how many.
    seed : int
        Of the splits.
    holdout : int, optional
        So many of the pictures to train on are to validate, and what would validate is to test with; see
        `Classification.holdout`.

    Returns
    -------
    Classification

    Raises
    ------
    FileNotFoundError
        When there is no such folder, or a class folder holds no picture.
    ValueError
        When the folders have different classes, or there are pictures for all three already.
    """
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import v2

    root = Path(path)
    if not root.is_dir():
        raise FileNotFoundError(f"no folder {str(root)!r}; expected one with a folder of pictures for each class")
    transform = v2.Compose(
        [
            v2.ToImage(),
            v2.Resize(size, antialias=True),
            v2.CenterCrop(size),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )
    augment = shift_and_flip(max(1, size // 16))
    there = [split for split in SPLITS if (root / split).is_dir()]
    if there[:1] == ["train"] and len(there) > 1:
        sets = {split: ImageFolder(root / split, transform) for split in there}
        classes = sets["train"].classes
        for split in there[1:]:
            if odd := sorted(set(classes) ^ set(sets[split].classes)):
                raise ValueError(
                    f"{str(root)!r}: train and {split} must have the same classes; only one of them has {odd}"
                )
        test = sets["test"] if len(there) == 3 else None
        task = Classification(sets["train"], sets[there[1]], classes, augment, root.name, test=test)
        if "val" not in there and holdout is None:
            holdout = _share(len(task.train), val_fraction)
    else:
        pictures = ImageFolder(root, transform)
        order = torch.randperm(len(pictures), generator=torch.Generator().manual_seed(seed)).tolist()
        held = _share(len(order), val_fraction)
        train, val = Subset(pictures, order[held:]), Subset(pictures, order[:held])
        task = Classification(train, val, pictures.classes, augment, root.name)
    return task if holdout is None else task.holdout(holdout, seed)


def _share(count: int, val_fraction: float) -> int:
    if not 0 < val_fraction < 1:
        raise ValueError(f"val_fraction must lie between 0 and 1; got {val_fraction}")
    return max(1, round(count * val_fraction))
