"""Scores of all groups of a graph."""

from __future__ import annotations

import inspect
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from fpgmlab.common.bars import progress_bar
from fpgmlab.criteria.fpgm import FPGM, FPGMMix
from fpgmlab.criteria.points import filters_of, has_filters, readers_of
from fpgmlab.criteria.rules import L1, L2, BNGamma, Criterion, GraphCriterion, Random, check_numbers
from fpgmlab.criteria.scores import Scores
from fpgmlab.errors import one_of, unknown
from fpgmlab.graph.channel_graph import ChannelGraph
from fpgmlab.graph.given import check_graph
from fpgmlab.graph.layer import Layer

if TYPE_CHECKING:
    from tqdm.auto import tqdm

REDUCTIONS = ("root", "mean", "sum", "max")
NAMED: dict[str, type[Criterion]] = {
    "fpgm": FPGM,
    "fpgm_mix": FPGMMix,
    "l1": L1,
    "l2": L2,
    "bn_gamma": BNGamma,
    "random": Random,
}


def score(
    graph: ChannelGraph,
    criterion: str | Criterion = "fpgm",
    *,
    reduce: str | None = None,
    seed: int = 0,
    groups: Sequence[str] | None = None,
    progress: bool = True,
) -> Scores:
    """Score every channel of every group; low scores are removed first.

    In a grouped convolution the filters of a block are scored among themselves: blocks look at different inputs.
    Depthwise convolutions have no say, as each of their filters is a block of its own. Where several filters are one
    channel, as those of an attention head are, its score is their mean. What no layer reads but only
    another activation is multiplied by (queries and keys of one head) gets the L2 norms of its filters from a
    `fpgmlab.criteria.GraphCriterion`.

    Parameters
    ----------
    graph : ChannelGraph
    criterion : {"fpgm", "fpgm_mix", "l1", "l2", "bn_gamma", "random"} or Criterion
        A name stands for the criterion of `fpgmlab.criteria` with its defaults.
    reduce : {"root", "mean", "sum", "max"}, optional
        How the scores of several producers (or batch norms) of one group become one: the first one's alone, or their
        mean, sum or maximum. The criterion's own way when left out: ``"root"`` for all but torch-pruning's FPGM.
        Without effect on a `fpgmlab.criteria.GraphCriterion`, which makes one score a channel itself.
    seed : int
        Of ``"random"``.
    groups : sequence of str, optional
        Score only these; the others' layers are not looked at. All when left out.
    progress : bool
        Show a progress bar, with a criterion that runs the network on data; others take no time.

    Returns
    -------
    Scores
        A dict: (channels,) float64 on the CPU for each group, in order; shown as a table. A protected group to which
        the criterion does not apply is left out.

    Raises
    ------
    ValueError
        For an unknown criterion or reduction, NaN or infinite weights (with the layer), or a group to which the
        criterion does not apply.
    TypeError
        For a criterion that is neither a name nor a rule.

    Examples
    --------
    >>> scores = fl.score(graph, "l1")
    >>> scores["layer1.0.conv1"].shape
    torch.Size([16])
    """
    check_graph(graph)
    criterion = resolve(criterion, seed)
    reduce = criterion.reduce if reduce is None else reduce
    if reduce not in REDUCTIONS:
        raise ValueError(one_of("reduce", reduce, REDUCTIONS))
    names = list(graph) if groups is None else [graph[name].name for name in groups]
    if isinstance(criterion, GraphCriterion):
        with _bar(criterion, progress) as bar:
            scores = criterion.of_graph(graph, names, **({} if bar is None else {"bar": bar}))
        rest = [name for name in names if name not in scores and name in _multiplied(graph)]
        scores |= score(graph, L2(), groups=rest) if rest else {}
        scores = {name: scores[name] for name in names if name in scores}
    else:
        by_layers = _by_layers(graph, criterion, names)
        scores = {name: _reduced(each, reduce) for name, each in by_layers.items() if each}
    for name in names:
        if name not in scores and graph[name].protected is None:
            told = does_not_apply(criterion, name)
            raise ValueError(f"{told} Use another criterion, or trace with protect=[{name!r}].")
    return Scores(scores)


