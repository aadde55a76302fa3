"""ONNX Runtime: sessions of exported files, and of single layers that are made in memory for measuring."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from fpgmlab.deployment.arguments import Arguments
from fpgmlab.deployment.runtimes.runtime import Runtime, Session, Source, Weighted, order_of

if TYPE_CHECKING:
    import onnx
    import onnxruntime


@dataclass(frozen=True)
class OnnxRuntime(Runtime):
    """Layers and files run by ONNX Runtime; each session has its own threads."""

    package: ClassVar[str] = "onnxruntime"
    extra: ClassVar[str] = "deploy"
    reads: ClassVar[tuple[str, ...]] = (".onnx",)

    def ready(self, layer: Weighted, example: Tensor, threads: int | None) -> Callable[[], object]:
        session = layer_session(layer, example, threads)
        feed = {session.get_inputs()[0].name: example.numpy()}
        return lambda: session.run(None, feed)

    def open(self, source: Source, example: Arguments, threads: int | None) -> Session:
        path = Path(str(source))
        session = onnx_session(path, threads)
        names = [entry.name for entry in session.get_inputs()]
        order = order_of(names, example)

        def run(inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
            return session.run(None, {name: inputs[i] for name, i in zip(names, order, strict=True)})

        return Session(run, path.stat().st_size)


def onnx_session(path: str | os.PathLike[str], threads: int | None = None) -> onnxruntime.InferenceSession:
    """Return an ONNX Runtime session on the CPU; its threads rest as soon as a run is over.

    Parameters
    ----------
    path : path-like
    threads : int, optional
        Within one operation; ONNX Runtime chooses when left out.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    if threads is not None:
        options.intra_op_num_threads = threads
    # Sessions take turns: waiting for the next run, idle ones would keep the cores busy.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return onnxruntime.InferenceSession(os.fspath(path), options, providers=["CPUExecutionProvider"])


def run_onnx(session: onnxruntime.InferenceSession, inputs: Tensor) -> list[np.ndarray]:
    """Return the outputs of a session with one input."""
    return session.run(None, {session.get_inputs()[0].name: inputs.detach().cpu().numpy()})


def layer_session(layer: Weighted, example: Tensor, threads: int | None) -> onnxruntime.InferenceSession:
    """Return an ONNX Runtime session, on the CPU, of one layer; see `Runtime.ready`."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    if threads is not None:
        options.intra_op_num_threads = threads
    # Sessions take turns: the idle ones must not keep the cores busy.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(layer_model(layer, example), options, providers=["CPUExecutionProvider"])


def layer_model(layer: Weighted, example: Tensor) -> bytes:
    """Return an ONNX model of one layer."""
    from onnx import TensorProto, helper, numpy_helper

    weight, bias = layer.weight.detach(), layer.bias
    assert bias is not None, "a layer to measure has a bias"
    if isinstance(layer, nn.Linear):
        nodes = [helper.make_node("MatMul", ["x", "w"], ["xw"]), helper.make_node("Add", ["xw", "b"], ["y"])]
        weight = weight.T
    else:
        nodes = [_node(layer)]
    tensors = [
        numpy_helper.from_array(tensor.detach().contiguous().numpy(), name)
        for name, tensor in (("w", weight), ("b", bias))
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, list(example.shape))
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "layer", [x], [y], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return model.SerializeToString()


def _node(layer: _ConvNd) -> onnx.NodeProto:
    """Return the convolution ``y`` of ``x`` with weights ``w`` and bias ``b``."""
    from onnx import helper

    if isinstance(layer.padding, str):
        same = layer.padding == "same"
        total = [d * (k - 1) * same for d, k in zip(layer.dilation, layer.kernel_size, strict=True)]
        pads = [*(n // 2 for n in total), *(n - n // 2 for n in total)]
    else:
        pads = [*layer.padding, *layer.padding]
    node = helper.make_node(
        "ConvTranspose" if layer.transposed else "Conv", ["x", "w", "b"], ["y"], kernel_shape=list(layer.kernel_size),
        strides=list(layer.stride), dilations=list(layer.dilation), group=layer.groups, pads=pads,
    )  # fmt: skip
    if layer.transposed:
        node.attribute.append(helper.make_attribute("output_padding", list(layer.output_padding)))
    return node
