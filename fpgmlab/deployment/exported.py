"""The latency of exported networks."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from fpgmlab.common.files import whole
from fpgmlab.common.given import described
from fpgmlab.deployment.arguments import Arguments
from fpgmlab.deployment.benchmarking.rounds import interleaved, unsteady
from fpgmlab.deployment.converters.report import arrays
from fpgmlab.deployment.runtimes import RUNTIMES

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

    The files take turns, so that a slow moment of the machine meets all of them. Models, other runtimes, memory and
    parity: `fpgmlab.benchmark`.

    Parameters
    ----------
    paths : mapping of str to path-like
        Files by the name to show.
    example_input : Tensor, (batch, ...)
        What to run; its batch size is that of the measurement.
    runs, warmup : int
        Measured rounds, and runs before them. What takes less than a millisecond runs several times in each round.
    threads : int, optional
        Within one operation.

    Returns
    -------
    pandas.DataFrame
        name, median_ms, low_ms, high_ms (the 10th and 90th percentile), relative (the median of each round's time over
        that of the first one), runs, note: where the rounds leave open what the ratio is, or were disturbed, what it
        may be and what to do; else empty.

    Raises
    ------
    FileNotFoundError
        For a file that is not there.
    TypeError
        For what is no dictionary, or no path, such as a network.
    ValueError
        For fewer runs than one.
    """
    import pandas as pd

    if runs < 1:
        raise ValueError(f"runs must be at least 1; got {runs}")
    if not isinstance(paths, Mapping):
        raise TypeError(
            f"paths must be ONNX files by the name to show, as {{'pruned': 'pruned.onnx'}}; got {described(paths)}"
        )
    for name, path in paths.items():
        if not isinstance(path, str | os.PathLike):
            raise TypeError(
                f"paths must be ONNX files by the name to show; got for {name!r} {described(path)}. Export it first, "
                "fl.export_onnx(model, example_input, path), or time networks by fl.benchmark(networks, example_input)"
            )
        if not Path(path).is_file():
            raise FileNotFoundError(f"{name!r}: there is no file {whole(path)}")
    example = Arguments.of(example_input)
    inputs = arrays(example)
    sessions = [RUNTIMES["onnxruntime"].open(Path(path), example, threads) for path in paths.values()]
    (times,) = interleaved([[partial(session.run, inputs) for session in sessions]], runs, warmup)
    rows = [(name, *np.percentile(ms, (50, 10, 90))) for name, ms in zip(paths, times, strict=True)]
    frame = pd.DataFrame(rows, columns=["name", "median_ms", "low_ms", "high_ms"])
    frame["relative"] = np.median(times / times[:1], axis=1)
    frame["runs"] = runs
    frame["note"] = ["", *(unsteady(ms, times[0]) for ms in times[1:])]
    return frame
