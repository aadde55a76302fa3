"""Latency tables of runtimes without a profile: layers one by one, put right by whole networks."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.optimize import nnls
from torch import nn
from torch.nn.modules.conv import _ConvNd

from fpgmlab.deployment.arguments import Arguments
from fpgmlab.deployment.calls import Call, layer_calls, measured_layers
from fpgmlab.deployment.runtimes.runtime import Runtime, Weighted
from fpgmlab.deployment.staircases.fitting import bare_layers, weights_of, widths_of
from fpgmlab.deployment.staircases.probing import kind_of, probe_size, probed
from fpgmlab.deployment.staircases.steps import Kernel, Staircase
from fpgmlab.deployment.staircases.variants import drawn_plans, write_variant
from fpgmlab.graph.channel_graph import ChannelGraph
from fpgmlab.surgery import prune

if TYPE_CHECKING:
    from tqdm.auto import tqdm

LEAST = 2e-4  # seconds: what is quicker is run several times in a row
NETWORKS = 6  # whole networks at most: two numbers are fitted to them
PARTS = (0.25, 0.5, 0.75, 1.0)  # of its channels, that a layer is timed at on either side


@dataclass(frozen=True, eq=False)
class Singly:
    """How a table is made without a profile.

    Attributes
    ----------
    runtime : Runtime
    graph : ChannelGraph
    batch : int
    threads : int or None
    rounds : int
    """

    runtime: Runtime
    graph: ChannelGraph
    batch: int
    threads: int | None
    rounds: int

    def measured(
        self, variants: int, seed: int, bar: tqdm
    ) -> tuple[dict[str, Kernel], dict[str, Staircase], float, float]:
        """Return kernels, staircases, overhead and error; the error is NaN where a runtime takes no whole network."""
        calls = layer_calls(self.graph.model, measured_layers(self.graph), self.graph.example_input)
        kinds = {call.name: kind_of(call) for call in calls}
        with self.runtime.threads(self.threads):
            bar.set_description("blocks")
            kernels = probed(calls, kinds, lambda _: self.probe)
            bar.set_description("layers")
            layers = self._layers(calls, kernels, bare_layers(self.graph, calls, kinds, kernels))
            bar.set_description("networks")
            there, found = [], []
            for plan in drawn_plans(self.graph, min(variants, NETWORKS), seed):
                small = prune(self.graph, plan).cpu()
                ms = self._network(small)
                if ms is None:
                    return kernels, layers, 0.0, math.nan
                found.append(ms)
                there.append(layer_calls(small, measured_layers(self.graph), self.graph.example_input))
                bar.update()
        widths = widths_of(there, kernels)
        sums, totals = np.sum([widths.milliseconds(name, layers) for name in layers], axis=0), np.array(found)
        (overhead, scale), _ = nnls(np.stack([np.ones(len(sums)), sums], axis=1) / totals[:, None], np.ones(len(sums)))
        error = float(np.sqrt(np.mean(((overhead + scale * sums) / totals - 1) ** 2)))
        scaled = {
            name: replace(staircase, weights=tuple(scale * weight for weight in staircase.weights))
            for name, staircase in layers.items()
        }
        return kernels, scaled, float(overhead), error

    def probe(self, call: Call, points: Sequence[tuple[int, int]]) -> np.ndarray:
        """Return the milliseconds of a layer at pairs of numbers of channels, on small pictures."""
        return self._times(replace(call, size=probe_size(call)), points)

    def _layers(
        self, calls: Sequence[Call], kernels: dict[str, Kernel], bare: dict[str, Staircase]
    ) -> dict[str, Staircase]:
        """Return the layers with weights, over all their calls; layers of equal shape are measured once."""
        known: dict[Call, np.ndarray] = {}
        layers = dict(bare)
        for call in calls:
            alike, kernel = replace(call, name=""), kernels[bare[call.name].kernel]
            if alike not in known:
                points = _grid(call, kernel)
                inputs, outputs = np.array(points).T
                features = kernel.features(inputs, outputs, np.zeros(len(points), bool))
                known[alike] = weights_of(features, self._times(call, points))
            weights = np.array(layers[call.name].weights) + known[alike]
            layers[call.name] = replace(layers[call.name], weights=tuple(weights.tolist()))
        return layers

    def _times(self, call: Call, points: Sequence[tuple[int, int]]) -> np.ndarray:
        runs = []
        for inputs, outputs in points:
            shape = (*call.size, inputs) if call.kind == "linear" else (inputs, *call.size)
            example = torch.randn(self.batch, *shape, generator=torch.Generator().manual_seed(0))
            runs.append(self.runtime.ready(_layer(call, inputs, outputs), example, self.threads))
        return _quickest(runs, self.rounds)

    def _network(self, model: nn.Module) -> float | None:
        """Return the milliseconds of a whole network, or None where the runtime takes none that is written quickly."""
        cpu = Arguments.of(self.graph.example_input).map(lambda tensor: tensor.detach().cpu())
        arguments = cpu if cpu.batch in {None, self.batch} else cpu.random(self.batch)
        arrays = [tensor.numpy() for tensor in arguments.named.values()]
        if type(self.runtime).open is Runtime.open:
            return None
        with tempfile.TemporaryDirectory() as folder:
            if not self.runtime.reads:
                session = self.runtime.open(model.eval(), arguments, self.threads)
            elif ".onnx" in self.runtime.reads:
                path = Path(folder) / "variant.onnx"
                write_variant(model, arguments, path)
                session = self.runtime.open(path, arguments, self.threads)
            else:
                return None
            return float(_quickest([lambda: session.run(arrays)], self.rounds)[0])


def _grid(call: Call, kernel: Kernel) -> list[tuple[int, int]]:
    """Return the numbers of channels to time a layer at: in its quick way, and beside it."""
    unit = int(np.lcm.reduce([*kernel.alignment, call.groups if not call.depthwise else 1, kernel.aligned[0].block]))
    sides = []
    for channels in (call.inputs, call.outputs):
        sides.append(
            sorted({max(1, min(channels, round(part * channels / unit) * unit or channels)) for part in PARTS})
        )
    if call.depthwise:
        times = call.outputs // call.inputs
        points = [(n, n * times) for n in sides[0]]
        return points + [(n - 1, (n - 1) * times) for n in sides[0] if n > 1 and max(kernel.alignment) > 1]
    points = [(i, o) for i in sides[0] for o in sides[1]]
    if max(kernel.alignment) > 1 and call.groups == 1:
        points += [(i - 1, o - 1) for i in sides[0] for o in sides[1] if i > 1 and o > 1]
    return points


def _layer(call: Call, inputs: int, outputs: int) -> Weighted:
    """Return such a layer with other numbers of channels, with a bias: a batch norm folded into it leaves one."""
    if call.kind == "linear":
        return nn.Linear(inputs, outputs).eval()
    kinds = {
        "conv": (nn.Conv1d, nn.Conv2d, nn.Conv3d),
        "conv_transpose": (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d),
    }
    kind = kinds[call.kind][len(call.size) - 1]
    padding = tuple(d * (k - 1) // 2 for k, d in zip(call.kernel, call.dilation, strict=True))
    groups = inputs if call.depthwise else call.groups
    made = kind(
        inputs, outputs, call.kernel, stride=call.stride, padding=padding, dilation=call.dilation, groups=groups
    ).eval()
    assert isinstance(made, _ConvNd)
    return made


def _quickest(runs: Sequence[Callable[[], object]], rounds: int) -> np.ndarray:
    """Return the milliseconds of each, of its quickest round; they take turns, so that a slow moment meets all."""
    often = []
    for run in runs:
        run()  # warm
        started = time.perf_counter()
        run()
        often.append(max(1, math.ceil(LEAST / max(time.perf_counter() - started, 1e-7))))
    found = np.empty((rounds, len(runs)))
    for round_ in range(rounds):
        for i, (run, times) in enumerate(zip(runs, often, strict=True)):
            started = time.perf_counter()
            for _ in range(times):
                run()
            found[round_, i] = 1e3 * (time.perf_counter() - started) / times
    return np.asarray(found.min(axis=0))
