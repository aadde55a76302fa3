"""The channel graph: which channels of a network can only be removed together, and what each costs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from torch import nn

from fpgmlab.costs import Cost, CostModel
from fpgmlab.errors import unknown
from fpgmlab.grouping import Layer, RawGroup, group_channels
from fpgmlab.tracing import trace_labels

if TYPE_CHECKING:
    import pandas as pd


class HasRemoved(Protocol):
    """What a graph needs of a plan: ``fpgmlab.Plan`` has it."""

    widths: Mapping[str, int]
    removed: Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class ChannelGroup:
    """The channels of several layers that can only be removed together.

    Attributes
    ----------
    name : str
        The module name of its first producer.
    channels : int
        How many there are.
    producers : tuple of str
        Convolutions and linear layers whose filters make these channels, in order of execution.
    consumers : tuple of str
        Convolutions and linear layers that read them.
    protected : str or None
        Why none of them may be removed, in words; None when they may.
    channelwise : tuple of str
        Layers in between that treat each channel by itself or normalise over them: batch norms, depthwise convolutions.
    blocks : tuple of int or None
        For each channel its block, when a grouped convolution or a split asks that as many channels go from each block.
    """

    name: str
    channels: int
    producers: tuple[str, ...]
    consumers: tuple[str, ...]
    protected: str | None = None
    channelwise: tuple[str, ...] = ()
    blocks: tuple[int, ...] | None = None

    @property
    def step(self) -> int:
        """How many channels must go at a time: the number of blocks, or 1."""
        return 1 if self.blocks is None else len(set(self.blocks))


class ChannelGraph(Mapping[str, ChannelGroup]):
    """A mapping from group name to `ChannelGroup`, in order of execution; made by `trace`.

    Attributes
    ----------
    model : nn.Module
        The traced model itself, not a copy.
    example_input : object
        What it was traced with.
    layers : tuple of Layer
        Every layer that a group touches, with the channels of its inputs and outputs.
    """

    def __init__(
        self,
        model: nn.Module,
        example_input: object,
        groups: Sequence[ChannelGroup],
        layers: Sequence[Layer],
        other_macs: int = 0,
    ) -> None:
        self.model = model
        self.example_input = example_input
        self.layers = tuple(layers)
        self._groups = {group.name: group for group in groups}
        stops = np.cumsum([0] + [group.channels for group in groups])
        self._slices = {g.name: slice(int(a), int(b)) for g, a, b in zip(groups, stops, stops[1:], strict=False)}
        self._costs = CostModel(model, self.layers, list(self._slices.values()), other_macs)

    def __getitem__(self, name: str) -> ChannelGroup:
        try:
            return self._groups[name]
        except KeyError:
            raise KeyError(unknown("group", name, self._groups)) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._groups)

    def __len__(self) -> int:
        return len(self._groups)

    def __contains__(self, name: object) -> bool:
        return name in self._groups

    def __repr__(self) -> str:
        free = sum(group.protected is None for group in self.values())
        return (
            f"ChannelGraph of {type(self.model).__name__}: {len(self)} groups, {free} of them prunable; {self.cost()}"
        )

    def _repr_html_(self) -> str:
        return self.frame().to_html(index=False)

    def cost(self, plan: HasRemoved | None = None) -> Cost:
        """Return what the network costs, or what it would cost after `fpgmlab.prune` with a plan; nothing is run.

        Parameters
        ----------
        plan : Plan, optional
            Nothing is removed when left out.

        Returns
        -------
        Cost
            MACs of convolutions and linear layers for one example of the traced size, parameters, and the
            bytes of all parameters and buffers that a state dict holds. Exact: equal to counting the pruned model.

        Raises
        ------
        ValueError
            For a plan that was made for another network.
        """
        if plan is None:
            return self._costs.cost({})
        self.check(plan)
        removed = {i: plan.removed[name] for i, name in enumerate(self._groups) if plan.removed.get(name)}
        return self._costs.cost(removed)

    @property
    def costs(self) -> CostModel:
        """The arithmetic behind `cost`, for whoever needs the cost of many plans."""
        return self._costs

    def check(self, plan: HasRemoved) -> None:
        """Raise a `ValueError` when a plan does not fit this graph, saying where and what would do."""
        for name, channels in plan.widths.items():
            group = self._groups.get(name)
            if group is None:
                raise ValueError(f"the plan was made for another network: {unknown('group', name, self._groups)}")
            if channels != group.channels:
                raise ValueError(
                    f"the plan was made for other widths: group {name!r} has {group.channels} channels here, "
                    f"{channels} in the plan. Make the plan from a trace of this very network."
                )
            removed = plan.removed.get(name, ())
            if not removed:
                continue
            if group.protected is not None:
                raise ValueError(
                    f"group {name!r} is protected ({group.protected}), but the plan removes {len(removed)} of its "
                    "channels"
                )
            if group.blocks is not None:
                counts = np.bincount(np.asarray(group.blocks)[list(removed)], minlength=group.step)
                if counts.min() != counts.max():
                    raise ValueError(
                        f"group {name!r} feeds a grouped convolution or a split: as many channels must go from each of "
                        f"its {group.step} blocks; the plan removes between {counts.min()} and {counts.max()}"
                    )

    def keep(self, plan: HasRemoved) -> np.ndarray:
        """Return which channels of all groups stay, (all channels,) bool, in the numbering of ``layers``."""
        self.check(plan)
        mask = np.ones(sum(group.channels for group in self.values()), dtype=bool)
        for name, removed in plan.removed.items():
            mask[self._slices[name].start + np.asarray(removed, dtype=np.intp)] = False
        return mask

    def channels_of(self, name: str) -> slice:
        """Return where a group's channels lie in the numbering of ``layers``."""
        return self._slices[self[name].name]

    def frame(self) -> pd.DataFrame:
        """Return one row for each group: name, channels, producers, consumers, protected, macs_share.

        ``macs_share`` is the share of the network's MACs spent in its producers and depthwise convolutions. The
        shares add up to 1 when every layer belongs to a group; a layer of two groups is shared by their channels.
        """
        import pandas as pd

        shares = self._costs.macs_shares()
        rows = [
            {
                "group": group.name,
                "channels": group.channels,
                "producers": ", ".join(group.producers),
                "consumers": ", ".join(group.consumers),
                "protected": group.protected or "",
                "macs_share": float(share),
            }
            for group, share in zip(self.values(), shares, strict=True)
        ]
        return pd.DataFrame(rows, columns=["group", "channels", "producers", "consumers", "protected", "macs_share"])


