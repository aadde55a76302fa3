"""Weights on disk: safetensors with one JSON record in the metadata. Nothing that is read is ever executed."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from fpgmlab.common.files import as_path, atomic_path, whole

FORMAT = "fpgmlab-model/1"
_KEY = "fpgmlab"  # one key: the order of several is not stable in the file


@dataclass(frozen=True, eq=False)
class Weights:
    """What a file holds.

    Attributes
    ----------
    tensors : mapping of str to Tensor
        By name.
    record : mapping
        What was written with them; empty in a foreign file.
    """

    tensors: Mapping[str, Tensor]
    record: Mapping[str, Any]


def write_weights(path: str | os.PathLike[str], tensors: Mapping[str, Tensor], record: Mapping[str, Any]) -> None:
    """Write tensors and a JSON record to a safetensors file; the same input gives the same bytes.

    Parameters
    ----------
    path : path-like
        Written whole or not at all.
    tensors : mapping of str to Tensor
        By name.
    record : mapping
        What JSON can hold.
    """
    from safetensors.torch import save_file

    text = json.dumps({"format": FORMAT, **record}, sort_keys=True)
    plain = {name: tensor.detach().to("cpu").contiguous() for name, tensor in tensors.items()}
    with atomic_path(path) as temporary:
        save_file(plain, temporary, metadata={_KEY: text})


def read_weights(path: str | os.PathLike[str]) -> Weights:
    """Read a safetensors file at a path, and return what it holds.

    Raises
    ------
    TypeError
        For what is no path.
    FileNotFoundError
        When there is no such file.
    ValueError
        When it is a pickle (refused unread), truncated, or no safetensors file.
    """
    from safetensors import SafetensorError, safe_open

    path = as_path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no file {whole(path)}")
    with path.open("rb") as file:
        head = file.read(9)
    # A torch checkpoint is a zip archive with a pickle in it, or (before torch 1.6) a bare pickle. A safetensors file
    # starts with the length of its JSON header, whose first byte may look like a pickle's, and then the JSON.
    if head[8:] != b"{" and (head[:2] == b"PK" or head[:1] == b"\x80"):
        raise ValueError(
            f"{str(path)!r} is a pickle (a torch.save checkpoint), which can run any code when read: refused. "
            f"If it is a YOLOv5 detector: fl.models.yolov5(weights={str(path)!r}) reads it as data. Else build its "
            "network, give it the state dict of torch.load(..., weights_only=True) and write it with fpgmlab.save."
        )
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
            metadata = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{str(path)!r} is truncated or not a safetensors file: {error}") from error
    try:
        record = json.loads(metadata.get(_KEY, "{}"))
    except ValueError as error:
        raise ValueError(f"{str(path)!r} has a damaged record of fpgmlab: {error}") from error
    if record and record.get("format") != FORMAT:
        raise ValueError(f"{str(path)!r} has format {record.get('format')!r}; this version reads {FORMAT!r}")
    return Weights(tensors, record)
