#!/usr/bin/env bash
# ONNX Runtime takes several times as long for a convolution with 63 channels as for one with 64.
#
# One expects: a channel fewer takes no longer, at worst as long (the kernels compute in blocks of 8 or 16 channels and could
# fill the last one up).
# What happens: convolutions stay in the blocked layout (NCHWc), for which the quick kernels are, only where the channels are
# a multiple of 4. One that is not goes back to plain NCHW, and a depthwise one to the generic kernel. A network from which a
# tenth of each layer was pruned, whatever was left, can take twice the time of the whole one.
#
# Seen with onnxruntime 1.32.0, onnx 1.23.2, AVX-512, one thread (four layers of 3x3, 56 pixels; blocked ones of four):
#   dense 64: 4 blocked, 3.6 ms; dense 63: 0 blocked, 10.4 ms; depthwise 64: 4 blocked, .17 ms; depthwise 63: 0 blocked, .86 ms
# Exits with 1 when 63 channels stay blocked, or on a processor without the blocked layout.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet onnxruntime==1.32.0 onnx==1.23.2 numpy
"$folder/venv/bin/python" - "$folder" <<'PY'
import sys
import time

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper


def network(channels, groups):
    random = np.random.default_rng(0)
    nodes, weights, x = [], [], "x"
    for i in range(4):
        values = random.standard_normal((channels, channels // groups, 3, 3)).astype(np.float32) / 8
        weights.append(numpy_helper.from_array(values, f"w{i}"))
        nodes.append(helper.make_node("Conv", [x, f"w{i}"], [f"c{i}"], pads=[1, 1, 1, 1], group=groups))
        nodes.append(helper.make_node("Relu", [f"c{i}"], [f"r{i}"]))
        x = f"r{i}"
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, channels, 56, 56])
    made = helper.make_tensor_value_info(x, TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "g", [given], [made], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


def looked_at(channels, depthwise):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    options.optimized_model_filepath = f"{sys.argv[1]}/optimised.onnx"
    model = network(channels, channels if depthwise else 1)
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    blocked = [n.domain for n in onnx.load(options.optimized_model_filepath).graph.node].count("com.microsoft.nchwc")
    x = np.ones((1, channels, 56, 56), np.float32)
    taken = []
    for _ in range(30):
        started = time.perf_counter()
        session.run(None, {"x": x})
        taken.append(1e3 * (time.perf_counter() - started))
    convolutions = min(blocked, 4)
    print(f"{'depthwise' if depthwise else 'dense'} {channels}: {convolutions} blocked, {min(taken):.2f} ms")
    return convolutions


found = [looked_at(channels, depthwise) for depthwise in (False, True) for channels in (64, 63)]
sys.exit(found != [4, 0, 4, 0])
PY
