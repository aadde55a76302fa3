"""Names of layers where those of groups are asked for: which groups a layer's channels belong to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol

import numpy as np

from fpgmlab.errors import few, unknown
from fpgmlab.graph.layer import Layer


class Grouped(Protocol):
    """What is asked of a graph: its groups' names, its layers, and to which groups channels belong."""

    @property
    def layers(self) -> Sequence[Layer]: ...

    def groups_of(self, channels: np.ndarray) -> Mapping[str, np.ndarray]: ...

    def __iter__(self) -> Iterator[str]: ...


def groups_of_layer(graph: Grouped, name: str) -> tuple[str, ...]:
    """Return the groups that a layer's outputs belong to, or those of all layers of a module; none for other names."""
    found: dict[str, None] = {}
    for layer in graph.layers:
        if layer.name == name or layer.name.startswith(f"{name}."):
            found |= dict.fromkeys(graph.groups_of(layer.outputs))
    return tuple(group for group in graph if group in found)


def unknown_group(graph: Grouped, name: object) -> str:
    """Return the message for a name that no group has: the groups of that layer or module, else the nearest match."""
    groups = groups_of_layer(graph, name) if isinstance(name, str) else ()
    if not groups:
        return unknown("group", name, graph)
    what = "this layer's channels belong" if any(layer.name == name for layer in graph.layers) else "its layers belong"
    return f"unknown group {name!r}: {what} to group{'s' if len(groups) > 1 else ''} {few(groups)}"


def groups_named(graph: Grouped, names: str | Iterable[str]) -> tuple[str, ...]:
    """Return the groups of names, of which each is one of a group, a layer or a module.

    Raises
    ------
    ValueError
        For another name, with the nearest match.
    """
    there, found = set(graph), list[str]()
    for name in [names] if isinstance(names, str) else names:
        mine = (name,) if name in there else groups_of_layer(graph, name)
        if not mine:
            raise ValueError(unknown("group", name, graph))
        found += mine
    return tuple(dict.fromkeys(found))
