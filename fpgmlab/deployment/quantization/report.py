"""What quantisation did, and what it costs and brings."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class QuantizationReport:
    """What `fpgmlab.quantize` wrote. All ratios are of INT8 alone, against the float file that it was made of.

    Attributes
    ----------
    path, source : str
        The file in INT8, and the float file.
    method : str
        "onnxruntime" or "nncf".
    metric : str
        The task's; empty without labels.
    before, after : float
        The metric of the float file and of the one in INT8; NaN without labels.
    drop : float
        How much worse the metric became.
    agreement : float
        Share of pictures with the same surest class; of a detector mAP@0.5 against what the float file detects.
    error : float
        Root mean square of the outputs' difference, relative to the outputs.
    samples : int
        How many pictures the file was judged by.
    calibration : int
        How many pictures the ranges come from.
    bytes_before, bytes : int
        Sizes of the files.
    ms_before, ms : float
        Median milliseconds for one call with the shape of the task's example input, timed in turns.
    layers : tuple of (str, str, str, str)
        Of each operation that has weights: name, kind, "int8" or "float32", and why it is in float.
    channels_left : float
        Share of the channels that pruning had left before; 1 for a network that was not pruned.
    sha256 : str
        Of the file; see `fpgmlab.check_export`.
    """

    path: str
    source: str
    method: str
    metric: str
    before: float
    after: float
    drop: float
    agreement: float
    error: float
    samples: int
    calibration: int
    bytes_before: int
    bytes: int
    ms_before: float
    ms: float
    layers: tuple[tuple[str, str, str, str], ...] = field(repr=False)
    channels_left: float
    sha256: str

    @property
    def bytes_ratio(self) -> float:
        """Size of the file over that of the float file."""
        return self.bytes / self.bytes_before

    @property
    def ms_ratio(self) -> float:
        """Time over that of the float file."""
        return self.ms / self.ms_before

    def frame(self) -> pd.DataFrame:
        """Return a row for each operation with weights: layer, kind, dtype, reason."""
        import pandas as pd

        return pd.DataFrame(list(self.layers), columns=["layer", "kind", "dtype", "reason"])

    def __str__(self) -> str:
        whole = sum(dtype == "int8" for _, _, dtype, _ in self.layers)
        judged = (
            f"outputs differ by {self.error:.1%}"
            if math.isnan(self.before)
            else f"{self.metric} {self.before:.4f} -> {self.after:.4f}"
        )
        pruned = f"; pruned before to {self.channels_left:.0%} of its channels" if self.channels_left < 1 else ""
        return (
            f"INT8 alone, against the float file: {self.ms_ratio:.2f} of the time, {self.bytes_ratio:.2f} of the "
            f"bytes, {judged}; {whole} of {len(self.layers)} layers are in INT8{pruned}"
        )
