"""Which channels lie in which row, after a reshape has put them in rows."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class RowNumbers:
    """A number for each row of labels that has as many of them after any cut as the rows beside it."""

    def __init__(self) -> None:
        self._of_label = torch.zeros(1, dtype=torch.int64)
        self._rows = 0

    def add(self, rows: Sequence[Tensor]) -> None:
        """Note rows of labels, (labels,) each."""
        longest = max(int(row.max()) for row in rows) + 1
        known = self._of_label
        self._of_label = torch.cat([known, known.new_zeros(max(0, longest - len(known)))])
        for row in rows:
            self._rows += 1
            self._of_label[row] = self._rows

    def of(self, label: Tensor) -> Tensor:
        """Return the number of each label's row, shaped like the labels; 0 for those in none."""
        last = len(self._of_label) - 1
        return torch.where(label <= last, self._of_label[label.clamp_max(last)], 0)
