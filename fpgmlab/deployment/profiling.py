"""The time of each layer inside the whole network: the profile of ONNX Runtime, ascribed to the layers of the model."""

from __future__ import annotations

import json
import os
import re
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fpgmlab.deployment.calls import Call
from fpgmlab.deployment.runtimes import onnx_session

if TYPE_CHECKING:
    import onnx
    import onnxruntime

WEIGHTED = {"Conv", "ConvTranspose", "Gemm", "MatMul"}
WARM = 2  # calls that are not counted
QUICKEST = 3  # of the calls of a node, that count: what disturbs them only adds
Known = Mapping[str, tuple[int, str]]  # position in the file and name of the layer behind a node or tensor
OPTIMISED = "optimised.onnx"
# What the optimiser hangs on the names of nodes that it makes of others.
_SUFFIX = re.compile(r"(_token_\d+|_nchwc|_quant|/duplicated|/\w+Fusion/?)$")


@dataclass(frozen=True)
class Profile:
    """Where the time of one network goes.

    Attributes
    ----------
    layers : mapping of str to float
        Milliseconds of each layer with all that follows it up to the next ones (activation, sum, change of layout),
        over all its calls.
    rest : float
        Milliseconds of what follows no layer, and of what no node accounts for.
    total : float
        Milliseconds of the whole network, measured without a profile: the quickest call.
    """

    layers: Mapping[str, float]
    rest: float
    total: float


def profile_onnx(
    path: Path, known: Known, feed: Mapping[str, np.ndarray], threads: int | None = None, rounds: int = 8
) -> Profile:
    """Profile an ONNX file in ONNX Runtime on the CPU, layer by layer.

    Parameters
    ----------
    path : Path
    known : mapping
        The layers behind nodes and tensors, by `known_nodes` of this file or of the float one that it was made from.
    feed : mapping of str to ndarray
    threads : int, optional
    rounds : int
        Calls of the network that are counted.
    """
    import onnx

    with tempfile.TemporaryDirectory() as folder:
        plain = onnx_session(path, threads)
        profiled = profiling_session(os.fspath(path), Path(folder), threads, keep=True)
        optimised = onnx.load(Path(folder) / OPTIMISED, load_external_data=False)
        wall = []
        for round_ in range(WARM + rounds):
            started = time.perf_counter()
            plain.run(None, dict(feed))
            if round_ >= WARM:
                wall.append(1e3 * (time.perf_counter() - started))
            profiled.run(None, dict(feed))
        nodes = node_times(profiled)
    total = min(wall)
    # Writing down each node takes time itself, which the sum of many small ones shows.
    writing = max(0.0, sum(nodes.values()) - total) / max(len(nodes), 1)
    layers = dict.fromkeys((layer for _, layer in known.values()), 0.0)
    for node, layer in _owners(optimised.graph, known).items():
        if layer is not None and node in nodes:
            layers[layer] += max(nodes[node] / 4, nodes[node] - writing)
    return Profile(layers, total - sum(layers.values()), total)


def profiling_session(
    model: str | bytes, folder: Path, threads: int | None = None, keep: bool = False
) -> onnxruntime.InferenceSession:
    """Return a session that profiles itself; with ``keep`` it also writes the optimised graph into the folder."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # that the optimised file is only for this machine is known
    if threads is not None:
        options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if keep:
        options.optimized_model_filepath = str(folder / OPTIMISED)
    options.enable_profiling = True
    options.profile_file_prefix = str(folder / "profile")
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def node_times(session: onnxruntime.InferenceSession) -> dict[str, float]:
    """End a session's profile and return the milliseconds of each node: of its calls, the quickest."""
    found: dict[str, list[float]] = {}
    for event in json.loads(Path(session.end_profiling()).read_text()):
        name, duration = str(event.get("name")), event.get("dur")
        if event.get("cat") == "Node" and name.endswith("_kernel_time") and isinstance(duration, int | float):
            found.setdefault(name.removesuffix("_kernel_time"), []).append(duration / 1e3)
    # The profile has whole microseconds: the mean of a few knows more than one.
    return {name: float(np.sort(times[WARM:])[:QUICKEST].mean()) for name, times in found.items() if len(times) > WARM}


def known_nodes(path: Path, calls: Sequence[Call]) -> Known:
    """Return the layer behind each node and each tensor of an exported file: its position in the file, its name.

    Exporters write the nodes in the order of the calls (a quantizer does not keep it); a node belongs to the next call
    whose weights have its shape. What has no weights belongs to the last layer that it depends on.

    Parameters
    ----------
    path : Path
    calls : sequence of Call
        Of the model that the file was made from; see `fpgmlab.deployment.calls.layer_calls`.
    """
    import onnx

    graph = onnx.load(path, load_external_data=False).graph
    weights = {entry.name: tuple(entry.dims) for entry in graph.initializer}
    makers = {output: node for node in graph.node for output in node.output}
    owner: dict[str, tuple[int, str]] = {}
    at = 0
    for position, node in enumerate(graph.node):
        shape = _weight_shape(node, weights, makers) if node.op_type in WEIGHTED else None
        match = None if shape is None else next((i for i in range(at, len(calls)) if _same(calls[i], shape)), None)
        if match is not None:
            at, found = match + 1, (position, calls[match].name)
        else:
            before = [owner[name] for name in node.input if name in owner]
            if not before:
                continue
            found = max(before)
        owner |= dict.fromkeys((node.name, *node.output), found)
    return owner


def _weight_shape(
    node: onnx.NodeProto, weights: Mapping[str, tuple[int, ...]], makers: Mapping[str, onnx.NodeProto]
) -> tuple[int, ...] | None:
    """Return the shape of a node's weights, perhaps unpacked or transposed on their way."""
    for name in node.input[1:2] if node.op_type != "MatMul" else node.input:
        while name in makers and makers[name].op_type in {"DequantizeLinear", "Transpose", "Identity", "Cast"}:
            name = makers[name].input[0]
        if name in weights:
            return weights[name]
    return None


def _same(call: Call, shape: tuple[int, ...]) -> bool:
    return call.weight == shape or (len(shape) == 2 and call.weight == shape[::-1])


def _owners(graph: onnx.GraphProto, known: Known) -> dict[str, str | None]:
    """Return the layer behind each node of the optimised graph: by its name, by what it takes, by who takes it."""
    of: dict[str, tuple[int, str]] = {}  # by tensor
    nodes: dict[str, tuple[int, str] | None] = {}
    for node in graph.node:
        found = _by_name(node.name, known) or max((of[name] for name in node.input if name in of), default=None)
        nodes[node.name] = found
        if found is not None:
            of |= dict.fromkeys(node.output, found)
    takers: dict[str, tuple[int, str]] = {}
    for node in reversed(graph.node):
        if nodes[node.name] is None:  # what is made of constants alone: weights that are unpacked at each call
            nodes[node.name] = max((takers[name] for name in node.output if name in takers), default=None)
        found = nodes[node.name]
        if found is not None:
            takers |= dict.fromkeys(node.input, found)
    return {name: None if found is None else found[1] for name, found in nodes.items()}


def _by_name(name: str, known: Known) -> tuple[int, str] | None:
    while name:
        if name in known:
            return known[name]
        shorter = _SUFFIX.sub("", name)
        if shorter == name:
            return None
        name = shorter
    return None
