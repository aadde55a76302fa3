"""Export to ONNX, checked against ONNX Runtime before the file is there."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from fpgmlab.common.files import atomic_path
from fpgmlab.common.modules import device_of, eval_mode, tensors_in
from fpgmlab.deployment.runtimes import onnx_session, run_onnx
from fpgmlab.errors import one_of

EXPORTERS = ("auto", "dynamo", "torchscript")


@dataclass(frozen=True)
class ExportReport:
    """What `export_onnx` wrote and how well it agrees.

    Attributes
    ----------
    path : str
    opset : int
        Of the default ONNX domain.
    exporter : str
        "dynamo" or "torchscript".
    bytes : int
        Size of the file.
    max_abs_error, max_rel_error : float
        Largest difference between ONNX Runtime and torch, absolute and relative to the largest output.
    examples : int
        How many examples were compared.
    """

    path: str
    opset: int
    exporter: str
    bytes: int
    max_abs_error: float
    max_rel_error: float
    examples: int


def export_onnx(
    model: nn.Module,
    example_input: Tensor,
    path: str | os.PathLike[str],
    *,
    opset: int | None = None,
    check_inputs: Sequence[Tensor] = (),
    tolerance: float = 1e-3,
    exporter: str = "auto",
) -> ExportReport:
    """Write a model as ONNX with a dynamic batch size, and check it.

    The input is called ``input``, a single output ``output``, several ``output_0``, ``output_1`` and so on.

    Parameters
    ----------
    model : nn.Module
        Exported in eval mode; left as it is.
    example_input : Tensor, (batch, ...)
        A real input; the check uses it and random ones of the same mean and deviation.
    path : path-like
        Written whole, after the check, or not at all.
    opset : int, optional
        Version of the ONNX operators; the exporter chooses when left out. Below 18 only the older exporter can.
    check_inputs : sequence of Tensor
        More inputs to compare on, of any batch size.
    tolerance : float
        Largest relative error that passes.
    exporter : {"auto", "dynamo", "torchscript"}
        torch's exporter; ``"auto"`` takes dynamo and falls back on the older one.

    Returns
    -------
    ExportReport

    Raises
    ------
    ImportError
        Without onnx, onnxscript and onnxruntime: install ``fpgmlab[deploy]``.
    RuntimeError
        When the model cannot be exported, or the result differs by more than ``tolerance``.
    """
    try:
        import onnx
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ImportError(f"export_onnx needs {error.name}: pip install 'fpgmlab[deploy]'") from error
    if exporter not in EXPORTERS:
        raise ValueError(one_of("exporter", exporter, EXPORTERS))
    example_input = example_input.to(device_of(model))
    with atomic_path(path) as temporary, eval_mode(model):
        used = _export(model, example_input, temporary, opset, exporter)
        onnx.checker.check_model(os.fspath(temporary), full_check=True)
        imports = onnx.load(os.fspath(temporary), load_external_data=False).opset_import
        version = next(entry.version for entry in imports if entry.domain in {"", "ai.onnx"})
        absolute, relative, examples = _compare(model, temporary, [example_input, *check_inputs])
        if not relative <= tolerance:
            raise RuntimeError(
                f"the ONNX file differs from the model: relative error {relative:.2e} > tolerance {tolerance:.0e} "
                f"on {examples} examples; nothing was written. Try exporter='torchscript'."
            )
        size = temporary.stat().st_size
    return ExportReport(os.fspath(path), version, used, size, absolute, relative, examples)


def _export(model: nn.Module, example_input: Tensor, path: Path, opset: int | None, exporter: str) -> str:
    with torch.no_grad():
        count = len(list(tensors_in(model(example_input))))
    outputs = ["output"] if count == 1 else [f"output_{i}" for i in range(count)]
    errors: dict[str, Exception] = {}
    if exporter == "dynamo" or (exporter == "auto" and (opset is None or opset >= 18)):
        try:
            # A batch of one would be taken for a constant.
            example = torch.cat([example_input, example_input]) if len(example_input) == 1 else example_input
            dynamic = ({0: torch.export.Dim("batch")},)
            torch.onnx.export(
                model, (example,), path, dynamo=True, dynamic_shapes=dynamic, opset_version=opset,
                external_data=False, verbose=False, input_names=["input"], output_names=outputs,
            )  # fmt: skip
            return "dynamo"
        except Exception as error:
            errors["dynamo"] = error
            if exporter == "dynamo":
                raise RuntimeError(f"torch's dynamo exporter failed: {error}") from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # that it is the older exporter is known
            axes = {name: {0: "batch"} for name in ("input", *outputs)}
            torch.onnx.export(
                model, (example_input,), os.fspath(path), dynamo=False, dynamic_axes=axes, opset_version=opset,
                input_names=["input"], output_names=outputs,
            )  # fmt: skip
        return "torchscript"
    except Exception as error:
        errors["torchscript"] = error
        told = "; ".join(f"{name}: {why}" for name, why in errors.items())
        raise RuntimeError(f"{type(model).__name__} could not be exported to ONNX. {told}") from error


def _compare(model: nn.Module, path: Path, inputs: Sequence[Tensor]) -> tuple[float, float, int]:
    """Return the largest absolute and relative error, and the number of examples; also at other batch sizes."""
    session = onnx_session(path)
    first = inputs[0]
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn((3, *first.shape[1:]), generator=generator).to(first)
    absolute, scale, examples = 0.0, 1e-30, 0
    for batch in (first[:1], noise * first.std() + first.mean(), *inputs):
        batch = batch.to(first)
        with torch.no_grad():
            wanted = [tensor.float().cpu() for tensor in tensors_in(model(batch))]
        for want, got in zip(wanted, run_onnx(session, batch), strict=True):
            absolute = max(absolute, float((want - torch.from_numpy(got)).abs().max()))
            scale = max(scale, float(want.abs().max()))
        examples += len(batch)
    return absolute, absolute / scale, examples
