"""Whether what was given is of the kind that was asked for: a network, a task, a plan, an example input."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from torch import Tensor, nn

from fpgmlab.errors import shown

_WANTED = {
    "model": "the network, an nn.Module",
    "task": "a task: data, loss and metric, such as fl.tasks.image_folder(path) gives",
    "plan": "a plan, as fl.Plan.uniform(graph, scores, macs=0.5) or fl.allocate(graph, curves, macs=0.5) gives",
    "example_input": "what the network is called with, such as one tensor (1, 3, 224, 224)",
}

_READERS = {
    ".onnx": "an exported file is judged as fl.deployment.OnnxNetwork({})",
    ".safetensors": "read it with fl.load({})",
    ".pt": "of a YOLOv5 it is read with fl.models.yolov5(weights={})",
}  # by the suffix of a path in the model's place


def check_model(model: object, call: str) -> None:
    """Raise a `TypeError` for what is no network; ``call`` is how it is meant, such as ``"fl.fit(model, task)"``."""
    if not isinstance(model, nn.Module):
        hint = "give graph.model" if _kind(model) == "graph" else ""
        if isinstance(model, (str, os.PathLike)):
            hint = _READERS.get(Path(model).suffix.lower(), "").format(repr(os.fspath(model)))
        raise TypeError(_words("model", model, call, hint))


def check_task(task: object, call: str) -> None:
    """Raise a `TypeError` for what is no task."""
    # Not by what a task must have: one of a user's own may do without, and is told what it lacks where it is asked.
    if _kind(task) in ("network", "graph", "plan") or task is None or isinstance(task, (Tensor, str, int, float, dict)):
        swapped = isinstance(task, dict) and bool(task) and all(isinstance(value, Tensor) for value in task.values())
        raise TypeError(_words("task", task, call, "those are scores: the two are swapped" if swapped else ""))
    if not _kind(task) and (hasattr(task, "__len__") or hasattr(task, "__iter__")):
        hint = "a data set alone is none: give fl.tasks.Classification(train, val), or fl.tasks.Detection for boxes"
        raise TypeError(_words("task", task, call, hint))


def check_plan(plan: object, call: str) -> None:
    """Raise a `TypeError` for what is no plan."""
    if _kind(plan) != "plan":
        hint = ""
        if isinstance(plan, (str, os.PathLike)):
            hint = f"a plan in a file is read with fl.Plan.from_json({os.fspath(plan)!r})"
        raise TypeError(_words("plan", plan, call, hint))


def check_example(example_input: object, call: str) -> None:
    """Raise a `TypeError` for what no network is called with: a task, a graph, a plan, a network, a shape, an array."""
    kind = _kind(example_input)
    if kind in ("task", "graph"):
        raise TypeError(_words("example_input", example_input, call, f"give {kind}.example_input"))
    if isinstance(example_input, (tuple, list)) and example_input and all(type(n) is int for n in example_input):
        hint = f"that is a shape: give a tensor of it, such as torch.zeros({', '.join(map(str, example_input))})"
        raise TypeError(_words("example_input", example_input, call, hint))
    if isinstance(example_input, np.ndarray):
        hint = "an array becomes a tensor by torch.from_numpy(array), of float32 as a rule: .float()"
        raise TypeError(_words("example_input", example_input, call, hint))
    if kind in ("network", "plan") or isinstance(example_input, (str, int, float)):
        raise TypeError(_words("example_input", example_input, call))


def described(value: object) -> str:
    """Return what was given, in words.

    >>> described(nn.ReLU()), described(0.5)
    ('the network (ReLU)', '0.5')
    """
    kind = _kind(value)
    if kind:
        return f"{'a' if kind == 'plan' else 'the'} {kind} ({type(value).__name__})"
    return f"a Tensor {tuple(value.shape)}" if isinstance(value, Tensor) else shown(value)


def _words(name: str, value: object, call: str, hint: str = "") -> str:
    hint = f"{hint[0].upper()}{hint[1:]}. " if hint else ""
    return f"{name} must be {_WANTED[name]}; got {described(value)}. {hint}As in {call}"


def _kind(value: object) -> str:
    """Return what a thing is by what its class can do; nothing of what is none of these."""
    if isinstance(value, nn.Module):
        return "network"
    kind = type(value)
    if hasattr(kind, "groups_of") and hasattr(kind, "cost"):
        return "graph"
    if hasattr(value, "removed") and hasattr(value, "widths"):
        return "plan"
    return "task" if any(hasattr(value, f"{split}_batches") for split in ("train", "val", "test")) else ""
