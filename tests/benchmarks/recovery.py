#!/usr/bin/env python
"""What each step of recovery is worth: criteria, allocations and budgets after repair and after training.

python tests/benchmarks/recovery.py                    # all of it: many hours on two CPU cores; goes on where it was
python tests/benchmarks/recovery.py --part target      # ResNet-20 and VGG-16 at the budgets that papers name
python tests/benchmarks/recovery.py --part seconds     # points lost over seconds of recovery, ways beside each other
python tests/benchmarks/recovery.py --part grid        # criteria x allocations x budgets x ways x seeds
python tests/benchmarks/recovery.py --part precision   # some cells in float32 as well, where the grid has bfloat16
python tests/benchmarks/recovery.py --part grid --network vgg16-fashion --seeds 1
python tests/benchmarks/recovery.py --collect          # writes the tables of what was measured so far, trains nothing

Each measured cell is a file in outputs/recovery/, written when it is done; several processes may work side by side,
each with OMP_NUM_THREADS=1. Cells that the stored Parquet has are taken from there.

Results: data/results/recovery.parquet (a row for each cell, with the answers to all 10,000
test pictures, so that any two can be held against each other), recovery.json and recovery.tex;
recovery_plans.zip has the plans and tables of milliseconds, which come out a little different on each processor.
Processors without kernels for bfloat16 train in float32, and all of one seed and budget together: a row says which.

Networks and their epochs are chosen by the 5,000 held-out training pictures; each network sees the test pictures once.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import cache
from itertools import product
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import numpy as np
import pandas as pd
import torch
from torch import nn

import fpgmlab as fl
from fpgmlab.common.processor import has_kernels

ROOT = Path(__file__).resolve().parent.parent.parent
OUTPUT, RESULTS = ROOT / "outputs" / "recovery", ROOT / "data" / "results"
PLANS = RESULTS / "recovery_plans.zip"
NETWORKS = ("vgg16-fashion", "resnet20-fashion")
CRITERIA = ("fpgm", "l2", "random", "reconstruction", "bn_gamma")
ALLOCATIONS = ("uniform", "allocated", "milliseconds")
BUDGETS = (0.5, 0.35, 0.7)
WAYS = ("repair", "repair, distilled", "repair, trained", "trained")
GRID = 10_000  # training pictures of an epoch in the grid; all 55,000 in the other parts
BFLOAT16 = has_kernels(torch.device("cpu"), torch.bfloat16)
CURVES = {"max_samples": 1000, "metrics": ("loss", "accuracy"), "repair": True}
CURVES["dtype"] = "bfloat16" if BFLOAT16 else "float32"
RECIPE = {"batch_size": 128, "keep": "last", "progress": False}
# Highest learning rates, by the held-out pictures: of a repaired network, of one as cut; less for less training.
SHORT = (0.01, 0.02)
LONG = {"vgg16-fashion": (0.02, 0.05), "resnet20-fashion": (0.03, 0.05)}
# How the networks were made: options of `build` and the learning rate, as of data/build.py.
BUILT = {
    "vgg16-fashion": {"architecture": "vgg16", "channels": 1, "width": 0.25},
    "resnet20-fashion": {"architecture": "resnet20", "channels": 1},
}
FROM_SCRATCH = 0.1
DISTILL = {"logits": {"weight": 0.5, "temperature": 4.0}, "features": {"weight": 0.5}}


@dataclass(frozen=True)
class Cell:
    """One measured network: how it was cut and what was done to it then."""

    network: str
    way: str = "repair"
    criterion: str = "fpgm"
    allocation: str = "uniform"
    macs: float = 0.5
    seed: int = 0
    epochs: int = 3
    pictures: int = GRID
    amp: str = ""  # what the processor has kernels for

    @property
    def path(self) -> Path:
        """Where its row is kept."""
        trained = f"-{self.epochs}x{self.pictures}" if self.training or self.way.startswith("gradual") else ""
        stem = f"{self.criterion}-{self.allocation}-{self.macs}-{self.way.replace(', ', '+').replace(' ', '_')}"
        return OUTPUT / self.network / f"{stem}{trained}-{self.seed}{self.amp and '-' + self.amp}.json"

    @property
    def precision(self) -> str:
        """What layers compute in while it is trained."""
        return self.amp or ("bfloat16" if BFLOAT16 else "off")

    @property
    def lr(self) -> float:
        """The highest learning rate."""
        if self.way == "from scratch":
            return FROM_SCRATCH
        repaired, as_cut = SHORT if self.epochs * self.pictures < 60_000 else LONG[self.network]
        return as_cut if self.way in ("trained", "soft pruning") else repaired

    @property
    def training(self) -> bool:
        """Whether a gradient is computed."""
        return self.way not in ("as cut", "recalibrated", "repair", "gradual, repaired")


@cache
def task() -> fl.tasks.Classification:
    """Return the data: 55,000 pictures to train, 5,000 to choose by, 10,000 that are looked at once."""
    return fl.tasks.fashion_mnist(holdout=5000)


@cache
def graph(network: str) -> fl.ChannelGraph:
    return fl.trace(fl.models.load(network), task().example_input)


def scores(network: str, criterion: str, seed: int) -> dict[str, torch.Tensor]:
    """Return each group's scores; only those at random differ from seed to seed."""
    rules = {
        "random": fl.criteria.Random(seed=seed),
        "reconstruction": fl.criteria.Reconstruction(task()),
    }
    return fl.score(graph(network), rules.get(criterion, criterion))


