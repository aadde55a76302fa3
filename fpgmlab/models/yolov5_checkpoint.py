"""Official YOLOv5 checkpoints, read as data: what network they hold is worked out from their tensors."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from fpgmlab.models.yolov5 import SIZES, YOLOv5
from fpgmlab.unpickling import Record, read_checkpoint, tensors_of

_HEAD = "model.24"
_EXTRA = f"{_HEAD}.anchor_grid"  # the anchors once more, in older files
# Other networks by a part of a tensor's name; the first that fits is told.
_FAMILIES = (
    ((".dfl.",), "YOLOv8 or a later network of Ultralytics, or its anchor-free variant of YOLOv5"),
    ((".one2one_cv2.", ".one2one_cv3."), "YOLOv10 or a later end-to-end network of Ultralytics"),
    ((f"{_HEAD}.proto.",), "a segmentation network (YOLOv5-seg)"),
    ((".linear.weight",), "a classification network (YOLOv5-cls, YOLOv8-cls)"),
    (("model.33.m.3.",), "YOLOv5 for 1280 px with four levels (P6)"),
    (("model.2.cv4.",), "YOLOv5 of release 3.1 or older (BottleneckCSP)"),
    (("model.28.m.0.weight", "module_list."), "YOLOv3"),
    (("model.105.", "model.77.", ".rbr_dense"), "YOLOv6 or YOLOv7"),
    (("backbone.dark", "backbone.backbone.dark"), "YOLOX"),
    (("roi_heads.", "rpn."), "Faster R-CNN of torchvision"),
    (("head.classification_head.",), "RetinaNet or SSD of torchvision"),
    (("fc.weight", "classifier."), "a classification network"),
)


@dataclass(frozen=True, eq=False)
class YOLOv5Checkpoint:
    """What a checkpoint holds.

    Attributes
    ----------
    size, release : str
        See `YOLOv5`.
    channels : int
        Of the image.
    names : tuple of str
        Of the classes.
    tensors : dict
        The network's state dict; numbers with a fraction as float32.
    """

    size: str
    release: str
    channels: int
    names: tuple[str, ...]
    tensors: Mapping[str, Tensor]


def read_yolov5(path: str | os.PathLike[str]) -> YOLOv5Checkpoint:
    """Read a checkpoint of YOLOv5 (a module, its average, or a state dict) without executing anything in it.

    Parameters
    ----------
    path : path-like
        A ``.pt`` file of ``torch.save``. The average ("ema") is taken where there is one.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ValueError
        When it is truncated or malicious, holds another network (with its family), lacks tensors, or has some that
        YOLOv5 does not know.
    """
    content = read_checkpoint(path)
    try:
        return _understood(content)
    except ValueError as error:
        raise ValueError(f"{os.fspath(path)!r} cannot be used as a YOLOv5 detector: {error}") from error


def fit_classes(tensors: Mapping[str, Tensor], fresh: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a checkpoint's tensors for a model with other classes: rows for boxes and objectness, the others fresh.

    Parameters
    ----------
    tensors : mapping
        Of the checkpoint.
    fresh : mapping
        State dict of the new model. With the same number of classes all rows are the checkpoint's.
    """
    fitted = dict(tensors)
    anchors = fresh[f"{_HEAD}.anchors"].shape[1]
    for name, old in tensors.items():
        if old.shape != fresh[name].shape:
            rows = fresh[name].clone().unflatten(0, (anchors, -1))  # (anchors, 5 + classes, ...)
            rows[:, :5] = old.unflatten(0, (anchors, -1))[:, :5]
            fitted[name] = rows.flatten(0, 1)
    return fitted


