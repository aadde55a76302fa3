"""A float network made ready, its ranges measured, and written with some of its operations in INT8."""

from __future__ import annotations

import copy
import logging
import os
import tempfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fpgmlab.deployment.quantization.layers import BETWEEN, WEIGHTED, Layers

if TYPE_CHECKING:
    import onnx

CALIBRATIONS = ("minmax", "percentile", "entropy")


@dataclass(frozen=True, eq=False)
class Prepared:
    """A float network whose batch norms are folded, its layers, and the ranges of all that flows in it.

    Attributes
    ----------
    model : onnx.ModelProto
    layers : Layers
    ranges : onnxruntime.quantization.calibrate.TensorsData
    reduce_range : bool
        Weights of seven bits.
    target : {"cpu", "tensorrt"}
        Activations unsigned, or signed and symmetric with biases in float.
    """

    model: onnx.ModelProto
    layers: Layers
    ranges: Any
    reduce_range: bool
    target: str = "cpu"

    @classmethod
    def of(
        cls, path: str | os.PathLike[str], feeds: Sequence[dict[str, np.ndarray]], method: str, reduce_range: bool,
        target: str = "cpu",
    ) -> Prepared:  # fmt: skip
        """Return a file's network with ranges measured on some inputs by one of ONNX Runtime's methods."""
        from onnxruntime.quantization import quant_pre_process

        with tempfile.TemporaryDirectory() as folder, _quiet():
            ready = Path(folder) / "ready.onnx"
            quant_pre_process(os.fspath(path), os.fspath(ready), skip_symbolic_shape=True)
            return replace(cls.measured(ready, feeds, method, reduce_range), target=target)

    @classmethod
    def measured(
        cls, path: Path, feeds: Sequence[dict[str, np.ndarray]], method: str = "minmax", reduce_range: bool = False
    ) -> Prepared:
        """Return a network whose batch norms are folded already, with ranges measured on some inputs."""
        import onnx
        from onnxruntime.quantization import CalibrationMethod, create_calibrator

        model, layers = _named(path)
        with tempfile.TemporaryDirectory() as folder, _quiet():
            named = Path(folder) / "named.onnx"
            onnx.save(model, named)
            kinds = {"minmax": "MinMax", "percentile": "Percentile", "entropy": "Entropy"}
            calibrator = create_calibrator(
                os.fspath(named),
                augmented_model_path=os.fspath(Path(folder) / "measured.onnx"),
                calibrate_method=CalibrationMethod[kinds[method]],
            )
            calibrator.collect_data(_Feeds(iter(feeds)))
            return cls(model, layers, calibrator.compute_data(), reduce_range)

    def like(self, path: Path) -> Prepared:
        """Return a file of the same operations with other numbers of channels, with these ranges."""
        model, layers = _named(path)
        return Prepared(model, layers, self.ranges, self.reduce_range, self.target)

    def write(self, path: str | os.PathLike[str], used: Sequence[str]) -> None:
        """Write the network with some nodes in INT8, weights with a scale for each channel.

        Unsigned activations are what processors multiply with signed weights, and zero is the least of them: a ReLU
        costs nothing. TensorRT takes signed ones with zero in the middle only.
        """
        import onnx
        from onnxruntime.quantization import QDQQuantizer, QuantType

        if not used:  # an empty list means all of them to the quantizer
            onnx.save(self.model, os.fspath(path))
            return
        signed = self.target == "tensorrt"
        quantizer = QDQQuantizer(
            copy.deepcopy(self.model),
            per_channel=True,
            reduce_range=self.reduce_range,
            weight_qType=QuantType.QInt8,
            activation_qType=QuantType.QInt8 if signed else QuantType.QUInt8,
            tensors_range=self.ranges,
            nodes_to_quantize=list(used),
            nodes_to_exclude=[],
            op_types_to_quantize=sorted(WEIGHTED | BETWEEN),
            extra_options={"ActivationSymmetric": signed, "QuantizeBias": not signed},
        )
        with _quiet():
            quantizer.quantize_model()
            quantizer.model.topological_sort()
        made = quantizer.model.model
        self._read_in_float(made, used)
        domains = {node.domain for node in made.graph.node}
        kept = [entry for entry in made.opset_import if entry.domain in domains | {""}]
        del made.opset_import[:]
        made.opset_import.extend(kept)
        onnx.checker.check_model(made)
        onnx.save(made, os.fspath(path))

    def _read_in_float(self, made: onnx.ModelProto, used: Collection[str]) -> None:
        """Let float layers read what is there in float, although others read it in INT8."""
        makers = {tensor: node for node in made.graph.node for tensor in node.output}
        for node in made.graph.node:
            if node.name not in self.layers.weighted or node.name in used:
                continue
            turned_back = makers.get(node.input[0])
            turned = makers.get(turned_back.input[0]) if turned_back is not None else None
            if turned is not None and turned.op_type == "QuantizeLinear":
                maker = makers.get(turned.input[0])
                if maker is None or maker.name not in used:
                    node.input[0] = turned.input[0]


def _named(path: Path) -> tuple[onnx.ModelProto, Layers]:
    """Return a file's network, all its nodes with names and without the places in code where exporters found them."""
    import onnx

    model = onnx.load(path)
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    return model, Layers.of(model)


class _Feeds:
    """What a calibrator reads inputs from, one batch after the other."""

    def __init__(self, feeds: Iterator[dict[str, np.ndarray]]) -> None:
        self._feeds = feeds

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._feeds, None)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the advice that onnxruntime.quantization writes to the root logger to itself."""
    root = logging.getLogger()
    before = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(before)
