"""What the sections of a run file stand for: networks, tasks, criteria, extras."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import is_dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fpgmlab import tasks
from fpgmlab.allocation import Fit, Repair
from fpgmlab.common.modules import device_of
from fpgmlab.criteria import NAMED, Criterion, Random, Reconstruction
from fpgmlab.errors import unknown
from fpgmlab.graph import ChannelGraph
from fpgmlab.models import YOLOv5, available, yolov5
from fpgmlab.models.saving import load as load_file
from fpgmlab.models.zoo import build
from fpgmlab.models.zoo import load as load_named
from fpgmlab.recovery import extras, recalibrate
from fpgmlab.recovery.extras import Extra
from fpgmlab.tasks import BoxAugment, Detection, YOLOv5Head
from fpgmlab.tasks.task import Task

Section = Mapping[str, Any]
PICKLES = (".pt", ".pth")
SUPPLIED = ("teacher", "graph", "task")  # of criteria and extras, by the run itself
WITH_GRAPH = ("group_lasso", "soft_pruning")
WITH_BOXES = ("trees", "coco", "data_yaml")


def named_extras() -> dict[str, Callable[..., Extra]]:
    """Return the extras of the library by their names in a file, such as ``"gamma_l1"`` for `fpgmlab.GammaL1`."""
    names = [name for name in extras.__all__ if is_dataclass(getattr(extras, name))]
    return {re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower(): getattr(extras, name) for name in names}


def named_criteria() -> dict[str, Callable[..., Criterion]]:
    """Return the criteria of the library by their names in a file."""
    return {**NAMED, "reconstruction": Reconstruction}


def coco(
    train: str,
    val: str,
    *,
    test: str | None = None,
    size: int = 416,
    detections: int = 100,
    check: bool = True,
    progress: bool = True,
) -> Detection:
    """Return a detection task of files in COCO's JSON.

    Parameters
    ----------
    train, val, test : str
        Each an ``instances_*.json``; see `fpgmlab.tasks.coco_boxes`.
    size : int
        Side of the square inputs, in pixels.
    detections : int
        How many detections of a class in a picture count.
    check : bool
        Read each picture once, before anything else, to find the damaged ones.
    progress : bool
        Show a progress bar while they are read.
    """
    read = partial(tasks.coco_boxes, check=check, progress=progress)
    last = None if test is None else read(test)
    return Detection(read(train), read(val), size=size, detections=detections, test=last)


def data_yaml(
    path: str,
    *,
    test: str | None = None,
    size: int = 416,
    detections: int = 100,
    check: bool = True,
    progress: bool = True,
) -> Detection:
    """Return a detection task of a data set in YOLO's layout.

    Parameters
    ----------
    path : str
        Of its ``data.yaml``; see `fpgmlab.tasks.yolo_boxes`.
    test : str, optional
        The entry in it with the test data.
    size : int
        Side of the square inputs, in pixels.
    detections : int
        How many detections of a class in a picture count.
    check : bool
        Read each picture once, before anything else, to find the damaged ones.
    progress : bool
        Show a progress bar while they are read.
    """
    read = partial(tasks.yolo_boxes, path, check=check, progress=progress)
    train, val = read("train"), read("val")
    last = None if test is None else read(test)
    return Detection(train, val, size=size, detections=detections, test=last)


TASKS: dict[str, Callable[..., Task]] = {
    "fashion_mnist": tasks.fashion_mnist,
    "trees": tasks.trees,
    "image_folder": tasks.image_folder,
    "coco": coco,
    "data_yaml": data_yaml,
}


def imported(name: str) -> Callable[..., object]:
    """Return what ``"module:function"`` names; its module is imported, from the working directory too.

    Raises
    ------
    ValueError
        When there is no such module or function, or it cannot be imported; in words.
    """
    module_name, _, function_name = name.partition(":")
    if not re.fullmatch(r"\w+(\.\w+)*:\w+", name):
        raise ValueError(f"must be 'module:function', such as 'networks:make'; got {name!r}")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # whatever its code may raise
        raise ValueError(f"{module_name!r} cannot be imported: {type(error).__name__}: {error}") from error
    found = getattr(module, function_name, None)
    if not callable(found):
        names = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise ValueError(f"{module_name!r} has no such function: {unknown('function', function_name, names)}")
    return found


def make_network(section: Section, seed: int) -> nn.Module:
    """Return the network of a section ``[model]``, in eval mode on the CPU."""
    options = {key: value for key, value in section.items() if key not in ("name", "file", "builder", "arguments")}
    name, path = section.get("name"), section.get("file")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        built = _built("model", section, nn.Module) if "builder" in section else None
        if path is not None:
            of_yolov5 = built is None and Path(path).suffix in PICKLES
            model = yolov5(weights=path, **options) if of_yolov5 else load_file(path, model=built)
        elif built is not None:
            model = built
        else:
            model = load_named(str(name), **options) if is_trained(name) else build(str(name), **options)
    return model.eval()


def is_trained(name: object) -> bool:
    """Tell whether a name is that of a network which ships; others are architectures."""
    return name in available() or name == "yolov5s-coco"


def make_task(section: Section, model: nn.Module, progress: bool = False) -> Task:
    """Return the task of a section ``[task]``; that of a YOLOv5 knows its anchors.

    Parameters
    ----------
    section : mapping
    model : nn.Module
    progress : bool
        Show a bar while pictures are read.
    """
    common = ("name", "builder", "arguments", "holdout", "subset", "augment")
    options = {key: value for key, value in section.items() if key not in common}
    if "builder" in section:
        made: Any = _built("task", section, object)
        if missing := [name for name in ("train_batches", "val_batches", "loss", "metric") if not hasattr(made, name)]:
            raise ValueError(f"task.builder: what {section['builder']!r} gives is no task: it has no {missing[0]}")
    else:
        make = TASKS[section["name"]]
        made = make(**options, **({"progress": progress} if "progress" in inspect.signature(make).parameters else {}))
    if isinstance(made, Detection):
        changes: dict[str, Any] = {"augment": BoxAugment(**section["augment"])} if "augment" in section else {}
        if isinstance(model, YOLOv5):
            changes["head"] = YOLOv5Head.of(model)
        made = replace(made, **changes) if changes else made
    if "holdout" in section:
        made = made.holdout(section["holdout"])
    if "subset" in section:
        made = made.subset(**section["subset"])
    return made


def make_criterion(section: Section, task: Task, seed: int) -> Criterion:
    """Return the criterion that a section names, with a seed where it is random."""
    if section["name"] == "random":
        return Random(seed)
    options = {key: value for key, value in section.items() if key != "name"}
    if section["name"] == "reconstruction":
        return Reconstruction(task, seed=seed, **options)
    return named_criteria()[section["name"]](**options)


def make_between(section: Section, teacher: nn.Module, seed: int) -> Any:
    """Return what ``gradual.between`` names: a repair, a training with its extras, the statistics anew."""
    options = {key: value for key, value in section.items() if key != "name"}
    if section["name"] == "recalibrate":
        return recalibrate
    if section["name"] == "repair":
        return Repair(**{**options, "seed": seed})
    return Fit(**{**options, "seed": seed, "extras": [make_extra(each, teacher, None) for each in options["extras"]]})


def make_extra(section: Section, teacher: nn.Module, graph: Callable[[], ChannelGraph] | None) -> Extra:
    """Return one of the extras of ``[fit]``.

    Parameters
    ----------
    section : mapping
    teacher : nn.Module
        Who has one learns from it, or from the network in a file.
    graph : callable
        Gives the graph of the network that is trained to who asks for one.
    """
    options = {key: value for key, value in section.items() if key != "name"}
    kind = named_extras()[section["name"]]
    asked = inspect.signature(kind).parameters
    if "teacher" in asked:
        given = options.get("teacher")
        options["teacher"] = teacher if given is None else load_file(given).to(device_of(teacher))
    if "graph" in asked and graph is not None:
        options["graph"] = graph()
    return kind(**options)


def _built(place: str, section: Section, kind: type) -> Any:
    function = imported(section["builder"])
    made = function(**section.get("arguments", {}))
    if not isinstance(made, kind):
        raise ValueError(
            f"{place}.builder: {section['builder']!r} must return a {kind.__name__}; got a {type(made).__name__}"
        )
    return made
