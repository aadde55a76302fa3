"""The channel graph: which channels of a network can only be removed together, and what each costs.

In: a model and an example input. Out: a `ChannelGraph`, a mapping from group name to `ChannelGroup`, with the exact
cost of any plan. `fpgmlab.graph.tracing` is what sees the channels.
"""

from fpgmlab.graph.building import build_graph
from fpgmlab.graph.channel_graph import ChannelGraph
from fpgmlab.graph.channel_group import ChannelGroup
from fpgmlab.graph.costs import Cost
from fpgmlab.graph.crosscheck import crosscheck
from fpgmlab.graph.layer_rule import LayerRule
from fpgmlab.graph.pictures import enough_pictures
from fpgmlab.graph.tracing import TracingError

__all__ = [
    "ChannelGraph",
    "ChannelGroup",
    "Cost",
    "LayerRule",
    "TracingError",
    "build_graph",
    "crosscheck",
    "enough_pictures",
]
