"""The files that runtimes open, of networks that are given as models or as files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from torch import nn

from fpgmlab.deployment.arguments import Arguments
from fpgmlab.deployment.converters import export_executorch, export_ncnn, export_openvino
from fpgmlab.deployment.export import export_onnx
from fpgmlab.deployment.runtimes.runtime import Runtime, Source

# What writes a model as a file of an ending. How well a file agrees is for the benchmark to tell, not a reason to stop.
_WRITERS: dict[str, Callable[..., object]] = {
    ".onnx": partial(export_onnx, dynamic=False),
    ".xml": export_openvino,
    ".ncnn.param": export_ncnn,
    ".pte": export_executorch,
}


class Unfit(Exception):
    """Why a runtime cannot take a network."""


@dataclass
class Network:
    """A network by its name, with the files that were made of it so far.

    Attributes
    ----------
    name : str
    given : nn.Module or Path
        A model in eval mode and float32, or a file.
    example : Arguments
    folder : Path
        For its files.
    """

    name: str
    given: Source
    example: Arguments
    folder: Path
    made: dict[str, Path | Unfit] = field(default_factory=dict)

    def source(self, name: str, runtime: Runtime) -> Source:
        """Return what a runtime opens.

        Raises
        ------
        Unfit
            Where there is no way from what was given to what it reads.
        """
        batch = self.example.batch
        if runtime.examples is not None and batch is not None and batch > runtime.examples:
            raise Unfit(f"{name} runs {runtime.examples} example at a time; there are {batch}")
        if isinstance(self.given, nn.Module):
            return self.file(runtime.reads[0]) if runtime.reads else self.given
        if not self.given.name.endswith(runtime.reads):
            told = f"files that end in {' or '.join(runtime.reads)}" if runtime.reads else "models, no files"
            raise Unfit(f"{name} runs {told}; give the model")
        return self.given

    def file(self, ending: str) -> Path:
        """Return the model as a file; it is written once."""
        if ending not in self.made:
            self.made[ending] = self._written(ending)
        made = self.made[ending]
        if isinstance(made, Unfit):
            raise made
        return made

    def _written(self, ending: str) -> Path | Unfit:
        if ending not in _WRITERS:
            return Unfit(f"no way from a model to a file that ends in {ending!r}")
        self.folder.mkdir(exist_ok=True)
        path = self.folder / f"model{ending}"
        example = dict(self.example.kwargs) or self.example.args
        try:
            source = self.file(".onnx") if ending == ".xml" else self.given
            _WRITERS[ending](source, example, path, tolerance=float("inf"))
        except Exception as error:  # exporters fail in many ways
            return Unfit(reason(error))
        return path


def reason(error: Exception, longest: int = 300) -> str:
    """Return an error in one line."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= longest else f"{text[: longest - 4]} ..."
