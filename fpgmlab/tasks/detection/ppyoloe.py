"""PP-YOLOE (Xu et al., 2022, arXiv:2203.16250) as the package libreyolo (MIT) has it in PyTorch: raw maps, loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from fpgmlab.tasks.detection.distributions import DistributionHead, Maps
from fpgmlab.tasks.detection.heads import target_rows

# Of ImageNet's pictures, RGB in [0, 1]: what the released weights were trained with.
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class PPYOLOEMaps(nn.Module):
    """libreyolo's PP-YOLOE that takes RGB in [0, 1] and gives its head's raw maps, in training and in evaluation.

    Parameters
    ----------
    model : nn.Module
        A ``libreyolo.models.ppyoloe.nn.LibrePPYOLOEModel``; held, not copied: ``pruned.model`` is a smaller one. Its
        RepVGG blocks may be those for training, or already fused.

    Attributes
    ----------
    mean, deviation : Tensor, (3, 1, 1)
        What the network wants its pictures normalised by.

    Raises
    ------
    TypeError
        For another network.
    """

    mean: Tensor
    deviation: Tensor

    _fpgmlab_wraps = "model"

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        if not all(hasattr(getattr(model, "head", None), name) for name in ("num_classes", "fpn_strides", "pred_reg")):
            raise TypeError(f"model must be libreyolo's PP-YOLOE, a LibrePPYOLOEModel; got {type(model).__name__}")
        self.model = model
        for name, values in (("mean", MEAN), ("deviation", DEVIATION)):
            self.register_buffer(name, torch.tensor(values).view(-1, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Maps:
        """Return the raw maps of each level, the coarsest first.

        Parameters
        ----------
        x : Tensor, (batch, 3, height, width)
            RGB in [0, 1]; height and width are multiples of 32.

        Returns
        -------
        tuple of Tensor, (batch, 4 * distances + classes, height / stride, width / stride)
            See `fpgmlab.tasks.detection.distributions`.
        """
        network: Any = self.model  # its parts have no types
        head = network.head
        maps = []
        for i, level in enumerate(network.neck(network.backbone((x - self.mean) / self.deviation))):
            mean = level.mean((2, 3), keepdim=True)  # for the attention of each branch (Xu et al., figure 4)
            sides = head.pred_reg[i](head.stem_reg[i](level, mean))
            classes = head.pred_cls[i](head.stem_cls[i](level, mean) + level)
            maps.append(torch.cat((sides, classes), dim=1))
        return tuple(maps)


@dataclass(frozen=True)
class PPYOLOEHead(DistributionHead):
    """The head of `PPYOLOEMaps`: libreyolo's loss with the task-aligned assignment, and torchvision's suppression.

    Parameters
    ----------
    classes : int
    strides : tuple of int
        Pixels from cell to cell, by level, the coarsest first.
    iou : float
        Of two boxes of one class that overlap more, the weaker one goes.
    candidates : int
        Most boxes of a picture that are compared, the surest.
    """

    classes: int
    strides: tuple[int, ...] = (32, 16, 8)
    iou: float = 0.6
    candidates: int = 3000

    wrapper = "PPYOLOEMaps"

    @classmethod
    def of(cls, model: nn.Module) -> PPYOLOEHead:
        """Return the head of a model, in `PPYOLOEMaps` or not, with its own classes and strides."""
        head: Any = (model.model if isinstance(model, PPYOLOEMaps) else model).head
        return cls(int(head.num_classes), tuple(head.fpn_strides))

    def loss(self, outputs: Maps, targets: Tensor) -> Tensor:
        """Return libreyolo's loss of a batch, a scalar: classes (varifocal), boxes (GIoU) and distances together.

        Parameters
        ----------
        outputs : tuple of Tensor
            Raw maps, as `PPYOLOEMaps` gives them.
        targets : Tensor, (batch, boxes, 5)

        Raises
        ------
        ImportError
            Without libreyolo: install ``fpgmlab[ppyoloe]``.
        """
        try:
            from libreyolo.models.ppyoloe.nn import generate_anchors_for_grid_cell
            from libreyolo.models.yolonas.loss import PPYoloELoss
        except ImportError as error:
            raise ImportError(
                f"the loss of PP-YOLOE is libreyolo's own, and {error.name} is missing: pip install 'fpgmlab[ppyoloe]'"
            ) from error
        maps = self._branches(outputs)[0]
        flat = torch.cat([raw.flatten(2) for raw in maps], dim=2).mT  # (batch, cells, 4 * distances + classes)
        sides = flat.shape[2] - self.classes
        criterion = PPYoloELoss(self.classes, distributed_normalize=False)
        said = (flat[..., sides:], flat[..., :sides], *generate_anchors_for_grid_cell(maps, self.strides))
        return criterion(said, target_rows(targets))[0]
