"""The second way: NNCF, for OpenVINO."""

from __future__ import annotations

import io
import logging
import shutil
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from fpgmlab.deployment.arguments import Arguments
from fpgmlab.deployment.quantization.job import Job, Row, Written
from fpgmlab.deployment.quantization.timing import medians
from fpgmlab.deployment.runtimes import RUNTIMES
from fpgmlab.deployment.runtimes.runtime import Session
from fpgmlab.errors import unknown

if TYPE_CHECKING:
    import openvino


WEIGHTED = ("Convolution", "GroupConvolution", "ConvolutionBackpropData", "MatMul")
TURNED = ("Convert", "Subtract", "Multiply", "Reshape", "Transpose", "FakeQuantize")  # between stored weights and use


class OpenVINONetwork(nn.Module):
    """A file of OpenVINO as a module; a session for each shape of inputs."""

    def __init__(self, path: Path, threads: int | None) -> None:
        super().__init__()
        self.path, self.threads = path, threads
        self.sessions: dict[tuple[tuple[int, ...], ...], Session] = {}

    def forward(self, *args: object, **kwargs: object) -> Tensor | tuple[Tensor, ...]:
        """Return the outputs."""
        outputs = [torch.from_numpy(array) for array in self.run(Arguments(args, kwargs))]
        return outputs[0] if len(outputs) == 1 else tuple(outputs)

    def run(self, arguments: Arguments) -> list[np.ndarray]:
        """Return the outputs as arrays."""
        arrays = [tensor.detach().cpu().numpy() for tensor in arguments.named.values()]
        shapes = tuple(tuple(array.shape) for array in arrays)
        if shapes not in self.sessions:
            self.sessions[shapes] = RUNTIMES["openvino"].open(self.path, arguments, self.threads)
        return self.sessions[shapes].run(arrays)


def by_nncf(job: Job, xml: Path, weights: Path) -> Written:
    """Write ``NAME.xml`` and ``NAME.bin`` in INT8; times are OpenVINO's, of both networks."""
    try:
        with _quiet():
            import nncf
    except ImportError as error:
        raise ImportError(f"method='nncf' needs {error.name}: pip install 'fpgmlab[nncf]'") from error
    import openvino

    with tempfile.TemporaryDirectory() as folder:
        core = openvino.Core()
        whole = core.read_model(job.source)
        float_file, made = Path(folder) / "float.xml", Path(folder) / "model.xml"
        openvino.save_model(whole, float_file, compress_to_fp16=False)
        nodes = sorted(whole.get_ordered_ops(), key=lambda node: node.get_type_name() in WEIGHTED)
        there = {_name(node): node.get_friendly_name() for node in nodes}  # a convolution rather than its bias
        for name in job.in_float:
            if name not in there:
                raise ValueError(unknown("operation", name, there))
        with _quiet():
            quantized = nncf.quantize(
                core.read_model(float_file),
                nncf.Dataset(job.feeds),
                preset=nncf.QuantizationPreset.MIXED,
                subset_size=len(job.feeds),
                ignored_scope=nncf.IgnoredScope(names=[there[name] for name in job.in_float]) if job.in_float else None,
            )
        for key, text in job.entries.items():
            quantized.set_rt_info(text, ["fpgmlab", key])
        openvino.save_model(quantized, made, compress_to_fp16=False)
        before, after = OpenVINONetwork(float_file, job.threads), OpenVINONetwork(made, job.threads)
        judged = job.judge(after)
        one = Arguments((), {name: torch.from_numpy(array) for name, array in job.timed.items()})
        ms = medians({"float": lambda: before.run(one), "int8": lambda: after.run(one)})
        rows = _rows(quantized, job.in_float)
        size = made.stat().st_size + made.with_suffix(".bin").stat().st_size
        shutil.move(made, xml)
        shutil.move(made.with_suffix(".bin"), weights)
    return Written(judged, ms["float"], ms["int8"], size, rows)


def _rows(model: openvino.Model, in_float: Collection[str]) -> tuple[Row, ...]:
    """Return a row for each operation with weights."""
    rows = []
    for node in model.get_ordered_ops():
        kind, name = node.get_type_name(), _name(node)
        weights = _weights(node) if kind in WEIGHTED else None
        if weights is not None:
            whole = weights in ("i8", "u8")
            why = "" if whole else "asked for" if name in in_float else "left by NNCF"
            rows.append((name, kind, "int8" if whole else "float32", why))
    return tuple(rows)


def _name(node: openvino.Node) -> str:
    """Return an operation's name in the ONNX file; OpenVINO makes two of a convolution with a bias."""
    return node.get_friendly_name().removesuffix("/WithoutBiases")


def _weights(node: openvino.Node) -> str | None:
    """Return the type in which an operation's weights are stored; None when they are not constant."""
    made = node.input_value(1).get_node()
    while made.get_type_name() in TURNED:
        made = made.input_value(0).get_node()
    return made.get_output_element_type(0).to_string() if made.get_type_name() == "Constant" else None


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep NNCF's bars and advice to itself."""
    logger = logging.getLogger("nncf")
    before = logger.level
    with redirect_stdout(io.StringIO()):
        logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            logger.setLevel(before)
