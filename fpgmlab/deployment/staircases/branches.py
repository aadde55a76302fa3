"""One layer at many numbers of channels, side by side in one ONNX graph: what probing has ONNX Runtime profile."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fpgmlab.deployment.calls import Call

if TYPE_CHECKING:
    import onnx

NEXT = 32  # channels of the layers before and after: every runtime has a quick way for them


class Branches:
    """The graph while it grows.

    Before and after each layer is one of a single pixel, so that it neither starts nor ends in the layout of the
    graph's input, and a mean, so that little is left to copy.

    Parameters
    ----------
    call : Call
        The kind of layer.
    size : tuple of int
        Of its input, without batch and channels.
    dtype : {"float32", "int8"}
        Int8: activations of eight bits without a sign, weights with one, scaled by channel; as `fpgmlab.quantize` does.
    """

    def __init__(self, call: Call, size: tuple[int, ...], dtype: str) -> None:
        self.call, self.size, self.dtype = call, size, dtype
        self.nodes: list[onnx.NodeProto] = []
        self.tensors: list[onnx.TensorProto] = []
        self.random = np.random.default_rng(0)
        self.outputs: list[str] = []
        self._constant("activation_scale", np.array(0.05, np.float32))
        self._constant("activation_zero", np.array(0, np.uint8))
        self.start = self._quantised("x")

    def add(self, name: str, inputs: int, outputs: int) -> None:
        """Add a branch, its layer by that name."""
        before = self._layer(f"{name}.before", self.start, NEXT, inputs, plain=True)
        middle = self._layer(name, before, inputs, outputs, plain=False)
        after = self._layer(f"{name}.after", middle, outputs, NEXT, plain=True)
        end = f"{name}.mean"
        if self.call.kind == "linear":
            self._node("Identity", [after], end, f"{name}.out")
        else:
            self._node("GlobalAveragePool", [after], end, f"{name}.out")
        self.outputs.append(end)

    def model(self, batch: int) -> bytes:
        """Return the file's contents."""
        from onnx import TensorProto, helper

        x = helper.make_tensor_value_info("x", TensorProto.FLOAT, list(self.shape(batch)))
        given = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in self.outputs]
        graph = helper.make_graph(self.nodes, "branches", [x], given, self.tensors)
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        return made.SerializeToString()

    def shape(self, batch: int) -> tuple[int, ...]:
        """Return the shape of the graph's input."""
        return (batch, *self.size, NEXT) if self.call.kind == "linear" else (batch, NEXT, *self.size)

    def _layer(self, name: str, x: str, inputs: int, outputs: int, plain: bool) -> str:
        if self.call.kind == "linear":
            weight = self._weight(name, (inputs, outputs), axis=1)
            self._constant(f"{name}.bias", np.zeros(outputs, np.float32))
            self._node("MatMul", [x, weight], f"{name}.product", name)
            self._node("Add", [f"{name}.product", f"{name}.bias"], f"{name}.y", f"{name}.add")
            return self._quantised(f"{name}.y")
        dims = len(self.size)
        one = (1,) * dims
        kernel, stride, dilation = (one,) * 3 if plain else (self.call.kernel, self.call.stride, self.call.dilation)
        groups = inputs if self.call.depthwise and not plain else 1
        weight = self._weight(name, (outputs, inputs // groups, *kernel), axis=0)
        bias = self._bias(name, outputs)
        pads = [d * (k - 1) // 2 for k, d in zip(kernel, dilation, strict=True)]
        self._node(
            "Conv", [x, weight, bias], f"{name}.y", name, kernel_shape=list(kernel), strides=list(stride),
            dilations=list(dilation), pads=[*pads, *pads], group=groups,
        )  # fmt: skip
        return self._quantised(f"{name}.y")

    def _weight(self, name: str, shape: tuple[int, ...], axis: int) -> str:
        if self.dtype == "float32":
            return self._constant(f"{name}.weight", self.random.standard_normal(shape, np.float32) * 0.05)
        values = self.random.integers(-127, 128, shape, np.int8)
        channels = shape[axis]
        given = [
            self._constant(f"{name}.weight", values),
            self._constant(f"{name}.scale", np.full(channels, 0.001, np.float32)),
            self._constant(f"{name}.zero", np.zeros(channels, np.int8)),
        ]
        return self._node("DequantizeLinear", given, f"{name}.w", f"{name}.unpack", axis=axis)

    def _bias(self, name: str, channels: int) -> str:
        if self.dtype == "float32":
            return self._constant(f"{name}.bias", np.zeros(channels, np.float32))
        given = [
            self._constant(f"{name}.bias", np.zeros(channels, np.int32)),
            self._constant(f"{name}.bias_scale", np.full(channels, 0.05 * 0.001, np.float32)),
            self._constant(f"{name}.bias_zero", np.zeros(channels, np.int32)),
        ]
        return self._node("DequantizeLinear", given, f"{name}.b", f"{name}.bias_unpack", axis=0)

    def _quantised(self, x: str) -> str:
        if self.dtype == "float32":
            return x
        parameters = ["activation_scale", "activation_zero"]
        self._node("QuantizeLinear", [x, *parameters], f"{x}.q", f"{x}.quantise")
        return self._node("DequantizeLinear", [f"{x}.q", *parameters], f"{x}.dq", f"{x}.dequantise")

    def _node(self, kind: str, inputs: Sequence[str], output: str, name: str, **attributes: Any) -> str:
        from onnx import helper

        self.nodes.append(helper.make_node(kind, list(inputs), [output], name=name, **attributes))
        return output

    def _constant(self, name: str, values: np.ndarray) -> str:
        from onnx import numpy_helper

        self.tensors.append(numpy_helper.from_array(values, name))
        return name
