"""Tasks: what to do with a batch. One file for each kind of task."""

from fpgmlab.tasks.classification import Classification, image_folder, shift_and_flip
from fpgmlab.tasks.evaluation import evaluate
from fpgmlab.tasks.fashion import fashion_mnist

__all__ = ["Classification", "evaluate", "fashion_mnist", "image_folder", "shift_and_flip"]
