"""Second moments of what layers read in the whole network: what the best refit of a layer follows from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from zlib import crc32

import torch
from torch import Tensor

from fpgmlab.common.batches import examples_in, on_device
from fpgmlab.common.calling import call as call_model
from fpgmlab.common.calling import left_as_it_is
from fpgmlab.common.inputs import parts_of
from fpgmlab.common.layout import bears_channels_last
from fpgmlab.common.modules import device_of, eval_mode
from fpgmlab.geometry.moments import Moments
from fpgmlab.graph.calls import LayerCall
from fpgmlab.graph.channel_graph import ChannelGraph
from fpgmlab.graph.following import Following
from fpgmlab.graph.pictures import at_once, weighed

PLACES = 32768  # equations of each layer, over all pictures


class _Reading(Following):
    """Sums up what layers read."""

    def __init__(self, graph: ChannelGraph, layers: Sequence[str], seed: int, parts: Mapping[str, Tensor]) -> None:
        super().__init__(graph.model, layers)
        self._parts = parts
        self.moments: dict[str, Moments] = {}
        self.wanted = 0  # places of the batch that is running
        # A stream for each layer: what is drawn for one does not depend on which others are read.
        self._draws = {name: torch.Generator().manual_seed(crc32(f"{seed} {name}".encode())) for name in layers}

    def leave(self, layer: str, call: LayerCall, out: Tensor) -> None:
        """After a layer was called."""
        places = some_places(call, self.wanted, self._draws[layer])
        rows, made = call.rows(places), call.at(out, places).reshape(len(places), call.groups, -1).transpose(0, 1)
        if layer in self._parts:
            rows = rows[0][:, self._parts[layer].to(rows.device)].transpose(0, 1)  # (parts, places, features of a part)
            made = made[:, :, :0].expand(len(rows), -1, -1)
        found = Moments.of(rows, made)
        if not found.finite():
            raise ValueError(f"layer {layer!r} reads or gives NaN or infinite values on these pictures")
        self.moments[layer] = self.moments[layer] + found if layer in self.moments else found


def some_places(call: LayerCall, wanted: int, generator: torch.Generator) -> Tensor:
    """Return so many places of a call at random, in ascending order, without replacement; all when there are fewer."""
    total = call.places
    if wanted >= total:
        return torch.arange(total, device=call.input.device)
    if wanted * 8 > total:
        drawn = torch.randperm(total, generator=generator)[:wanted]
    else:  # drawing a few again is quicker than a permutation of all
        drawn = torch.unique(torch.randint(total, (wanted + wanted // 4,), generator=generator))
        drawn = drawn[torch.randperm(len(drawn), generator=generator)[:wanted]]
    return drawn.sort().values.to(call.input.device)


@torch.no_grad()
def read_moments(
    graph: ChannelGraph,
    batches: Sequence[object],
    layers: Sequence[str],
    *,
    places: int = PLACES,
    seed: int = 0,
    parts: Mapping[str, Tensor] | None = None,
    on_batch: Callable[[], object] | None = None,
) -> dict[str, Moments]:
    """Run the whole network and sum up what some of its layers read and give.

    Parameters
    ----------
    graph : ChannelGraph
        Its model is left as it is.
    batches : sequence
        Of inputs, see `fpgmlab.common.inputs.inputs_of`. Large ones run in parts, see `fpgmlab.graph.pictures`.
    layers : sequence of str
        Names of convolutions, linear layers and the parts of attentions' projections, see
        `fpgmlab.graph.projections.names_of`. One that is called at several places sums over them.
    places : int
        Positions of each call, over all batches, drawn at random; all where there are fewer.
    seed : int
        Of the draw, which for a layer does not depend on the others.
    parts : mapping of str to Tensor, optional
        (parts, features of a part) by linear layer: features whose moments are wanted among themselves alone, where
        those of all would be too many. There is no ``y`` then.
    on_batch : callable, optional
        Called after each batch.

    Returns
    -------
    dict of str to Moments
        By layer: ``a`` is what the kernel reads, (groups of the convolution, taps * input channels of a group), as in
        `fpgmlab.graph.calls.LayerCall.rows`; ``y`` what the layer gives, with its bias. A layer that never ran is
        missing.

    Raises
    ------
    ValueError
        When a layer reads or gives NaN or infinite values, with its name.
    """
    reading = _Reading(graph, layers, seed, parts or {})
    taken = weighed(graph.model, [], graph.example_input)
    pieces = [parts_of(batch, at_once(taken, graph.example_input, batch)) for batch in batches]
    total = sum(map(examples_in, batches))
    last = bears_channels_last(graph.model, batches[0])
    with eval_mode(graph.model), left_as_it_is(graph.model):
        for batch in pieces:
            for piece in batch:
                reading.wanted = max(1, places * examples_in(piece) // total)
                with reading:
                    call_model(graph.model, on_device(piece, device_of(graph.model), channels_last=last))
            if on_batch is not None:
                on_batch()
    return reading.moments
