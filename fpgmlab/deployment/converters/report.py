"""What a conversion gave, and how well it agrees with the model."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from fpgmlab.common.calling import left_as_it_is
from fpgmlab.common.files import as_path
from fpgmlab.common.given import check_model
from fpgmlab.common.holdings import copy_of
from fpgmlab.common.modules import tensors_in
from fpgmlab.deployment.arguments import Arguments
from fpgmlab.deployment.runtimes import RUNTIMES


@dataclass(frozen=True)
class ConversionReport:
    """What was written for a runtime and how well it agrees.

    Attributes
    ----------
    paths : tuple of str
        The files; the first one is what the runtime is given.
    runtime, version : str
        The one that it was checked in.
    bytes : int
        Size of the files.
    max_abs_error, max_rel_error : float
        Largest difference between runtime and torch, absolute and relative to the largest output.
    examples : int
        How many examples were compared.
    """

    paths: tuple[str, ...]
    runtime: str
    version: str
    bytes: int
    max_abs_error: float
    max_rel_error: float
    examples: int


def arrays(arguments: Arguments) -> list[np.ndarray]:
    """Return inputs as a session takes them."""
    return [tensor.detach().cpu().contiguous().numpy() for tensor in arguments.named.values()]


def in_float32(model: nn.Module, example_input: object) -> tuple[nn.Module, Arguments]:
    """Return a copy of a model for the CPU, in eval mode and float32, and its arguments likewise."""
    check_model(model, "fl.export_onnx(model, example_input, path)")
    if isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
        model = model.module
    given = Arguments.of(example_input).map(lambda t: t.detach().cpu().float() if t.is_floating_point() else t.cpu())
    return copy_of(model).cpu().float().eval().requires_grad_(False), given


def answers(model: nn.Module, arguments: Arguments) -> list[np.ndarray]:
    """Return what a model gives, as a session gives it."""
    with torch.no_grad(), left_as_it_is(model):
        return [tensor.float().numpy().copy() for tensor in tensors_in(arguments.call(model))]


def errors(wanted: Sequence[np.ndarray], got: Sequence[np.ndarray]) -> tuple[float, float]:
    """Return the largest absolute difference of outputs, and relative to the largest wanted one.

    Raises
    ------
    ValueError
        Where there are others, or of other shapes.
    """
    shapes = [tuple(a.shape) for a in wanted], [tuple(a.shape) for a in got]
    if shapes[0] != shapes[1]:
        raise ValueError(f"it gives {shapes[1]} where the model gives {shapes[0]}")
    pairs = [(w, g) for w, g in zip(wanted, got, strict=True) if w.size]
    absolute = max((float(np.abs(w - g).max()) for w, g in pairs), default=0.0)
    return absolute, absolute / max(1e-30, *(float(np.abs(w).max()) for w, _ in pairs), 0.0)


def checked(
    runtime: str, model: nn.Module, example: Arguments, files: Sequence[Path], names: Sequence[Path], tolerance: float
) -> ConversionReport:
    """Hold files against their model on the example and on a made-up one; return the report of the ``names`` to come.

    Raises
    ------
    RuntimeError
        When they differ by more than ``tolerance``.
    """
    version = RUNTIMES[runtime].awake()
    session = RUNTIMES[runtime].open(files[0], example, None)
    absolute, relative, examples = 0.0, 0.0, 0
    for given in (example, example.random(example.batch)) if example.batch else (example,):
        one, other = errors(answers(model, given), session.run(arrays(given)))
        absolute, relative = max(absolute, one), max(relative, other)
        examples += given.batch or 1
    if not relative <= tolerance:
        raise RuntimeError(
            f"the file differs from the model in {runtime}: relative error {relative:.2e} > tolerance {tolerance:.0e} "
            f"on {examples} examples; nothing was written"
        )
    size = sum(file.stat().st_size for file in files)
    return ConversionReport(tuple(map(os.fspath, names)), runtime, version, size, absolute, relative, examples)


def needed(runtime: str) -> None:
    """Raise an `ImportError`, with the extra, where a runtime is not installed."""
    RUNTIMES[runtime].awake()


def ending(path: str | os.PathLike[str], wanted: str) -> Path:
    """Return a path; raise a `ValueError` where it does not end as the runtime wants it."""
    if not (found := as_path(path)).name.endswith(wanted):
        raise ValueError(f"the path must end in {wanted!r}; got {os.fspath(path)!r}")
    return found


class OfFile(nn.Module):
    """An ONNX file as a module, run by ONNX Runtime."""

    def __init__(self, path: str | os.PathLike[str], example: Arguments) -> None:
        super().__init__()
        self.session = RUNTIMES["onnxruntime"].open(Path(path), example, None)

    def forward(self, *args: object, **kwargs: object) -> list[torch.Tensor]:
        return [torch.from_numpy(found) for found in self.session.run(arrays(Arguments(args, kwargs)))]
