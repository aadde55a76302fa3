"""Repair: the remaining weights of a pruned network refitted by least squares."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from torch import nn

from fpgmlab.common.given import check_plan
from fpgmlab.common.inputs import all_alike, inputs_of
from fpgmlab.common.warned import warn
from fpgmlab.graph.channel_graph import ChannelGraph
from fpgmlab.graph.given import check_graph
from fpgmlab.graph.pictures import enough_pictures
from fpgmlab.plans.plan import Plan
from fpgmlab.recovery.repairing.repairs import Repairs
from fpgmlab.recovery.repairing.whole import checked_options


def repair(
    graph: ChannelGraph,
    plan: Plan,
    task: Any,
    *,
    samples: int | None = None,
    positions: int | None = None,
    ridge: float | None = None,
    targets: str = "active",
    seed: int = 0,
    memory: float = 4e9,
    path: str | os.PathLike[str] | None = None,
    stop: Callable[[], bool] | None = None,
    on_layer: Callable[[dict[str, Any]], None] | None = None,
    progress: bool = True,
) -> nn.Module:
    """Prune, and refit the remaining weights by least squares so that each layer gives what it gave before.

    Layer by layer in the order of execution: what a convolution or linear layer reads in the pruned network, as far as
    that is repaired, against what the whole network gives in its place. What the removed channels told, the others take
    over as far as they can. No labels are read, no gradients computed.

    Parameters
    ----------
    graph : ChannelGraph
        Its model is left as it is.
    plan : Plan
        Made for this graph.
    task : task, data set, data loader or list of batches
        Where the pictures come from: a task's training data as `fpgmlab.fit` sees them. See
        `fpgmlab.common.inputs.inputs_of`.
    samples : int, optional
        How many. When left out, so many that each layer has 512 equations, and four for an unknown, but no more than
        512: of classifiers 512, as their last layer has one equation a picture; of detectors, which stop at maps, as a
        rule some dozens. Where a task has fewer, they are its augmented data, drawn again.
    positions : int, optional
        Of each picture and layer, drawn at random; when left out, so many that a layer gets 32,768 equations, or 512
        for each unknown where that is less. All where there are fewer.
    ridge : float, optional
        Strength with which each layer's weights are drawn towards those that are there, in units of the mean square of
        what it reads. When left out, the one of the least error on held-out pictures, a fourth of them, for each layer.
    targets : {"active", "sum", "output"}
        What a layer shall give: its own output in the whole network (``"output"``); where it ends in a sum with what
        is there already, as at the end of a residual block, what is missing to the whole network's sum, so that it
        makes up for the stream's error too (``"sum"``); and where an activation follows, not that itself but what the
        activation makes of it, so that what a ReLU cuts off does not count (``"active"``).
    seed : int
        Of the pictures and positions.
    memory : float
        Bytes that may be taken by what is remembered: half of them by what the whole network gives, a fourth by the
        activations of the pruned one, a fourth by a layer's equations; what is beyond goes to temporary files. Beside
        that there are the pictures, a pass of one batch, in parts where that would take more than some hundred
        megabytes, and one layer's equations while they are solved.
    path : path-like, optional
        A folder for the progress, written after every layer. Killed and started again with the same arguments, the
        repair goes on after the last finished layer and ends with the identical network.
    stop : callable, optional
        Asked before each batch of each layer; when it returns True, the layers that follow stay as cut.
    on_layer : callable, optional
        Called after each layer with its row of the report, and ``"layers"``: how many there are in all.
    progress : bool
        Show a progress bar, and say when a layer is the first with fewer equations than unknowns.

    Returns
    -------
    nn.Module
        The pruned network as `fpgmlab.prune` gives it, with other weights; `repair_report` tells of its layers. An
        offset goes into a layer's bias, or into the running mean of the batch norm that alone reads it.

    Raises
    ------
    TypeError
        When the first argument is no graph, such as the network itself, or the second no plan, such as the task.
    ValueError
        For options out of range, no pictures, NaN in activations (with the layer), a plan of another network, a network
        that gives different outputs for the same input, a ``path`` that holds another repair.
    RuntimeError
        When the network does not run on the pictures, or its control flow depends on the values.

    Warns
    -----
    UserWarning
        When there are fewer pictures than asked for by ``samples``, or all are alike.

    Notes
    -----
    Least squares after the cut is as old as He, Zhang & Sun (*Channel pruning for accelerating very deep neural
    networks*, ICCV 2017, eq. 4), layer by layer on the cut network's own inputs; with targets beyond the next ReLU
    after Zhang et al. (*Accelerating very deep convolutional networks*, arXiv:1505.06798, section 2.2).

    Of `torch.nn.MultiheadAttention` the projections to queries, keys and values are refitted, each on what it reads,
    and the one that follows. Where the code asks for the number of channels, such as for the scale of an attention,
    that is the number of those that stay.

    Examples
    --------
    >>> pictures = [torch.stack([task.train[i][0] for i in range(16)])]
    >>> repaired = fl.repair(graph, plan, pictures, samples=16, progress=False)
    >>> fl.provenance(repaired).repaired
    (True,)
    """
    check_graph(graph)
    check_plan(plan, "fl.repair(graph, plan, task)")
    options = checked_options(samples, positions, ridge, targets, seed, memory)
    batches = inputs_of(task, samples or enough_pictures(graph, positions), seed, at_most=samples is None)
    if all_alike(batches):
        warn(
            "all pictures are alike: from them a layer learns what to give for this one only. Pass different ones.",
        )  # fmt: skip
    with Repairs(graph, batches, options, many=False) as repairs:
        del batches  # it has its own, perhaps laid out otherwise
        return repairs.of(plan, path=path, stop=stop, on_layer=on_layer, progress=progress)
