"""Curves that one can reckon with by hand."""

from __future__ import annotations

import pandas as pd


def hand_made() -> pd.DataFrame:
    """Three groups on three ratios, easy to reckon with: a steep one, a flat one, one in between."""
    rows = []
    for group, drops in (("flat", (0.0, 0.0, 0.005)), ("steep", (0.1, 0.4, 0.8)), ("middle", (0.0, 0.02, 0.3))):
        rows.append((group, 0.0, 10, "accuracy", 0.9, 0.9, 0.9, 100))
        for ratio, drop in zip((0.2, 0.5, 0.8), drops, strict=True):
            value = 0.9 - drop
            rows.append((group, ratio, round(10 * (1 - ratio)), "accuracy", value, value - 0.03, value + 0.004, 100))
    columns = ["group", "ratio", "kept", "metric", "value", "low", "high", "samples"]
    return pd.DataFrame(rows, columns=columns)
