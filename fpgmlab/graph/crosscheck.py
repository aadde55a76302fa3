"""A second opinion: what torch-pruning says belongs together. The only file that imports torch-pruning."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from torch import nn

from fpgmlab.graph.channel_graph import ChannelGraph
from fpgmlab.graph.given import check_graph

if TYPE_CHECKING:
    import pandas as pd


def crosscheck(graph: ChannelGraph) -> pd.DataFrame:
    """Compare a graph's groups with those of torch-pruning's dependency graph (Fang et al., "DepGraph", CVPR 2023).

    torch-pruning follows autograd's record of the forward pass and takes every operation that it does not know for an
    elementwise one; this project's tracing follows numbered channels through the operations themselves. Where
    the two agree, one can trust the group twice.

    Parameters
    ----------
    graph : ChannelGraph
        Its model is left as it is.

    Returns
    -------
    pandas.DataFrame
        A row for each group that is not protected: group, same (whether both couple the same producers and consumers),
        only_here, only_there (the layers that just one of them names, comma-separated). Of what a layer with an
        `fpgmlab.LayerRule` makes torch-pruning knows nothing.

    Raises
    ------
    TypeError
        When it is no graph, such as the network itself.
    RuntimeError
        When torch-pruning cannot trace the model, with its reason.

    Examples
    --------
    >>> bool(fl.crosscheck(graph)["same"].all())
    True
    """
    import pandas as pd
    import torch_pruning as tp

    check_graph(graph)
    model = copy.deepcopy(graph.model).eval()
    for parameter in model.parameters():
        parameter.requires_grad_(parameter.is_floating_point())
    modules = dict(model.named_modules())
    names = {module: name for name, module in modules.items()}
    depthwise = {layer.name for layer in graph.layers if layer.depthwise}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about parameters outside of layers
            other = tp.DependencyGraph().build_dependency(model, example_inputs=graph.example_input)
    except Exception as error:
        raise RuntimeError(f"torch-pruning cannot trace {type(model).__name__}: {error!r}") from error
    own = {modules[layer.name] for layer in graph.layers if layer.rule is not None}
    rows = []
    for group in graph.values():
        if group.protected is not None:
            continue
        root = modules[group.name]
        pruner = other.get_pruner_of_module(root)
        coupled: Iterable[tuple[Any, Any]] = ()
        if root not in own:  # of a class that a rule tells of it knows nothing
            every = list(range(pruner.get_out_channels(root)))
            coupled = other.get_pruning_group(root, pruner.prune_out_channels, every)
        theirs = set()
        for dependency, _ in coupled:
            module = dependency.target.module
            if isinstance(module, nn.Module) and module in names and names[module] not in depthwise:
                side = "out" if other.is_out_channel_pruning_fn(dependency.handler) else "in"
                if isinstance(module, (nn.modules.conv._ConvNd, nn.Linear)):
                    theirs.add(f"{names[module]}:{side}")
        ours = {f"{name}:out" for name in group.producers} | {f"{name}:in" for name in group.consumers}
        here, there = sorted(ours - theirs), sorted(theirs - ours)
        rows.append((group.name, not here and not there, ", ".join(here), ", ".join(there)))
    return pd.DataFrame(rows, columns=["group", "same", "only_here", "only_there"])
