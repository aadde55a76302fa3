"""YOLOv8, YOLO11, YOLO26 and their like, as the package ultralytics (AGPL-3.0) makes them: their raw maps, their loss.

Nothing of that package is here: its loss is imported when it is called.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from fpgmlab.tasks.detection.distributions import DistributionHead, Maps
from fpgmlab.tasks.detection.heads import target_rows


class UltralyticsMaps(nn.Module):
    """A detector of ultralytics that gives its head's raw maps, in training and in evaluation, and nothing else.

    By itself it also gives the feature maps that enter its head, so that their channels could not be pruned, and in
    training another structure than in evaluation.

    Parameters
    ----------
    model : nn.Module
        An ``ultralytics.nn.tasks.DetectionModel``, such as ``YOLO("yolov8n.pt").model``; held, not copied, and pruned
        with everything around it: ``pruned.model`` is a smaller one.

    Raises
    ------
    TypeError
        When the model does not end in a detection head.
    ValueError
        When fusing has taken one of the two branches from its head; also when it is called after that.
    """

    _fpgmlab_wraps = "model"

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        if not all(hasattr(_head(model), name) for name in ("nc", "reg_max", "stride", "cv2", "cv3")):
            raise TypeError(
                f"model must be an ultralytics network with a detection head, such as YOLO('yolov8n.pt').model; got "
                f"{type(model).__name__}"
            )
        _check_branches(_head(model))
        self.model = model

    def forward(self, x: Tensor) -> Maps:
        """Return the raw maps of each level.

        Parameters
        ----------
        x : Tensor, (batch, 3, height, width)
            RGB in [0, 1]; height and width are multiples of the largest stride.

        Returns
        -------
        tuple of Tensor, (batch, 4 * distances + classes, height / stride, width / stride)
            See `fpgmlab.tasks.detection.distributions`. Of a head that can do without suppression (YOLOv10, YOLO26)
            first those that are trained with many cells for an object, then those with one cell.

        Raises
        ------
        ValueError
            When the branch that is trained was fused away.
        """
        head = _head(self.model)
        _check_branches(head)
        mode, head.training = head.training, True  # nothing is decoded; the layers inside keep their own mode
        try:
            found = self.model(x)
        finally:
            head.training = mode
        branches = (found["one2many"], found["one2one"]) if "one2one" in found else (found,)
        maps: list[Tensor] = []
        for branch in branches:
            sizes = [level.shape[2:] for level in branch["feats"]]
            flat = torch.cat((branch["boxes"], branch["scores"]), dim=1)  # (batch, channels, cells of all levels)
            parts = flat.split([rows * columns for rows, columns in sizes], dim=2)
            maps += [part.unflatten(2, size) for part, size in zip(parts, sizes, strict=True)]
        return tuple(maps)


@dataclass(frozen=True)
class UltralyticsHead(DistributionHead):
    """The head of `UltralyticsMaps`: ultralytics' own loss, at its own defaults, and torchvision's suppression.

    Parameters
    ----------
    classes : int
    strides : tuple of int
        Pixels from cell to cell, by level. Those of a network: ``UltralyticsHead.of(model)``.
    end2end : bool
        Detect by the second branch of a head that has two; both are trained.
    iou : float
        Of two boxes of one class that overlap more, the weaker one goes.
    candidates : int
        Most boxes of a picture that are compared, the surest.
    """

    classes: int
    strides: tuple[int, ...] = (8, 16, 32)
    end2end: bool = False
    iou: float = 0.6
    candidates: int = 3000

    wrapper = "UltralyticsMaps"
    most_branches = 2

    @classmethod
    def of(cls, model: nn.Module) -> UltralyticsHead:
        """Return the head of a model, in `UltralyticsMaps` or not, with its own classes, strides and ``end2end``."""
        head = _head(model.model if isinstance(model, UltralyticsMaps) else model)
        return cls(int(head.nc), tuple(int(stride) for stride in head.stride), bool(getattr(head, "end2end", False)))

    def loss(self, outputs: Maps, targets: Tensor) -> Tensor:
        """Return ultralytics' detection loss, a scalar: box, class and distances, for one picture of the batch.

        Parameters
        ----------
        outputs : tuple of Tensor
            Raw maps, as `UltralyticsMaps` gives them.
        targets : Tensor, (batch, boxes, 5)

        Raises
        ------
        ImportError
            Without ultralytics: install ``fpgmlab[ultralytics]``.
        """
        try:
            from ultralytics.utils import DEFAULT_CFG
            from ultralytics.utils.loss import E2ELoss, v8DetectionLoss
        except ImportError as error:
            raise ImportError(
                f"the loss of these detectors is ultralytics' own, and {error.name} is missing: pip install "
                "'fpgmlab[ultralytics]' (AGPL-3.0)"
            ) from error
        branches = self._branches(outputs)
        first = branches[0][0]  # (batch, channels, rows, columns)
        rows = target_rows(targets)  # (objects, 6)
        sides = rows.new_tensor([first.shape[3], first.shape[2]] * 2) * self.strides[0]
        batch = {"batch_idx": rows[:, 0], "cls": rows[:, 1], "bboxes": rows[:, 2:] / sides}
        said = [self._as_ultralytics(maps) for maps in branches]
        # What the loss wants to know of a network.
        head = SimpleNamespace(
            stride=torch.tensor(self.strides, device=first.device, dtype=torch.float32),
            nc=self.classes,
            reg_max=(first.shape[1] - self.classes) // 4,
        )
        network: Any = SimpleNamespace(model=[head], args=DEFAULT_CFG, parameters=lambda: iter([first]))
        if len(said) == 1:
            parts, _ = v8DetectionLoss(network)(said[0], batch)
        else:
            parts, _ = E2ELoss(network)(dict(zip(("one2many", "one2one"), said, strict=True)), batch)
        return parts.sum() / len(first)

    def cure(self, count: int, classes: str) -> str:
        """Return in words how to get a network for other classes: ``count`` of them, ``classes`` as a list in text."""
        return (
            f'build it for those of the task, such as ultralytics.nn.tasks.DetectionModel("yolo11n.yaml", nc={count}) '
            'in place of YOLO("yolo11n.yaml").model; its load(YOLO("yolo11n.pt").model) takes the weights that fit'
        )

    def _detecting(self, branches: tuple[Maps, ...]) -> Maps:
        return branches[-1 if self.end2end else 0]

    def _as_ultralytics(self, maps: Maps) -> dict[str, Any]:
        flat = torch.cat([raw.flatten(2) for raw in maps], dim=2)
        sides = flat.shape[1] - self.classes
        return {"boxes": flat[:, :sides], "scores": flat[:, sides:], "feats": list(maps)}


def _check_branches(head: Any) -> None:
    """Raise ValueError when the head had two branches and has lost the first, without which nothing can be trained."""
    if head.cv2 is None or head.cv3 is None:
        raise ValueError(
            "the network was fused with end2end = True: of the two branches of its head the one trained with many "
            "cells for an object is gone, and cannot be pruned or trained with the rest. Load the network anew and "
            "put it into UltralyticsMaps before fuse(). Measure, prune and export the same branch: set "
            "network.model[-1].end2end, then take UltralyticsHead.of(network)"
        )


def _head(model: nn.Module) -> Any:
    """Return a network's last module; the loss and the wrapper look at its attributes."""
    modules = getattr(model, "model", None)
    return modules[-1] if isinstance(modules, nn.Sequential) and len(modules) else None
