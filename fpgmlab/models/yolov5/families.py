"""Which network a checkpoint holds that is no YOLOv5 detector, by the names of its tensors."""

from __future__ import annotations

import re
from collections.abc import Iterable

# Patterns of a name, and the family; the first that is found is told.
_FAMILIES = (
    (r"\.one2one_cv[23]\.", "YOLOv10 or a later end-to-end network of Ultralytics"),
    (r"\.dfl\.", "YOLOv8 or a later network of Ultralytics, or its anchor-free variant of YOLOv5"),
    (r"^model\.\d+\.proto\.", "a segmentation network (YOLOv5-seg, YOLOv7-seg)"),
    (r"\.linear\.weight$", "a classification network (YOLOv5-cls, YOLOv8-cls)"),
    (r"^model\.33\.m\.3\.", "YOLOv5 for 1280 px with four levels (P6)"),
    (r"^model\.2\.cv4\.", "YOLOv5 of release 3.1 or older (BottleneckCSP)"),
    (r"^model\.[01]\.conv\.bias$", "a network whose batch norms were fused into its convolutions (model.fuse())"),
    (r"^module_list\.|^model\.(20|28)\.m\.0\.weight$", "YOLOv3 or YOLOv4"),
    (r"^(neck|neek)\.conv\d+\.conv", "YOLOv4"),
    (r"\.implicit$|\.ia\.|^model\.(77|105|121|122|144|166|265)\.", "YOLOv7"),
    (r"\.ERBlock_|\.rbr_dense\.", "YOLOv6 or YOLOv7"),
    (r"^backbone\.(backbone\.)?dark|^head\.cls_convs\.", "YOLOX"),
    (r"^head\.pred_cls\.", "PP-YOLOE"),
    (r"(encoder|decoder)\.layers\.0\.", "a detector with a transformer (DETR, RT-DETR)"),
    (r"^bbox_head\.", "a network of MMDetection or MMYOLO"),
    (r"^(roi_heads|rpn)\.", "Faster R-CNN of torchvision"),
    (r"^head\.(classification|regression)_head\.", "RetinaNet, FCOS or SSD of torchvision"),
    (r"^(fc|classifier|heads?)(\.\w+)?\.weight$", "a classification network"),
)
_WRAPPED = (
    ("^YOLOv(8|10)", "its own code, ultralytics.YOLO(path).model", "Ultralytics"),
    ("^PP-YOLOE", "libreyolo", "PPYOLOE"),
)  # families that detection takes in a wrapper
_MODULE = re.compile(r"model\.(\d+)\.")


def family(names: Iterable[str]) -> str:
    """Return in words which network the tensors' names look like; empty when they look like none that is known."""
    listed = list(names)
    return next((words for sign, words in _FAMILIES if any(re.search(sign, name) for name in listed)), "")


def cure(family: str) -> str:
    """Return in words how to take a network of a family, as `family` says it, in place of its file."""
    for sign, load, kind in _WRAPPED:
        if re.search(sign, family):
            return (
                f"Load it with {load}, wrap it as model = fl.tasks.{kind}Maps(...) and make the task with head="
                f"fl.tasks.{kind}Head.of(model): see COMING_FROM.md"
            )
    return "Build another network with its own code: fpgmlab.trace takes it as it is"


def span(names: Iterable[str]) -> str:
    """Return in words which of YOLOv5's numbered modules the names are of, or the first names when of none."""
    listed = list(names)
    numbers = [int(found[1]) for found in map(_MODULE.match, listed) if found]
    if not numbers:
        return f"its tensors are {some(listed)}"
    return f"it has {len(listed)} tensors, of the modules model.{min(numbers)} to model.{max(numbers)}"


def some(names: Iterable[str]) -> str:
    """Return the first names, and how many there are."""
    listed = list(names)
    more = f", ... ({len(listed)} in all)" if len(listed) > 4 else ""
    return ", ".join(map(repr, listed[:4])) + more if listed else "none"
