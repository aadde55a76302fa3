"""Criteria: rules that give each channel a score; the lowest are removed first."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from fpgmlab.errors import unknown
from fpgmlab.geometry import distance_sums
from fpgmlab.graph import ChannelGraph
from fpgmlab.grouping import PRODUCERS, Layer

REDUCTIONS = ("root", "mean", "sum", "max")


def score(graph: ChannelGraph, criterion: str = "fpgm", *, reduce: str = "root", seed: int = 0) -> dict[str, Tensor]:
    """Score every channel of every group; low scores are removed first.

    Parameters
    ----------
    graph : ChannelGraph
    criterion : {"fpgm", "l1", "l2", "bn_gamma", "random"}
        ``fpgm``: sum of euclidean distances to the layer's other filters (He et al., CVPR 2019, eq. 6-8), in a grouped
        convolution to those of the same block. ``l1``, ``l2``: norm of the filter (Li et al., ICLR 2017).
        ``bn_gamma``: absolute scale of the batch norm (Liu et al., ICCV 2017). ``random``: uniform, from ``seed``.
    reduce : {"root", "mean", "sum", "max"}
        How the scores of several producers (or batch norms) of one group become one: the first one's alone, or their
        mean, sum or maximum.
    seed : int
        Of ``random``.

    Returns
    -------
    dict of str to Tensor
        (channels,) float64 on the CPU for each group, in order. A protected group to which the criterion does not apply
        is left out.

    Raises
    ------
    ValueError
        For an unknown criterion or reduction, NaN or infinite weights (with the layer), or a group to which the
        criterion does not apply.
    """
    if reduce not in REDUCTIONS:
        raise ValueError(f"reduce must be one of {', '.join(map(repr, REDUCTIONS))}; not {reduce!r}")
    if criterion == "random":
        generator = torch.Generator().manual_seed(seed)
        return {n: torch.rand(g.channels, generator=generator, dtype=torch.float64) for n, g in graph.items()}
    if criterion not in _LAYER_SCORES:
        raise ValueError(unknown("criterion", criterion, (*_LAYER_SCORES, "random")))
    kinds, of_layer = _LAYER_SCORES[criterion]
    modules = dict(graph.model.named_modules())
    found: dict[str, list[Tensor]] = {name: [] for name in graph}  # each (channels,), NaN where a layer has no say
    for layer in graph.layers:
        if layer.kind not in kinds or layer.depthwise or layer.outputs is None:
            continue
        values = _finite(of_layer(modules[layer.name], layer), layer)
        for name, mine in _by_group(graph, layer, values):
            found[name].append(mine)
    scores = {}
    for name, group in graph.items():
        if found[name]:
            scores[name] = _reduced(found[name], reduce)
        elif group.protected is None:
            raise ValueError(
                f"criterion {criterion!r} does not apply to group {name!r}: it has no {' or '.join(sorted(kinds))}. "
                f"Use another criterion, or trace with protect=[{name!r}]."
            )
    return scores


def filters(module: nn.Module) -> Tensor:
    """Return the filters of a convolution or linear layer as float64 vectors, (output channels, dim), on the CPU."""
    weight = module.weight.detach().to("cpu", torch.float64)
    if isinstance(module, (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)):
        per_group = weight.reshape(module.groups, -1, *weight.shape[1:])  # (groups, in/groups, out/groups, ...)
        weight = per_group.transpose(1, 2).reshape(module.out_channels, -1)
    return weight.flatten(1)


def _fpgm(module: nn.Module, layer: Layer) -> Tensor:
    # The blocks of a grouped convolution look at different inputs: distances between them mean nothing.
    return torch.cat([distance_sums(block) for block in filters(module).chunk(layer.groups)])


def _l1(module: nn.Module, layer: Layer) -> Tensor:
    return filters(module).abs().sum(dim=1)


def _l2(module: nn.Module, layer: Layer) -> Tensor:
    return filters(module).norm(dim=1)


def _gamma(module: nn.Module, layer: Layer) -> Tensor:
    if module.weight is None:
        raise ValueError(f"batch norm {layer.name!r} has no scale (affine=False)")
    return module.weight.detach().to("cpu", torch.float64).abs()


_LAYER_SCORES: dict[str, tuple[frozenset[str], Callable[[nn.Module, Layer], Tensor]]] = {
    "fpgm": (PRODUCERS, _fpgm),
    "l1": (PRODUCERS, _l1),
    "l2": (PRODUCERS, _l2),
    "bn_gamma": (frozenset({"batch_norm"}), _gamma),
}


def _finite(values: Tensor, layer: Layer) -> Tensor:
    bad = ~torch.isfinite(values)
    if bool(bad.any()):
        raise ValueError(
            f"layer {layer.name!r} has NaN or infinite weights: the scores of {int(bad.sum())} of its {len(values)} "
            "channels are not finite. Load good weights first."
        )
    return values


def _by_group(graph: ChannelGraph, layer: Layer, values: Tensor) -> list[tuple[str, Tensor]]:
    """Split a layer's scores by group: (channels,) each, the mean where a channel has several filters."""
    split = []
    channels = torch.from_numpy(layer.outputs)
    for name, group in graph.items():
        where = graph.channels_of(name)
        mine = (channels >= where.start) & (channels < where.stop)
        if bool(mine.any()):
            index = channels[mine] - where.start
            sums = torch.zeros(group.channels, dtype=torch.float64).index_add_(0, index, values[mine])
            split.append((name, sums / torch.bincount(index, minlength=group.channels)))
    return split


def _reduced(layers: list[Tensor], reduce: str) -> Tensor:
    stacked = torch.stack(layers)  # (layers, channels)
    if reduce == "mean":
        return stacked.nanmean(dim=0)
    if reduce == "sum":
        return stacked.nansum(dim=0)
    if reduce == "max":
        return torch.where(stacked.isnan(), -torch.inf, stacked).amax(dim=0)
    root = stacked[0]
    for other in stacked[1:]:  # the first layer that has a say about the channel
        root = torch.where(root.isnan(), other, root)
    return root
