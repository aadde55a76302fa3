"""The zoo: architectures by name, and the trained checkpoints in ``data/checkpoints``."""

from __future__ import annotations

import torch
from torch import nn

from fpgmlab.errors import unknown
from fpgmlab.files import data_dir
from fpgmlab.models.resnet import ResNet
from fpgmlab.models.vgg import VGG
from fpgmlab.provenance import Provenance, set_provenance
from fpgmlab.weights import read_weights


def resnet20(classes: int = 10, channels: int = 3, width: float = 1.0) -> ResNet:
    """Return an untrained ResNet-20: 0.27 M parameters at width 1; see `ResNet`."""
    return build("resnet20", classes=classes, channels=channels, width=width)


def resnet32(classes: int = 10, channels: int = 3, width: float = 1.0) -> ResNet:
    """Return an untrained ResNet-32: 0.46 M parameters at width 1; see `ResNet`."""
    return build("resnet32", classes=classes, channels=channels, width=width)


def resnet56(classes: int = 10, channels: int = 3, width: float = 1.0) -> ResNet:
    """Return an untrained ResNet-56: 0.86 M parameters at width 1; see `ResNet`."""
    return build("resnet56", classes=classes, channels=channels, width=width)


def resnet110(classes: int = 10, channels: int = 3, width: float = 1.0) -> ResNet:
    """Return an untrained ResNet-110: 1.7 M parameters at width 1; see `ResNet`."""
    return build("resnet110", classes=classes, channels=channels, width=width)


def vgg16(classes: int = 10, channels: int = 3, width: float = 1.0) -> VGG:
    """Return an untrained VGG-16 with batch norm: 14.7 M parameters at width 1; see `VGG`."""
    return build("vgg16", classes=classes, channels=channels, width=width)


_ARCHITECTURES = {
    **{f"resnet{depth}": (ResNet, {"depth": depth}) for depth in (20, 32, 56, 110)},
    "vgg16": (VGG, {}),
}


def build(architecture: str, *, classes: int = 10, channels: int = 3, width: float = 1.0) -> nn.Module:
    """Return an untrained model.

    Parameters
    ----------
    architecture : {"resnet20", "resnet32", "resnet56", "resnet110", "vgg16"}
    classes : int
        Number of outputs.
    channels : int
        Channels of the input image: 1 for grey, 3 for colour.
    width : float
        Factor on the channels of every layer.

    Raises
    ------
    ValueError
        For an unknown architecture (with the nearest match) or an option out of range.
    """
    if architecture not in _ARCHITECTURES:
        raise ValueError(unknown("architecture", architecture, _ARCHITECTURES))
    for name, value in (("classes", classes), ("channels", channels), ("width", width)):
        if not value > 0:
            raise ValueError(f"{name} must be > 0; got {value!r}")
    make, fixed = _ARCHITECTURES[architecture]
    model = make(**fixed, classes=classes, channels=channels, width=width)
    set_provenance(model, Provenance(architecture, {"classes": classes, "channels": channels, "width": width}))
    return model


def available() -> list[str]:
    """Return the names of the checkpoints that ship."""
    return sorted(path.stem for path in (data_dir() / "checkpoints").glob("*.safetensors"))


def load(name: str, device: str | torch.device = "cpu") -> nn.Module:
    """Return a trained model from ``data/checkpoints``, in eval mode.

    Parameters
    ----------
    name : str
        One of `available`.
    device : str or torch.device

    Raises
    ------
    ValueError
        For an unknown name, with the nearest match.
    """
    names = available()
    if name not in names:
        hint = f" {name!r} is an architecture: build({name!r}) makes it untrained." if name in _ARCHITECTURES else ""
        raise ValueError(unknown("model", name, names) + hint)
    weights = read_weights(data_dir() / "checkpoints" / f"{name}.safetensors")
    model = build(weights.record["architecture"], **weights.record["options"])
    model.load_state_dict(weights.tensors)
    return model.eval().to(device)
