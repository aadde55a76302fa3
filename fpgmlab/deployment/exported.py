"""The latency of exported networks."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from fpgmlab.deployment.runtimes import onnx_session

if TYPE_CHECKING:
    import pandas as pd


def latency(
    paths: Mapping[str, str | os.PathLike[str]],
    example_input: Tensor,
    *,
    runs: int = 50,
    warmup: int = 5,
    threads: int | None = None,
) -> pd.DataFrame:
    """Measure the latency of several ONNX files in ONNX Runtime, on the CPU.

    The files take turns, so that a slow moment of the machine meets all of them.

    Parameters
    ----------
    paths : mapping of str to path-like
        Files by the name to show.
    example_input : Tensor
        What to run; its batch size is that of the measurement.
    runs, warmup : int
        Measured and unmeasured rounds.
    threads : int, optional
        Within one operation.

    Returns
    -------
    pandas.DataFrame
        name, median_ms, low_ms, high_ms (the 10th and 90th percentile), relative (median over the first one's), runs.
    """
    import pandas as pd

    if runs < 1:
        raise ValueError(f"runs must be at least 1; got {runs}")
    sessions = {name: onnx_session(path, threads) for name, path in paths.items()}
    feeds = {name: {s.get_inputs()[0].name: example_input.detach().cpu().numpy()} for name, s in sessions.items()}
    times: dict[str, list[float]] = {name: [] for name in sessions}
    for round_ in range(warmup + runs):
        for name, session in sessions.items():
            started = time.perf_counter()
            session.run(None, feeds[name])
            if round_ >= warmup:
                times[name].append(1e3 * (time.perf_counter() - started))
    rows = [(name, *np.percentile(values, (50, 10, 90))) for name, values in times.items()]
    frame = pd.DataFrame(rows, columns=["name", "median_ms", "low_ms", "high_ms"])
    frame["relative"] = frame["median_ms"] / frame["median_ms"].iloc[0]
    frame["runs"] = runs
    return frame
