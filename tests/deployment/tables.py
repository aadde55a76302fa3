"""Made-up latency tables."""

from __future__ import annotations

import numpy as np

import fpgmlab as fl
from fpgmlab.deployment.machine import Machine
from fpgmlab.deployment.staircases.steps import Kernel, Staircase, Steps

HERE = Machine.here("made up", 1)


def made_up(graph: fl.ChannelGraph, seed: int = 0) -> fl.LatencyTable:
    """Return a table of all layers with weights, with two kernels of random steps and with random weights."""
    rng = np.random.default_rng(seed)

    def steps(block: int) -> Steps:
        counts = (block, 4 * block, 16 * block)
        return Steps(block, counts, tuple(np.sort(rng.uniform(0.1, 3, 3)).tolist()))

    kernels = {
        name: Kernel(alignment, (steps(4), steps(2)), (steps(1), steps(1)))
        for name, alignment in (("a", (2, 1)), ("b", (1, 3)))
    }
    layers = {}
    for layer in graph.layers:
        if layer.kind not in ("conv", "linear"):
            continue
        beside = tuple(rng.permutation(list(layers))[: int(rng.integers(3))].tolist())
        layers[layer.name] = Staircase(
            str(rng.choice(["a", "b"])), len(layer.inputs), len(layer.outputs), tuple(rng.uniform(0, 1, 10).tolist()),
            int(rng.integers(1, 4)), beside,
        )  # fmt: skip
    return fl.LatencyTable(kernels, layers, 0.25, HERE, "float32", 1, 0.0)


def stairs(*numbers: int) -> float:
    """Return a made-up latency: it rises by steps of four channels, and each layer has its overhead."""
    return 0.5 + float(np.prod([-(-n // 4) for n in numbers]))


def by_stairs(graph: fl.ChannelGraph) -> fl.LatencyTable:
    """Return a table in which every convolution takes `stairs` of its channels, the depthwise of one side."""
    line = Steps(4, (4, 64), (1.0, 16.0))
    flat = Steps(1, (1,), (1.0,))
    kernels = {
        "dense": Kernel((1, 1), (line, line), (line, line)),
        "depthwise": Kernel((1, 1), (flat, line), (flat, line)),
    }
    layers = {
        layer.name: Staircase(
            "depthwise" if layer.depthwise else "dense", len(layer.inputs), len(layer.outputs),
            (0.5, 0, 0, 1.0, 0, 0, 0, 0, 0, 0), 1, (),
        )
        for layer in graph.layers
        if layer.kind == "conv"
    }  # fmt: skip
    return fl.LatencyTable(kernels, layers, 0.0, HERE, "float32", 1, 0.0)