@contextmanager
def _bar(criterion: GraphCriterion, progress: bool) -> Iterator[tqdm | None]:
    """Give a bar to a criterion whose ``of_graph`` takes one."""
    if "bar" not in inspect.signature(criterion.of_graph).parameters:
        yield None
        return
    with progress_bar(progress=progress, unit="step", desc=f"score {criterion.label}") as bar:
        yield bar


def _multiplied(graph: ChannelGraph) -> set[str]:
    """Return the groups that no layer reads, unprotected since other activations are multiplied by them."""
    return {name for name, group in graph.items() if group.protected is None and not group.consumers}


def does_not_apply(criterion: Criterion, group: str) -> str:
    """Return in words why a criterion gives a group no scores."""
    kinds = " or ".join(sorted(criterion.kinds))
    why = criterion.no_scores if isinstance(criterion, GraphCriterion) else f"it has no {kinds} with weights"
    return f"criterion {criterion.label!r} does not apply to group {group!r}: {why}."


def _by_layers(graph: ChannelGraph, criterion: Criterion, names: Sequence[str]) -> dict[str, list[Tensor]]:
    """Return for each group the scores of each layer, (channels,) each, NaN where a layer has no say."""
    modules = dict(graph.model.named_modules())
    found: dict[str, list[Tensor]] = {name: [] for name in names}
    for layer in graph.layers:
        if layer.kind not in criterion.kinds or layer.depthwise or not has_filters(layer, modules):
            continue
        if made := _among(found, graph.groups_of(layer.outputs)):
            points = filters_of(layer, modules)
            blocks = [_scored(criterion, block, layer) for block in points.chunk(layer.groups)]
            for name, index in made:
                found[name].append(_mean_by_channel(torch.cat(blocks), index, graph[name].channels))
        if criterion.consumers and (read := _among(found, graph.groups_of(layer.inputs))):
            points = readers_of(layer, modules)
            for name, index in read:
                sums = torch.zeros(graph[name].channels, dtype=torch.float64)
                found[name].append(sums.index_add_(0, index[index >= 0], _scored(criterion, points[index >= 0], layer)))
    return found


def resolve(criterion: str | Criterion, seed: int = 0) -> Criterion:
    """Return the criterion that a name stands for; a criterion is returned as it is.

    Raises
    ------
    ValueError, TypeError
        For an unknown name, or what is no criterion.
    """
    if isinstance(criterion, str):
        if criterion == "reconstruction":
            raise ValueError("'reconstruction' needs pictures: pass fpgmlab.criteria.Reconstruction(task)")
        if criterion not in NAMED:
            raise ValueError(unknown("criterion", criterion, NAMED))
        return Random(seed) if criterion == "random" else NAMED[criterion]()
    if isinstance(criterion, Criterion) and not isinstance(criterion, type):
        return criterion
    raise TypeError(
        f"criterion must be one of {', '.join(map(repr, NAMED))} or an object of fpgmlab.criteria, such as FPGM() or "
        f"Custom(rule); got {criterion!r}"
    )


def _scored(criterion: Criterion, points: Tensor, layer: Layer) -> Tensor:
    check_numbers(layer.name, points)
    try:
        return criterion(points).to("cpu", torch.float64)
    except ValueError as error:
        bad = ~torch.isfinite(points).all(dim=1)
        if bool(bad.any()):
            raise ValueError(
                f"layer {layer.name!r} has NaN or infinite weights, in {int(bad.sum())} of its {len(bad)} channels. "
                "Load good weights first."
            ) from error
        raise ValueError(f"layer {layer.name!r} cannot be scored by {criterion.label}: {error}") from error


def _among(names: Container[str], groups: Mapping[str, np.ndarray]) -> list[tuple[str, Tensor]]:
    return [(name, torch.from_numpy(index)) for name, index in groups.items() if name in names]


def _mean_by_channel(values: Tensor, index: Tensor, channels: int) -> Tensor:
    """Return the mean of the values of each channel, NaN where it has none."""
    mine = index >= 0
    sums = torch.zeros(channels, dtype=torch.float64).index_add_(0, index[mine], values[mine])
    return sums / torch.bincount(index[mine], minlength=channels)


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
