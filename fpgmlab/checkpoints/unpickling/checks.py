"""What a file says of itself, held against what there is: names, sizes and views as plain values, without a file."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from fpgmlab.checkpoints.unpickling.limits import Limits

_NO_TENSOR = "a tensor has an offset, size or stride that no tensor can have"


def check_names(names: Sequence[str], folder: str) -> None:
    """Raise ValueError unless the members of a zip archive lie in one folder, each once and by a plain path."""
    odd = [n for n in names if not n.startswith(f"{folder}/") or "\\" in n or {"", ".", ".."} & set(n.split("/"))]
    if odd or len(set(names)) < len(names):
        raise ValueError(f"its zip archive has a name twice or outside {folder!r}: {odd[:4] or 'twice'}")


def check_sizes(declared: int, size: int, compressed: bool, limits: Limits) -> None:
    """Raise ValueError when members say that they have more bytes than the file, or are compressed."""
    if compressed or declared > limits.unpacked * size:
        raise ValueError(f"its zip archive is compressed ({declared:,} bytes in {size:,}); torch.save does not do that")


def check_storage(name: str, there: int, numel: int, dtype: torch.dtype) -> None:
    """Raise ValueError unless a storage has just the bytes that its numbers take."""
    if numel * dtype.itemsize != there:
        raise ValueError(f"storage {name!r} has {there} bytes, not {numel} numbers of {dtype}")


def check_view(offset: object, size: object, stride: object, there: int, limits: Limits) -> None:
    """Raise ValueError unless a tensor of this layout lies within a storage of so many numbers."""
    if not (isinstance(offset, int) and isinstance(size, tuple) and isinstance(stride, tuple)):
        raise ValueError(_NO_TENSOR)
    counts = are_counts([offset, *size, *stride], limits) and are_counts([math.prod(size)], limits)
    if len(size) != len(stride) or not counts:
        raise ValueError(_NO_TENSOR)
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if (0 not in size and last >= there) or offset > there:
        raise ValueError(f"a tensor needs {last + 1} numbers of a storage that has {there}")


def are_counts(numbers: Sequence[object], limits: Limits) -> bool:
    """Tell whether these are whole numbers, not negative, that torch can count with."""
    return all(type(number) is int and 0 <= number < limits.numbers for number in numbers)
