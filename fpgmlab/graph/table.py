"""The table of a graph's groups: what each costs, whether it may be pruned, why not, and what would free it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from fpgmlab.graph.channel_group import ChannelGroup

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("group", "channels", "unit", "producers", "consumers", "protected", "remedy", "macs_share", "reached")


def group_table(groups: Iterable[ChannelGroup], macs: np.ndarray, reached: np.ndarray, whole: int) -> pd.DataFrame:
    """Return one row for each group, as `ChannelGraph.frame` describes it.

    Parameters
    ----------
    groups : iterable of ChannelGroup
    macs, reached : ndarray, (groups,)
        MACs of the layers that make each group's channels: all, and those that a plan can change.
    whole : int
        MACs of the network.
    """
    import pandas as pd

    rows = [
        (
            *(group.name, group.channels, group.each, ", ".join(group.producers), ", ".join(group.consumers)),
            *(group.protected or "", group.remedy, all_ / max(1, whole), some / max(1, whole)),
        )
        for group, all_, some in zip(groups, macs, reached, strict=True)
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))
