"""The zoo: architectures by name, and the trained checkpoints in ``data/checkpoints``."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

import torch
from torch import nn

from fpgmlab.checkpoints.assets import fetch
from fpgmlab.checkpoints.weights import read_weights
from fpgmlab.common.files import data_dir, whole
from fpgmlab.errors import unknown
from fpgmlab.models.placing import Recipe, put_convolutions
from fpgmlab.models.resnet import ResNet
from fpgmlab.models.shipped import FETCHED, available
from fpgmlab.models.vgg import VGG
from fpgmlab.models.yolov5.checkpoint import read_yolov5
from fpgmlab.models.yolov5.classes import fit_classes
from fpgmlab.models.yolov5.network import SIZES, YOLOv5
from fpgmlab.plans.provenance import Provenance, provenance, set_provenance

Network = TypeVar("Network", bound=nn.Module)


def resnet20(classes: int = 10, channels: int = 3, width: float = 1.0) -> ResNet:
    """Return an untrained ResNet-20 for small images, 0.27 M parameters at width 1 (He et al., CVPR 2016).

    Parameters
    ----------
    classes, channels : int
        Outputs, and channels of the input image.
    width : float
        Factor on every layer's channels.

    Raises
    ------
    ValueError
        For classes that are not a number.
    """
    return _build(ResNet, "resnet20", classes, channels, width)


def resnet32(classes: int = 10, channels: int = 3, width: float = 1.0) -> ResNet:
    """Return an untrained ResNet-32 as `resnet20` does: 0.46 M parameters at width 1 (He et al., CVPR 2016)."""
    return _build(ResNet, "resnet32", classes, channels, width)


def resnet56(classes: int = 10, channels: int = 3, width: float = 1.0) -> ResNet:
    """Return an untrained ResNet-56 as `resnet20` does: 0.86 M parameters at width 1 (He et al., CVPR 2016)."""
    return _build(ResNet, "resnet56", classes, channels, width)


def resnet110(classes: int = 10, channels: int = 3, width: float = 1.0) -> ResNet:
    """Return an untrained ResNet-110 as `resnet20` does: 1.7 M parameters at width 1 (He et al., CVPR 2016)."""
    return _build(ResNet, "resnet110", classes, channels, width)


def vgg16(classes: int = 10, channels: int = 3, width: float = 1.0) -> VGG:
    """Return an untrained VGG-16 with batch norm as `resnet20` does: 14.7 M parameters (Simonyan & Zisserman, 2015)."""
    return _build(VGG, "vgg16", classes, channels, width)


def yolov5(
    size: str | None = None,
    weights: str | os.PathLike[str] | None = None,
    *,
    classes: int | Sequence[str] | None = None,
    channels: int | None = None,
    width: float = 1.0,
    release: str | None = None,
) -> YOLOv5:
    """Return a YOLOv5 (Jocher, 2020), untrained or with the weights of an official checkpoint, its names and anchors.

    Parameters
    ----------
    size : {"n", "s", "m", "l", "x"}, optional
        Found in the checkpoint when left out.
    weights : path-like, optional
        A ``.pt`` file that YOLOv5 wrote, of release 4.0 or later. It is read as data: nothing in it is executed.
    classes : int or sequence of str, optional
        How many, or their names; those of the checkpoint when left out, else 80. Names that the checkpoint does not
        have, in capitals or not, get new rows in the head; the others, boxes and objectness keep the trained ones.
    channels : int, optional
        Of the image; those of the checkpoint when left out, else 3.
    width : float
        Factor on the channels of every layer; a checkpoint has 1.
    release : {"6.x", "5.0"}, optional
        Found in the checkpoint when left out, else 6.x; see `YOLOv5`.

    Returns
    -------
    YOLOv5
        In eval mode when it has weights.

    Raises
    ------
    FileNotFoundError
        When there is no such checkpoint.
    ValueError
        For a checkpoint that is damaged or of another network, that does not have the size, channels, width or release
        asked for, and for an unknown size or release.

    Warns
    -----
    UserWarning
        Of classes whose rows are new, with their names: they need `fpgmlab.fit` first.
    """
    if weights is None:
        if size not in SIZES:
            hint = f". To read a file: yolov5(weights={size!r})" if str(size).endswith(_READ) else ""
            raise ValueError(unknown("size of YOLOv5", size, SIZES) + hint)
        classes, channels = 80 if classes is None else classes, 3 if channels is None else channels
        return _build(YOLOv5, f"yolov5{size}", classes, channels, width, release)
    if str(weights) in (*available(), *FETCHED) and not os.path.exists(weights):
        raise FileNotFoundError(f"no file {whole(weights)}; the network of that name: fl.models.load({str(weights)!r})")
    found = read_yolov5(weights)
    asked = {"size": size, "channels": channels, "width": None if width == 1 else width, "release": release}
    has = {"size": found.size, "channels": found.channels, "width": 1.0, "release": found.release}
    if wrong := [f"{key} {asked[key]!r}" for key in asked if asked[key] not in (None, has[key])]:
        raise ValueError(
            f"{str(weights)!r} is YOLOv5{found.size} of release {found.release} for {found.channels} channels; asked "
            f"for {', '.join(wrong)}. Leave out what the checkpoint tells."
        )
    names = list(found.names) if classes is None or classes == len(found.names) else classes
    model = _build(YOLOv5, f"yolov5{found.size}", names, found.channels, 1.0, found.release)
    if model.names != found.names:
        found = replace(found, tensors=fit_classes(found.tensors, model.state_dict(), found.names, model.names))
    model.load_state_dict(found.tensors)
    return model.eval()


_ARCHITECTURES: dict[str, tuple[Callable[..., nn.Module], dict[str, int | str]]] = {
    **{f"resnet{depth}": (ResNet, {"depth": depth}) for depth in (20, 32, 56, 110)},
    "vgg16": (VGG, {}),
    **{f"yolov5{size}": (YOLOv5, {"size": size}) for size in SIZES},
}
_READ = (".pt", ".pth")  # files that `yolov5` reads


def build(
    architecture: str,
    *,
    classes: int | Sequence[str] = 10,
    channels: int = 3,
    width: float = 1.0,
    release: str | None = None,
    convolutions: Mapping[str, Recipe] | None = None,
) -> nn.Module:
    """Return an untrained model.

    Parameters
    ----------
    architecture : {"resnet20", "resnet32", "resnet56", "resnet110", "vgg16", "yolov5n", ..., "yolov5x"}
    classes : int or sequence of str
        Number of outputs; a detector also takes their names.
    channels : int
        Channels of the input image: 1 for grey, 3 for colour.
    width : float
        Factor on the channels of every layer.
    release : {"6.x", "5.0"}, optional
        Of YOLOv5 only; 6.x when left out.
    convolutions : mapping, optional
        What stands in the place of plain convolutions, by name, such as ``{"layer1.0.conv1": {"kind": "grouped",
        "groups": 4}}``; `fpgmlab.replace_convolutions` notes it.

    Raises
    ------
    ValueError
        For an unknown architecture (with the nearest match) or an option out of range.
    """
    model = _build(nn.Module, architecture, classes, channels, width, release)
    if convolutions:
        put_convolutions(model, convolutions)
        record = provenance(model)
        put_down = {name: dict(recipe) for name, recipe in convolutions.items()}
        set_provenance(model, replace(record, options={**record.options, "convolutions": put_down}))
    return model


def _build(
    kind: type[Network],
    architecture: str,
    classes: int | Sequence[str],
    channels: int,
    width: float,
    release: str | None = None,
) -> Network:
    """Return what `build` does, which is known to be of a kind."""
    if architecture not in _ARCHITECTURES:
        raise ValueError(unknown("architecture", architecture, _ARCHITECTURES))
    make, fixed = _ARCHITECTURES[architecture]
    detector = make is YOLOv5
    if not detector and (release is not None or not isinstance(classes, int)):
        raise ValueError(f"{architecture} takes a number of classes and no release; got {classes!r} and {release!r}")
    if isinstance(classes, str | float) or classes is None:
        raise ValueError(f"classes must be a number or a list of names; got {classes!r}")
    count = classes if isinstance(classes, int) else len(classes)
    for name, value in (("classes", count), ("channels", channels), ("width", width)):
        if not value > 0:
            raise ValueError(f"{name} must be > 0; got {value!r}")
    counted = {"classes": classes if isinstance(classes, int) else list(classes), "channels": channels, "width": width}
    options = counted | ({"release": release or "6.x"} if detector else {})
    model = make(**fixed, **options)
    assert isinstance(model, kind)
    set_provenance(model, Provenance(architecture, options))
    return model


def architectures() -> list[str]:
    """Return the names of what `build` makes."""
    return list(_ARCHITECTURES)


def load(name: str, device: str | torch.device = "cpu", *, classes: int | Sequence[str] | None = None) -> nn.Module:
    """Return a trained model from ``data/checkpoints``, in eval mode.

    Parameters
    ----------
    name : str
        One of `available`, or ``"yolov5s-coco"``, which `fpgmlab.assets` fetches when it is first asked for.
    device : str or torch.device
    classes : int or sequence of str, optional
        Of a detector; see `yolov5`, also for what it warns of.

    Raises
    ------
    ValueError
        For an unknown name, with the nearest match, and for other classes of a network that is no detector.
    OSError
        When it had to be fetched and could not be.
    """
    names = [*available(), *FETCHED]
    if name not in names:
        hint = f". {name!r} is an architecture: build({name!r}) makes it untrained." if name in _ARCHITECTURES else ""
        hint = f". To read a file of YOLOv5: yolov5(weights={name!r})" if str(name).endswith(_READ) else hint
        raise ValueError(unknown("model", name, names) + hint)
    if name in FETCHED:
        return yolov5(weights=fetch(name), classes=classes).to(device)
    weights = read_weights(data_dir() / "checkpoints" / f"{name}.safetensors")
    model = build(weights.record["architecture"], **weights.record["options"])
    model.load_state_dict(weights.tensors)
    if classes is not None:
        if not isinstance(model, YOLOv5):
            raise ValueError(f"only a detector takes other classes; {name!r} is {weights.record['architecture']}")
        known = model.names
        model = _build(YOLOv5, weights.record["architecture"], **{**weights.record["options"], "classes": classes})
        model.load_state_dict(fit_classes(weights.tensors, model.state_dict(), known, model.names))
    return model.eval().to(device)
