"""Plans, and the ways to make one: by ratios, uniform, by one threshold for the whole network, by depth."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from fpgmlab.graph.channel_graph import ChannelGraph
from fpgmlab.graph.given import check_graph
from fpgmlab.graph.naming import unknown_group
from fpgmlab.plans.budgets import asked_ratio, least_removed
from fpgmlab.plans.removal import Removal
from fpgmlab.plans.rounding import Multiple, Scores, check_rounding, kept_channels, lowest, prunable
from fpgmlab.plans.thresholds import global_cut


class Plan(Removal):
    """The channels to remove from each group of a network; two equal plans compare equal.

    Make one with `uniform`, `global_threshold`, `by_depth`, `from_ratios` or `from_json`.

    Attributes
    ----------
    widths : dict
        Channels of each group before pruning, by group name.
    removed : dict
        The removed channels of each group, ascending, by group name; empty where nothing is removed.
    """

    @classmethod
    def from_ratios(
        cls,
        graph: ChannelGraph,
        scores: Scores,
        ratios: Mapping[str, float],
        *,
        multiple: Multiple = 1,
        max_ratio: float = 1.0,
    ) -> Plan:
        """Remove the given fraction of each named group, the channels with the lowest scores first.

        Parameters
        ----------
        graph : ChannelGraph
        scores : mapping of str to Tensor
            (channels,) for each group that is pruned; see `fpgmlab.score`.
        ratios : mapping of str to float
            0 <= ratio < 1 by group name; other groups stay whole. The number of channels kept is rounded to the nearest
            allowed one, half upwards, and never below one (one in each block of a grouped convolution).
        multiple : int or "runtime"
            Keep a multiple of so many channels, or all of them; the nearest, half upwards; of heads as many as make
            one. ``"runtime"``: the counts that runtimes do not waste on this processor; see
            `fpgmlab.plans.rounding.unit_of`. Ratios that are given one by one are taken as they are when left out.
        max_ratio : float
            No group loses more than this fraction.

        Returns
        -------
        Plan

        Raises
        ------
        TypeError
            When the first argument is no graph, or the scores are not by group.
        ValueError
            For an unknown or protected group, a ratio out of range, scores that are missing, of wrong length or NaN.

        Examples
        --------
        >>> fl.Plan.from_ratios(graph, scores, {"layer1.0.conv1": 0.5})
        Plan: removes 8 of 458 channels in 1 of 13 groups
        """
        check_graph(graph)
        check_rounding(multiple, max_ratio)
        for name, ratio in ratios.items():
            if name not in graph:
                raise ValueError(unknown_group(graph, name))
            if not (isinstance(ratio, (int, float, np.floating)) and 0 <= ratio < 1):
                raise ValueError(f"group {name!r}: ratio must be a number with 0 <= ratio < 1; got {ratio!r}")
            if ratio > 0 and graph[name].protected is not None:
                raise ValueError(
                    f"group {name!r} is protected ({graph[name].protected}): its ratio must be 0; got {ratio}"
                )
        removed = {}
        for name, group in graph.items():
            kept = kept_channels(group, ratios.get(name, 0.0), multiple, max_ratio)
            removed[name] = lowest(group, scores, group.channels - kept) if kept < group.channels else ()
        return cls({name: group.channels for name, group in graph.items()}, removed)

    @classmethod
    def uniform(
        cls,
        graph: ChannelGraph,
        scores: Scores,
        ratio: float | None = None,
        *,
        macs: float | None = None,
        params: float | None = None,
        bytes: float | None = None,
        multiple: Multiple = "runtime",
        max_ratio: float = 1.0,
        protect: Sequence[str] = (),
    ) -> Plan:
        """Remove the same fraction of every group that is not protected.

        Parameters
        ----------
        graph, scores, max_ratio
            As in `from_ratios`.
        ratio : float
            0 <= ratio < 1.
        macs, params, bytes : float
            Or one budget: what may remain, as a fraction of the original; the smallest ratio that meets it is taken.
            With a ``multiple``, groups of equal width step at the same ratio: then only the last ones of the network
            do, as many as the budget asks for.
        multiple : int or "runtime"
            As in `from_ratios`. When left out, groups keep numbers of channels that runtimes do not waste here: a
            network pruned to any numbers can take twice the time of the whole one (``data/results/runtimes.json``);
            1 takes the ratio as it is.
        protect : sequence of str
            Names of groups that stay whole as well; also of their layers, or of modules.

        Returns
        -------
        Plan

        Raises
        ------
        ValueError
            As `from_ratios`; when not exactly one of them is given; when a budget cannot be reached, with what can.

        Examples
        --------
        >>> plan = fl.Plan.uniform(graph, scores, macs=0.5, multiple=1)
        >>> graph.cost(plan).macs <= 0.5 * graph.cost().macs
        True
        """
        free = prunable(graph, protect)

        def plan(r: float) -> Plan:
            return cls.from_ratios(graph, scores, dict.fromkeys(free, r), multiple=multiple, max_ratio=max_ratio)

        budgets = {"ratio": ratio, "macs": macs, "params": params, "bytes": bytes}
        if multiple == 1:
            return plan(asked_ratio(graph, plan, budgets))
        return cls({name: group.channels for name, group in graph.items()}, least_removed(graph, plan, budgets))

    @classmethod
    def global_threshold(
        cls,
        graph: ChannelGraph,
        scores: Scores,
        ratio: float | None = None,
        *,
        macs: float | None = None,
        params: float | None = None,
        bytes: float | None = None,
        floor: float = 0.0,
        multiple: Multiple = 1,
        max_ratio: float = 1.0,
        protect: Sequence[str] = (),
    ) -> Plan:
        """Remove the channels with the lowest scores of the whole network, wherever they are.

        Network slimming's way (Liu et al., ICCV 2017): it asks for scores that can be compared between layers, such
        as the scales of batch norms; sums of distances cannot. A channel of a coupled group counts once, with the
        group's reduced score. Where a group meets its floor, it keeps channels below the threshold, and less than
        ``ratio`` is removed in all.

        Parameters
        ----------
        graph, scores, multiple, max_ratio
            As in `from_ratios`: what lies below the threshold goes, whatever number that leaves; ``multiple="runtime"``
            for numbers that runtimes do not waste.
        ratio : float
            0 <= ratio < 1: the share of the channels of all prunable groups that lies below the threshold.
        macs, params, bytes : float
            Or a budget, as in `uniform`; then the lowest threshold that meets it is taken.
        floor : float
            0 <= floor <= 1: the share of its channels that each group keeps, whatever the scores; at least one channel,
            one in each block of a grouped convolution.
        protect : sequence of str
            Names of groups, layers or modules that stay whole as well, and are not among those compared.

        Returns
        -------
        Plan

        Raises
        ------
        ValueError
            As `uniform`.

        Examples
        --------
        >>> fl.Plan.global_threshold(graph, fl.score(graph, "bn_gamma"), 0.3)
        Plan: removes 134 of 458 channels in 12 of 13 groups
        """
        if not 0 <= floor <= 1:
            raise ValueError(f"floor must be a share of a group's channels, 0 to 1; got {floor}")

        def plan(r: float) -> Plan:
            cut = global_cut(graph, scores, r, protect)
            # A group that lies below the threshold as a whole keeps what the rounding leaves it.
            ratios = {n: min(k / graph[n].channels, math.nextafter(1.0, 0.0)) for n, k in cut.below.items()}
            limit = min(max_ratio, 1 - floor)
            return cls.from_ratios(graph, scores, ratios, multiple=multiple, max_ratio=limit)

        budgets = {"ratio": ratio, "macs": macs, "params": params, "bytes": bytes}
        return plan(asked_ratio(graph, plan, budgets))

    @classmethod
    def by_depth(
        cls,
        graph: ChannelGraph,
        scores: Scores,
        shallow: float = 0.1,
        middle: float = 0.3,
        deep: float = 0.2,
        *,
        multiple: Multiple = "runtime",
        max_ratio: float = 1.0,
        protect: Sequence[str] = (),
    ) -> Plan:
        """Remove a fraction that depends on depth: of the first, the middle and the last third of the prunable groups.

        Parameters
        ----------
        graph, scores, multiple, max_ratio
            As in `uniform`.
        shallow, middle, deep : float
            0 <= ratio < 1, of each third.
        protect : sequence of str
            Names of groups, layers or modules that stay whole as well; practice leaves the first one alone.

        Returns
        -------
        Plan

        Raises
        ------
        ValueError
            As `from_ratios`.

        Examples
        --------
        >>> fl.Plan.by_depth(graph, scores, multiple=8)
        Plan: removes 96 of 458 channels in 8 of 13 groups
        """
        free = prunable(graph, protect)
        thirds = np.array_split(np.array(free, dtype=object), 3)
        ratios = {name: r for part, r in zip(thirds, (shallow, middle, deep), strict=True) for name in part}
        return cls.from_ratios(graph, scores, ratios, multiple=multiple, max_ratio=max_ratio)
