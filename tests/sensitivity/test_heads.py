"""Sweeps of whole attention heads: points and refits against cut networks and numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import fpgmlab as fl
from fpgmlab.sensitivity.replay.points import points
from fpgmlab.sensitivity.replay.refits import Refits
from tests.heads import heads, inputs_of_head

NAME = "attention.qkv"


def test_refits_of_heads_are_what_numpy_finds():
    graph, images, read = heads(), torch.randn(20, 1, 12, 12), []
    proj = graph.model.attention.proj
    handle = proj.register_forward_hook(lambda _, args, out: read.append(args[0].detach()))
    graph.model(images)
    handle.remove()
    rows, w = read[0].double().flatten(0, 1).numpy(), proj.weight.detach().double().numpy().T
    grid = [p for p in points(graph, fl.score(graph, "random"), (0.25, 0.5, 0.75), 1) if p.group == NAME]
    assert [point.kept for point in grid] == [3, 2, 1]
    refits = Refits(graph, grid, [images])
    assert refits.read()
    for point in grid:
        gone = sorted(i for head in point.plan.removed[NAME] for i in inputs_of_head(head))
        stay = np.setdiff1d(np.arange(len(w)), gone)
        centred = rows - rows.mean(0)
        root = np.sqrt(1e-3 * np.square(centred).sum(0).mean()) * np.eye(len(stay))
        target = np.vstack([centred @ w, root @ w[stay]])
        solved = np.linalg.lstsq(np.vstack([centred[:, stay], root]), target, rcond=None)[0]
        found = refits.tensors(point)["attention.proj.weight"].numpy().T
        np.testing.assert_allclose(found[stay], solved, rtol=1e-3, atol=1e-5)
        assert (found[gone] == 0).all()


@pytest.mark.parametrize("repair", [False, True])
def test_a_sweep_of_heads_is_that_of_cut_networks(repair: bool):
    graph, generator = heads(), torch.Generator().manual_seed(0)
    images, labels = torch.randn(512, 1, 12, 12, generator=generator), torch.randint(3, (512,), generator=generator)
    data = torch.utils.data.TensorDataset(images, labels)
    task = fl.tasks.Classification(train=data, val=data, classes=3)
    scores = fl.score(graph)
    curves = fl.sweep(graph, scores, task, ratios=(0.25, 0.5), multiple=1, progress=False, repair=repair)
    frame = curves.frame[(curves.frame["group"] == NAME) & (curves.frame["metric"] == "loss")]
    assert frame["kept"].tolist() == [4, 3, 2]
    if not repair:
        for kept, value in zip(frame["kept"][1:], frame["value"][1:], strict=True):
            plan = fl.Plan.from_ratios(graph, scores, {NAME: 1 - kept / 4}, multiple=1)
            with torch.no_grad():
                loss = torch.nn.functional.cross_entropy(fl.prune(graph, plan)(images), labels)
            assert value == pytest.approx(float(loss), abs=1e-5)
