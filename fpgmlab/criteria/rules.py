"""What a criterion is, and the simple ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import Field, dataclass, fields, is_dataclass
from typing import ClassVar, Protocol, runtime_checkable

import torch
from torch import Tensor

from fpgmlab.geometry.distances import as_points
from fpgmlab.graph.channel_graph import ChannelGraph
from fpgmlab.graph.layer import PRODUCERS


@runtime_checkable
class Criterion(Protocol):
    """A rule that scores the filters of one layer; its fields are its options, a call holds no state.

    Subclass it, as a frozen dataclass when it has options, and write `scores`; the rest is here and can be overridden.

    Attributes
    ----------
    kinds : frozenset of str
        The kinds of layers it looks at, as in `fpgmlab.graph.ChannelGraph.layers`.
    reduce : str
        How the scores of several layers of one group become one, unless `score` is told otherwise.
    consumers : bool
        Whether the weights that read a channel count as well, not only those that make it.
    """

    @property
    def kinds(self) -> frozenset[str]:
        """Convolutions and linear layers."""
        return PRODUCERS

    @property
    def reduce(self) -> str:
        """That of the layer that makes the channels first."""
        return "root"

    @property
    def consumers(self) -> bool:
        """They do not."""
        return False

    def __call__(self, filters: Tensor) -> Tensor:
        """Return the scores (n,) of filters (n, ...), float64; low ones are removed first.

        Raises
        ------
        ValueError
            For filters that are not floating numbers (n, ...) with n >= 1, or not finite.
        """
        return self.scores(
            as_points(filters.flatten(1) if isinstance(filters, Tensor) and filters.ndim > 2 else filters)
        )

    def scores(self, filters: Tensor) -> Tensor:
        """Return the scores (n,) of filters (n, dim) in float64: what a criterion defines."""
        raise NotImplementedError

    @property
    def label(self) -> str:
        """A short name for tables and figures: the class, and what differs from its defaults.

        Fields that are not in its ``repr`` (``field(repr=False)``) are not told.
        """
        options: tuple[Field[object], ...] = fields(self) if is_dataclass(self) else ()
        changed = [f for f in options if f.repr and getattr(self, f.name) != f.default]
        values = {f.name: getattr(self, f.name) for f in changed}
        told = ", ".join(f"{k}={v:g}" if isinstance(v, float) else f"{k}={v}" for k, v in values.items())
        return type(self).__name__ + (f"({told})" if told else "")


@runtime_checkable
class GraphCriterion(Criterion, Protocol):
    """A criterion that looks at more than the weights of one layer: it is asked once, with the graph.

    Subclass it and write `of_graph`; ``kinds``, ``reduce`` and ``consumers`` are not looked at then.

    Attributes
    ----------
    no_scores : str
        Why it gives a group no scores, in words that end a sentence.
    """

    def of_graph(self, graph: ChannelGraph, names: Sequence[str]) -> dict[str, Tensor]:
        """Return the scores (channels,) of these groups, float64 on the CPU; without those to which it does not apply.

        What it says of a group does not depend on which others are asked for. One that takes its time may take a
        keyword ``bar`` as well, a tqdm bar to give a ``total`` and to update.

        Parameters
        ----------
        graph : ChannelGraph
        names : sequence of str
            The groups to score.
        """
        raise NotImplementedError

    @property
    def no_scores(self) -> str:
        """Nothing more than that."""
        return "it gives it no scores"


def check_numbers(layer: str, weight: Tensor) -> None:
    """Raise a `ValueError` for a layer on the meta device."""
    if weight.is_meta:
        raise ValueError(f"layer {layer!r} has no numbers: it lies on the meta device. Load its weights first.")


@dataclass(frozen=True)
class L1(Criterion):
    """The sum of a filter's absolute weights (Li et al., *Pruning Filters for Efficient ConvNets*, ICLR 2017).

    Examples
    --------
    >>> fl.criteria.L1()(torch.tensor([[3.0, 4.0], [0.0, 1.0]]))
    tensor([7., 1.], dtype=torch.float64)
    """

    def scores(self, filters: Tensor) -> Tensor:
        return filters.abs().sum(dim=1)


@dataclass(frozen=True)
class L2(Criterion):
    """The euclidean norm of a filter.

    Examples
    --------
    >>> fl.criteria.L2()(torch.tensor([[3.0, 4.0], [0.0, 1.0]]))
    tensor([5., 1.], dtype=torch.float64)
    """

    def scores(self, filters: Tensor) -> Tensor:
        return filters.norm(dim=1)


@dataclass(frozen=True)
class BNGamma(Criterion):
    """The absolute scale of a channel's batch norm (Liu et al., *Network Slimming*, ICCV 2017)."""

    kinds: ClassVar[frozenset[str]] = frozenset({"batch_norm"})

    def scores(self, filters: Tensor) -> Tensor:
        return filters.abs().sum(dim=1)


@dataclass(frozen=True)
class Random(GraphCriterion):
    """Uniform numbers: the baseline that every criterion must beat.

    Parameters
    ----------
    seed : int
    """

    seed: int = 0

    def of_graph(self, graph: ChannelGraph, names: Sequence[str]) -> dict[str, Tensor]:
        """Return scores (channels,) from one stream of numbers for all groups: layers of one width shall differ."""
        generator = torch.Generator().manual_seed(self.seed)
        drawn = {n: torch.rand(g.channels, generator=generator, dtype=torch.float64) for n, g in graph.items()}
        return {name: drawn[name] for name in names}

    def scores(self, filters: Tensor) -> Tensor:
        return torch.rand(len(filters), generator=torch.Generator().manual_seed(self.seed), dtype=torch.float64)


@dataclass(frozen=True)
class Custom(Criterion):
    """A rule of your own.

    Parameters
    ----------
    rule : callable
        ``filters -> scores``: (n, dim) float64 to (n,); the filters with the lowest scores are removed first.
    name : str
        For tables and figures.

    Examples
    --------
    >>> peak = fl.criteria.Custom(lambda filters: filters.abs().amax(dim=1), name="peak")
    >>> len(fl.score(graph, peak)["conv1"])
    16
    """

    rule: Callable[[Tensor], Tensor]
    name: str = "custom"

    def scores(self, filters: Tensor) -> Tensor:
        scores = self.rule(filters)
        if not isinstance(scores, Tensor) or scores.shape != filters.shape[:1]:
            found = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
            raise ValueError(
                f"the rule {self.name!r} must give a tensor ({len(filters)},), one score each; got {found}"
            )
        return scores.detach().to(filters.device, torch.float64)

    @property
    def label(self) -> str:
        """Its name."""
        return self.name
