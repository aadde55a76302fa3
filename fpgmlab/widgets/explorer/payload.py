"""Views as what a browser gets: numbers as bytes, words ready to be read."""

from __future__ import annotations

import numpy as np

from fpgmlab.criteria import FPGM, NAMED, Criterion
from fpgmlab.errors import few
from fpgmlab.graph.channel_graph import ChannelGraph
from fpgmlab.widgets.explorer.scene import FilterScene
from fpgmlab.widgets.explorer.view import FilterView

_RULES = {
    "fpgm": "FPGM: sum of distances",
    "fpgm_mix": "FPGM after small norms",
    "l1": "L1 norm",
    "l2": "L2 norm",
    "bn_gamma": "Batch norm's |gamma|",
    "random": "Random",
}


def choices_payload(graph: ChannelGraph, criterion: str | Criterion) -> dict[str, object]:
    """Return what there is to choose from: the groups, and in words the named criteria and the current one."""
    return {
        "network": type(graph.model).__name__,
        "groups": [{"name": name, "channels": group.channels, "protected": group.protected is not None}
                   for name, group in graph.items()],
        "criteria": [_RULES.get(name, name) for name in NAMED]
        + ([] if isinstance(criterion, str) else [criterion.label]),
    }  # fmt: skip


def scene_payload(scene: FilterScene) -> dict[str, object]:
    """Return a scene as a dict of plain values and bytes."""
    return {
        "layer": scene.layer,
        "word": scene.word,
        "filters": scene.filters.tolist(),
        "weights": " x ".join(map(str, scene.shape)),
        "distance": scene.distance if isinstance(scene.distance, str) else f"Minkowski (p = {scene.distance:g})",
        "order": packed(scene.order, np.int32),
        "matrix": scene.matrix.tobytes(),
        "side": len(scene.matrix),
        "low": scene.low,
        "high": scene.high,
        "coordinates": packed(scene.coordinates, np.float32),
        "median": scene.median.tolist(),
        "medoid": scene.medoid,
        "shares": scene.shares.tolist(),
        "near": scene.neighbours.shape[1],
        "neighbours": packed(scene.neighbours, np.int32),
        "neighbourDistances": packed(scene.neighbour_distances, np.float32),
        "pictures": scene.pictures.tobytes(),
        "tile": list(scene.pictures.shape[1:3]),
        "picturesShow": scene.pictures_show,
    }


def marks_payload(view: FilterView) -> dict[str, object]:
    """Return what a criterion and a ratio make of a scene as a dict of plain values and bytes."""
    return {
        "criterion": view.criterion.label,
        "scores": packed(view.scores.numpy()[view.scene.channels], np.float64),
        "channels": len(view.scores),
        "ranks": packed(view.ranks, np.int32),
        "removal": packed(view.removal, np.int32),
        "gone": packed(view.gone, np.uint8),
    }


def summary(graph: ChannelGraph, view: FilterView) -> str:
    """Return in a line what the view's ratio takes from the group and from the network."""
    group, gone = graph[view.scene.group], len(view.removed)
    if not gone:
        return f"{group.counted(group.channels)}, nothing removed"
    before, after = graph.cost(), graph.cost(view.plan)
    return (
        f"{gone} of {group.counted(group.channels)} removed: the network's MACs "
        f"{_change(before.macs, after.macs)}, its parameters {_change(before.params, after.params)}"
    )


def notes(graph: ChannelGraph, view: FilterView) -> list[str]:
    """Return what someone who looks at the view has to know, a sentence each."""
    found = scene_notes(graph, view.scene)
    if isinstance(view.criterion, FPGM) and len(graph[view.scene.group].producers) == 1 and len(view.scene) == 1:
        found.append("A single filter has no distance to others.")
    return found


def scene_notes(graph: ChannelGraph, scene: FilterScene) -> list[str]:
    """Return what someone who looks at a group's filters has to know, a sentence each."""
    group = graph[scene.group]
    found = []
    if group.protected is not None:
        found.append(f"This group is protected ({group.protected}): nothing of it is removed, whatever the ratio.")
    if len(group.producers) > 1:
        others = few((name for name in group.producers if name != scene.layer), quoted=False)
        found.append(f"Shown are the filters of {scene.layer}; the same channels go from {others}.")
    if scene.word != "filter":
        found.append(f"Each is a {group.each}: all {scene.members.shape[1]} filters of {scene.layer} that go with it.")
    if len(scene) < group.channels:
        found.append(f"{scene.layer} makes {len(scene)} of the group's {group.channels} channels.")
    if group.blocks is not None:
        found.append(f"As many channels go from each of {group.step} blocks of a grouped convolution.")
    if group.parts and group.protected is None:
        found.append(f"At least {group.least} channels stay: some layers make or read only some of them, and keep one.")
    return found


def packed(values: np.ndarray, kind: type[np.generic]) -> bytes:
    return np.ascontiguousarray(values, dtype=kind).tobytes()


def _change(before: int, after: int) -> str:
    return f"-{1 - after / before:.1%} (to {_short(after)})"


def _short(number: int) -> str:
    """Return a count as a person says it.

    >>> _short(40_812_000)
    '40.8 M'
    """
    for size, word in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if number >= size:
            return f"{number / size:.3g}{word}" if number / size < 100 else f"{number / size:.0f}{word}"
    return str(number)
