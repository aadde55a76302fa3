"""torch's two exporters to ONNX, and the versions of operators that each can write."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from fpgmlab.common.calling import left_as_it_is
from fpgmlab.common.modules import tensors_in
from fpgmlab.deployment.arguments import Arguments, output_names

EXPORTERS = ("auto", "dynamo", "torchscript")
DYNAMO_LEAST = 18  # asked for less, dynamo's exporter writes this without a word


ONE_AT_A_TIME = threading.RLock()  # torch's exporters keep what they are at in global variables


@dataclass(frozen=True)
class Way:
    """One way to write a file.

    Attributes
    ----------
    exporter : {"dynamo", "torchscript"}
    dim : object
        How dynamo's exporter is told that the batch size is free; None for a fixed one. A named dimension gives the
        cleaner file; some code fixes it without a word, which the check finds.
    dynamic : bool
        Whether the batch size is free.
    opset : int or None
        Asked for; None for the exporter's own choice.
    """

    exporter: str
    dim: object
    dynamic: bool
    opset: int | None

    @property
    def converted(self) -> bool:
        """Whether the exporter cannot write the opset itself, and its file is converted."""
        return self.exporter == "dynamo" and self.opset is not None and self.opset < DYNAMO_LEAST


def ways(exporter: str, opset: int | None, dynamic: bool) -> Iterator[Way]:
    """Yield what to try in turn; what writes an opset itself before what has to be converted."""
    dims = (torch.export.Dim("batch"), torch.export.Dim.DYNAMIC) if dynamic else (None,)
    all_ways = [Way("dynamo", dim, dynamic, opset) for dim in dims] + [Way("torchscript", None, dynamic, opset)]
    if all_ways[0].converted:
        del all_ways[: len(dims) - 1]  # the last resort needs no two tries
    yield from (way for way in sorted(all_ways, key=lambda way: way.converted) if exporter in ("auto", way.exporter))


def write(model: nn.Module, arguments: Arguments, path: Path, way: Way) -> None:
    """Write a model as ONNX, in one way."""
    with torch.no_grad(), left_as_it_is(model):
        given = arguments.call(model)
    with ONE_AT_A_TIME:
        _write(model, arguments, path, way, given)


def _write(model: nn.Module, arguments: Arguments, path: Path, way: Way, given: object) -> None:
    names = list(arguments.named)
    outputs = output_names(given, names)
    if way.exporter == "dynamo":
        # One example would be taken for a constant.
        example = arguments.doubled() if way.dynamic and arguments.batch == 1 else arguments
        torch.onnx.export(
            model, example.args, path, kwargs=dict(example.kwargs), dynamo=True,
            opset_version=None if way.converted else way.opset, external_data=False, verbose=False,
            dynamic_shapes=example.dynamic(model, way.dim) if way.dynamic else None,
            input_names=names, output_names=outputs,
        )  # fmt: skip
        if way.converted and way.opset is not None:
            _convert(path, way.opset)
        return
    batched = [name for name, tensor in arguments.named.items() if arguments.is_batched(tensor)]
    batched += [n for n, tensor in zip(outputs, tensors_in(given), strict=True) if arguments.is_batched(tensor)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # that it is the older exporter is known
        warnings.simplefilter("ignore", torch.jit.TracerWarning)  # the check shows what is taken for a constant
        torch.onnx.export(
            model, arguments.args, os.fspath(path), kwargs=dict(arguments.kwargs), dynamo=False,
            opset_version=way.opset, dynamic_axes={name: {0: "batch"} for name in batched} if way.dynamic else None,
            input_names=names, output_names=outputs,
        )  # fmt: skip


def _convert(path: Path, opset: int) -> None:
    """Write a file's operators in another version."""
    import onnx
    from onnx import version_converter

    model = onnx.load(path)
    try:
        onnx.save(version_converter.convert_version(model, opset), path)
    except Exception as error:  # the converter has no errors of its own kind
        there = model.opset_import[0].version
        raise RuntimeError(f"its opset {there} cannot be converted to {opset}: {error}. Ask for {there}") from error


def halved(path: Path) -> None:
    """Write a file's weights and what flows in float16; inputs and outputs stay in float32."""
    import onnx
    from onnxruntime.quantization.onnx_model import ONNXModel
    from onnxruntime.transformers.float16 import convert_float_to_float16

    model = ONNXModel(convert_float_to_float16(onnx.load(path), keep_io_types=True))
    model.topological_sort()  # the casts of the inputs come last otherwise
    onnx.save(model.model, path)
