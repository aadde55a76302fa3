"""OpenVINO, on the CPU."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from torch import Tensor

from fpgmlab.deployment.arguments import Arguments
from fpgmlab.deployment.runtimes.onnx_runtime import layer_model
from fpgmlab.deployment.runtimes.runtime import Runtime, Session, Source, Weighted, order_of

if TYPE_CHECKING:
    import openvino


@dataclass(frozen=True)
class OpenVINO(Runtime):
    """Layers and files run by OpenVINO in float32; left to itself it takes bfloat16 where a processor has it."""

    package: ClassVar[str] = "openvino"
    extra: ClassVar[str] = "openvino"
    reads: ClassVar[tuple[str, ...]] = (".xml", ".onnx")

    def ready(self, layer: Weighted, example: Tensor, threads: int | None) -> Callable[[], object]:
        self.awake()
        request = _request(_core().read_model(layer_model(layer, example)), threads)
        array = example.numpy()
        return lambda: request.infer([array], share_inputs=True)

    def open(self, source: Source, example: Arguments, threads: int | None) -> Session:
        import openvino

        path = Path(str(source))
        model = _core().read_model(path)
        order = order_of([port.any_name for port in model.inputs], example)
        shapes = [tuple(tensor.shape) for tensor in example.named.values()]
        wanted = [shapes[i] for i in order]
        for port, shape in zip(model.inputs, wanted, strict=True):
            if not port.partial_shape.compatible(openvino.PartialShape(list(shape))):
                raise ValueError(f"the file takes {port.partial_shape}; the example is {shape}")
        model.reshape(dict(zip(model.inputs, wanted, strict=True)))
        request = _request(model, threads)

        def run(inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
            found = request.infer([inputs[i] for i in order], share_inputs=True)
            return [np.array(found[port]) for port in request.model_outputs]

        weights = path.with_suffix(".bin") if path.suffix == ".xml" else None
        return Session(run, path.stat().st_size + (weights.stat().st_size if weights else 0))

    def awake(self) -> str:
        found = super().awake()
        _core()
        return found


@cache
def _core() -> openvino.Core:
    """Return the one core; it counts the processors that this thread may use when it is made, for ever."""
    import openvino

    core = openvino.Core()
    core.get_property("CPU", "FULL_DEVICE_NAME")
    return core


def _request(model: openvino.Model, threads: int | None) -> openvino.InferRequest:
    options = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32", "ENABLE_CPU_PINNING": False}
    if threads is not None:
        options["INFERENCE_NUM_THREADS"] = threads
    return _core().compile_model(model, "CPU", options).create_infer_request()
