"""Pictures that are both trained on and judged by, where data sets tell their files."""

from __future__ import annotations

import os
from functools import cache

from torch.utils.data import ConcatDataset, Subset

from fpgmlab.common.warned import warn
from fpgmlab.tasks.sets import Examples


def warn_of_shared(train: Examples, val: Examples, test: Examples | None = None, name: str = "task") -> None:
    """Warn of files to validate or test with that are trained on.

    Nothing is said where one and the same data set was given for both, which nobody does by mistake.

    Parameters
    ----------
    train, val, test : Examples
        Data sets that have ``paths``, or torchvision's ``samples``, and parts of such; others tell nothing.
    name : str
        Whose they are, for the warning.
    """
    trained = frozenset(_files(train) or ())
    for purpose, data in (("validate", val), ("test", test)):
        files = () if data is train or not trained else _files(data) or ()
        shared = [file for file in files if file in trained]
        if not shared:
            continue
        warn(
            f"{name}: {len(shared)} of {len(files)} pictures to {purpose} with are trained on as well, the first "
            f"{shared[0]!r}: the network looks better on them than it is. Give pictures of their own",
        )


def _files(data: object) -> list[str] | None:
    """Return the file of each example, links of folders followed; None where they are not told."""
    if isinstance(data, Subset):
        files = _files(data.dataset)
        return None if files is None else [files[number] for number in data.indices]
    if isinstance(data, ConcatDataset):
        parts = [_files(part) for part in data.datasets]
        return None if None in parts else [file for part in parts if part is not None for file in part]
    told = getattr(data, "paths", None)
    if told is None:
        samples = getattr(data, "samples", None)
        told = [each[0] for each in samples if isinstance(each, tuple)] if isinstance(samples, list) else ()
    paths = list(told) if isinstance(told, (list, tuple)) else []
    if not paths or not all(isinstance(path, (str, os.PathLike)) for path in paths):
        return None

    @cache
    def real(folder: str) -> str:
        return os.path.realpath(folder)

    split = (os.path.split(os.fspath(path)) for path in paths)
    return [os.path.join(real(folder), file) for folder, file in split]
