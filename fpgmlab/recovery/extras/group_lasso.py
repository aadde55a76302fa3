"""Sparsity training by channel groups: all weights of a channel pulled to zero together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fpgmlab.errors import one_of
from fpgmlab.graph.channel_graph import ChannelGraph
from fpgmlab.recovery.extras.channels import SIDES, Slices, free_channels, of_network, slices_of, sums_by_channel
from fpgmlab.recovery.extras.extra import Extra, RunningExtra
from fpgmlab.recovery.extras.strengths import check_strength, strength_at
from fpgmlab.tasks.task import Task


@dataclass(frozen=True, eq=False)
class GroupLasso(Extra):
    """Pull all weights of a channel to zero together, those of all layers that are tied in its group.

    The penalty is ``strength`` times the sum over channels of the norm of their weights (Wen et al., *Learning
    Structured Sparsity in Deep Neural Networks*, NeurIPS 2016, arXiv:1608.03665, eq. 2 and 3), over the channels of a
    `ChannelGraph`, whose layers are tied, as in Fang et al., *DepGraph*, CVPR 2023. Each step is followed by its
    proximal operator, ``w * max(0, 1 - t / |w|)`` for the weights ``w`` of a channel, so that channels become exactly
    zero and `plan_of_zeros` finds them. ``t`` is the strength times the learning rate, over ``1 - momentum``, as a
    gradient is worth so much in SGD with momentum: it comes to rest where loss and penalty together are least. In the
    clean steps at the end what is zero stays so, and the rest is trained without a pull. Train with ``keep="last"``:
    the best epoch may be one before the zeros.

    Parameters
    ----------
    graph : ChannelGraph
        Of the model that is trained, or of one with its names and shapes. Protected groups are left alone.
    strength : float
        At the start.
    schedule : {"constant", "linear", "cosine"}
        How it goes on from there, or falls: with the pull goes what holds channels at zero that a gradient leads away.
    clean : float
        Share of the steps, at the end, in which it is zero.
    side : {"makers", "readers"}
        The weights of a channel: the filters that make it, with biases, depthwise filters and batch norms' scales and
        shifts; or the weights for it in the layers that read it. Two extras for both.

    Raises
    ------
    ValueError
        For options out of range; as a training begins, for a graph of another network.
    """

    graph: ChannelGraph
    strength: float = 1e-3
    schedule: str = "constant"
    clean: float = 0.2
    side: str = "makers"

    def __post_init__(self) -> None:
        check_strength(self.strength, self.schedule, self.clean)
        if self.side not in SIDES:
            raise ValueError(one_of("side", self.side, SIDES))

    def __repr__(self) -> str:
        network = type(self.graph.model).__name__
        return (
            f"GroupLasso(graph={network}, strength={self.strength}, schedule={self.schedule!r}, clean={self.clean}, "
            f"side={self.side!r})"
        )

    def strength_at(self, step: int, steps: int) -> float:
        """Return the strength in step number ``step`` of ``steps`` (from 1)."""
        return strength_at(self.strength, self.schedule, self.clean, step, steps)

    def begin(self, model: nn.Module, task: Task, epochs: int, steps: int) -> RunningExtra:
        """Return the pull in one training.

        Parameters
        ----------
        model, task, epochs, steps
            As of `fpgmlab.recovery.Extra`.

        Raises
        ------
        ValueError
            As the class.
        """
        return _Pulling(self, of_network(self.graph, model))


class _Pulling(RunningExtra):
    def __init__(self, options: GroupLasso, graph: ChannelGraph) -> None:
        self._options, self._graph = options, graph
        self._slices = [one for one in slices_of(graph, options.side) if one.tensor.requires_grad]
        device = self._slices[0].tensor.device if self._slices else None
        self._free = free_channels(graph).to(device)
        self._optimizer: torch.optim.Optimizer | None = None
        self._threshold = 0.0
        self._zero = torch.zeros(0, dtype=torch.bool)

    def optimized_by(self, optimizer: torch.optim.Optimizer) -> None:
        self._optimizer = optimizer

    def leads_elsewhere(self) -> bool:
        return True

    def before_step(self, model: nn.Module, step: int, steps: int) -> None:
        if self._optimizer is None:
            raise RuntimeError("GroupLasso needs to know the optimizer, as in fpgmlab.fit")
        group = self._optimizer.param_groups[0]
        self._threshold = self._options.strength_at(step, steps) * group["lr"] / (1 - group.get("momentum", 0.0))
        if not self._threshold:
            self._zero = self._zeros()

    def after_step(self, model: nn.Module, step: int, steps: int) -> None:
        if self._threshold:
            shrink(self._slices, self._free, self._threshold)
        else:  # momentum would lead away from zero
            scale(self._slices, torch.where(self._zero, 0.0, 1.0))

    def before_judging(self, model: nn.Module, judged: nn.Module) -> None:
        if judged is not model:  # an average remembers what channels were
            theirs = slices_of(of_network(self._graph, judged), self._options.side)
            scale(theirs, torch.where(self._zeros(), 0.0, 1.0))

    def _zeros(self) -> Tensor:
        """Return which channels are zero, (channels + 1,) bool."""
        return F.pad(self._free, (0, 1)) & (sums_by_channel(self._slices, len(self._free)) == 0)


def shrink(slices: Sequence[Slices], free: Tensor, threshold: float) -> None:
    """Shorten the weights of each channel by a length, those that are not as long to zero.

    Parameters
    ----------
    slices : sequence of Slices
    free : Tensor, (channels,) bool
        Other channels are left alone.
    threshold : float
    """
    norms = sums_by_channel(slices, len(free)).sqrt()
    factors = torch.where(norms > threshold, 1 - threshold / norms, 0.0)  # where 0 / 0 is not taken
    scale(slices, torch.where(F.pad(free, (0, 1)), factors, 1.0))


def scale(slices: Sequence[Slices], factors: Tensor) -> None:
    """Multiply the weights of each channel by its factor, (channels + 1,)."""
    for one in slices:
        one.scale(factors[one.channels].to(one.tensor))
