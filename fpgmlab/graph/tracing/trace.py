"""What a labelled forward pass leaves behind, for `fpgmlab.graph.grouping`."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from fpgmlab.graph.running import Place
from fpgmlab.graph.tracing.layers import TracedLayer
from fpgmlab.graph.tracing.reasons import Reason


@dataclass
class Trace:
    """Everything that one labelled forward pass has seen."""

    layers: dict[str, TracedLayer] = field(default_factory=dict)
    pairs: list[np.ndarray] = field(default_factory=list)  # each (n, 2): labels of one and the same channel
    frozen: list[tuple[np.ndarray, Reason]] = field(default_factory=list)
    parts: list[list[np.ndarray]] = field(default_factory=list)  # label vectors that must stay equally long
    units: list[tuple[np.ndarray, int, str]] = field(default_factory=list)  # labels, channels each stands for, a name
    reductions: dict[Place, tuple[int, np.ndarray]] = field(default_factory=dict)  # dimension and channels it runs over
    labels: int = 1  # the next free label
    other_macs: int = 0  # of convolutions and linear layers whose channels nobody can remove
    suspect: bool = False  # the model's code may calculate with a number of channels, unseen
    rewritten: list[str] = field(default_factory=list)  # parameters that the forward pass itself writes
    training_only: tuple[str, ...] = ()  # layers that do not run in evaluation
