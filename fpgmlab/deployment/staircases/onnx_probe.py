"""Probing in ONNX Runtime: all counts of a layer in one graph, timed by its profile."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fpgmlab.deployment.calls import Call
from fpgmlab.deployment.profiling import WARM, node_times, profiling_session
from fpgmlab.deployment.staircases.branches import Branches
from fpgmlab.deployment.staircases.probing import Prober, probe_size

_OWN = re.compile(r"p(\d+)(\.y)?(_nchwc|_quant|_token_\d+|/\w+Fusion/?)*$")


def onnx_prober(dtype: str, batch: int, threads: int | None, rounds: int) -> Prober:
    """Return what measures a layer at many pairs of numbers of channels, in float or in INT8."""

    def times(call: Call, points: Sequence[tuple[int, int]]) -> np.ndarray:
        if not points:
            return np.zeros(0)
        graph = Branches(call, probe_size(call), dtype)
        for number, (inputs, outputs) in enumerate(points):
            graph.add(f"p{number}", inputs, outputs)
        x = np.random.default_rng(0).standard_normal(graph.shape(batch)).astype(np.float32)
        with tempfile.TemporaryDirectory() as folder:
            session = profiling_session(graph.model(batch), Path(folder), threads)
            for _ in range(WARM + rounds):
                session.run(None, {"x": x})
            nodes = node_times(session)
        found = np.zeros(len(points))
        for name, ms in nodes.items():
            own = _OWN.match(name)
            if own is not None:
                found[int(own[1])] += ms
        return np.maximum(found, 1e-6)

    return times
