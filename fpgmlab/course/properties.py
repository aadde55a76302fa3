"""Answers that can be many things, held against what was asked of them; a hint comes back where one does not meet it.

The network of these exercises is the course's ResNet-20.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from numbers import Integral

import torch

from fpgmlab.allocation.degradation import predicted
from fpgmlab.course.answers import Unfit
from fpgmlab.graph import ChannelGraph
from fpgmlab.models.zoo import load
from fpgmlab.plans import Plan
from fpgmlab.sensitivity import shipped
from fpgmlab.surgery import trace

NETWORK = "resnet20-fashion"
STREAMS = ("conv1", "layer2.0.conv2", "layer3.0.conv2")  # the channels that run along a whole stage


def half_of_the_work(answer: object) -> str | None:
    """Half of the MACs at most, and no group loses more than a third of its channels."""
    plan = _plan(answer)
    left, most = _share(plan), max(plan.ratios.values(), default=0.0)
    if left > 0.5:
        return f"The plan keeps {left:.1%} of the MACs; graph.cost(plan) tells"
    return f"A group loses {most:.0%} of its channels, which is more than a third" if most > 1 / 3 else None


def better_by_hand(answer: object) -> str | None:
    """Seven tenths of the MACs at most, the streams whole, and less predicted loss than chapter 4's plan by hand."""
    plan = _plan(answer)
    touched = [name for name in STREAMS if plan.removed.get(name)]
    if touched:
        return f"{', '.join(touched)} shall keep all channels"
    if _share(plan) > 0.7:
        return f"The plan keeps {_share(plan):.1%} of the MACs"
    curves = shipped(NETWORK)
    try:
        loss = predicted(_graph(), curves, plan, "accuracy")["predicted"].sum()
    except ValueError as error:  # it goes further than was measured
        return f"{error}"
    hand = Plan.from_ratios(_graph(), curves.scores, BY_HAND)
    limit = predicted(_graph(), curves, hand, "accuracy")["predicted"].sum()
    if loss < limit:
        return None
    return f"It is predicted to lose {100 * loss:.2f} points, the chapter's {100 * limit:.2f}. Where is it light?"


BY_HAND = {
    **{"layer1.1.conv1": 0.6, "layer1.2.conv1": 0.5, "layer2.1.conv1": 0.4, "layer2.2.conv1": 0.4},
    **{"layer3.0.conv1": 0.1, "layer3.1.conv1": 0.3, "layer3.2.conv1": 0.5},
}  # as in chapter 4


def nineteen_pixels(answer: object) -> str | None:
    """Three dilations of 3×3 layers that see 19 pixels across, all of them."""
    if not isinstance(answer, (list, tuple)) or len(answer) != 3 or not all(isinstance(d, Integral) for d in answer):
        raise Unfit(f"This asks for three whole numbers in brackets, not {answer!r}")
    if min(answer) < 1:
        return "A dilation is 1 at least"
    seen = {0}
    for dilation in answer:
        seen = {place + step for place in seen for step in (-dilation, 0, dilation)}
    across = max(seen) - min(seen) + 1
    if across != 19:
        return f"These see {across} pixels across"
    return f"{across - len(seen)} of the 19 pixels are never looked at" if len(seen) < across else None


PROPERTIES: dict[str, Callable[[object], str | None]] = {
    "00-3": half_of_the_work,
    "04-1": better_by_hand,
    "08-2": nineteen_pixels,
}


def _plan(answer: object) -> Plan:
    if not isinstance(answer, Plan):
        raise Unfit(f"This asks for a plan (fl.Plan), not {type(answer).__name__}")
    try:
        _graph().check(answer)
    except ValueError as error:
        raise Unfit(f"This asks for a plan of {NETWORK!r}: {error}") from None
    return answer


def _share(plan: Plan) -> float:
    return _graph().cost(plan).macs / _graph().cost().macs


@cache
def _graph() -> ChannelGraph:
    return trace(load(NETWORK), torch.zeros(1, 1, 28, 28))
