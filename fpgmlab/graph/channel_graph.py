"""The channel graph: which channels of a network can only be removed together, and what each costs."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from torch import nn

from fpgmlab.common.given import check_plan
from fpgmlab.common.holdings import numbers_alone
from fpgmlab.errors import few, strange
from fpgmlab.graph.channel_group import ChannelGroup
from fpgmlab.graph.costs import Cost, CostModel
from fpgmlab.graph.grouping import Reduction
from fpgmlab.graph.layer import Layer
from fpgmlab.graph.layer_rule import LayerRule
from fpgmlab.graph.naming import unknown_group
from fpgmlab.graph.parts import Side
from fpgmlab.graph.removed import HasRemoved
from fpgmlab.graph.table import group_table

if TYPE_CHECKING:
    import pandas as pd


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
    reductions : tuple of Reduction
        Operations that run over channels, such as a mean or a layer norm: after a cut over those that stay.
    training_only : tuple of str
        Layers that run in training mode alone.
    rules : dict of classes to LayerRule
        How it was told to take layers of other classes than torch's.
    suspect : bool
        Whether the model's code asks for numbers of channels, so that tracing may have missed what it does with them.

    Examples
    --------
    >>> graph["conv1"].channels, graph["conv1"].producers[:2]
    (16, ('conv1', 'layer1.0.conv2'))
    >>> graph["fc"].protected
    "it is the model's output"
    """

    def __init__(
        self,
        model: nn.Module,
        example_input: object,
        groups: Sequence[ChannelGroup],
        layers: Sequence[Layer],
        other_macs: int = 0,
        sides: Sequence[Side] = (),
        training_only: Sequence[str] = (),
        suspect: bool = False,
        reductions: Sequence[Reduction] = (),
        rules: Mapping[type[nn.Module], LayerRule] | None = None,
    ) -> None:
        self.rules = dict(rules or {})
        self.suspect = suspect
        self.reductions = tuple(reductions)
        self.training_only = tuple(training_only)
        self.model = model
        self.example_input = example_input
        self.layers = tuple(layers)
        self._groups = {group.name: group for group in groups}
        self._bounds = np.cumsum([0] + [group.channels for group in groups])  # where each group begins, and the end
        bounds = self._bounds.tolist()
        self._slices = {g.name: slice(a, b) for g, a, b in zip(groups, bounds, bounds[1:], strict=False)}
        self._some = tuple(sides)
        self._costs = CostModel(model, self.layers, list(self._slices.values()), other_macs)

    def __deepcopy__(self, memo: dict[int, object]) -> ChannelGraph:
        memo |= numbers_alone(self.model)
        new = copy.copy(self)
        vars(new).update(copy.deepcopy(vars(self), memo))
        return new

    def __getitem__(self, name: str) -> ChannelGroup:
        try:
            return self._groups[name]
        except KeyError:
            raise KeyError(unknown_group(self, name)) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._groups)

    def __len__(self) -> int:
        return len(self._groups)

    def __contains__(self, name: object) -> bool:
        return name in self._groups

    def __repr__(self) -> str:
        free = sum(group.protected is None for group in self.values())
        text = (
            f"ChannelGraph of {type(self.model).__name__}: {len(self)} groups, {free} of them prunable; {self.cost()}"
        )
        if self.by_content:
            share = f"{len(self.by_content)} layers ({self.by_content[0]!r}, ...)"
            text += f"; MACs of {share} are for as many proposals as this input gave"
        return text

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
            bytes of all parameters and buffers that a state dict holds. Exact: equal to counting the pruned model. Only
            layers that are `by_content` are counted for as many proposals as the traced run had.

        Raises
        ------
        ValueError
            For a plan that was made for another network.

        Examples
        --------
        >>> graph.cost().macs, graph.cost(plan).macs
        (31021952, 11398760)
        """
        if plan is None:
            return self._costs.cost({})
        self.check(plan)
        removed = {i: plan.removed[name] for i, name in enumerate(self._groups) if plan.removed.get(name)}
        return self._costs.cost(removed)

    def macs_by_group(self, plan: HasRemoved | None = None) -> dict[str, float]:
        """Return the MACs of the layers that make each group's channels, under a plan or of the whole network.

        A layer of two groups is shared by their channels. What no group makes is missing, so that they need not add up
        to ``cost(plan).macs``.
        """
        z = self._costs.vector(None if plan is None else self.keep(plan))
        return dict(zip(self, self._costs.macs_by_group(z).tolist(), strict=True))

    @property
    def reach(self) -> float:
        """The share of the MACs spent in layers that make or read at least one channel that may be removed, 0 to 1."""
        return float(self._reached().sum() / max(1, self.cost().macs))

    def _reached(self) -> np.ndarray:
        free = np.repeat([g.protected is None for g in self.values()], [g.channels for g in self.values()])
        return self._costs.reached(free)

    @property
    def by_content(self) -> tuple[str, ...]:
        """Layers that run as often as the data say, such as once for each of a detector's proposals."""
        return tuple(layer.name for layer in self.layers if layer.by_content and layer.positions)

    @property
    def costs(self) -> CostModel:
        """The arithmetic behind `cost`, for whoever needs the cost of many plans."""
        return self._costs

    def check(self, plan: HasRemoved) -> None:
        """Raise a `ValueError` when a plan does not fit this graph, saying where and what would do."""
        self._check_groups(plan)
        stay = self._mask(plan) if self._some else np.zeros(0, dtype=bool)
        for layer, does, channels in self._some:
            if not stay[channels].any():
                raise ValueError(
                    f"layer {layer!r} would {does} no channel any more: the plan removes all {len(channels)} that it "
                    f"{does}s, of group {few(self.groups_of(channels))}. Keep at least one of them."
                )

    def _check_groups(self, plan: HasRemoved) -> None:
        check_plan(plan, "fl.prune(graph, plan), graph.cost(plan)")
        for name, channels in plan.widths.items():
            group = self._groups.get(name)
            if group is None:
                raise ValueError(
                    f"the plan was made for another network: {strange('group', plan.widths, self._groups)}"
                )
            if channels != group.channels:
                raise ValueError(
                    f"the plan was made for other widths: group {name!r} has {group.channels} channels here, "
                    f"{channels} in the plan. Make the plan from a trace of this very network."
                )
            if not (removed := plan.removed.get(name, ())):
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
        """Return which channels of all groups stay under a plan, (channels,) bool, in the numbering of ``layers``."""
        self.check(plan)
        return self._mask(plan)

    def _mask(self, plan: HasRemoved) -> np.ndarray:
        mask = np.ones(sum(group.channels for group in self.values()), dtype=bool)
        for name, removed in plan.removed.items():
            mask[self._slices[name].start + np.asarray(removed, dtype=np.intp)] = False
        return mask

    def channels_of(self, name: str) -> slice:
        """Return where the channels of the group of a name lie in the numbering of ``layers``."""
        return self._slices[self[name].name]

    def groups_of(self, channels: np.ndarray) -> dict[str, np.ndarray]:
        """Return the groups to which some channels (n,) of ``layers`` belong, in order, by name.

        Each with their numbers in it, (n,); -1 where a channel is of another group, or of none.
        """
        names, owner = tuple(self._groups), np.searchsorted(self._bounds, channels, side="right") - 1
        alone = len(owner) > 0 and owner[0] == owner.min() == owner.max()
        found = (int(group) for group in (owner[:1] if alone else np.unique(owner)) if group >= 0)
        return {names[group]: np.where(owner == group, channels - self._bounds[group], -1) for group in found}

    def protecting(self, reasons: Mapping[str, str], remedy: str = "") -> ChannelGraph:
        """Return the same graph with more groups protected, by name with the reason; ``remedy`` would free them."""
        changed = copy.copy(self)
        more = {name: replace(self[name], protected=reason, remedy=remedy) for name, reason in reasons.items()}
        changed._groups = self._groups | more
        return changed

    def frame(self) -> pd.DataFrame:
        """Return one row for each group: name, channels, producers, consumers, protected, remedy, macs_share, reached.

        ``protected`` says why a group must stay, ``remedy`` what would free it; both are empty where it need not.
        ``macs_share`` is the share of the network's MACs spent in its producers and depthwise convolutions; of it,
        ``reached`` is spent in layers that `reach` counts. The shares add up to 1 when every layer belongs to a group;
        a layer of two groups is shared by their channels.
        """
        macs = np.array(list(self.macs_by_group().values()))
        return group_table(self.values(), macs, self._reached()[:-1], self.cost().macs)
