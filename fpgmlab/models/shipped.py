"""Which checkpoints there are by name: those in ``data/checkpoints``, and what is fetched."""

from __future__ import annotations

from fpgmlab.common.files import data_dir

FETCHED = ("yolov5s-coco",)  # assets that `fpgmlab.models.yolov5` reads


def available() -> list[str]:
    """Return the names of the checkpoints that ship.

    Examples
    --------
    >>> fl.models.available()
    ['resnet20-fashion', 'vgg16-fashion', 'vgg16-fashion-sparse', 'yolov5n-trees']
    """
    return sorted(path.stem for path in (data_dir() / "checkpoints").glob("*.safetensors"))
