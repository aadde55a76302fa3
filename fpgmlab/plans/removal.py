"""What a plan holds: which channels of which group are removed. Pure data, JSON on disk."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from fpgmlab.common.files import json_text, write_text
from fpgmlab.errors import unknown
from fpgmlab.graph.channel_graph import ChannelGraph

if TYPE_CHECKING:
    import pandas as pd


FORMAT = "fpgmlab-plan/1"


@dataclass(frozen=True)
class Removal:
    """The data of a `fpgmlab.Plan`, and what can be asked of it; what it is and the ways to make one are there."""

    widths: Mapping[str, int]
    removed: Mapping[str, tuple[int, ...]]

    def __post_init__(self) -> None:
        removed = {}
        for name in self.removed:
            if name not in self.widths:
                raise ValueError(f"removed: {unknown('group', name, self.widths)}")
        for name, width in self.widths.items():
            channels = tuple(sorted(int(c) for c in self.removed.get(name, ())))
            if len(set(channels)) < len(channels) or any(not 0 <= c < width for c in channels):
                raise ValueError(
                    f"group {name!r}: removed channels must be distinct and 0 to {width - 1}; got {channels}"
                )
            if channels and len(channels) >= width:
                raise ValueError(f"group {name!r}: all {width} channels would be removed; at least one must stay")
            removed[name] = channels
        object.__setattr__(self, "widths", {name: int(width) for name, width in self.widths.items()})
        object.__setattr__(self, "removed", removed)

    def __hash__(self) -> int:
        return hash(tuple(self.removed.items()))

    @property
    def kept(self) -> dict[str, int]:
        """The number of channels that stay, by group name."""
        return {name: width - len(self.removed[name]) for name, width in self.widths.items()}

    @property
    def ratios(self) -> dict[str, float]:
        """The fraction of channels that is removed, by group name."""
        return {name: len(self.removed[name]) / width for name, width in self.widths.items()}

    def __repr__(self) -> str:
        touched = [name for name, channels in self.removed.items() if channels]
        gone, total = sum(map(len, self.removed.values())), sum(self.widths.values())
        return f"Plan: removes {gone} of {total} channels in {len(touched)} of {len(self.widths)} groups"

    # To disk and back ----------------------------------------------------------------------------------------------

    def to_json(self, path: str | os.PathLike[str] | None = None) -> str:
        """Return the plan as JSON text, a line for each group, and write it to ``path`` when given.

        Examples
        --------
        >>> fl.Plan.from_json(plan.to_json()) == plan
        True
        """
        groups = {name: {"channels": width, "removed": list(self.removed[name])} for name, width in self.widths.items()}
        lines = ",\n".join(f"    {json.dumps(name)}: {json.dumps(entry)}" for name, entry in groups.items())
        text = f'{{\n  "format": {json.dumps(FORMAT)},\n  "groups": {{\n{lines}\n  }}\n}}\n'
        if path is not None:
            write_text(path, text)
        return text

    @classmethod
    def from_json(cls, source: str | os.PathLike[str]) -> Self:
        """Return a plan from a source: the path of a file, or JSON text.

        Raises
        ------
        FileNotFoundError
            When there is no such file.
        ValueError
            When it is not a plan.
        """
        text, name = json_text(source)
        try:
            data = json.loads(text)
            if not isinstance(data, dict) or "format" not in data:
                raise ValueError("it has no entry 'format'. Was it written by plan.to_json(path)?")
            if data["format"] != FORMAT:
                raise ValueError(f"format {data['format']!r} instead of {FORMAT!r}")
            groups = data["groups"]
            widths = {name: entry["channels"] for name, entry in groups.items()}
            return cls(widths, {name: tuple(entry["removed"]) for name, entry in groups.items()})
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{name} is not a plan of fpgmlab: {error}") from error

    # Looking at plans ----------------------------------------------------------------------------------------------

    def frame(self, graph: ChannelGraph) -> pd.DataFrame:
        """Return one row for each group of the graph: group, channels, kept, ratio, macs_share, protected.

        ``macs_share`` is the group's share of the unpruned network's MACs; see `ChannelGraph.frame`.

        Examples
        --------
        >>> plan.frame(graph)["kept"].tolist()[:3]
        [10, 10, 10]
        """
        graph.check(self)
        table = graph.frame()[["group", "channels", "macs_share", "protected"]]
        table.insert(2, "kept", [self.kept.get(name, graph[name].channels) for name in table["group"]])
        table.insert(3, "ratio", 1 - table["kept"] / table["channels"])
        return table

    def diff(self, other: Removal) -> pd.DataFrame:
        """Return where the other plan differs: group, channels, kept, other_kept, only_here, only_there.

        ``only_here`` and ``only_there`` are tuples of the channels that just one of the plans removes.

        Examples
        --------
        >>> other = fl.Plan.uniform(graph, scores, 0.5, multiple=1)
        >>> plan.diff(other)[["group", "kept", "other_kept"]].head(1).values.tolist()
        [['conv1', 10, 8]]
        """
        import pandas as pd

        rows = []
        for name in {**self.widths, **other.widths}:
            mine, theirs = set(self.removed.get(name, ())), set(other.removed.get(name, ()))
            width = self.widths.get(name, other.widths.get(name))
            if mine != theirs or self.widths.get(name) != other.widths.get(name):
                kept = (self.kept.get(name), other.kept.get(name))
                rows.append((name, width, *kept, tuple(sorted(mine - theirs)), tuple(sorted(theirs - mine))))
        return pd.DataFrame(rows, columns=["group", "channels", "kept", "other_kept", "only_here", "only_there"])
