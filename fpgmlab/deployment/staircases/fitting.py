"""What each layer makes of a runtime's steps: least squares over the variants of a network."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from scipy.optimize import nnls

from fpgmlab.deployment.calls import Call
from fpgmlab.deployment.profiling import Profile
from fpgmlab.deployment.staircases.steps import TERMS, Kernel, Staircase, Widths
from fpgmlab.graph.channel_graph import ChannelGraph

Sample = tuple[Sequence[Call], Profile]


def fitted(
    samples: Sequence[Sample], kernels: Mapping[str, Kernel], layers: Mapping[str, Staircase]
) -> tuple[dict[str, Staircase], np.ndarray]:
    """Return the layers with weights: non-negative ones of their kernels' features; and the sum of all for each sample.

    A layer of twice the time may be off by 1.4 times as much (the squares are weighted by one over the time).

    Parameters
    ----------
    samples : sequence of (calls, profile)
    kernels : mapping of str to Kernel
    layers : mapping of str to Staircase
        Without weights; see `bare_layers`.
    """
    widths = widths_of([calls for calls, _ in samples], kernels)
    found: dict[str, Staircase] = {}
    total = np.zeros(len(samples))
    for name, layer in layers.items():
        ms = np.array([profile.layers[name] for _, profile in samples])
        features = widths.features(name, layers)
        weights = weights_of(features, ms)
        found[name] = replace(layer, weights=tuple(weights.tolist()))
        total += features @ weights
    return found, total


def widths_of(samples: Sequence[Sequence[Call]], kernels: Mapping[str, Kernel]) -> Widths:
    """Return the numbers of channels of all layers in some networks."""
    each = [{call.name: (call.inputs, call.outputs) for call in calls} for calls in samples]
    names = each[0] if each else {}
    counts = {name: np.array([one[name] for one in each]).T for name in names}
    return Widths({name: (i, o) for name, (i, o) in counts.items()}, kernels)


def bare_layers(
    graph: ChannelGraph, calls: Sequence[Call], kinds: Mapping[str, str], kernels: Mapping[str, Kernel]
) -> dict[str, Staircase]:
    """Return the layers of a network, without weights yet."""
    found = Counter(kernels[kinds[call.name]].alignment[0] for call in calls if call.kind == "conv")
    layout = found.most_common(1)[0][0] if found else 1  # whether outputs fit the next layers is a matter of those
    makers: dict[int, list[str]] = {}
    traced = {layer.name: layer for layer in graph.layers if layer.name in kinds}
    for name, layer in traced.items():
        for channel in set(layer.outputs[layer.outputs >= 0].tolist()):
            makers.setdefault(channel, []).append(name)
    beside: dict[str, set[str]] = {name: set() for name in traced}
    for names in makers.values():
        for name in names:
            beside[name].update(names)
    return {
        call.name: Staircase(
            kinds[call.name], call.inputs, call.outputs, (0.0,) * TERMS, layout,
            tuple(sorted(beside[call.name] - {call.name})) if not call.depthwise else (),
        )
        for call in calls
    }  # fmt: skip


def weights_of(features: np.ndarray, ms: np.ndarray) -> np.ndarray:
    """Return non-negative weights, (10,), with ``features @ weights`` near ``ms``, (rows, 10) and (rows,)."""
    if not ms.any():
        return np.zeros(TERMS)
    trust = 1 / np.sqrt(np.maximum(ms, 1e-3 * ms.max()))
    scale = np.maximum(features.max(axis=0), 1e-12)
    weights, _ = nnls(features / scale * trust[:, None], ms * trust)
    return np.asarray(weights / scale)
