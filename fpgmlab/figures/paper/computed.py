"""Figures of what no stored study holds: computed at once, from the networks and curves that ship."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import torch

from fpgmlab.allocation.planner import allocate
from fpgmlab.criteria import score
from fpgmlab.criteria.comparison import removal_overlap
from fpgmlab.figures.agreement import rank_agreement
from fpgmlab.figures.detections import detections as draw_detections
from fpgmlab.figures.heat import sensitivity_map
from fpgmlab.figures.paper.item import Item, Request, computed
from fpgmlab.figures.paper.latex import code, sentence
from fpgmlab.figures.ratios import plan_ratios
from fpgmlab.figures.sensitivity import sensitivity_curves
from fpgmlab.models.zoo import load
from fpgmlab.plans import Plan
from fpgmlab.recovery.repairing import repair
from fpgmlab.sensitivity.curves.shipped import shipped
from fpgmlab.surgery import prune, trace
from fpgmlab.tasks import YOLOv5Head, fashion_mnist, trees
from fpgmlab.tasks.detection.outcomes import outcomes

BUDGET = 0.5  # of the MACs: of the plans whose ratios are shown
DETECTOR, SIZE, DETECTOR_BUDGET = "yolov5n-trees", 320, 0.56
CONFIDENCE = 0.25
CRITERIA = ("fpgm", "l2", "l1", "bn_gamma", "random")  # in the order of all figures
_NAMES = {"BNGamma": "BN gamma", "Random": "random"}


def ratios(request: Request) -> Item:
    graph = trace(load(request.network), fashion_mnist().example_input)
    scores = score(graph, "fpgm")
    plans = {"uniform": Plan.uniform(graph, scores, macs=BUDGET, multiple=1)}
    for name, repaired in (("allocated, as cut", False), ("allocated, repaired", True)):
        plans[name] = allocate(graph, shipped(request.network, repaired=repaired), macs=BUDGET, multiple=1)
    frames = {name: plan.frame(graph) for name, plan in plans.items()}
    figure = plan_ratios(frames, style=request.style("column"))
    caption = (
        f"What share of its channels each group of {request.network} loses at {BUDGET:.0%} of the MACs: the same of "
        "each, and allocated by sensitivities measured as cut and after repair."
    )
    data = pd.concat([frame.assign(plan=name) for name, frame in frames.items()], ignore_index=True)
    source = computed(f"the shipped network {code(request.network)} and its curves in {code('data/sweeps')}")
    return Item(figure, data, sentence(caption), source, "computed")


def sensitivity(request: Request) -> Item:
    curves, repaired = shipped(request.network), shipped(request.network, repaired=True)
    figure = sensitivity_curves(
        curves.frame, "accuracy", unmeasurable=curves.unmeasurable, repaired=repaired.frame, style=request.style("page")
    )
    caption = (
        f"Sensitivity of {request.network}: accuracy over the share of one group's channels that is removed, all else "
        "untouched; as cut, and with what reads the group repaired."
    )
    data = pd.concat([curves.frame.assign(stage="as cut"), repaired.frame.assign(stage="repaired")], ignore_index=True)
    return Item(figure, data, sentence(caption), _curves_of(request, "*", curves.frame), "computed", "page")


def sensitivity_cut(request: Request) -> Item:
    curves = shipped(request.network)
    figure = sensitivity_map(curves.frame, "accuracy", unmeasurable=curves.unmeasurable, style=request.style("column"))
    caption = (
        f"Sensitivity of {request.network} as cut: the accuracy that is lost by the share of one group's channels; "
        "hatched where nothing was measured."
    )
    return Item(figure, curves.frame, sentence(caption), _curves_of(request, "", curves.frame), "computed")


def _curves_of(request: Request, kind: str, frame: pd.DataFrame) -> str:
    samples = int(frame["samples"].max())
    file = code(f"data/sweeps/{request.network}{kind}.parquet")
    return f"Curves {file}: FPGM, {samples:,} pictures held out of the training data; 95\\,\\% intervals over pictures."


def agreement(request: Request) -> Item:
    graph = trace(load(request.network), fashion_mnist().example_input)
    frame = removal_overlap(graph, CRITERIA, ratio=0.4)
    shown = frame.assign(**{side: frame[side].replace(_NAMES) for side in ("first", "second")})
    figure = rank_agreement(shown, style=request.style("column"))
    caption = (
        f"Agreement of criteria in {request.network}: the share of the 40 % of each layer's channels that one removes "
        "which the other removes too."
    )
    return Item(figure, frame, sentence(caption), computed(f"the shipped network {code(request.network)}"), "computed")


def detections(request: Request) -> Item:
    model = load(DETECTOR)
    head = YOLOv5Head.of(model)
    task = replace(trees(size=SIZE), head=head)
    graph = trace(model, task.example_input)
    plan = Plan.uniform(graph, score(graph, "fpgm"), macs=DETECTOR_BUDGET, multiple=8)
    networks = {"unpruned": model, "as cut": prune(graph, plan)}
    networks["repaired"] = repair(graph, plan, task, samples=len(task.train), seed=0, progress=False)
    head = replace(head, iou=0.45)  # for the eye
    images, boxes = next(task.val_batches(len(task.val)))
    with torch.no_grad():
        right = [
            int(outcomes(one, labelled[labelled[:, 0] >= 0])[0].sum())
            for one, labelled in zip(head.detections(model.eval()(images), CONFIDENCE), boxes, strict=True)
        ]
        best = right.index(max(right))
        images, boxes = images[best : best + 1], boxes[best : best + 1]
        found = {name: head.detections(network.eval()(images), CONFIDENCE) for name, network in networks.items()}
    figure = draw_detections(images, found, boxes, style=request.style("page"))
    corners = ("left", "top", "right", "bottom")
    rows = [
        {"network": name, "picture": number, "score": float(sure)} | dict(zip(corners, box, strict=True))
        for name, pictures in found.items()
        for number, one in enumerate(pictures)
        for sure, box in zip(one["scores"], one["boxes"].tolist(), strict=True)
    ]
    share = graph.cost(plan).macs / graph.cost().macs
    caption = (
        f"Trees found by {DETECTOR} before pruning, as cut to {share:.0%} of its MACs by FPGM, and repaired without "
        f"labels, in the held-out picture in which the unpruned network finds the most; confidence from {CONFIDENCE:g}."
    )
    source = computed(f"the shipped network {code(DETECTOR)} and the pictures in {code('data/trees')}")
    return Item(figure, pd.DataFrame(rows), sentence(caption), source, "computed", "page")
