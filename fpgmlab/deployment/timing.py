"""Measuring a latency table: every layer by itself, at several numbers of channels, in a runtime."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd

from fpgmlab.common.calling import call, left_as_it_is
from fpgmlab.common.modules import eval_mode
from fpgmlab.common.numbers import whole_number
from fpgmlab.deployment.runtimes import RUNTIMES, Runtime
from fpgmlab.deployment.runtimes.runtime import Weighted
from fpgmlab.deployment.tables import Grid, LatencyTable
from fpgmlab.errors import one_of
from fpgmlab.graph.channel_graph import ChannelGraph
from fpgmlab.graph.grouping import PRODUCERS

LEAST = 2e-4  # seconds: what is quicker is run several times in a row


@dataclass(frozen=True)
class Shape:
    """What the latency of a layer depends on, apart from its channels' values."""

    kind: type[nn.Module]
    inputs: int
    outputs: int
    groups: int
    options: tuple[tuple[str, object], ...]  # kernel_size, stride, ...
    size: tuple[int, ...]  # of its input, without batch and channels

    @property
    def depthwise(self) -> bool:
        """Whether each input channel has a block of its own."""
        return self.groups > 1 and self.groups == self.inputs

    def layer(self, inputs: int, outputs: int) -> Weighted:
        """Return such a layer with other numbers of channels, with a bias: a batch norm folded into it leaves one."""
        if self.kind is nn.Linear:
            return nn.Linear(inputs, outputs).eval()
        groups = inputs if self.depthwise else self.groups
        made = self.kind(inputs, outputs, groups=groups, bias=True, **dict(self.options)).eval()
        assert isinstance(made, _ConvNd)
        return made

    def input(self, inputs: int, batch: int) -> torch.Tensor:
        """Return a random input, (batch, inputs, ...)."""
        shape = (*self.size, inputs) if self.kind is nn.Linear else (inputs, *self.size)
        return torch.randn(batch, *shape, generator=torch.Generator().manual_seed(0))


def latency_table(
    graph: ChannelGraph,
    *,
    runtime: str = "onnxruntime",
    counts: int = 8,
    multiple: int = 8,
    batch: int = 1,
    repeats: int = 15,
    threads: int | None = None,
) -> LatencyTable:
    """Measure how long each convolution and linear layer takes over its numbers of input and output channels.

    Each layer runs by itself, with random weights, on the CPU; layers of equal shape are measured once. The numbers of
    channels are multiples, where runtimes have their steps, and nothing is smoothed: latency need not be proportional
    to MACs, nor even rise with them. The grid points of a layer take turns; the median of each counts.

    Parameters
    ----------
    graph : ChannelGraph
    runtime : {"onnxruntime", "torch"}
    counts : int
        At most so many numbers of channels on each side of a layer, evenly spread, the largest its own.
    multiple : int
        Of which they are multiples.
    batch : int
        Examples in one forward pass.
    repeats : int
        Rounds over the grid points of a layer.
    threads : int, optional
        Within one operation; the runtime chooses when left out.

    Returns
    -------
    LatencyTable

    Raises
    ------
    ValueError
        For an unknown runtime, or numbers below 1.
    ImportError
        Without onnx and onnxruntime: install ``fpgmlab[deploy]``.
    """
    if runtime not in RUNTIMES:
        raise ValueError(one_of("runtime", runtime, RUNTIMES))
    numbers = {"counts": counts, "multiple": multiple, "batch": batch, "repeats": repeats, "threads": threads or 1}
    for name, value in numbers.items():
        whole_number(name, value)
    shapes, calls = _shapes(graph)
    grids: dict[str, Grid] = {}
    source: dict[Shape, str] = {}
    for name, shape in shapes.items():
        if shape not in source:
            source[shape] = name
            grids[name] = _measured(shape, RUNTIMES[runtime], counts, multiple, batch, repeats, threads)
    return LatencyTable(grids, {name: source[shape] for name, shape in shapes.items()}, calls, runtime, batch)


