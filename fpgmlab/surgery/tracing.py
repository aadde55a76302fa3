"""From a model to its channel graph, held against really cut networks where tracing alone could be wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import nn

from fpgmlab.common.given import check_example, check_model
from fpgmlab.graph.building import build_graph
from fpgmlab.graph.channel_graph import ChannelGraph
from fpgmlab.graph.layer_rule import LayerRule
from fpgmlab.graph.tracing.ruled import NO_RULES
from fpgmlab.surgery.probing import REMEDY, unlike

CALL = "fl.trace(model, example_input)"


def trace(
    model: nn.Module,
    example_input: object,
    *,
    protect: Sequence[str] = (),
    layers: Mapping[type[nn.Module], LayerRule] = NO_RULES,
) -> ChannelGraph:
    """Find out which channels of a model belong together.

    The model runs once, in eval mode, with numbered channels; what mixes or hides channels protects the groups that
    enter it. Where its code asks for numbers of channels, half of each group is cut for a moment: groups without
    which the network answers otherwise than it should, or does not run, are protected as well. The model is left as it
    is.

    Parameters
    ----------
    model : nn.Module
    example_input : Tensor, list, tuple or dict
        What the model is called with: one tensor, a list of pictures (3, height, width) as torchvision's detectors take
        it, positional or keyword arguments. Costs are for this size, for one example of the batch.
    protect : sequence of str
        Names of modules that shall keep their channels: layers, or blocks with everything in them.
    layers : mapping of classes to LayerRule
        How layers of a class of your own have their channels. They are taken as a whole, and the groups around them
        held against cut networks, as above.

    Returns
    -------
    ChannelGraph

    Raises
    ------
    TypeError
        For what is no network, a rule for what is no class of modules, and for an example input that none is called
        with, such as a task or a shape.
    TracingError
        When the model does not run with this input, with the module where it failed.
    ValueError
        For a name in ``protect`` that is no module, a rule that does not fit its layer, or a model without a layer to
        prune.

    Examples
    --------
    >>> fl.trace(model, task.example_input)
    ChannelGraph of ResNet: 13 groups, 12 of them prunable; 31.0 M MACs, 0.272 M parameters, 1.10 MB
    """
    check_model(model, CALL)
    check_example(example_input, CALL)
    graph = build_graph(model, example_input, protect=protect, layers=layers)
    return graph.protecting(unlike(graph), REMEDY) if graph.suspect else graph
