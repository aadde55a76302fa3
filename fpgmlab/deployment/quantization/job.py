"""What both ways of quantising are given, and what they give."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fpgmlab.deployment.arguments import Arguments
from fpgmlab.deployment.network import OnnxNetwork
from fpgmlab.deployment.quantization.judging import Judge, Judgement

Row = tuple[str, str, str, str]  # of a layer: name, kind, dtype, why it is in float


@dataclass(frozen=True, eq=False)
class Job:
    """A file to quantise, and all that is needed for it.

    Attributes
    ----------
    source : Path
    network : OnnxNetwork
        The float file.
    inputs : list
        Batches of pictures.
    judge : Judge
    in_float : tuple of str
        Operations that stay in float.
    max_drop : float or None
    batch : int
        How many examples at once are timed.
    threads : int or None
    entries : dict
        What the result shall say of itself.
    told : callable
        Called with words for what is being tried.
    """

    source: Path
    network: OnnxNetwork
    inputs: list[object]
    judge: Judge
    in_float: Sequence[str]
    max_drop: float | None
    batch: int
    threads: int | None
    entries: Mapping[str, str]
    told: Callable[[str], None]

    @property
    def feeds(self) -> list[dict[str, np.ndarray]]:
        """The pictures as the file takes them."""
        return [feed for batch in self.inputs for feed in self.network.feeds(Arguments.of(batch))]

    @property
    def timed(self) -> dict[str, np.ndarray]:
        """What is timed: so many examples, the first ones over and over, or as many as the file takes at once."""
        if self.network.batch is not None:
            return self.feeds[0]
        return self.network.feeds(Arguments.of(self.inputs[0]).times(self.batch))[0]


@dataclass(frozen=True)
class Written:
    """What was written.

    Attributes
    ----------
    judged : Judgement
    ms_before, ms : float
        Median milliseconds of the float file and of the new one, in the same runtime.
    bytes : int
        Of the new files.
    layers : tuple of Row
    """

    judged: Judgement
    ms_before: float
    ms: float
    bytes: int
    layers: tuple[Row, ...]
