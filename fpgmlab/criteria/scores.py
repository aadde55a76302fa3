"""Scores of a graph's groups as they are shown: a line for each group."""

from __future__ import annotations

from torch import Tensor

MOST = 40  # lines


class Scores(dict[str, Tensor]):
    """Scores (channels,) by group: a dict that is shown as a table, not number by number.

    Examples
    --------
    >>> fl.criteria.Scores(conv1=torch.tensor([3.0, 1.0, 2.0]), conv2=torch.tensor([0.5, 1.0]))
    Scores of 2 groups, the lowest channels are removed first
           channels  lowest  median  highest
    conv1         3       1       2        3
    conv2         2     0.5     0.5        1
    """

    def __repr__(self) -> str:
        """Return the table, shortened in the middle where there are many groups."""
        import pandas as pd

        head = f"Scores of {len(self)} group{'' if len(self) == 1 else 's'}, the lowest channels are removed first"
        rows = {
            name: (len(each), *(float(end) for end in (each.min(), each.median(), each.max())))
            for name, each in self.items()
        }
        table = pd.DataFrame.from_dict(rows, orient="index", columns=["channels", "lowest", "median", "highest"])
        return f"{head}\n{table.to_string(max_rows=MOST, float_format=lambda x: f'{x:.4g}')}" if rows else head
