"""Official YOLOv5 checkpoints, read as data: what network they hold is worked out from their tensors."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from fpgmlab.checkpoints.unpickling import Record, read_checkpoint, tensors_of
from fpgmlab.models.yolov5.classes import HEAD
from fpgmlab.models.yolov5.families import cure, family, some, span
from fpgmlab.models.yolov5.network import SIZES, YOLOv5

_EXTRA = f"{HEAD}.anchor_grid"  # the anchors once more, in older files
_HOLD = ("ema", "model", "state_dict", "model_state_dict")  # where a checkpoint holds its network, the best first
_STEM = re.compile(r"(.*)model\.0\.conv\.")


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


def _understood(content: object) -> YOLOv5Checkpoint:
    held = [content[key] for key in _HOLD if content.get(key) is not None] if isinstance(content, dict) else []
    tree = held[0] if held else content
    if isinstance(tree, tuple) and tree:  # release 4.0 kept the average with its number of updates
        tree = tree[0]
    tensors = {name: tensor for name, tensor in _unwrapped(tensors_of(tree)).items() if name != _EXTRA}
    _check_family(tensors)
    _check_activations(tree)
    _check_extents(tensors)
    release = "5.0" if "model.0.conv.conv.weight" in tensors else "6.x"
    channels = _inputs(tensors, release)
    rows, anchors = _tensor(tensors, f"{HEAD}.m.0.weight", 4), _tensor(tensors, f"{HEAD}.anchors", 3)
    if anchors.shape != (3, 3, 2) or len(rows) % 3 or len(rows) // 3 < 6 or not bool((anchors > 0).all()):
        raise ValueError(
            f"its head has {len(rows)} rows for anchors of shape {tuple(anchors.shape)}; expected 3 * (5 + classes) "
            "rows, and three anchors of positive size for each of three levels"
        )
    names = _names(tree, len(rows) // 3 - 5)
    size = _size(tensors, release)
    with torch.random.fork_rng(devices=[]):  # for its shapes; on the device "meta" it would take seconds, once
        model = YOLOv5(size, len(names), channels, release=release)
    _check_tensors(tensors, model.state_dict(), f"YOLOv5{size} of release {release} with {len(names)} classes")
    tensors = {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}
    return YOLOv5Checkpoint(size, release, channels, names, tensors)


def _unwrapped(tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Return tensors without what a wrapper (DataParallel, AutoShape) puts before all of their names."""
    prefix = next((found[1] for found in map(_STEM.match, tensors) if found), "")
    if not all(name.startswith(prefix) for name in tensors):
        return tensors
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}


def _check_family(tensors: Mapping[str, Tensor]) -> None:
    """Raise ValueError for another network, saying which one it looks like."""
    if found := family(tensors):
        raise ValueError(
            f"it looks like {found}; only detectors of releases 4.0 to 7.0 with three levels are read. {cure(found)}"
        )
    if not any(name.startswith("model.") for name in tensors):
        raise ValueError(f"{span(tensors)}; expected 'model.0.conv.weight' and so on")


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


def _check_extents(tensors: Mapping[str, Tensor]) -> None:
    """Raise ValueError for a tensor that repeats its numbers: a small file could ask for all of the memory."""
    for name, tensor in tensors.items():
        held = tensor.untyped_storage().nbytes() // tensor.itemsize
        if tensor.numel() > held:
            raise ValueError(f"{name!r} has shape {tuple(tensor.shape)}, but the file holds {held} numbers of it")


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
        f"({listed}). Was it pruned already? What fpgmlab.save wrote, fpgmlab.load reads; a network of your own can be "
        "traced and pruned as it is, but needs its own code to be loaded."
    )


def _names(tree: object, count: int) -> tuple[str, ...]:
    """Return the classes' names: from the module, where it says them, else their numbers."""
    names = _told_names(tree)
    if isinstance(names, dict):  # {0: "person", ...} since release 6.2
        names = [names[key] for key in sorted(names, key=int)] if _are_numbers(names) else None
    if names is None:
        return tuple(map(str, range(count)))
    if not isinstance(names, (list, tuple)) or not all(isinstance(name, (str, int)) for name in names):
        raise ValueError("its class names are not a list of text")
    if len(names) != count:
        raise ValueError(f"it has {len(names)} names for {count} classes")
    return tuple(map(str, names))


def _told_names(tree: object) -> object:
    """Return what a module says of its classes' names, or the only module that it wraps."""
    while isinstance(tree, Record) and isinstance(tree.state, dict) and "names" not in tree.state:
        children = list(tree.state["_modules"].values())
        tree = children[0] if len(children) == 1 else None
    return tree.state["names"] if isinstance(tree, Record) and isinstance(tree.state, dict) else None


def _are_numbers(keys: Iterable[object]) -> bool:
    return all(isinstance(key, int) or (isinstance(key, str) and key.isdecimal()) for key in keys)


def _tensor(tensors: Mapping[str, Tensor], name: str, dims: int) -> Tensor:
    if name not in tensors:
        raise ValueError(
            f"it lacks {name!r}; {span(tensors)}, expected model.0 to {HEAD}. Is it whole, and a standard size?"
        )
    if tensors[name].ndim != dims:
        raise ValueError(f"{name!r} has shape {tuple(tensors[name].shape)}; expected {dims} dimensions")
    return tensors[name]


def _check_tensors(tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor], what: str) -> None:
    """Raise ValueError unless these are the network's tensors, all of them, no others, and of sound numbers."""
    missing, foreign = [n for n in wanted if n not in tensors], [n for n in tensors if n not in wanted]
    if missing or foreign:
        raise ValueError(
            f"it looks like {what}, but lacks {some(missing)} of {len(wanted)} tensors and has {some(foreign)} that "
            "the network does not know"
        )
    wrong = [n for n in wanted if tensors[n].shape != wanted[n].shape]
    if wrong:
        first = wrong[0]
        raise ValueError(
            f"it looks like {what}, but {len(wrong)} tensors have another shape: {first!r} has "
            f"{tuple(tensors[first].shape)}, expected {tuple(wanted[first].shape)}. Was it pruned already?"
        )
    for name, tensor in tensors.items():
        if tensor.is_floating_point() != wanted[name].is_floating_point():
            raise ValueError(f"{name!r} is of type {tensor.dtype}; expected {wanted[name].dtype}. Was it quantised?")
        if not bool(tensor.isfinite().all()):
            raise ValueError(
                f"{name!r} has {int((~tensor.isfinite()).sum())} of {tensor.numel()} numbers that are infinite or none "
                "(NaN): the training went astray, or half precision could not hold them. Give an earlier checkpoint"
            )
