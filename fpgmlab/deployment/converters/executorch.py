"""Export to ExecuTorch, for the kernels of XNNPACK."""

from __future__ import annotations

import os
import warnings

import torch
from torch import nn

from fpgmlab.common.files import atomic_path
from fpgmlab.deployment.converters.report import ConversionReport, checked, ending, in_float32, needed


def export_executorch(
    model: nn.Module, example_input: object, path: str | os.PathLike[str], *, tolerance: float = 1e-4
) -> ConversionReport:
    """Write a model as ``NAME.pte``, a program of ExecuTorch in float32, its layers for XNNPACK where that has them.

    Parameters
    ----------
    model : nn.Module
        Left as it is.
    example_input : Tensor, tuple or dict
        A real input, (batch, ...); the file takes this shape and no other. The check uses it and a random one.
    path : path-like
        ``NAME.pte``; written whole, after the check, or not at all.
    tolerance : float
        Largest relative error that passes.

    Returns
    -------
    ConversionReport

    Raises
    ------
    ImportError
        Without ExecuTorch: install ``fpgmlab[executorch]``.
    RuntimeError
        When the model cannot be exported, or the result differs by more than ``tolerance``.
    ValueError
        For a path with another ending.
    """
    target = ending(path, ".pte")
    needed("executorch")
    model, example = in_float32(model, example_input)
    with atomic_path(target) as temporary:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch, Python and ExecuTorch about each other
            from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
            from executorch.exir import to_edge_transform_and_lower

            program = torch.export.export(model, example.args, dict(example.kwargs))
            lowered = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()]).to_executorch()
        temporary.write_bytes(lowered.buffer)
        return checked("executorch", model, example, (temporary,), (target,), tolerance)
