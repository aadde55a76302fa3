"""A group's filters for the desk: what they look like, and the order in which they go."""

from __future__ import annotations

import numpy as np

from fpgmlab.graph.channel_graph import ChannelGraph
from fpgmlab.graph.channel_group import ChannelGroup
from fpgmlab.plans.rounding import Scores, checked_scores, lowest
from fpgmlab.widgets.desk.payload import Json
from fpgmlab.widgets.explorer.payload import packed, scene_notes, scene_payload
from fpgmlab.widgets.explorer.scene import filter_scene


def filters_payload(graph: ChannelGraph, scores: Scores, name: str) -> Json:
    """Return what the desk shows of a group's filters: those of its first producer.

    Parameters
    ----------
    graph : ChannelGraph
    scores : mapping of str to Tensor
        Of all groups that are not protected.
    name : str
        Of the group.

    Returns
    -------
    dict
        ``scene``: as in `FilterExplorer`. ``marks``: scores and ranks of the filters. ``order``: the group's channels,
        the first to go first. ``exceptions``: by how many go, which ones, where these are not the first in that order.
        ``blocks``: of each channel, as in `ChannelGroup`, or None. ``parts``: of these one channel must stay, as there.
        ``notes``: sentences.

    Raises
    ------
    ValueError
        For NaN or infinite weights.
    """
    group, scene = graph[name], filter_scene(graph, name)
    order, exceptions = going_order(group, scores)
    ranks = np.argsort(order)[scene.channels]
    values = None if group.protected is not None else packed(checked_scores(group, scores)[scene.channels], np.float64)
    return {
        "name": name,
        "scene": scene_payload(scene) | {"channels": scene.channels.tolist()},
        "marks": {
            "criterion": "the desk's scores",
            "scores": values,
            "channels": group.channels,
            "ranks": packed(ranks, np.int32),
            "removal": packed(np.argsort(ranks), np.int32),
            "gone": bytes(len(scene)),
        },
        "order": order.tolist(),
        "exceptions": {str(count): list(gone) for count, gone in exceptions.items()},
        "blocks": None if group.blocks is None else list(group.blocks),
        "parts": [list(part) for part in group.parts],
        "notes": scene_notes(graph, scene),
    }


def going_order(group: ChannelGroup, scores: Scores) -> tuple[np.ndarray, dict[int, tuple[int, ...]]]:
    """Return a group's channels in the order in which they go, (channels,), and what goes where that is not it.

    With blocks one of each goes at a time. Where parts must not be left empty, which channels go at one number may not
    hold those that go at a smaller one: such numbers are told one by one.
    """
    if group.protected is not None:
        return np.arange(group.channels), {}
    values = checked_scores(group, scores)
    blocks = np.asarray(group.blocks if group.blocks is not None else np.zeros(group.channels, int))
    ranked = [members[np.argsort(values[members], kind="stable")] for members in map(np.flatnonzero, _each(blocks))]
    if not group.parts:
        return np.stack(ranked, axis=1).ravel(), {}
    order: list[int] = []
    exceptions = {}
    for count in range(group.step, group.channels - group.least + 1, group.step):
        gone = lowest(group, scores, count)
        more = sorted(set(gone) - set(order), key=lambda channel: values[channel])
        if len(more) == group.step and len(order) == count - group.step:
            order += more
        else:
            exceptions[count] = gone
    rest = sorted(set(range(group.channels)) - set(order), key=lambda channel: values[channel])
    return np.array(order + rest), exceptions


def _each(blocks: np.ndarray) -> list[np.ndarray]:
    return [blocks == block for block in np.unique(blocks)]
