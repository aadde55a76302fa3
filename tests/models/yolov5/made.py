"""YOLOv5s of a moment, and their checkpoints as the official program writes them."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from fpgmlab.models.yolov5.network import YOLOv5

X = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
NAMES = ["tree", "shrub"]


def outputs(model: nn.Module, x: Tensor = X) -> tuple[Tensor, ...]:
    with torch.no_grad():
        return model.eval()(x)


def official(model: YOLOv5, names: object = ("tree", "shrub"), average: bool = True) -> dict[str, object]:
    """Return what YOLOv5 saves: modules in half precision, the anchors twice, names as attribute."""
    module = copy.deepcopy(model).half()
    module.names = names
    module.model[-1].register_buffer("anchor_grid", model.anchors.view(3, 1, -1, 1, 1, 2).half())
    return {"epoch": 3, "model": module} | ({"ema": module, "model": nn.Linear(1, 1)} if average else {"ema": None})
