"""Quantisation of an exported network: eight bits where they pay."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fpgmlab.common.batches import examples_in
from fpgmlab.common.files import atomic_path
from fpgmlab.common.inputs import all_alike, inputs_of
from fpgmlab.common.modules import tensors_in
from fpgmlab.common.numbers import whole_number
from fpgmlab.deployment.arguments import Arguments
from fpgmlab.deployment.network import OnnxNetwork
from fpgmlab.deployment.quantization.judging import Judge
from fpgmlab.deployment.quantization.report import QuantizationReport
from fpgmlab.deployment.quantization.search import ASKED, READ, Search
from fpgmlab.deployment.quantization.timing import medians
from fpgmlab.deployment.quantization.writing import CALIBRATIONS, Prepared
from fpgmlab.deployment.record import (
    blank_entries,
    check_export,
    check_unchanged,
    entries_of,
    opset_of,
    sha256_of,
    write_sealed,
)
from fpgmlab.errors import one_of, unknown

if TYPE_CHECKING:
    from tqdm.auto import tqdm

LEAST_OPSET = 13  # the first with a scale for each channel
LEAST_SAMPLES = 8  # fewer pictures show no range
CHECKED = 32  # pictures that layers are compared on one by one


def quantize(
    onnx_path: str | os.PathLike[str],
    task: Any,
    path: str | os.PathLike[str],
    *,
    samples: int = 256,
    seed: int = 0,
    calibration: str = "minmax",
    max_drop: float | None = None,
    in_float: Sequence[str] = (),
    reduce_range: bool = False,
    max_samples: int | None = None,
    threads: int | None = 1,
    progress: bool = True,
) -> QuantizationReport:
    """Write an exported float network in INT8: weights for each channel, activations by what pictures show of them.

    The file is ONNX with pairs of QuantizeLinear and DequantizeLinear (QDQ), which ONNX Runtime, OpenVINO and TensorRT
    read. What comes after the last layers with weights, such as a detector's decoding, stays in float. So does what the
    whole network is faster with in float, found by timing it: depthwise convolutions, the sigmoids of SiLU.

    Parameters
    ----------
    onnx_path : path-like
        A file in float32 of opset 13 or later, as `fpgmlab.export_onnx` writes it.
    task : task, data set, data loader or list of batches
        Where the pictures for the ranges come from: a task's training data, labels are not looked at; see
        `fpgmlab.common.inputs.inputs_of`. A task's validation data and metric judge the result.
    path : path-like
        Written whole or not at all.
    samples : int
        How many pictures the ranges come from.
    seed : int
        Of their choice.
    calibration : {"minmax", "percentile", "entropy"}
        The range of an activation: all that was seen, all but a few of the largest, or what loses least information.
    max_drop : float, optional
        How much worse the task's metric may become. The layers that change the outputs most, each in INT8 alone, go
        back to float until it holds. The choice looks at the validation data: judge by others what is reported.
    in_float : sequence of str
        Operations that stay in float anyway, by their name in the file.
    reduce_range : bool
        Weights of seven bits. Processors with AVX2 alone, without VNNI, add pairs of products of eight bits in sixteen,
        which can overflow; files for them need it, and lose some accuracy by it.
    max_samples : int, optional
        Judge by the first so many validation examples only.
    threads : int, optional
        For timing; ONNX Runtime chooses when None.
    progress : bool
        Show what is being tried.

    Returns
    -------
    QuantizationReport

    Raises
    ------
    ImportError
        Without onnx and onnxruntime: install ``fpgmlab[deploy]``.
    ValueError
        For a file without these operators, in another precision or in INT8 already, changed since its export, pictures
        that it does not take, too
        few pictures or such that are all alike.
    RuntimeError
        When not even one layer can be in INT8 within ``max_drop``.
    """
    try:
        import onnxruntime.quantization  # noqa: F401
    except ImportError as error:
        raise ImportError(f"quantize needs {error.name}: pip install 'fpgmlab[deploy]'") from error
    if calibration not in CALIBRATIONS:
        raise ValueError(one_of("calibration", calibration, CALIBRATIONS))
    whole_number("samples", samples, LEAST_SAMPLES)
    _check_file(onnx_path)
    inputs, seen = _pictures(task, samples, seed)
    network = OnnxNetwork(onnx_path, threads)
    feeds = [feed for batch in inputs for feed in network.feeds(Arguments.of(batch))]
    judge = Judge(network, task, inputs, max_samples)
    if max_drop is not None and not judge.labelled:
        raise ValueError(
            f"max_drop needs a task with labels to judge by; {type(task).__name__} has no val_batches and metric"
        )
    with atomic_path(path) as temporary, tempfile.TemporaryDirectory() as folder, _bar(progress) as bar:
        prepared = Prepared.of(onnx_path, feeds, calibration, reduce_range)
        for name in in_float:
            if name not in prepared.layers.nodes:
                raise ValueError(unknown("operation", name, prepared.layers.nodes))
        search = Search(prepared, Path(folder), threads)
        one = {name: array[:1] if network.batch is None else array for name, array in feeds[0].items()}
        chosen = search.fastest(dict.fromkeys(in_float, ASKED), one)
        if max_drop is not None:
            few = inputs_of(inputs, min(CHECKED, seen))
            chosen, judged = search.within(chosen, judge, max_drop, few, bar.set_description)
        used = prepared.layers.in_int8(chosen)
        prepared.write(temporary, used)
        _note(temporary, onnx_path, calibration)
        written = OnnxNetwork(temporary, threads)
        if max_drop is None:
            judged = judge(written)
        ms = medians({"float": network, "int8": written}, one)
        size, record = temporary.stat().st_size, check_export(temporary)
    layers = prepared.layers
    return QuantizationReport(
        os.fspath(path), os.fspath(onnx_path), "onnxruntime", judged.metric, judged.before, judged.after, judged.drop,
        judged.agreement, judged.error, judged.samples, seen, os.stat(onnx_path).st_size, size,
        ms["float"], ms["int8"],
        tuple(
            (name, layers.nodes[name].op_type, "int8", "")
            if name in used
            else (name, layers.nodes[name].op_type, "float32", chosen.get(name, READ))
            for name in layers.weighted
        ),
        record.channels_left, record.sha256,
    )  # fmt: skip


def _check_file(path: str | os.PathLike[str]) -> None:
    """Raise a ValueError for a file that cannot be quantised, with what would do."""
    import onnx

    check_unchanged(path)
    model = onnx.load(os.fspath(path))
    name = os.fspath(path)
    opset = opset_of(model)
    if opset < LEAST_OPSET:
        raise ValueError(
            f"{name!r} has opset {opset}: a scale for each channel needs {LEAST_OPSET} or later. Export it with "
            f"opset={LEAST_OPSET} or without opset="
        )
    kinds = {node.op_type for node in model.graph.node}
    if kinds & {"QuantizeLinear", "DequantizeLinear", "QLinearConv", "ConvInteger"}:
        raise ValueError(f"{name!r} is in INT8 already; pass the float file that it was made of")
    types = {tensor.data_type for tensor in model.graph.initializer}
    if onnx.TensorProto.FLOAT16 in types:
        raise ValueError(f"{name!r} has weights in float16: ranges are measured in float32. Export it without dtype=")


def _note(path: Path, source: str | os.PathLike[str], calibration: str) -> None:
    """Write into a file what its source says of itself, and what was done."""
    import onnx

    entries = blank_entries() | entries_of(source)
    notes = json.loads(entries["notes"]) | {"quantized": {"calibration": calibration, "source": sha256_of(source)}}
    write_sealed(onnx.load(path), path, entries | {"dtype": "int8", "notes": json.dumps(notes)})


def _pictures(task: Any, samples: int, seed: int) -> tuple[list[object], int]:
    """Return batches of inputs that show ranges, and how many pictures they are."""
    inputs = inputs_of(task, samples, seed)
    count = sum(examples_in(batch) for batch in inputs)
    if count < LEAST_SAMPLES:
        raise ValueError(
            f"{count} pictures are too few: the range of what flows in a network needs at least {LEAST_SAMPLES}, "
            "better some hundreds. Labels are not needed."
        )
    floats = [t for batch in inputs for t in tensors_in(batch) if t.is_floating_point() and t.ndim > 1]
    flat = bool(floats) and all(bool((t.flatten(1).amax(1) == t.flatten(1).amin(1)).all()) for t in floats)
    if flat or all_alike(inputs):
        what = "constant" if flat else "all alike"
        raise ValueError(
            f"the pictures are {what}: they do not show the range of what flows. Pass different real ones."
        )
    return inputs, count


def _bar(progress: bool) -> tqdm:
    from tqdm.auto import tqdm

    return tqdm(disable=not progress, desc="quantize", leave=False, bar_format="{desc} {elapsed}")
