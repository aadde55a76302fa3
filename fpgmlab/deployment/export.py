"""Export to ONNX, checked against ONNX Runtime before the file is there."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fpgmlab.common.calling import is_random, left_as_it_is
from fpgmlab.common.files import atomic_path
from fpgmlab.common.given import check_model
from fpgmlab.common.holdings import copy_of
from fpgmlab.common.modules import device_of, eval_mode, tensors_in
from fpgmlab.common.numbers import whole_number
from fpgmlab.deployment.arguments import Arguments, feed_of
from fpgmlab.deployment.exporting import EXPORTERS, Way, halved, ways, write
from fpgmlab.deployment.record import check_export, opset_of, record_of, sha256_of, write_sealed
from fpgmlab.deployment.runtimes import onnx_session
from fpgmlab.errors import one_of

TOLERANCES = {"float32": 1e-3, "float16": 1e-2}


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
    dtype : str
        "float32" or "float16".
    bytes_float32 : int
        Size of the same network in float32: what half precision saves is told apart from what pruning does.
    channels_left : float
        Share of the channels that the plans have left; 1 for a network that was not pruned.
    dynamic : bool
        Whether the file takes any batch size.
    sha256 : str
        Of the file; see `fpgmlab.check_export`.
    """

    path: str
    opset: int
    exporter: str
    bytes: int
    max_abs_error: float
    max_rel_error: float
    examples: int
    dtype: str
    bytes_float32: int
    channels_left: float
    dynamic: bool
    sha256: str


def export_onnx(
    model: nn.Module,
    example_input: object,
    path: str | os.PathLike[str],
    *,
    opset: int | None = None,
    dynamic: bool = True,
    dtype: str = "float32",
    check_inputs: Sequence[object] = (),
    tolerance: float | None = None,
    exporter: str = "auto",
    notes: Mapping[str, Any] | None = None,
) -> ExportReport:
    """Write a model as ONNX, and check it.

    The input is called ``input``, several ``input_0``, ``input_1`` and so on, inputs given by name have their names; a
    single output is ``output``, several ``output_0``, ``output_1``, those of a dict have its keys. A network in
    another precision is written in float32, which every runtime takes. What ``DataParallel`` wraps is exported.

    The file's metadata tell where the network comes from: architecture, plans, whether it was repaired after each,
    notes, versions; and hold a hash, by which `fpgmlab.check_export` tells whether the file was changed.

    Parameters
    ----------
    model : nn.Module
        Exported in eval mode; left as it is.
    example_input : Tensor, tuple or dict
        A real input, (batch, ...), positional or keyword arguments; the check uses it and random ones of the same mean
        and deviation (whole numbers: of the same range).
    path : path-like
        Written whole, after the check, or not at all.
    opset : int, optional
        Version of the ONNX operators, which the file then has exactly; the exporter chooses when left out. Below 18
        the older exporter writes it, or dynamo's file is converted.
    dynamic : bool
        Whether the batch size is free; else all shapes are those of the example, as some compilers want them.
    dtype : {"float32", "float16"}
        Of weights and of what flows; inputs and outputs stay in float32. Half precision halves the file and is for
        runtimes that compute in it: on CPUs ONNX Runtime converts to and fro, which is slower.
    check_inputs : sequence
        More inputs to compare on, of any batch size when that is free.
    tolerance : float, optional
        Largest relative error that passes: 1e-3 when left out, 1e-2 in float16.
    exporter : {"auto", "dynamo", "torchscript"}
        torch's exporter; ``"auto"`` takes dynamo and, when its file fails or differs, falls back on the older one.
    notes : mapping, optional
        Anything that JSON can hold, such as ``{"criterion": "fpgm"}``, for the file's metadata.

    Returns
    -------
    ExportReport

    Raises
    ------
    TypeError
        When the model or its example is of another kind, such as a graph, a task or a shape.
    ImportError
        Without onnx, onnxscript and onnxruntime: install ``fpgmlab[deploy]``.
    ValueError
        For an unknown exporter or dtype, and an opset that is no whole number or newer than onnx knows.
    RuntimeError
        When the model cannot be exported, is random, or the result differs by more than ``tolerance`` or has another
        opset than the one asked for; with an opset that can be written.
    """
    try:
        import onnx
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ImportError(f"export_onnx needs {error.name}: pip install 'fpgmlab[deploy]'") from error
    if exporter not in EXPORTERS:
        raise ValueError(one_of("exporter", exporter, EXPORTERS))
    if dtype not in TOLERANCES:
        raise ValueError(one_of("dtype", dtype, TOLERANCES, other="INT8 by fpgmlab.quantize"))
    if opset is not None:
        whole_number("opset", opset)
        if opset > (newest := onnx.defs.onnx_opset_version()):
            raise ValueError(
                f"opset must be at most {newest}, the newest that onnx {onnx.__version__} has; got {opset}. "
                "Leave it out for the exporter's own choice"
            )
    check_model(model, "fl.export_onnx(model, example_input, path)")
    tolerance = TOLERANCES[dtype] if tolerance is None else tolerance
    if isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
        model = model.module
    entries = record_of(model, dtype, notes or {})
    device = device_of(model)
    if any(p.is_floating_point() and p.dtype != torch.float32 for p in model.parameters()):
        model = copy_of(model).float()
    given = [_in_float32(Arguments.of(one), device) for one in (example_input, *check_inputs)]
    if not dynamic and (other := [one.batch for one in given if one.batch != given[0].batch]):
        raise ValueError(
            f"with dynamic=False the file takes {given[0].batch} examples at once; check_inputs has one of {other[0]}"
        )
    reasons: dict[str, str] = {}
    with atomic_path(path) as temporary, eval_mode(model):
        for way in ways(exporter, opset, dynamic):
            for left in temporary.parent.iterdir():
                left.unlink()
            try:
                float32_bytes = _written(model, given[0], temporary, way, entries)
                _check_opset(temporary, opset)
                absolute, relative, examples = _compare(model, temporary, given, dynamic)
                if not relative <= tolerance:
                    raise _Differs(
                        f"the ONNX file differs from the model: relative error {relative:.2e} > tolerance "
                        f"{tolerance:.0e} on {examples} examples"
                    )
            except Exception as error:  # exporters and runtimes fail in many ways; all are told below
                reasons[way.exporter] = str(error)
                continue
            record = check_export(temporary)
            return ExportReport(
                os.fspath(path), record.opset, way.exporter, temporary.stat().st_size, absolute, relative, examples,
                dtype, float32_bytes, record.channels_left, dynamic, sha256_of(temporary),
            )  # fmt: skip
        _check_random(model, given[0])
        told = "; ".join(f"{kind}: {why}" for kind, why in reasons.items())
        raise RuntimeError(f"{type(model).__name__} could not be exported to ONNX. {told}; nothing was written.")


