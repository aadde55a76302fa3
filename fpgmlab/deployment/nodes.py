"""A single layer as an ONNX model in memory, for measuring."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

if TYPE_CHECKING:
    import onnxruntime


def layer_session(layer: nn.Module, example: Tensor, threads: int | None) -> onnxruntime.InferenceSession:
    """Return an ONNX Runtime session, on the CPU, of one convolution or linear layer with a bias.

    Parameters
    ----------
    layer : nn.Module
        A convolution, transposed or not, of one to three dimensions, padded with zeros, or a linear layer.
    example : Tensor
        Its input; its shape is fixed.
    threads : int, optional
        ONNX Runtime chooses when left out.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    if threads is not None:
        options.intra_op_num_threads = threads
    # Sessions take turns: the idle ones must not keep the cores busy.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(layer_model(layer, example), options, providers=["CPUExecutionProvider"])


def layer_model(layer: nn.Module, example: Tensor) -> bytes:
    """Return an ONNX model of one layer."""
    from onnx import TensorProto, helper, numpy_helper

    weight = layer.weight.detach()
    if isinstance(layer, nn.Linear):
        nodes = [helper.make_node("MatMul", ["x", "w"], ["xw"]), helper.make_node("Add", ["xw", "b"], ["y"])]
        weight = weight.T
    else:
        nodes = [helper.make_node(_operator(layer), ["x", "w", "b"], ["y"], **_attributes(layer))]
    tensors = [
        numpy_helper.from_array(tensor.detach().contiguous().numpy(), name)
        for name, tensor in (("w", weight), ("b", layer.bias))
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, list(example.shape))
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "layer", [x], [y], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return model.SerializeToString()


def _operator(layer: nn.Module) -> str:
    return "ConvTranspose" if layer.transposed else "Conv"


def _attributes(layer: nn.Module) -> dict[str, object]:
    attributes = {
        "kernel_shape": list(layer.kernel_size),
        "strides": list(layer.stride),
        "dilations": list(layer.dilation),
        "group": layer.groups,
    }
    before = after = layer.padding
    if isinstance(layer.padding, str):
        same = layer.padding == "same"
        total = [d * (k - 1) * same for d, k in zip(layer.dilation, layer.kernel_size, strict=True)]
        before, after = [n // 2 for n in total], [n - n // 2 for n in total]
    attributes["pads"] = [*before, *after]
    if layer.transposed:
        attributes["output_padding"] = list(layer.output_padding)
    return attributes
