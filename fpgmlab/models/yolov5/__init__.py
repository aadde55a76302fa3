"""YOLOv5: its network, its checkpoints read as data, its loss."""

from fpgmlab.models.yolov5.checkpoint import YOLOv5Checkpoint, read_yolov5
from fpgmlab.models.yolov5.imitation import yolov5_imitation
from fpgmlab.models.yolov5.loss import LossOptions, yolov5_loss
from fpgmlab.models.yolov5.network import YOLOv5

__all__ = ["LossOptions", "YOLOv5", "YOLOv5Checkpoint", "read_yolov5", "yolov5_imitation", "yolov5_loss"]