class _Differs(RuntimeError):
    """The file is there, and gives something else than the model."""


def _in_float32(arguments: Arguments, device: torch.device) -> Arguments:
    return arguments.map(lambda t: t.to(device, torch.float32) if t.is_floating_point() else t.to(device))


def _written(model: nn.Module, arguments: Arguments, path: Path, way: Way, entries: Mapping[str, str]) -> int:
    """Write a file in one way, with its record; return its size in float32."""
    import onnx

    write(model, arguments, path, way)
    write_sealed(onnx.load(path), path, entries)
    size = path.stat().st_size
    if entries["dtype"] == "float16":
        halved(path)
        write_sealed(onnx.load(path), path, entries)
    return size


def _check_opset(path: Path, opset: int | None) -> None:
    """Raise an error for a file that is not valid, or of another opset than the one that was asked for."""
    import onnx

    onnx.checker.check_model(os.fspath(path), full_check=True)
    version = opset_of(onnx.load(path))
    if opset is not None and version != opset:
        raise RuntimeError(
            f"opset {opset} was asked for, torch's exporter wrote {version}: ask for that, or leave opset out"
        )


def _compare(model: nn.Module, path: Path, given: Sequence[Arguments], dynamic: bool) -> tuple[float, float, int]:
    """Return the largest absolute and relative error, and the number of examples; also at other sizes where free."""
    session = onnx_session(path)
    first = given[0]
    absolute, scale, examples = 0.0, 1e-30, 0
    more = [first.take(1), first.random(3)] if dynamic else [first.random(first.batch or 1)]
    for arguments in (*more, *given) if first.batch is not None else given:
        with torch.no_grad(), left_as_it_is(model):
            wanted = [tensor.float().cpu() for tensor in tensors_in(arguments.call(model))]
        for want, got in zip(wanted, session.run(None, feed_of(session, arguments)), strict=True):
            if got.shape != want.shape:
                raise _Differs(f"the ONNX file gives {got.shape} where the model gives {tuple(want.shape)}")
            if want.numel():
                absolute = max(absolute, float((want - torch.from_numpy(got).float()).abs().max()))
                scale = max(scale, float(want.abs().max()))
        examples += arguments.batch or 1
    return absolute, absolute / scale, examples


def _check_random(model: nn.Module, arguments: Arguments) -> None:
    """Raise a `RuntimeError` for a model that answers the same input differently."""
    if is_random(model, lambda: arguments.call(model)):
        raise RuntimeError(
            f"{type(model).__name__} answers the same input differently each time, in eval mode too: no file can agree "
            "with it; nothing was written. Take out what is random (dropout by F.dropout without training=, noise)."
        )
