"""Whether what was given as a graph is one."""

from __future__ import annotations

from torch import nn

from fpgmlab.graph.channel_graph import ChannelGraph


def check_graph(graph: object) -> None:
    """Raise a `TypeError` where something else stands in a graph's place, such as the network itself."""
    if isinstance(graph, ChannelGraph):
        return
    if isinstance(graph, nn.Module):
        raise TypeError(
            f"the first argument must be a graph, not the network ({type(graph).__name__}): trace it once, "
            "graph = fl.trace(model, example_input), and give that"
        )
    raise TypeError(f"the first argument must be a graph, as fl.trace(model, example_input) gives; got {graph!r:.80}")
