"""Which layers stay in float: what is slower in INT8, by measuring, and what the metric cannot bear."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from fpgmlab.common.calling import call
from fpgmlab.deployment.network import OnnxNetwork
from fpgmlab.deployment.profiling import profile_onnx
from fpgmlab.deployment.quantization.judging import Judge, Judgement, relative_error
from fpgmlab.deployment.quantization.timing import medians
from fpgmlab.deployment.quantization.writing import Prepared

FELT = 0.01  # of the network's time: less is noise
CLEARLY = 0.97  # a way counts as faster from here on: what is within the noise does not decide
ASKED, SENSITIVE, SLOWER, READ = "asked for", "sensitive", "faster in float", "read by a layer in float"


@dataclass(frozen=True, eq=False)
class Search:
    """What the ways to write a network are tried with.

    Attributes
    ----------
    prepared : Prepared
    folder : Path
        For the files that are tried.
    threads : int, optional
    """

    prepared: Prepared
    folder: Path
    threads: int | None

    def network(self, used: Sequence[str], name: str = "tried") -> OnnxNetwork:
        """Write a network with some nodes in INT8, and open it."""
        path = self.folder / f"{name}.onnx"
        self.prepared.write(path, used)
        return OnnxNetwork(path, self.threads)

    def fastest(self, in_float: dict[str, str], feed: Mapping[str, np.ndarray]) -> dict[str, str]:
        """Return the layers to leave in float so that the whole network is fastest, with the reason.

        A layer by itself says little: what its neighbours need in between, other layouts and other numbers, often costs
        more than it gains. So the whole network is timed each way: all in INT8, kinds of layers in float, and then what
        the runtime's profile shows to take longer in INT8.
        """
        layers = self.prepared.layers
        ways = {"all": in_float}
        if layers.depthwise:
            ways["depthwise in float"] = dict.fromkeys(layers.depthwise, SLOWER) | in_float
        if layers.activations:
            ways["activations in float"] = dict.fromkeys(layers.activations, SLOWER) | in_float
        found = self._faster(ways, feed)
        if slower := self._slower_inside(found, feed):
            found = self._faster({"before": found, "also": dict.fromkeys(slower, SLOWER) | found}, feed)
        return found

    def _faster(self, ways: Mapping[str, dict[str, str]], feed: Mapping[str, np.ndarray]) -> dict[str, str]:
        """Return the fastest way; the first one unless another one is clearly faster."""
        first, *others = ways.values()
        if not others:
            return first
        in_int8 = self.prepared.layers.in_int8
        networks = {way: self.network(in_int8(some), f"way{i}") for i, (way, some) in enumerate(ways.items())}
        runs = {way: partial(network.session.run, None, dict(feed)) for way, network in networks.items()}
        ms = medians(runs)
        best = min(ms, key=lambda way: ms[way])
        return ways[best] if ms[best] < CLEARLY * next(iter(ms.values())) else first

    def _slower_inside(self, in_float: Mapping[str, str], feed: Mapping[str, np.ndarray]) -> list[str]:
        """Return the layers that win enough by float, each with all that follows it.

        One percent of the network's time at least, and as many percent as the file grows by.
        """
        layers = self.prepared.layers
        profiles = []
        for name, used in (("float", []), ("int8", layers.in_int8(in_float))):
            self.network(used, name)
            profiles.append(profile_onnx(self.folder / f"{name}.onnx", layers.owned, feed, self.threads))
        whole, int8 = profiles
        size = (self.folder / "int8.onnx").stat().st_size

        def pays(name: str) -> bool:
            grows = 3 * math.prod(layers.constants[layers.nodes[name].input[1]]) / size  # four bytes in place of one
            return int8.layers[name] - whole.layers[name] > max(FELT, grows) * int8.total

        return [name for name in layers.weighted if name not in in_float and pays(name)]

    def within(
        self, in_float: dict[str, str], judge: Judge, max_drop: float, inputs: Sequence[object],
        told: Callable[[str], None],
    ) -> tuple[dict[str, str], Judgement]:  # fmt: skip
        """Return the fewest layers to leave in float, the most sensitive first, so that the metric holds.

        Raises
        ------
        RuntimeError
            When it does not hold with a single layer in INT8.
        """

        def tried(count: int) -> tuple[dict[str, str], Judgement]:
            some = dict.fromkeys(ranked[:count], SENSITIVE) | in_float
            told(f"{count} sensitive layers in float")
            return some, judge(self.network(self.prepared.layers.in_int8(some)))

        ranked: list[str] = []
        found = tried(0)
        if found[1].drop <= max_drop:
            return found
        ranked = self._most_sensitive(in_float, inputs, told)
        enough = low = 0
        for count in _doubling(len(ranked) - 1):
            found = tried(count)
            if found[1].drop <= max_drop:
                enough = count
                break
            low = count
        if not enough:
            raise RuntimeError(
                f"no layer can be in INT8 with a drop of at most {max_drop:g}: the least that was found is "
                f"{found[1].drop:.4g}; nothing was written. Allow more, or pass more pictures (samples=)."
            )
        while enough - low > 1:
            middle = (low + enough) // 2
            there = tried(middle)
            if there[1].drop <= max_drop:
                enough, found = middle, there
            else:
                low = middle
        return found

    def _most_sensitive(
        self, in_float: Mapping[str, str], inputs: Sequence[object], told: Callable[[str], None]
    ) -> list[str]:
        """Return the layers by how much the outputs change when one alone is in INT8, the worst first."""
        weighted = [name for name in self.prepared.layers.weighted if name not in in_float]
        whole = self.network([])
        wanted = [call(whole, given) for given in inputs]
        errors = {}
        for number, name in enumerate(weighted, 1):
            told(f"layer {number} of {len(weighted)} alone")
            alone = self.network([name])
            errors[name] = relative_error([call(alone, given) for given in inputs], wanted)
        return sorted(errors, key=lambda name: -errors[name])


def _doubling(most: int) -> list[int]:
    """Return 1, 2, 4, ... and the most."""
    return [*(2**n for n in range(most.bit_length()) if 2**n < most), *([most] if most > 0 else [])]
