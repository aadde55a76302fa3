"""The scales and shifts of batch norms, as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fpgmlab.common.modules import tensor_of
from fpgmlab.criteria.rules import BNGamma
from fpgmlab.graph.channel_graph import ChannelGraph
from fpgmlab.graph.given import check_graph

if TYPE_CHECKING:
    import pandas as pd


def gammas(graph: ChannelGraph) -> pd.DataFrame:
    """Return the scale and shift of every batch norm's channel, in order of execution.

    Parameters
    ----------
    graph : ChannelGraph

    Returns
    -------
    pandas.DataFrame
        Columns group, layer, channel (its number in the group), gamma, beta: a row for each channel of each batch
        norm with scales. Empty for a network without any.

    Raises
    ------
    TypeError
        When it is no graph, such as the network itself.

    Examples
    --------
    >>> table = fl.gammas(graph)
    >>> len(table), list(table.columns)
    (784, ['group', 'layer', 'channel', 'gamma', 'beta'])
    """
    import pandas as pd

    check_graph(graph)
    modules = dict(graph.model.named_modules())
    parts = []
    for layer in graph.layers:
        if layer.kind not in BNGamma.kinds or modules[layer.name].weight is None:
            continue
        gamma, beta = (
            tensor_of(modules[layer.name], name).detach().to("cpu").double().numpy() for name in ("weight", "bias")
        )
        for name, channels in graph.groups_of(layer.outputs).items():
            mine = channels >= 0
            part = {"group": name, "layer": layer.name, "channel": channels[mine]}
            parts.append(pd.DataFrame(part | {"gamma": gamma[mine], "beta": beta[mine]}))
    columns = ["group", "layer", "channel", "gamma", "beta"]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)
