"""Made-up data of all kinds and sizes for figures, and figures that need more than a line to make."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure

import fpgmlab as fl
from fpgmlab import figures
from fpgmlab.geometry import pairwise_distances


def filters(n: int = 24, channels: int = 4, size: int = 3) -> torch.Tensor:
    return torch.randn(n, channels, size, size, generator=torch.Generator().manual_seed(n))


def layers(count: int, n: int = 16) -> dict[str, torch.Tensor]:
    return {f"model.{i}.block.conv{i % 3}": (i + 1) ** -0.5 * filters(n + i) for i in range(count)}


def gammas(count: int, channels: int = 24, dead: float = 0.0) -> pd.DataFrame:
    random = np.random.default_rng(count)
    parts = []
    for i in range(count):
        gamma = random.normal(0.5, 0.15, channels) * (random.random(channels) >= dead * i / count)
        layer = {"group": f"features.{i}", "layer": f"features.{i}.bn", "channel": range(channels), "gamma": gamma}
        parts.append(pd.DataFrame(layer))
    return pd.concat(parts, ignore_index=True)


def scores(count: int, protected: int = 1) -> pd.DataFrame:
    parts = []
    for i in range(count):
        values = np.random.default_rng(i).gamma(9, size=32) * 3**i
        reason = "carries the model's output" if i >= count - protected else ""
        gone = (values < np.median(values)) & (not reason)
        group = {"group": f"layer{i // 4}.{i}.conv1", "channel": range(32), "score": values, "removed": gone}
        parts.append(pd.DataFrame(group).assign(protected=reason))
    return pd.concat(parts, ignore_index=True)


def agreement(count: int, more: bool = False) -> pd.DataFrame:
    criteria = ["fpgm", "l2", fl.criteria.FPGM(as_implemented_by="torch-pruning"), fl.criteria.FPGM(center="medoid")]
    if more:
        criteria += ["l1", "random", "fpgm_mix", fl.criteria.FPGM(distance="cosine")]
    return fl.compare_criteria(layers(count), criteria)


def plan_frame() -> pd.DataFrame:
    frame = scores(20).groupby("group", sort=False)["removed"].agg(["size", "sum"]).reset_index()
    frame = frame.rename(columns={"size": "channels"}).assign(kept=frame["size"] - frame["sum"], protected="")
    frame.loc[len(frame) - 1, "protected"] = "carries the model's output"
    return frame


def slimming() -> pd.DataFrame:
    rows = [(n, s, r, 0.9 - 0.7 * r**p * (s == "pruned")) for n, p in (("plain", 2), ("sparse", 6))
            for s in ("pruned", "fine-tuned") for r in np.linspace(0, 0.9, 7)]  # fmt: skip
    return pd.DataFrame(rows, columns=["network", "stage", "ratio", "accuracy"])


def curves(count: int) -> pd.DataFrame:
    rows = [
        (f"layer{i // 4}.{i}.conv1", r, metric, v, v - 0.05 * r, v + 0.05 * r)
        for i in range(count)
        for metric, top in (("accuracy", 0.9), ("loss", 2.0))
        for r in np.linspace(0, 0.9, 7)
        for v in [top - 0.8 * r ** (1 + i % 5)]
    ]
    return pd.DataFrame(rows, columns=["group", "ratio", "metric", "value", "low", "high"])


def compared(methods: int) -> pd.DataFrame:
    names = ["FPGM", "reconstruction", "L2", "our own rule", *"abcdefgh"][:methods]
    rows = [(network, name, macs, 30 * macs - i, 0.94 - 0.01 * i / macs, i == 1 and macs == 0.5)
            for network in ("resnet20-fashion", "vgg16-fashion") for macs in (0.5, 0.35, 0.25)
            for i, name in enumerate(names)]  # fmt: skip
    frame = pd.DataFrame(rows, columns=["network", "method", "macs", "ms", "value", "open"])
    return frame.assign(low=frame["value"] - 0.004, high=frame["value"] + 0.003)


def stages(*then: tuple[str, float]) -> pd.DataFrame:
    rows = [("original", 31e6, 0.94), ("pruned", 15e6, 0.11)]
    rows += [(name, 15e6, accuracy) for name, accuracy in then or [("fine-tuned", 0.93)]]
    return pd.DataFrame(rows, columns=["stage", "macs", "accuracy"])


def clothes(style: figures.style) -> Figure:
    names = ["ankle boot", "T-shirt/top", "trouser", "dress"] * 4
    return figures.pictures(filters(16, 1, 12), names, ["ankle boot", *names[1:-1], "pullover"], style=style)


def crowns(networks: int, count: int, style: figures.style) -> Figure:
    random = torch.Generator().manual_seed(networks)
    low = torch.tensor([[10.0, 40], [130, 150]]) + 60 * torch.rand(count, 2, 2, generator=random)
    boxes = torch.cat([low, low + 8 + 40 * torch.rand(count, 2, 2, generator=random)], dim=2)
    found = [{"boxes": b, "scores": torch.ones(2), "labels": torch.arange(2)} for b in boxes]
    wanted = torch.cat([torch.arange(2.0).expand(count, 2)[..., None], boxes], dim=2)
    names = ["before", "pruned to half", "recovered"][:networks]
    images = torch.rand(count, 3, 256, 256, generator=random)
    return figures.detections(images, dict.fromkeys(names, found), wanted, ["oak", "fir"], style=style)


def distances(n: int) -> torch.Tensor:
    return pairwise_distances(filters(n).flatten(1))


def taken_over(panels: int, count: int = 4000) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    random = torch.Generator().manual_seed(panels)
    found = {}
    for i in range(panels):
        x = torch.randn(count, generator=random)
        found[f"channel {i} and others"] = (x, (1 - i / panels) * x + 0.3 * torch.randn(count, generator=random))
    return found


def repaired(count: int, untold: int = 1) -> pd.DataFrame:
    before = np.geomspace(2, 0.02, count)
    frame = pd.DataFrame({"layer": [f"layer{i // 4}.{i}.conv1" for i in range(count)], "before": before})
    frame["after"] = 0.3 * before**1.5
    frame.loc[count - untold :, ["before", "after"]] = np.nan
    return frame


def tried() -> pd.DataFrame:
    rows = [(n, f"{b:.0%} of the MACs", 0.94 - (0.3 + 0.1 * seed) * b / n**0.5)
            for n in (16, 64, 256, 1024) for b in (0.5, 0.35) for seed in range(3)]  # fmt: skip
    return pd.DataFrame(rows, columns=["pictures", "budget", "accuracy"])


def looked(count: int) -> dict[str, torch.Tensor]:
    """Return what positions depend on, of networks that look farther and farther."""
    panels = {}
    for i in range(count):
        panels[f"network {i}" if i else "a"] = panel = torch.zeros(31, 31)
        panel[13 - 2 * i : 18 + 2 * i, 13 - 2 * i : 18 + 2 * i] = filters(1, 1, 5 + 4 * i)[0, 0].abs()
    return panels


def timed(count: int) -> pd.DataFrame:
    """Return layers with fewer and fewer MACs, whose time does not follow."""
    each = np.arange(count)
    layers = {"name": [f"grouped, {2**i} groups" for i in each], "macs": 3e7 / 2**each, "time": 2.0 / (1 + each)}
    return pd.DataFrame(layers).assign(bytes=5e5, ms=0.3 / (1 + each))


def practised(count: int) -> pd.DataFrame:
    """Return layers that lost some of their promise for every reason, as `fpgmlab.theory_and_practice` tells it."""
    names = ("as its MACs", "blocks", "layout", "memory", "overhead", "nothing removed")
    each = np.arange(count)
    frame = pd.DataFrame({"layer": [f"layer{i // 4}.{i % 4}.conv1" for i in each], "ms_before": 2.0 + each % 3})
    frame["macs_before"], frame["bytes_before"] = 1e8, 1e6 * 2.0 ** (each % 5)
    frame["macs"], frame["bytes"] = 5e7, 0.7 * frame["bytes_before"]
    frame["promised_ms"], frame["ms"] = frame["ms_before"] / 2, frame["ms_before"] * (0.52 + 0.15 * (each % 5))
    frame["reason"] = [names[i % len(names)] for i in each]
    ends = frame.sum(numeric_only=True).to_frame().T.assign(layer="(whole network)", reason="")
    return pd.concat([frame, ends], ignore_index=True)


def staircase(fits: int = 4) -> pd.DataFrame:
    parts = []
    for side, most, block in (("inputs", 64, 16), ("outputs", 128, 16)):
        channels = np.arange(1, most + 1)
        quick = channels % fits == 0 if side == "inputs" else np.ones(most, bool)
        ms = np.where(quick, -(-channels // block) * block, channels * 1.4 + 3) * 0.02
        top = channels % block == 0
        parts.append(pd.DataFrame({"side": side, "channels": channels, "ms": ms, "quick": quick, "top": top}))
    return pd.concat(parts, ignore_index=True)


def stairs() -> pd.DataFrame:
    rows = [(name, c, k * (-(-c // 16))) for name, k in (("plain", 0.03), ("depthwise", 0.01)) for c in range(24, 50)]
    return pd.DataFrame(rows, columns=["name", "channels", "ms"])


def recovered(ways: int) -> pd.DataFrame:
    """Return networks of ways that lose less the longer they are recovered, three seeds each; the first not at all."""
    rows = [{"way": "as cut", "seconds": 0.0, "points": -84.0 + seed, "setting": 0} for seed in range(3)]
    for way in range(1, ways):
        for setting, seconds in enumerate((3.0, 40.0, 400.0)):
            points = -9.0 / way / 4**setting + 0.3
            rows += [
                {"way": f"way {way}", "seconds": seconds * way, "points": points + 0.1 * seed, "setting": setting}
                for seed in range(3)
            ]
    return pd.DataFrame(rows)


def reached(count: int, reasons: int = 2) -> pd.DataFrame:
    """Return groups as ``graph.frame()`` has them, half of them protected for several reasons; a tenth has no group."""
    each = np.arange(count)
    frame = pd.DataFrame({"group": [f"layer{i // 4}.{i}.conv1" for i in each], "macs_share": 0.9 / count})
    kinds = [f"rule {'abcdefgh'[i % max(reasons, 1)]} takes some by position in 'm.{i}'" for i in each]
    frame["protected"] = [kinds[i] if reasons and i >= count / 2 else "" for i in each]
    frame["reached"] = frame["macs_share"] * np.where(frame["protected"] == "", 1, 0.25)
    return frame
