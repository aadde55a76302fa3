"""Differences over draws and pictures: against scipy's paired t-test, and the study's own formula."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.stats import t, ttest_1samp, ttest_rel
from torch import Tensor
from torchmetrics.classification import MulticlassF1Score

from fpgmlab.sensitivity.curves.draws import over_draws
from fpgmlab.sensitivity.curves.metrics import METRICS
from fpgmlab.sensitivity.curves.task_metrics import TaskMetric

LOSS, ACCURACY = METRICS["loss"], METRICS["accuracy"]
PARTS = (40, 40, 20)


def noted(values: Tensor) -> list[list[Tensor]]:
    """Return values (draws, pictures) as they are noted: part by part."""
    return [list(draw.split(list(PARTS))) for draw in values]


def test_one_draw_is_the_paired_t_test():
    ours, theirs = torch.rand(1, 100), torch.rand(1, 100)
    found = over_draws(LOSS, noted(ours), noted(theirs), PARTS)
    wanted = ttest_rel(ours[0].double(), theirs[0].double())
    assert found == pytest.approx((float((ours - theirs).mean()), *wanted.confidence_interval()), abs=1e-6)


def test_where_pictures_do_not_differ_draws_alone_count():
    gaps = torch.tensor([0.1, 0.3, 0.2])
    theirs = torch.rand(3, 100)
    found = over_draws(LOSS, noted(theirs + gaps[:, None]), noted(theirs), PARTS)
    wanted = ttest_1samp(gaps.double(), 0.0).confidence_interval()
    assert found == pytest.approx((0.2, *wanted), abs=1e-5)


def test_draws_and_pictures_are_both_samples():
    ours, theirs = torch.rand(3, 100), torch.rand(3, 100)
    each = (ours.double() - theirs.double()).numpy()
    parts = each.mean(0).var(ddof=1) / 100, each.mean(1).var(ddof=1) / 3  # by picture, by draw
    freedom = sum(parts) ** 2 / (parts[0] ** 2 / 99 + parts[1] ** 2 / 2)  # Satterthwaite
    half = t.ppf(0.975, freedom) * math.sqrt(sum(parts))
    found = over_draws(LOSS, noted(ours), noted(theirs), PARTS)
    assert found == pytest.approx((each.mean(), each.mean() - half, each.mean() + half), abs=1e-6)


def test_no_difference_in_a_few_right_answers_is_not_taken_for_certain():
    right = (torch.rand(2, 100) < 0.9).float()
    value, low, high = over_draws(ACCURACY, noted(right), noted(right), PARTS)
    assert value == 0
    assert low == pytest.approx(-high)
    assert 0.01 < high < 0.03
    values = torch.rand(2, 100)
    assert over_draws(LOSS, noted(values), noted(values), PARTS) == (0, 0, 0)


def test_the_interval_holds_as_often_as_it_says():
    generator = np.random.default_rng(0)
    held = []
    for _ in range(400):
        draw, picture = generator.normal(size=(4, 1)), generator.normal(size=(1, 100))
        each = 0.5 + 0.05 * draw + 0.5 * picture + generator.normal(size=(4, 100)) * 0.3
        _, low, high = over_draws(LOSS, noted(torch.from_numpy(each)), noted(torch.zeros(4, 100)), PARTS)
        held.append(low <= 0.5 <= high)
    assert 0.92 < np.mean(held) <= 1


def test_a_metric_that_is_no_mean_has_the_jackknifes_interval_and_wide_ones_add_up():
    metric = TaskMetric("f1", MulticlassF1Score(3))
    targets = torch.randint(3, (100,))

    def states(outputs: Tensor) -> list[bytes]:
        bounds = np.cumsum([0, *PARTS])
        return [metric.reader(None, outputs[a:b], targets[a:b])(outputs[a:b]) for a, b in pairwise(bounds)]

    ours, theirs = ([states(torch.randn(100, 3)) for _ in range(2)] for _ in range(2))
    sums = metric.between(ours[0], theirs[0], PARTS)
    value, low, high = sums.interval()
    wanted = (value - sums.reference, low - sums.reference, high - sums.reference)
    assert over_draws(metric, ours[:1], theirs[:1], PARTS) == pytest.approx(wanted, abs=1e-9)
    both = [metric.between(a, b, PARTS) for a, b in zip(ours, theirs, strict=True)]
    gaps = [each.mean - each.reference for each in both]
    assert over_draws(metric, ours, theirs, PARTS)[0] == pytest.approx(np.mean(gaps))
    few = over_draws(metric, [ours[0][:2]], [theirs[0][:2]], PARTS[:2])
    assert few[1:] == (-math.inf, math.inf)