def trace(model: nn.Module, example_input: object, *, protect: Sequence[str] = ()) -> ChannelGraph:
    """Find out which channels of a model belong together.

    The model runs once, in eval mode, with numbered channels; what mixes or hides channels protects the groups that
    enter it. The model is left as it is.

    Parameters
    ----------
    model : nn.Module
    example_input : Tensor, list, tuple or dict
        What the model is called with: one tensor, a list of pictures (3, height, width) as torchvision's detectors take
        it, positional or keyword arguments. Costs are for this size, for one example of the batch.
    protect : sequence of str
        Names of modules that shall keep their channels: layers, or blocks with everything in them.

    Returns
    -------
    ChannelGraph

    Raises
    ------
    TracingError
        When the model does not run with this input, with the module where it failed.
    ValueError
        For a name in ``protect`` that is no module, or a model without a layer to prune.
    """
    if isinstance(protect, str):
        protect = [protect]
    modules = dict(model.named_modules())
    for name in protect:
        if name not in modules:
            raise ValueError(unknown("module", name, modules))
    seen = trace_labels(model, example_input)
    raw, layers = group_channels(seen)
    if not raw:
        raise ValueError(f"{type(model).__name__} has no convolution or linear layer that ran: nothing to prune")
    return ChannelGraph(model, example_input, [_public(group, protect) for group in raw], layers, seen.other_macs)


def _public(group: RawGroup, protect: Sequence[str]) -> ChannelGroup:
    reason = group.frozen
    if reason is None and not group.consumers:
        reason = "no layer consumes it"
    if reason is None and group.channels == len(set(group.blocks or (0,))):
        reason = "nothing would stay: it has one channel" + (" in each block" if group.blocks else "")
    layers = (*group.producers, *group.channelwise)
    named = [p for p in protect for layer in layers if p in ("", layer) or layer.startswith(f"{p}.")]
    if reason is None and named:
        reason = f"the user named {named[0]!r}"
    return ChannelGroup(
        group.producers[0], group.channels, group.producers, group.consumers, reason, group.channelwise, group.blocks
    )