def _shapes(graph: ChannelGraph) -> tuple[dict[str, Shape], dict[str, int]]:
    """Return the shape of each layer with weights that is called as a module, and how often."""
    modules = dict(graph.model.named_modules())
    shapes: dict[str, Shape] = {}
    calls: dict[str, int] = {}

    def note(name: str) -> Callable[..., None]:
        def hook(module: Weighted, inputs: tuple[torch.Tensor, ...]) -> None:
            shapes[name] = _shape(module, tuple(inputs[0].shape))
            calls[name] = calls.get(name, 0) + 1

        return hook

    kinds = (nn.Linear, _ConvNd)
    names = [layer.name for layer in graph.layers if layer.kind in PRODUCERS]
    handles = [modules[n].register_forward_pre_hook(note(n)) for n in names if isinstance(modules.get(n), kinds)]
    try:
        with torch.no_grad(), left_as_it_is(graph.model), eval_mode(graph.model):
            call(graph.model, graph.example_input)
    finally:
        for handle in handles:
            handle.remove()
    return {n: shapes[n] for n in names if n in shapes}, calls


def _shape(module: Weighted, shape: tuple[int, ...]) -> Shape:
    if isinstance(module, nn.Linear):
        return Shape(nn.Linear, module.in_features, module.out_features, 1, (), shape[1:-1])
    names = ["kernel_size", "stride", "padding", "dilation"]
    names += ["output_padding"] if module.transposed else []
    kind = next(k for k in type(module).__mro__ if k.__module__ == "torch.nn.modules.conv" and "Conv" in k.__name__)
    options = tuple((name, getattr(module, name)) for name in names)
    # Paddings other than with zeros cost a copy of the input more, whatever the channels: they are left out.
    return Shape(kind, module.in_channels, module.out_channels, module.groups, options, shape[2:])


def _spread(channels: int, unit: int, counts: int) -> list[int]:
    """Return at most ``counts`` multiples of a unit, evenly spread up to all channels."""
    there = np.array([*range(unit, channels, unit), channels])
    return there[np.unique(np.linspace(len(there) - 1, 0, min(counts, len(there))).round().astype(int))].tolist()


def _measured(
    shape: Shape, runtime: Runtime, counts: int, multiple: int, batch: int, repeats: int, threads: int | None
) -> Grid:
    unit = multiple if shape.depthwise else math.lcm(multiple, shape.groups)
    times = shape.outputs // shape.inputs if shape.depthwise else 1
    outputs = [n * times for n in _spread(shape.outputs // times, unit, counts)]
    inputs = [shape.inputs] if shape.depthwise else _spread(shape.inputs, unit, counts)
    points = [(o // times if shape.depthwise else i, o) for i in inputs for o in outputs]
    with runtime.threads(threads):
        runs = [runtime.ready(shape.layer(i, o), shape.input(i, batch), threads) for i, o in points]
        ms = _medians(runs, repeats).reshape(len(inputs), len(outputs))
    return Grid(tuple(inputs), tuple(outputs), tuple(tuple(row) for row in ms.tolist()))


def _medians(runs: Sequence[Callable[[], object]], repeats: int) -> np.ndarray:
    """Return the median milliseconds of each; they take turns, so that a slow moment meets all of them."""
    often = []
    for run in runs:
        run()  # warm
        started = time.perf_counter()
        run()
        often.append(max(1, math.ceil(LEAST / max(time.perf_counter() - started, 1e-7))))
    found = np.empty((repeats, len(runs)))
    for round_ in range(repeats):
        for i, (run, times) in enumerate(zip(runs, often, strict=True)):
            started = time.perf_counter()
            for _ in range(times):
                run()
            found[round_, i] = 1e3 * (time.perf_counter() - started) / times
    return np.median(found, axis=0)
