"""Scores of channels that stand for several filters: whole attention heads, against numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy.spatial.distance import cdist

import fpgmlab as fl
from fpgmlab.criteria import Reconstruction
from tests.heads import HEADS, filters_of_head, heads, inputs_of_head

NAME = "attention.qkv"


@pytest.mark.parametrize("criterion", ["fpgm", "l1"])
def test_a_head_scores_the_mean_of_its_filters(criterion: str):
    graph = heads()
    v = graph.model.attention.qkv.weight.detach().double().numpy()
    each = cdist(v, v).sum(1) if criterion == "fpgm" else np.abs(v).sum(1)
    found = fl.score(graph, criterion)[NAME]
    assert found.shape == (HEADS,)
    assert_allclose(found, [each[filters_of_head(head)].mean() for head in range(HEADS)], rtol=1e-6)


@pytest.mark.parametrize("count", [48, 4])
def test_reconstruction_takes_whole_heads(count: int):
    """Few pictures are many tokens: heads are not taken apart, as positions behind a flattening are."""
    graph = heads()
    images, proj, read = torch.randn(count, 1, 12, 12), graph.model.attention.proj, []
    handle = proj.register_forward_hook(lambda _, args, out: read.append(args[0].detach().flatten(0, 1)))
    graph.model(images)
    handle.remove()
    rows, w = read[0].double().numpy(), proj.weight.detach().double().numpy().T
    rows = rows - rows.mean(0)
    held = np.concatenate([rows, (1e-3 * np.square(rows).sum(0).mean()) ** 0.5 * np.eye(rows.shape[1])])
    scores = fl.score(graph, Reconstruction([images], samples=count))[NAME]
    gone: list[int] = []
    for head in scores.argsort(stable=True).tolist():
        gone += inputs_of_head(head)
        stay = np.setdiff1d(np.arange(rows.shape[1]), gone)
        best = np.linalg.lstsq(held[:, stay], held @ w, rcond=None)[0]
        lost = np.square(held @ w - held[:, stay] @ best).sum() / np.square(rows @ w).sum()
        assert_allclose(float(scores[head]), lost, rtol=1e-4)
