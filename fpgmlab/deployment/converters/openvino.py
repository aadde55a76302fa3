"""Export to OpenVINO."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

from torch import nn

from fpgmlab.common.files import atomic_path
from fpgmlab.common.given import check_model
from fpgmlab.deployment.arguments import Arguments
from fpgmlab.deployment.converters.report import ConversionReport, OfFile, checked, ending, in_float32, needed
from fpgmlab.deployment.export import export_onnx


def export_openvino(
    model: nn.Module | str | os.PathLike[str],
    example_input: object,
    path: str | os.PathLike[str],
    *,
    tolerance: float = 1e-4,
) -> ConversionReport:
    """Write a model, or an ONNX file, as ``NAME.xml`` and ``NAME.bin`` of OpenVINO, its weights in float32.

    The batch size stays free where that of the ONNX file is. OpenVINO runs such a file in bfloat16 where a processor
    has it, unless told ``INFERENCE_PRECISION_HINT="f32"``; the check, and `fpgmlab.benchmark`, tell it.

    Parameters
    ----------
    model : nn.Module or path-like
        A model is left as it is; a file is held against ONNX Runtime's answers.
    example_input : Tensor, tuple or dict
        A real input, (batch, ...); the check uses it and a random one of the same mean and deviation.
    path : path-like
        ``NAME.xml``; both files are written whole, after the check, or not at all.
    tolerance : float
        Largest relative error that passes.

    Returns
    -------
    ConversionReport

    Raises
    ------
    TypeError
        When the model or its example is of another kind, such as a graph, a task or a shape.
    ImportError
        Without OpenVINO: install ``fpgmlab[openvino]``.
    RuntimeError
        When the model cannot be exported, or the result differs by more than ``tolerance``.
    ValueError
        For a path with another ending.
    """
    target = ending(path, ".xml")
    if not isinstance(model, str | os.PathLike):
        check_model(model, "fl.export_openvino(model, example_input, path)")
    needed("openvino")
    import openvino

    with (
        TemporaryDirectory() as folder,
        atomic_path(target) as xml,
        atomic_path(target.with_suffix(".bin")) as weights,
    ):
        if isinstance(model, nn.Module):
            wanted, example = in_float32(model, example_input)
            source = Path(folder) / "model.onnx"
            export_onnx(wanted, example_input, source)
        else:
            example, source = Arguments.of(example_input), Path(model)
            wanted = OfFile(source, example)
        # In the folder by itself: OpenVINO looks for the weights beside.
        made = Path(folder) / "model.xml"
        openvino.save_model(openvino.Core().read_model(source), made, compress_to_fp16=False)
        files = (made, made.with_suffix(".bin"))
        report = checked("openvino", wanted, example, files, (target, target.with_suffix(".bin")), tolerance)
        shutil.move(files[0], xml)
        shutil.move(files[1], weights)
    return report