def plan_of(cell: Cell) -> fl.Plan:
    """Return the plan of a cell; made once, its curves and table kept."""
    seed = cell.seed if cell.criterion == "random" else 0
    path = OUTPUT / cell.network / "plans" / f"{cell.criterion}-{cell.allocation}-{cell.macs}-{seed}.json"
    if path.exists():
        return fl.Plan.from_json(path.read_text())
    plan = _made(cell, seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    _write(path, plan.to_json())
    return plan


def _made(cell: Cell, seed: int) -> fl.Plan:
    whole = graph(cell.network)
    found = scores(cell.network, cell.criterion, seed)
    if cell.allocation == "uniform":
        return fl.Plan.uniform(whole, found, macs=cell.macs, multiple=1)
    folder = OUTPUT / cell.network / "curves"
    folder.mkdir(parents=True, exist_ok=True)
    stem = folder / f"{cell.criterion}-{seed}"
    if not stem.with_suffix(".parquet").exists():
        fl.sweep(whole, found, task(), path=stem, progress=False, **CURVES).save(stem.with_suffix(".parquet"))
    curves = fl.Curves.load(stem.with_suffix(".parquet"))
    if cell.allocation == "allocated":
        return fl.allocate(whole, curves, macs=cell.macs, multiple=1)
    return fastest(whole, curves, table_of(cell.network), cell.macs)


def table_of(network: str) -> fl.LatencyTable:
    """Return how long the network's layers take in ONNX Runtime, one thread; measured once, on a quiet machine."""
    path = OUTPUT / network / "latency.json"
    if path.exists():  # of whichever processor began the study: all of its plans are by one table
        return fl.LatencyTable.from_json(path.read_text())
    return fl.latency_table(graph(network), threads=1, path=path, progress=False)


def fastest(whole: fl.ChannelGraph, curves: fl.Curves, table: fl.LatencyTable, macs: float) -> fl.Plan:
    """Return the plan within the most milliseconds that has as few MACs as asked, so that plans can be compared."""
    low, high, best = 0.0, 1.0, None
    for _ in range(12):
        middle = (low + high) / 2
        try:
            plan = fl.allocate(whole, curves, latency=middle, table=table)
        except ValueError:  # not so quick by any plan
            low = middle
            continue
        if whole.cost(plan).macs <= macs * whole.cost().macs:
            low, best = middle, plan
        else:
            high = middle
    if best is None:
        raise ValueError(f"no plan of the table keeps {macs:.0%} of the MACs")
    return best


def row_of(cell: Cell) -> dict:
    """Return the measured row of a cell: read where it is there, else cut, recovered and evaluated now."""
    if cell.path.exists():
        return json.loads(cell.path.read_text())
    whole, plan = graph(cell.network), plan_of(cell)
    cost, all_of_it = whole.cost(plan), whole.cost()
    model, spent = WAYS_THERE[cell.way](cell, whole, plan)
    row = asdict(cell) | {
        "macs_kept": cost.macs / all_of_it.macs,
        "params_kept": cost.params / all_of_it.params,
        "precision": cell.precision if cell.training else "",
        "seconds": spent["seconds"],
        "processor_seconds": spent["processor"],
        "val": fl.evaluate(model, task())["accuracy"],
        "right": answers(model),
    }
    row["test"] = float(np.mean(unpacked(row["right"])))
    cell.path.parent.mkdir(parents=True, exist_ok=True)
    _write(cell.path, json.dumps(row))
    print(cell.path.relative_to(OUTPUT), f"{row['val']:.4f} {row['test']:.4f} {spent['processor']:.0f} s", flush=True)
    return row


class Clock:
    """Adds up the seconds of recovery: on the wall, and of this process's one thread, which others do not disturb."""

    def __init__(self) -> None:
        self.spent = {"seconds": 0.0, "processor": 0.0}

    def __enter__(self) -> None:
        self._begun = time.perf_counter(), time.process_time()

    def __exit__(self, *_: object) -> None:
        self.spent["seconds"] += time.perf_counter() - self._begun[0]
        self.spent["processor"] += time.process_time() - self._begun[1]


def recovered(cell: Cell, whole: fl.ChannelGraph, plan: fl.Plan, repair: bool, extras: tuple) -> tuple[nn.Module, dict]:
    """Return the network of a plan, repaired or not, after training with extras, and what that took."""
    data, clock = task(), Clock()
    if cell.pictures < len(data.train):
        data = data.subset(train=cell.pictures, seed=cell.seed)
    with clock:
        model = fl.repair(whole, plan, task(), seed=cell.seed, progress=False) if repair else fl.prune(whole, plan)
        if cell.training:
            # What an epoch's end is judged by is no part of the recovery: one picture.
            _fit(model, replace(data, val=_one(data)), cell, extras)
    return model, clock.spent


def _fit(model: nn.Module, data: fl.tasks.Classification, cell: Cell, extras: tuple) -> None:
    fl.fit(model, data, cell.epochs, lr=cell.lr, seed=cell.seed, extras=extras, amp=cell.precision, **RECIPE)


def _one(data: fl.tasks.Classification) -> torch.utils.data.Subset:
    return torch.utils.data.Subset(data.val, [0])


def _cut(cell: Cell, whole: fl.ChannelGraph, plan: fl.Plan) -> tuple[nn.Module, dict]:
    with (clock := Clock()):
        model = fl.prune(whole, plan)
    return model, clock.spent


def _recalibrated(cell: Cell, whole: fl.ChannelGraph, plan: fl.Plan) -> tuple[nn.Module, dict]:
    with (clock := Clock()):
        model = fl.prune(whole, plan)
        fl.recalibrate(model, task())
    return model, clock.spent


def _from_scratch(cell: Cell, whole: fl.ChannelGraph, plan: fl.Plan) -> tuple[nn.Module, dict]:
    """Train what the plan leaves from random weights (Liu et al., *Rethinking the Value of Network Pruning*)."""
    torch.manual_seed(cell.seed)
    fresh = fl.trace(fl.models.build(**BUILT[cell.network]), task().example_input)
    return recovered(cell, fresh, plan, False, ())


def _softly(cell: Cell, whole: fl.ChannelGraph, plan: fl.Plan) -> tuple[nn.Module, dict]:
    """Train the whole network, at each epoch's end as many channels zero as the plan removes, the lowest by FPGM."""
    data = task()
    graph = fl.trace(copy.deepcopy(whole.model), data.example_input)
    with (clock := Clock()):
        extras = (fl.SoftPruning(graph, plan=plan),)
        _fit(graph.model, replace(data, val=_one(data)), cell, extras)
        model = fl.prune(graph, fl.plan_of_zeros(graph))
    return model, clock.spent


def _gradually(train: bool) -> Callable[[Cell, fl.ChannelGraph, fl.Plan], tuple[nn.Module, dict]]:
    def way(cell: Cell, whole: fl.ChannelGraph, plan: fl.Plan) -> tuple[nn.Module, dict]:
        data = task()
        between = [fl.Repair(seed=cell.seed)]
        if train:
            options = {"amp": cell.precision} | {name: RECIPE[name] for name in ("batch_size", "keep")}
            extras = (fl.Distill(whole.model, **DISTILL["logits"]),)
            between.append(fl.Fit(epochs=1, lr=cell.lr, seed=cell.seed, extras=extras, **options))
        with (clock := Clock()):
            model, _ = fl.prune_gradually(
                whole.model, replace(data, val=_one(data)), target=cell.macs, steps=cell.epochs, multiple=1,
                criterion=fl.criteria.Reconstruction(data), between=between, progress=False,
            )  # fmt: skip
        return model, clock.spent

    return way


def _way(repair: bool, *kinds: str) -> Callable[[Cell, fl.ChannelGraph, fl.Plan], tuple[nn.Module, dict]]:
    def way(cell: Cell, whole: fl.ChannelGraph, plan: fl.Plan) -> tuple[nn.Module, dict]:
        extras = tuple(fl.Distill(whole.model, kind=kind, **DISTILL[kind]) for kind in kinds)
        return recovered(cell, whole, plan, repair, extras)

    return way


WAYS_THERE = {
    "as cut": _cut,
    "recalibrated": _recalibrated,
    "repair": _way(True),
    "trained": _way(False),
    "repair, trained": _way(True),
    "repair, distilled": _way(True, "logits"),
    "repair, distilled, features": _way(True, "logits", "features"),
    "from scratch": _from_scratch,
    "gradual, repaired": _gradually(train=False),
    "gradual, repaired and distilled": _gradually(train=True),
    "soft pruning": _softly,
}


# What was measured: each network's answers to all test pictures, so that any two are held against each other on them.


@torch.no_grad()
def answers(model: nn.Module) -> str:
    """Return which test pictures a network names rightly, a bit for each, in hexadecimal."""
    model.eval()
    right = [model(inputs).argmax(1) == targets for inputs, targets in task().test_batches(1000)]
    return np.packbits(torch.cat(right).numpy()).tobytes().hex()


def unpacked(right: str) -> np.ndarray:
    """Return the answers as 0 and 1, (pictures,)."""
    return np.unpackbits(np.frombuffer(bytes.fromhex(right), np.uint8))


def difference(ours: np.ndarray, theirs: np.ndarray) -> tuple[float, float, float]:
    """Return the mean difference in points of two ways over the same seeds and pictures, and its 95 % interval.

    Parameters
    ----------
    ours, theirs : ndarray
        Answers, (seeds, pictures); one row of ``theirs`` stands for all seeds.

    Notes
    -----
    Seeds and pictures are both samples. The variance of the mean is that of the seeds' means over their number, and
    that of the pictures' means over theirs; the quantile is Student's, with Satterthwaite's degrees of freedom.
    """
    from scipy.stats import t

    each = 100 * (ours.astype(float) - theirs)  # (seeds, pictures), points
    seeds, pictures = each.shape
    by_picture = each.mean(0).var(ddof=1) / pictures
    by_seed = each.mean(1).var(ddof=1) / seeds if seeds > 1 else 0.0
    total = by_picture + by_seed
    if total == 0:
        return float(each.mean()), float(each.mean()), float(each.mean())
    freedom = total**2 / (by_picture**2 / (pictures - 1) + (by_seed**2 / (seeds - 1) if seeds > 1 else 0.0))
    half = float(t.ppf(0.975, freedom) * np.sqrt(total))
    mean = float(each.mean())
    return mean, mean - half, mean + half


def table(rows: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each way and setting: mean test accuracy over seeds, and points beside the unpruned network."""
    found = []
    keys = ["network", "criterion", "allocation", "macs", "way", "epochs", "pictures"]
    for setting, part in rows.groupby(keys, sort=False):
        right = np.stack([unpacked(text) for text in part["right"]])
        points, low, high = difference(right, unpacked(unpruned(setting[0]))[None])
        means = part[["macs_kept", "params_kept", "seconds", "processor_seconds", "val", "test"]].mean()
        found.append(dict(zip(keys, setting, strict=True)) | {"seeds": len(part)} | means.to_dict()
                     | {"points": points, "low": low, "high": high})  # fmt: skip
    return pd.DataFrame(found)


def against_fpgm(rows: pd.DataFrame) -> pd.DataFrame:
    """Return what another criterion gives instead of FPGM, all else alike, and whether that is more than noise."""
    keys = ["network", "allocation", "macs", "way", "epochs", "pictures"]
    found = []
    for setting, part in rows.groupby(keys, sort=False):
        by = {name: own.set_index("seed")["right"] for name, own in part.groupby("criterion", sort=False)}
        for name, own in by.items():
            if name == "fpgm" or "fpgm" not in by or not (both := own.index.intersection(by["fpgm"].index)).size:
                continue
            ours, theirs = (np.stack([unpacked(text) for text in side[both]]) for side in (own, by["fpgm"]))
            points, low, high = difference(ours, theirs)
            found.append(dict(zip(keys, setting, strict=True)) | {"criterion": name, "seeds": len(both)}
                         | {"points": points, "low": low, "high": high, "noise": low <= 0 <= high})  # fmt: skip
    return pd.DataFrame(found)


def in_grid(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the comparison; a repair alone trains on no pictures, whichever part measured it."""
    rows = rows.assign(pictures=rows["pictures"].where(rows["way"] != "repair", GRID))
    return rows[(rows["pictures"] == GRID) & rows["way"].isin(WAYS)]


def counted(versus: pd.DataFrame) -> dict[str, dict[str, int]]:
    """Return how many of each criterion's differences from FPGM are noise, and how many are better or worse."""
    found = {}
    for criterion, each in versus.groupby("criterion"):
        sure = each[~each["noise"]]
        found[criterion] = {
            "comparisons": len(each),
            "noise": int(each["noise"].sum()),
            "better": int((sure["points"] > 0).sum()),
            "worse": int((sure["points"] < 0).sum()),
        }
    return found


def pairs(rows: pd.DataFrame) -> pd.DataFrame:
    """Return what one way gives beside another, trained as long with the same seeds; whether it is more than noise."""
    longest = rows[(rows["criterion"] == BEST[0]) & (rows["allocation"] == BEST[1]) & (rows["pictures"] > GRID)]
    found = []
    for (network, macs), part in longest.groupby(["network", "macs"], sort=False):
        whole = part[(part["epochs"] * part["pictures"]).eq(3 * part["pictures"].max()) | ~part["way"].isin(TRAINED)]
        by = {way: own.set_index("seed")["right"] for way, own in whole.groupby("way", sort=False)}
        for way, beside in PAIRS:
            if way not in by or beside not in by or not (both := by[way].index.intersection(by[beside].index)).size:
                continue
            ours, theirs = (np.stack([unpacked(text) for text in by[side][both]]) for side in (way, beside))
            points, low, high = difference(ours, theirs)
            found.append({"network": network, "macs": macs, "way": way, "beside": beside, "seeds": len(both)}
                         | {"points": points, "low": low, "high": high, "noise": low <= 0 <= high})  # fmt: skip
    return pd.DataFrame(found)


def float32(rows: pd.DataFrame) -> dict:
    """Return what float32 gives beside bfloat16, all else alike: the mean over cells, and how many are noise."""
    keys = [name for name in Cell.__dataclass_fields__ if name != "amp"]
    both = rows[rows["amp"] == "off"].merge(rows[rows["precision"] == "bfloat16"], on=keys, suffixes=("", "_half"))
    if both.empty:
        return {"cells": 0}
    ours, theirs = (np.stack([unpacked(text) for text in both[name]]) for name in ("right", "right_half"))
    each = [difference(own[None], other[None]) for own, other in zip(ours, theirs, strict=True)]
    points, low, high = difference(ours, theirs)
    noise = sum(below <= 0 <= above for _, below, above in each)
    return {
        "cells": len(both),
        "points": round(points, 3),
        "low": round(low, 3),
        "high": round(high, 3),
        "noise": noise,
    }


def soonest(rows: pd.DataFrame, share: float = 0.99) -> pd.DataFrame:
    """Return the least seconds after which a way's mean test accuracy is a share of the unpruned network's."""
    found = []
    for (network, macs, way), part in rows.groupby(["network", "macs", "way"], sort=False):
        goal = share * part["unpruned"].iloc[0]
        means = part.groupby(["epochs", "pictures"])[["processor_seconds", "test"]].mean()
        there = means[means["test"] >= goal]["processor_seconds"].min()
        found.append({"network": network, "macs": macs, "way": way, "seconds": there, "longest": means["test"].max()})
    return pd.DataFrame(found)


@cache
def restore() -> None:
    """Write the files of cells, plans and tables that the stored result has, where they are missing."""
    if PLANS.exists():
        with ZipFile(PLANS) as made:
            for name in made.namelist():
                if not (path := OUTPUT / name).exists():
                    path.parent.mkdir(parents=True, exist_ok=True)
                    _write(path, made.read(name).decode())
    stored = RESULTS / "recovery.parquet"
    rows = pd.read_parquet(stored).drop(columns="unpruned") if stored.exists() else pd.DataFrame()
    for row in rows.to_dict("records"):
        row["right"] = row["right"].hex()
        path = _path_of(row)
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            _write(path, json.dumps(row))


def unpruned(network: str) -> str:
    """Return the unpruned network's answers."""
    path = OUTPUT / network / "unpruned.json"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(path, json.dumps(answers(graph(network).model)))
    return json.loads(path.read_text())


def collect() -> None:
    """Write what was measured so far: Parquet, JSON, LaTeX."""
    found = [json.loads(path.read_text()) for path in sorted(OUTPUT.glob("*/*.json")) if path.name.count("-") > 2]
    everything = pd.DataFrame(found)
    everything["unpruned"] = [float(unpacked(unpruned(network)).mean()) for network in everything["network"]]
    rows = everything[everything["amp"] == ""]
    means, versus, beside = table(rows), against_fpgm(in_grid(rows)), pairs(rows)
    quick = soonest(rows[(rows["criterion"] == BEST[0]) & (rows["allocation"] == BEST[1]) & (rows["pictures"] != GRID)])
    head = fl.studies.record(
        "recovery",
        title="What each step of recovery is worth, over criteria, allocations, budgets and seconds",
        command="python tests/benchmarks/recovery.py",
        machine=fl.studies.machine(threads=1),
    )  # before files change
    beside_half = float32(everything)
    everything["right"] = [bytes.fromhex(text) for text in everything["right"]]
    everything.to_parquet(RESULTS / "recovery.parquet", index=False)
    made = sorted([*OUTPUT.glob("*/plans/*.json"), *OUTPUT.glob("*/latency.json")])
    with ZipFile(PLANS, "w", ZIP_DEFLATED) as plans:
        for path in made:
            plans.writestr(ZipInfo(str(path.relative_to(OUTPUT))), path.read_text(), ZIP_DEFLATED)
    wanted = {cell.path for part in PARTS.values() for cell in part(NETWORKS, range(3))}
    summary = {
        **head,
        "what": "points: test accuracy beside the unpruned network's; 95 % intervals over seeds and test pictures, "
        "with one seed over pictures alone. Plans that were not kept were made anew where the study went on on another "
        "processor: allocated ones then differ a little between seeds. Trained in bfloat16 or, where a "
        "processor has no kernels for it, in float32: the column precision of the Parquet",
        "measured": f"{len(wanted & set(map(_path_of, found)))} of {len(wanted)} cells",
        "unpruned": {name: float(unpacked(unpruned(name)).mean()) for name in rows["network"].unique()},
        "ways": json.loads(means.round(4).to_json(orient="records")),
        "ways against each other": json.loads(beside.round(3).to_json(orient="records")),
        "seconds to 99 % of the unpruned accuracy": json.loads(quick.round(4).to_json(orient="records")),
        "float32 instead of bfloat16": beside_half,
        "instead of fpgm, counted": counted(versus),
        "instead of fpgm": json.loads(versus.round(3).to_json(orient="records")),
    }
    _write(RESULTS / "recovery.json", json.dumps(summary, indent=1) + "\n")
    _write(RESULTS / "recovery.tex", latex(table(in_grid(rows))))
    figure = fl.figures.points_over_seconds(shown(rows), panel="network")
    fl.figures.save_figure(figure, None, RESULTS / "recovery_seconds", of="data/results/recovery.parquet")
    print(summary["measured"])


def shown(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the figure: one budget of each network, every length of each way."""
    part = rows[(rows["criterion"] == BEST[0]) & (rows["allocation"] == BEST[1]) & (rows["pictures"] != GRID)]
    part = part[[pair in SHOWN for pair in zip(part["network"], part["macs"], strict=True)]]
    part = part.sort_values("way", key=lambda ways: ways.map(list(WAYS_THERE).index), kind="stable")
    return part.assign(
        points=100 * (part["test"] - part["unpruned"]),
        seconds=part["processor_seconds"].where(part["way"] != "as cut", 0.0),
        setting=part["epochs"] * part["pictures"],
        network=part["network"] + part["macs"].map(", {:.0%} of the MACs".format),
    )


def _path_of(row: dict) -> Path:
    return Cell(**{name: row[name] for name in Cell.__dataclass_fields__}).path


def latex(means: pd.DataFrame) -> str:
    """Return the grid as a table for a paper: points beside the unpruned network, with half the interval."""
    means = means.assign(
        cell=[f"${row.points:+.1f} \\pm {(row.high - row.low) / 2:.1f}$" for row in means.itertuples()],
        budget=[f"{100 * macs:.0f}\\,\\%" for macs in means["macs"]],
    )
    index = ["network", "budget", "allocation", "criterion"]
    wide = means.pivot_table("cell", index, "way", aggfunc="first", sort=False).fillna("--")
    return wide[[way for way in WAYS if way in wide]].reset_index().to_latex(
        index=False, escape=False, column_format="llll" + "r" * wide.shape[1], longtable=True,
        caption="Points of test accuracy beside the unpruned network, with 95\\,\\% intervals over seeds and pictures.",
        label="tab:recovery",
    ).replace("_", "\\_").replace("bn\\\\_", "bn\\_")  # fmt: skip


def grid(networks: tuple[str, ...], seeds: range) -> Iterator[Cell]:
    """Yield the comparison's cells, the first seed of all before the second."""
    for seed, network, macs, allocation, way, criterion in product(
        seeds, networks, BUDGETS, ALLOCATIONS, WAYS, CRITERIA
    ):
        yield Cell(network, way, criterion, allocation, macs, seed)


def target(networks: tuple[str, ...], seeds: range) -> Iterator[Cell]:
    """Yield the cells at the budgets that papers name, trained on all pictures."""
    for seed, (network, macs), way in product(seeds, TARGETS, ("repair", "repair, distilled")):
        if network in networks:
            yield Cell(network, way, *BEST, macs, seed, pictures=len(task().train))


def seconds(networks: tuple[str, ...], seeds: range) -> Iterator[Cell]:
    """Yield one budget's ways of recovery, trainings in several lengths, each a whole schedule."""
    every = len(task().train)
    for seed, (network, macs) in product(seeds, TARGETS):
        if network not in networks or (network, macs) not in SHOWN:
            continue
        for way in ("as cut", "recalibrated", "repair"):
            yield Cell(network, way, *BEST, macs, seed, pictures=every)
        for way in ("repair, distilled, features", "soft pruning", "gradual, repaired and distilled"):
            yield Cell(network, way, *BEST, macs, seed, pictures=every)
        yield Cell(network, "gradual, repaired", *BEST, macs, seed, 5, every)
        for epochs in (1, 3, 15):  # 15: what the unpruned network got
            yield Cell(network, "from scratch", *BEST, macs, seed, epochs, every)
        for epochs, share in LENGTHS:
            for way in ("trained", "repair, trained", "repair, distilled"):
                yield Cell(network, way, *BEST, macs, seed, epochs, round(share * every))


def precision(networks: tuple[str, ...], seeds: range) -> Iterator[Cell]:
    """Yield trained cells of one seed that the grid has in bfloat16, in float32."""
    for network, (allocation, macs), way, criterion in product(networks, FLOAT32, WAYS, CRITERIA):
        cell = Cell(network, way, criterion, allocation, macs, 0, amp="off")
        if cell.training and network == "resnet20-fashion" and 0 in seeds:
            yield cell


BEST = ("reconstruction", "allocated")  # the criterion and the allocation of which most is left after repair
TARGETS = (("resnet20-fashion", 0.5), ("vgg16-fashion", 0.35), ("resnet20-fashion", 0.35))
SHOWN = TARGETS[:2]
FLOAT32 = (("uniform", 0.7), ("allocated", 0.35))  # where bfloat16 is held against it
LENGTHS = ((1, 1 / 32), (1, 1 / 8), (1, 1 / 2), (1, 1), (3, 1))  # epochs, share of the training pictures in each
TRAINED = ("trained", "repair, trained", "repair, distilled", "repair, distilled, features", "soft pruning",
           "from scratch")  # fmt: skip
PAIRS = (
    ("repair, trained", "trained"),
    ("repair, distilled", "repair, trained"),
    ("repair, distilled, features", "repair, distilled"),
    ("gradual, repaired", "repair"),
    ("gradual, repaired and distilled", "repair, distilled"),
    ("from scratch", "trained"),
    ("soft pruning", "trained"),
    ("soft pruning", "repair, distilled"),
)
PARTS = {"target": target, "seconds": seconds, "grid": grid, "precision": precision}


def _write(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    part = path.with_suffix(f".{os.getpid()}.part")
    part.write_text(text)
    os.replace(part, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=list(PARTS))
    parser.add_argument("--network", choices=NETWORKS)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--collect", action="store_true")
    asked = parser.parse_args()
    networks = (asked.network,) if asked.network else NETWORKS
    restore()
    if not asked.collect:
        for name, part in PARTS.items():
            for cell in part(networks, range(asked.seeds)) if asked.part in (None, name) else ():
                row_of(cell)
    collect()


if __name__ == "__main__":
    main()
