"""Export to ONNX, checked against ONNX Runtime before the file is there."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from fpgmlab.common.calling import is_random, left_as_it_is
from fpgmlab.common.files import atomic_path
from fpgmlab.common.holdings import copy_of
from fpgmlab.common.modules import device_of, eval_mode, tensors_in
from fpgmlab.deployment.arguments import Arguments, feed_of, output_names
from fpgmlab.deployment.runtimes import onnx_session
from fpgmlab.errors import one_of

EXPORTERS = ("auto", "dynamo", "torchscript")
# What is tried in turn: torch's exporter, and how it is told that the batch size is free. A named dimension gives the
# cleaner file; some code fixes it without a word, which the check finds.
_TRIES = (("dynamo", torch.export.Dim("batch")), ("dynamo", torch.export.Dim.DYNAMIC), ("torchscript", None))


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
    example_input: object,
    path: str | os.PathLike[str],
    *,
    opset: int | None = None,
    check_inputs: Sequence[object] = (),
    tolerance: float = 1e-3,
    exporter: str = "auto",
) -> ExportReport:
    """Write a model as ONNX with a dynamic batch size, and check it.

    The input is called ``input``, several ``input_0``, ``input_1`` and so on, inputs given by name have their names; a
    single output is ``output``, several ``output_0``, ``output_1``, those of a dict have its keys. A network in
    another precision is written in float32, which every runtime takes. What ``DataParallel`` wraps is exported.

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
        Version of the ONNX operators; the exporter chooses when left out. Below 18 only the older exporter can.
    check_inputs : sequence
        More inputs to compare on, of any batch size.
    tolerance : float
        Largest relative error that passes.
    exporter : {"auto", "dynamo", "torchscript"}
        torch's exporter; ``"auto"`` takes dynamo and, when its file fails or differs, falls back on the older one.

    Returns
    -------
    ExportReport

    Raises
    ------
    ImportError
        Without onnx, onnxscript and onnxruntime: install ``fpgmlab[deploy]``.
    RuntimeError
        When the model cannot be exported, is random, or the result differs by more than ``tolerance`` or has another
        opset than the one asked for.
    """
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ImportError(f"export_onnx needs {error.name}: pip install 'fpgmlab[deploy]'") from error
    if exporter not in EXPORTERS:
        raise ValueError(one_of("exporter", exporter, EXPORTERS))
    if isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
        model = model.module
    device = device_of(model)
    if any(p.is_floating_point() and p.dtype != torch.float32 for p in model.parameters()):
        model = copy_of(model).float()
    first, *others = (_in_float32(Arguments.of(given), device) for given in (example_input, *check_inputs))
    named = exporter != "auto"
    tries = [
        one for one in _TRIES if one[0] == exporter or (not named and (one[0] == "torchscript" or (opset or 18) >= 18))
    ]
    reasons: dict[str, str] = {}
    with atomic_path(path) as temporary, eval_mode(model):
        for kind, dim in tries:
            for left in temporary.parent.iterdir():
                left.unlink()
            try:
                _write(model, first, temporary, opset, kind, dim)
                version = _checked_opset(temporary, opset)
                absolute, relative, examples = _compare(model, temporary, [first, *others])
                if not relative <= tolerance:
                    raise _Differs(
                        f"the ONNX file differs from the model: relative error {relative:.2e} > tolerance "
                        f"{tolerance:.0e} on {examples} examples"
                    )
            except Exception as error:  # exporters and runtimes fail in many ways; all are told below
                reasons[kind] = str(error)
                continue
            size = temporary.stat().st_size
            return ExportReport(os.fspath(path), version, kind, size, absolute, relative, examples)
        _check_random(model, first)
        told = "; ".join(f"{kind}: {why}" for kind, why in reasons.items())
        raise RuntimeError(f"{type(model).__name__} could not be exported to ONNX. {told}; nothing was written.")


class _Differs(RuntimeError):
    """The file is there, and gives something else than the model."""


def _in_float32(arguments: Arguments, device: torch.device) -> Arguments:
    return arguments.map(lambda t: t.to(device, torch.float32) if t.is_floating_point() else t.to(device))


def _write(model: nn.Module, arguments: Arguments, path: Path, opset: int | None, kind: str, dim: object) -> None:
    """Write a file by one of torch's exporters."""
    with torch.no_grad(), left_as_it_is(model):
        given = arguments.call(model)
    names = list(arguments.named)
    outputs = output_names(given, names)
    if kind == "dynamo":
        example = arguments.doubled() if arguments.batch == 1 else arguments  # one would be taken for a constant
        torch.onnx.export(
            model, example.args, path, kwargs=dict(example.kwargs), dynamo=True, opset_version=opset,
            dynamic_shapes=example.dynamic(model, dim), external_data=False, verbose=False,
            input_names=names, output_names=outputs,
        )  # fmt: skip
        return
    batched = [name for name, tensor in arguments.named.items() if arguments.is_batched(tensor)]
    batched += [n for n, tensor in zip(outputs, tensors_in(given), strict=True) if arguments.is_batched(tensor)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # that it is the older exporter is known
        warnings.simplefilter("ignore", torch.jit.TracerWarning)  # the check shows what is taken for a constant
        torch.onnx.export(
            model, arguments.args, os.fspath(path), kwargs=dict(arguments.kwargs), dynamo=False, opset_version=opset,
            dynamic_axes={name: {0: "batch"} for name in batched}, input_names=names, output_names=outputs,
        )  # fmt: skip


def _checked_opset(path: Path, opset: int | None) -> int:
    """Return a file's opset; raise an error when another one was asked for."""
    import onnx

    onnx.checker.check_model(os.fspath(path), full_check=True)
    imports = onnx.load(os.fspath(path), load_external_data=False).opset_import
    version = next(entry.version for entry in imports if entry.domain in {"", "ai.onnx"})
    if opset is not None and version != opset:
        raise RuntimeError(f"opset {opset} was asked for, torch's exporter wrote {version}")
    return version


def _compare(model: nn.Module, path: Path, given: Sequence[Arguments]) -> tuple[float, float, int]:
    """Return the largest absolute and relative error, and the number of examples; also at other batch sizes."""
    session = onnx_session(path)
    first = given[0]
    absolute, scale, examples = 0.0, 1e-30, 0
    for arguments in (first.take(1), first.random(3), *given) if first.batch is not None else given:
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
