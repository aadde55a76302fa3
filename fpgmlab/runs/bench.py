"""What the steps of a run have in common: the network, its task, its graph, and what earlier steps have left."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from fpgmlab.common.digests import digest
from fpgmlab.common.files import atomic_path
from fpgmlab.criteria import score
from fpgmlab.graph import ChannelGraph
from fpgmlab.models.saving import load
from fpgmlab.plans.provenance import provenance
from fpgmlab.plans.rounding import Scores
from fpgmlab.runs.file import RunFile
from fpgmlab.runs.folder import RunFolder
from fpgmlab.runs.making import make_criterion, make_network, make_task
from fpgmlab.surgery import trace
from fpgmlab.tasks.task import Task

if TYPE_CHECKING:
    import pandas as pd

NETWORKS = {
    "prune": "pruned.safetensors",
    "repair": "repaired.safetensors",
    "gradual": "gradual.safetensors",
    "fit": "fitted.safetensors",
}


@dataclass(frozen=True)
class Outcome:
    """What a step has left: files in the folder, and facts for ``result.json``."""

    files: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)


class Bench:
    """All that the steps of a run need, made when it is first asked for.

    Parameters
    ----------
    file : RunFile
    folder : RunFolder
    note : callable
        Told what happens, in words.
    progress : bool
        Whether progress bars are shown.
    """

    def __init__(self, file: RunFile, folder: RunFolder, note: Callable[[str], None], progress: bool = False) -> None:
        self.sections, self.folder, self.note, self.progress = file.sections, folder, note, progress
        self.log = note
        device = self.sections["run"]["device"]
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        own = os.environ.get("LOCAL_RANK")  # of several processes each has a GPU of its own
        self.device = f"{device}:{own}" if device == "cuda" and own is not None else device

    @cached_property
    def model(self) -> nn.Module:
        """The network that the run begins with."""
        return make_network(self.sections["model"], self.sections["run"]["seed"]).to(self.device)

    @cached_property
    def task(self) -> Task:
        """Its task."""
        return make_task(self.sections["task"], self.model, self.progress)

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What the sections do not tell of network and data: digest and sizes."""
        data = {split: getattr(self.task, split, None) for split in ("train", "val", "test")}
        sizes = {split: len(examples) for split, examples in data.items() if examples is not None}
        return {"weights": digest(self.model.state_dict()), "examples": sizes}

    @cached_property
    def graph(self) -> ChannelGraph:
        """Its channel groups."""
        return trace(self.model, self.example_input, **self.sections["trace"])

    @property
    def example_input(self) -> Any:
        """What it is called with, on its device."""
        example = getattr(self.task, "example_input", None)
        if example is None:
            raise ValueError(f"{type(self.task).__name__} has no example_input, with which a network is traced")
        return example.to(self.device) if isinstance(example, torch.Tensor) else example

    @cached_property
    def scores(self) -> Scores:
        """The channels' scores."""
        section = self.sections["score"]
        options = {key: value for key, value in section.items() if key != "criterion"}
        return score(
            self.graph,
            make_criterion(section["criterion"], self.task, section["seed"]),
            **options,
            progress=self.progress,
        )

    def network(self, step: str | None) -> nn.Module:
        """Return the network that a step has left, in eval mode; None is the one that the run begins with."""
        if step is None:
            return self.model
        fresh = self.model if provenance(self.model).architecture is None else None
        return load(self.folder / NETWORKS[step], model=fresh).to(self.device)

    def written(self, name: str, table: pd.DataFrame) -> str:
        """Write a table as CSV, and return its name."""
        with atomic_path(self.folder / name) as path:
            table.to_csv(path, index=False)
        return name
