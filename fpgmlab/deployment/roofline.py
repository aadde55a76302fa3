"""What a machine can do at most: multiply and add, and move numbers."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from fpgmlab.deployment.benchmarking.rounds import pinned
from fpgmlab.deployment.machine import cores
from fpgmlab.deployment.runtimes import RUNTIMES
from fpgmlab.errors import one_of

SIDE = 1024  # of the matrices that are multiplied
SIZES = tuple(2**power for power in range(17, 29))  # bytes that are moved: from caches to memory
ROUNDS = 12


@dataclass(frozen=True)
class Roof:
    """What a machine can do at most, in one runtime with so many threads.

    The two sides of a roofline (Williams, Waterman & Patterson, Comm. ACM 52, 2009, doi:10.1145/1498765.1498785).

    Attributes
    ----------
    runtime : str
    threads : int
    peak : float
        MACs a second, of a product of large matrices in this runtime.
    sizes, bandwidths : tuple
        Bytes a second that are read and written, by how many they are: caches are quicker than memory.
    """

    runtime: str
    threads: int
    peak: float
    sizes: tuple[int, ...]
    bandwidths: tuple[float, ...]

    @property
    def bandwidth(self) -> float:
        """Bytes a second, of what no cache holds."""
        return self.bandwidths[-1]

    def milliseconds(self, macs: np.ndarray, moved: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the least milliseconds for so many MACs, and for so many bytes that are moved; (n,) each, as given."""
        speed = np.exp(np.interp(np.log(np.maximum(moved, 1)), np.log(self.sizes), np.log(self.bandwidths)))
        return 1e3 * macs / self.peak, 1e3 * moved / speed


def machine_roof(runtime: str = "onnxruntime", *, threads: int | None = 1) -> Roof:
    """Measure the roof of this machine's processor: a product of large matrices, sums of arrays of several sizes.

    A roofline as by Williams, Waterman & Patterson (Comm. ACM 52, 2009).

    Parameters
    ----------
    runtime : str
        What multiplies the matrices, in float32: one that runs single layers.
    threads : int, optional
        All processors that the process may use when left out.

    Returns
    -------
    Roof

    Raises
    ------
    ValueError
        For an unknown runtime.
    """
    if runtime not in RUNTIMES:
        raise ValueError(one_of("runtime", runtime, RUNTIMES))
    threads = cores() if threads is None else threads
    RUNTIMES[runtime].awake()
    generator = torch.Generator().manual_seed(0)
    chosen, own = RUNTIMES[runtime], RUNTIMES["torch"]
    with pinned(threads), chosen.threads(threads), own.threads(threads), torch.inference_mode():
        layer, example = nn.Linear(SIDE, SIDE).eval(), torch.randn(1, SIDE, SIDE, generator=generator)
        peak = SIDE**3 / _seconds(chosen.ready(layer, example, threads))
        bandwidths = tuple(size / _seconds(_sum(size)) for size in SIZES)
    return Roof(runtime, threads, peak, SIZES, bandwidths)


def _sum(size: int) -> Callable[[], object]:
    """Return what reads and writes so many bytes."""
    left, right, out = (torch.ones(size // 12) for _ in range(3))
    return lambda: torch.add(left, right, out=out)


def _seconds(run: Callable[[], object]) -> float:
    """Return the least time of a run: what disturbs it only adds."""
    run()
    started = time.perf_counter()
    run()
    often = math.ceil(2e-3 / max(time.perf_counter() - started, 1e-7))
    found = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        for _ in range(often):
            run()
        found.append((time.perf_counter() - started) / often)
    return min(found)
