"""Differences of two ways over several draws, on the same pictures: draws and pictures are both samples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor

from fpgmlab.sensitivity.curves.metrics import Metric, Record, SampleMetric


def over_draws(
    metric: Metric, ours: Sequence[Sequence[Record]], theirs: Sequence[Sequence[Record]], samples: Sequence[int]
) -> tuple[float, float, float]:
    """Return the mean difference of a metric, ours less theirs, and the ends of its 95 % interval.

    Parameters
    ----------
    metric : Metric
    ours, theirs : sequence
        For each draw what the metric noted of a network, part by part of the pictures; as many draws on both sides, the
        same pictures everywhere.
    samples : sequence of int
        In each part.

    Returns
    -------
    tuple of float
        The ends are infinite where the metric is no mean over samples and there are fewer than three parts.

    Notes
    -----
    The variance of the mean is that of the draws' differences over their number, plus that of the pictures' (of each
    the mean over the draws) over theirs; the quantile is Student's, with Satterthwaite's degrees of freedom. Of one
    draw nothing is known of the first. Of values 0 and 1, half a picture of each of the four outcomes is added, as in
    `Paired.interval`; of a metric that is no mean over samples, the variance over pictures is the jackknife's, in the
    mean over the draws, which is rather too large.
    """
    from scipy.special import stdtrit

    if isinstance(metric, SampleMetric):
        each, variance, freedom = _of_samples(ours, theirs, metric.binary)
    else:
        each, variance, freedom = _of_states(metric, ours, theirs, samples)
    count = len(each)
    mean = math.fsum(each) / count
    by_draw = math.fsum((one - mean) ** 2 for one in each) / (count - 1) / count if count > 1 else 0.0
    total = variance + by_draw
    if not 0 < total < math.inf:
        return mean, mean - total, mean + total
    freedom = total**2 / (variance**2 / freedom + (by_draw**2 / (count - 1) if count > 1 else 0.0))
    half = float(stdtrit(freedom, 0.975)) * math.sqrt(total)
    return mean, mean - half, mean + half


def _of_samples(
    ours: Sequence[Sequence[Record]], theirs: Sequence[Sequence[Record]], binary: bool
) -> tuple[list[float], float, float]:
    """Return each draw's difference, the variance of their mean over pictures, and its degrees of freedom."""
    values = [torch.stack([torch.cat(cast("list[Tensor]", list(draw))) for draw in side]) for side in (ours, theirs)]
    each = values[0].double() - values[1].double()  # (draws, pictures)
    by_picture, count = each.mean(dim=0), each.shape[1]
    square = float(by_picture.square().sum())
    if binary:
        square, count = square + 1, count + 2
    if count < 2:
        return each.mean(dim=1).tolist(), math.inf, 1.0
    spread = max(0.0, square / count - (float(by_picture.sum()) / count) ** 2)
    return each.mean(dim=1).tolist(), spread / (count if binary else count - 1), count - 1.0


def _of_states(
    metric: Metric, ours: Sequence[Sequence[Record]], theirs: Sequence[Sequence[Record]], samples: Sequence[int]
) -> tuple[list[float], float, float]:
    from scipy.special import stdtrit

    each, variances, freedom = [], [], max(1.0, len(samples) - 1.0)
    for mine, others in zip(ours, theirs, strict=True):
        sums = metric.between(mine, others, samples)
        value, low, high = sums.interval(metric.binary)
        each.append(value - sums.reference)
        variances.append(((high - low) / 2 / float(stdtrit(freedom, 0.975))) ** 2)
    return each, math.fsum(variances) / len(variances), freedom
