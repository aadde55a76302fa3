"""Quantisation of an exported network: eight bits where they pay."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fpgmlab.common.bars import progress_bar
from fpgmlab.common.batches import examples_in
from fpgmlab.common.files import as_path, atomic_path
from fpgmlab.common.inputs import all_alike, inputs_of
from fpgmlab.common.modules import tensors_in
from fpgmlab.common.numbers import whole_number
from fpgmlab.common.processor import warn_where_int8_overflows
from fpgmlab.deployment.arguments import Arguments
from fpgmlab.deployment.network import OnnxNetwork
from fpgmlab.deployment.quantization.job import Job
from fpgmlab.deployment.quantization.judging import Judge
from fpgmlab.deployment.quantization.report import QuantizationReport
from fpgmlab.deployment.quantization.static import by_onnxruntime
from fpgmlab.deployment.quantization.writing import CALIBRATIONS
from fpgmlab.deployment.record import (
    blank_entries,
    channels_left,
    check_unchanged,
    entries_of,
    opset_of,
    plans_of,
    sha256_of,
)
from fpgmlab.errors import one_of

if TYPE_CHECKING:
    from tqdm.auto import tqdm

LEAST_OPSET = 13  # the first with a scale for each channel
LEAST_SAMPLES = 8  # fewer pictures show no range
METHODS = ("onnxruntime", "nncf")
TARGETS = ("cpu", "tensorrt")


def quantize(
    onnx_path: str | os.PathLike[str],
    task: Any,
    path: str | os.PathLike[str],
    *,
    samples: int = 256,
    seed: int = 0,
    method: str = "onnxruntime",
    calibration: str = "minmax",
    max_drop: float | None = None,
    in_float: Sequence[str] = (),
    fastest: bool = True,
    target: str = "cpu",
    reduce_range: bool = False,
    max_samples: int | None = None,
    batch: int = 1,
    threads: int | None = 1,
    progress: bool = True,
) -> QuantizationReport:
    """Write an exported float network in INT8: weights for each channel, activations by what pictures show of them.

    Scales and zero points as in Jacob et al. (CVPR 2018, arXiv:1712.05877, eq. 1), without training. The file is ONNX
    with pairs of QuantizeLinear and DequantizeLinear (QDQ), which ONNX Runtime, OpenVINO and TensorRT read. What comes
    after the last layers with weights, such as a detector's decoding, stays in float. So does what the whole network is
    faster with in float, found by timing it: depthwise convolutions, the sigmoids of SiLU.

    Parameters
    ----------
    onnx_path : path-like
        A file in float32 of opset 13 or later, as `fpgmlab.export_onnx` writes it.
    task : task, data set, data loader or list of batches
        Where the pictures for the ranges come from: a task's training data, labels are not looked at; see
        `fpgmlab.common.inputs.inputs_of`. A task's validation data and metric judge the result.
    path : path-like
        Written whole or not at all; of NNCF it ends in ``.xml``.
    samples : int
        How many pictures the ranges come from.
    seed : int
        Of their choice.
    method : {"onnxruntime", "nncf"}
        ONNX Runtime's quantiser; or NNCF's (extra ``nncf``), which writes ``NAME.xml`` and ``NAME.bin`` for OpenVINO,
        corrects biases, and is judged and timed in OpenVINO.
    calibration : {"minmax", "percentile", "entropy"}
        The range of an activation: all that was seen, all but a few of the largest, or what loses least information.
    max_drop : float, optional
        How much worse the task's metric may become. The layers that change the outputs most, each in INT8 alone, go
        back to float until it holds. The choice looks at the validation data: judge by others what is reported.
    in_float : sequence of str
        Operations that stay in float anyway, by their name in the file.
    fastest : bool
        Find by timing what the whole network is faster with in float; of single layers those that win as many percent
        of its time as they add to the file. Not so, the same file is written on each machine,
        all of it in INT8 but what ``in_float`` and ``max_drop`` say.
    target : {"cpu", "tensorrt"}
        Activations unsigned, which processors are fastest with; or signed and symmetric, biases in float, as TensorRT
        wants them; nothing is timed for it.
    reduce_range : bool
        Weights of seven bits. Processors with AVX2 alone, without VNNI, add pairs of products of eight bits in sixteen,
        which can overflow; files for them need it, and lose some accuracy by it. On such a one a warning says so.
    max_samples : int, optional
        Judge by the first so many validation examples only.
    batch : int
        How many examples at once are timed; a file of fixed shapes has its own number. What is faster in float depends
        on it.
    threads : int, optional
        For timing; ONNX Runtime chooses when None.
    progress : bool
        Show what is being tried.

    Returns
    -------
    QuantizationReport

    Raises
    ------
    TypeError
        For what is no path.
    ImportError
        Without onnx and onnxruntime: install ``fpgmlab[deploy]``.
    ValueError
        For a file without these operators, in another precision or in INT8 already, changed since its export, pictures
        that it does not take, too few pictures or such that are all alike, a ``path`` that is the file itself.
    RuntimeError
        When not even one layer can be in INT8 within ``max_drop``.
    """
    try:
        import onnxruntime.quantization  # noqa: F401
    except ImportError as error:
        raise ImportError(f"quantize needs {error.name}: pip install 'fpgmlab[deploy]'") from error
    if method not in METHODS:
        raise ValueError(one_of("method", method, METHODS))
    if calibration not in CALIBRATIONS:
        raise ValueError(one_of("calibration", calibration, CALIBRATIONS))
    if target not in TARGETS:
        raise ValueError(one_of("target", target, TARGETS))
    if method == "nncf" and (max_drop is not None or calibration != "minmax" or reduce_range or target != "cpu"):
        raise ValueError(
            "max_drop, calibration, target and reduce_range are of method='onnxruntime'; NNCF takes in_float"
        )
    if method == "nncf" and Path(path).suffix != ".xml":
        raise ValueError(f"OpenVINO's files end in .xml and .bin; got {os.fspath(path)!r}")
    source = as_path(onnx_path, "onnx_path", "Export a network first, fl.export_onnx(model, example_input, path)")
    if as_path(path).resolve() == source.resolve():
        raise ValueError(f"path is the float file itself, {os.fspath(path)!r}: it would be overwritten. Choose another")
    whole_number("samples", samples, LEAST_SAMPLES)
    whole_number("batch", batch)
    if method == "onnxruntime" and target == "cpu" and not reduce_range:
        warn_where_int8_overflows("reduce_range=True (weights of seven bits)")
    _check_file(onnx_path)
    inputs, seen = _pictures(task, samples, seed)
    network = OnnxNetwork(source, threads)
    for some in inputs:
        network.feeds(Arguments.of(some))  # of a shape that it takes?
    judge = Judge(network, task, inputs, max_samples)
    if max_drop is not None and not judge.labelled:
        raise ValueError(
            f"max_drop needs a task with labels to judge by; {type(task).__name__} has no val_batches and metric"
        )
    if max_drop is not None and not 0 <= max_drop < (judge.before if task.higher_is_better else math.inf):
        raise ValueError(
            f"max_drop must be at least 0 and less than there is to lose, the float file's {task.metric_name} of "
            f"{judge.before:.4g}; got {max_drop:g}. Half a point is 0.005"
        )
    how = {"method": method} | ({"calibration": calibration} if method == "onnxruntime" else {})
    with atomic_path(path) as temporary, _bar(progress) as bar:
        job = Job(
            source,
            network,
            inputs,
            judge,
            in_float,
            max_drop,
            batch,
            threads,
            _entries(source, how),
            bar.set_description,
        )
        if method == "onnxruntime":
            done = by_onnxruntime(job, temporary, calibration, reduce_range, target, fastest and target == "cpu")
        else:
            from fpgmlab.deployment.quantization.nncf import by_nncf

            with atomic_path(Path(path).with_suffix(".bin")) as weights:
                done = by_nncf(job, temporary, weights)
        digest = sha256_of(temporary)
    judged = done.judged
    return QuantizationReport(
        os.fspath(path), os.fspath(onnx_path), method, judged.metric, judged.before, judged.after, judged.drop,
        judged.agreement, judged.error, judged.samples, seen, source.stat().st_size, done.bytes,
        done.ms_before, done.ms, done.layers, channels_left(plans_of(job.entries)), digest,
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


def _entries(source: Path, how: dict[str, str]) -> dict[str, str]:
    """Return what a file's source says of itself, and what was done."""
    entries = blank_entries() | entries_of(source)
    notes = json.loads(entries["notes"]) | {"quantized": how | {"source": sha256_of(source)}}
    return entries | {"dtype": "int8", "notes": json.dumps(notes)}


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
    return progress_bar(progress=progress, desc="quantize", bar_format="{desc} {elapsed}")