def _understood(content: object) -> YOLOv5Checkpoint:
    tree = content
    if isinstance(content, dict) and ("model" in content or "ema" in content):
        tree = content.get("model") if content.get("ema") is None else content["ema"]
    found = tensors_of(tree)
    tensors = {n: t.float() if t.is_floating_point() else t for n, t in found.items() if n != _EXTRA}
    _check_family(tensors)
    _check_activations(tree)
    release = "5.0" if "model.0.conv.conv.weight" in tensors else "6.x"
    channels = _inputs(tensors, release)
    rows, anchors = _tensor(tensors, f"{_HEAD}.m.0.weight", 4), _tensor(tensors, f"{_HEAD}.anchors", 3)
    if anchors.shape != (3, 3, 2) or len(rows) % 3 or len(rows) // 3 < 6 or not bool((anchors > 0).all()):
        raise ValueError(
            f"its head has {len(rows)} rows for anchors of shape {tuple(anchors.shape)}; expected 3 * (5 + classes) "
            "rows, and three anchors of positive size for each of three levels"
        )
    names = _names(tree, len(rows) // 3 - 5)
    size = _size(tensors, release)
    with torch.device("meta"):  # shapes only
        model = YOLOv5(size, len(names), channels, release=release)
    _check_tensors(tensors, model.state_dict(), f"YOLOv5{size} of release {release} with {len(names)} classes")
    return YOLOv5Checkpoint(size, release, channels, names, tensors)


def _check_family(tensors: Mapping[str, Tensor]) -> None:
    """Raise ValueError for another network, saying which one it looks like."""
    for signs, family in _FAMILIES:
        if any(sign in name for name in tensors for sign in signs):
            raise ValueError(
                f"it looks like {family}; only detectors of releases 4.0 to 7.0 with three levels are read"
            )
    if not any(name.startswith("model.") for name in tensors):
        raise ValueError(f"its tensors are {_some(tensors)}; expected 'model.0.conv.weight' and so on")


def _check_activations(tree: object) -> None:
    """Raise ValueError when the modules' records tell of another activation than SiLU: the tensors would not."""
    kinds: set[str] = set()
    stack = [tree]
    while stack:
        state = getattr(stack.pop(), "state", None)
        children = state.get("_modules") if isinstance(state, dict) else None
        if isinstance(children, dict):
            act = children.get("act")
            kinds |= {act.cls.rpartition(".")[2]} if isinstance(act, Record) else set()
            stack.extend(children.values())
    if kinds - {"SiLU"}:
        raise ValueError(f"its activation is {', '.join(sorted(kinds))}; only networks with SiLU can be read")


def _inputs(tensors: Mapping[str, Tensor], release: str) -> int:
    if release == "5.0":
        return _tensor(tensors, "model.0.conv.conv.weight", 4).shape[1] // 4  # four phases
    return _tensor(tensors, "model.0.conv.weight", 4).shape[1]


def _size(tensors: Mapping[str, Tensor], release: str) -> str:
    """Return the size whose width and depth the tensors have."""
    width = len(_tensor(tensors, "model.1.conv.weight", 4))  # 128 at full size
    depth = len({name.split(".")[3] for name in tensors if name.startswith("model.6.m.") and name.count(".") > 3})
    known = {size: (round(128 * w), round(9 * d)) for size, (d, w) in SIZES.items()}
    for size, measures in known.items():
        if measures == (width, depth):
            return size
    listed = ", ".join(f"{size} {w} and {d}" for size, (w, d) in known.items())
    raise ValueError(
        f"'model.1' has {width} channels and 'model.6' {depth} bottlenecks, as no size of release {release} has "
        f"({listed}). A network of your own can be traced and pruned as it is; it needs its own code to be loaded."
    )


def _names(tree: object, count: int) -> tuple[str, ...]:
    """Return the classes' names: from the module, where it says them, else their numbers."""
    state = tree.state if isinstance(tree, Record) else None
    names = state.get("names") if isinstance(state, dict) else None
    if isinstance(names, dict):  # {0: "person", ...} since release 6.2
        names = [names[key] for key in sorted(names, key=int)] if _are_numbers(names) else None
    if names is None:
        return tuple(map(str, range(count)))
    if not isinstance(names, (list, tuple)) or len(names) != count:
        told = f"{len(names)} names" if isinstance(names, (list, tuple)) else f"names of type {type(names).__name__}"
        raise ValueError(f"it has {told} for {count} classes")
    return tuple(map(str, names))


def _are_numbers(keys: Iterable[object]) -> bool:
    return all(isinstance(key, int) or (isinstance(key, str) and key.isdecimal()) for key in keys)


def _tensor(tensors: Mapping[str, Tensor], name: str, dims: int) -> Tensor:
    if name not in tensors:
        raise ValueError(f"it lacks {name!r}; its {len(tensors)} tensors are {_some(tensors)}")
    if tensors[name].ndim != dims:
        raise ValueError(f"{name!r} has shape {tuple(tensors[name].shape)}; expected {dims} dimensions")
    return tensors[name]


def _check_tensors(tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor], what: str) -> None:
    """Raise ValueError unless these are the network's tensors, all of them and no others."""
    missing, foreign = [n for n in wanted if n not in tensors], [n for n in tensors if n not in wanted]
    if missing or foreign:
        raise ValueError(
            f"it looks like {what}, but lacks {_some(missing)} of {len(wanted)} tensors and has {_some(foreign)} that "
            "the network does not know"
        )
    wrong = [n for n in wanted if tensors[n].shape != wanted[n].shape]
    if wrong:
        first = wrong[0]
        raise ValueError(
            f"it looks like {what}, but {len(wrong)} tensors have another shape: {first!r} has "
            f"{tuple(tensors[first].shape)}, expected {tuple(wanted[first].shape)}. Was it pruned already?"
        )


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    more = f", ... ({len(listed)} in all)" if len(listed) > 4 else ""
    return ", ".join(map(repr, listed[:4])) + more if listed else "none"
