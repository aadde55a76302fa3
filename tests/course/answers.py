"""The right answers to the course's exercises, by their definitions, and wrong ones. They stand nowhere else."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import pairwise, product

import numpy as np
import pandas as pd
import torch
from scipy.integrate import quad
from scipy.optimize import minimize_scalar
from scipy.stats import norm, sem, t
from torch import nn

import fpgmlab as fl
from fpgmlab.course.properties import BY_HAND

GREY = torch.zeros(1, 1, 28, 28)


@cache
def graph(name: str = "resnet20-fashion") -> fl.ChannelGraph:
    return fl.trace(fl.models.load(name), GREY)


def saved_macs() -> int:
    plan = fl.Plan.from_ratios(graph(), fl.score(graph(), "random"), {"layer2.1.conv1": 0.5})
    small = fl.prune(graph(), plan)
    return graph().cost().macs - fl.trace(small, GREY).cost().macs


def many_producers() -> list[str]:
    return [name for name, group in graph().items() if len(group.producers) > 1]


def plan_of_half() -> fl.Plan:
    return fl.Plan.uniform(graph(), fl.score(graph(), "l1"), 0.32, multiple=1)


def median_of_five() -> float:
    points = np.array([0, 1, 3, 4, 22])
    return float(minimize_scalar(lambda x: np.abs(points - x).sum(), bounds=(0, 22), method="bounded").x)


def first_three() -> list[int]:
    points = graph().model.conv1.weight.detach().flatten(1).double()
    return torch.cdist(points, points).sum(1).argsort()[:3].tolist()


def smallest_share() -> str:
    norms = {name: graph().model.get_submodule(name).weight.detach().flatten(1).norm(dim=1) for name in graph()}
    return min(norms, key=lambda name: float(norms[name].min() / norms[name].mean()))


def steps_to_zero() -> int:
    gamma, steps = 0.5, 0
    while gamma > 1e-9:
        gamma, steps = gamma - 0.1 * 0.01, steps + 1
    return steps


def macs_of_dead_channels() -> float:
    sparse = graph("vgg16-fashion-sparse")
    plan = fl.Plan.global_threshold(sparse, fl.score(sparse, "bn_gamma"), 0.4)
    return fl.trace(fl.prune(sparse, plan), GREY).cost().macs / sparse.cost().macs


def without_the_constant() -> float:
    """A 1×1 layer with the weight -2 on a channel that is 0.3 everywhere, and without it."""
    channel = torch.relu(torch.zeros(4) * torch.randn(4) + 0.3)
    return float((0 - -2 * channel).mean())


def masked_through_a_batch_norm() -> float:
    layer = nn.BatchNorm1d(1, eps=0.0).eval()
    layer.weight.data.fill_(0.8)
    layer.bias.data.fill_(0.1)
    layer.running_mean.fill_(-1.5)
    layer.running_var.fill_(4.0)
    return float(torch.relu(layer(torch.zeros(1, 1))).detach())


def loses_most_for_good() -> str:
    frame = fl.sensitivity.shipped("resnet20-fashion", repaired=True).frame
    half = frame[(frame["metric"] == "agreement") & (frame["ratio"] == 0.5)]
    return half.set_index("group")["value"].idxmin()


def better_plan() -> fl.Plan:
    taken = {"layer1.0.conv1": 0.6, "layer1.1.conv1": 0.3, "layer1.2.conv1": 0.6, "layer2.0.conv1": 0.15}
    taken |= {"layer2.1.conv1": 0.1, "layer2.2.conv1": 0.4, "layer3.2.conv1": 0.5}
    return fl.Plan.from_ratios(graph(), fl.sensitivity.shipped("resnet20-fashion").scores, taken)


def losing_by_parameters() -> list[str]:
    curves = fl.sensitivity.shipped("resnet20-fashion")
    plan = fl.allocate(graph(), curves, params=0.7, multiple=1)
    return [name for name, gone in plan.removed.items() if gone]


def taken_over() -> list[float]:
    """The weight and the constant with which A alone gives what 0.5 A - 2 B gave, where B is 3 A - 1."""
    a = np.linspace(-1, 1, 9)
    return np.polyfit(a, 0.5 * a - 2 * (3 * a - 1), 1).tolist()


def ridge() -> float:
    read, gave = np.array([1.0, 2.0]), np.array([2.0, 6.0])
    return float(minimize_scalar(lambda w: ((read * w - gave) ** 2).sum() + 5 * (w - 1) ** 2).x)


def pictures_needed() -> int:
    unknowns = nn.Conv2d(64, 1, 3).weight.numel() + 1
    return next(count for count in range(1, 100) if count * 7 * 7 > unknowns)


def overlap() -> float:
    cells = {box: {(x, y) for x in range(*box) for y in range(10)} for box in ((0, 10), (4, 14))}
    first, second = cells.values()
    return len(first & second) / len(first | second)


def candidates() -> int:
    model = fl.models.load("yolov5n-trees").eval()
    with torch.no_grad():
        maps = model(torch.zeros(1, 3, 320, 320))
    numbers = 4 + 1 + len(model.names)  # a box, how sure it is, and the classes
    return sum(part.numel() // numbers for part in maps)


def separable_share() -> float:
    kinds = ("depthwise_separable", "plain")
    made = [fl.models.convolution(kind, 64, 128, kernel_size=5, bias=False) for kind in kinds]
    separable, plain = (sum(p.numel() for p in layer.parameters()) for layer in made)
    return separable / plain


def dilations() -> tuple[int, ...]:
    def seen(three: tuple[int, ...]) -> set[int]:
        return {sum(d * step for d, step in zip(three, steps, strict=True)) for steps in product((-1, 0, 1), repeat=3)}

    return next(t for t in product(range(1, 10), repeat=3) if sum(t) == 9 and seen(t) == set(range(-9, 10)))


def go_at_a_time() -> int:
    layers = [fl.models.convolution("shuffled", 128, 128, kernel_size=1, groups=8) for _ in range(3)]
    grouped = fl.trace(nn.Sequential(nn.Conv2d(3, 128, 1), *layers, nn.Conv2d(128, 2, 1)), torch.zeros(1, 3, 4, 4))
    group = grouped["2.conv"]
    return group.step * 128 // group.channels


def int8_of_a_half() -> float:
    constant, rest = 1 / 3, 2 / 3
    return (constant + rest / 4 / 4) / (constant + rest / 4)


def worth_stopping_at() -> list[int]:
    time = {count: -(-count // 16) for count in range(1, 49)}
    return [few for few, more in pairwise(time) if time[few] < time[more]]


def of_the_best_of_ten() -> float:
    density = quad(lambda x: x * 10 * norm.pdf(x) * norm.cdf(x) ** 9, -9, 9)[0]
    return 0.2 * density


def twice_the_standard_error() -> float:
    return 2 * (2 * 0.15**2 / 3) ** 0.5


def half_width_of_three() -> float:
    low, high = t.interval(0.95, 2, np.mean([92.1, 92.4, 92.9]), sem([92.1, 92.4, 92.9]))
    return (high - low) / 2


def told_apart_on_ten_thousand() -> float:
    return 100 * 2 * (2 * 0.93 * 0.07 / 10_000) ** 0.5


RIGHT: dict[str, Callable[[], object]] = {
    "00-1": saved_macs,
    "00-2": many_producers,
    "00-3": plan_of_half,
    "01-1": median_of_five,
    "01-2": first_three,
    "01-3": smallest_share,
    "02-1": steps_to_zero,
    "02-2": macs_of_dead_channels,
    "02-3": without_the_constant,
    "03-1": masked_through_a_batch_norm,
    "03-2": lambda: 500 * 3**2,
    "03-3": loses_most_for_good,
    "04-1": better_plan,
    "04-2": losing_by_parameters,
    "06-1": taken_over,
    "06-2": ridge,
    "06-3": pictures_needed,
    "07-1": overlap,
    "07-2": candidates,
    "08-1": separable_share,
    "08-2": dilations,
    "08-3": go_at_a_time,
    "09-1": int8_of_a_half,
    "09-2": worth_stopping_at,
    "10-1": lambda: "val",
    "10-2": of_the_best_of_ten,
    "10-3": twice_the_standard_error,
    "11-1": lambda: [93.4, 0.2],
    "11-2": half_width_of_three,
    "11-3": told_apart_on_ten_thousand,
}
# Those of the right kind, some of them near; the answers of all other exercises are tried as well.
WRONG: dict[str, list[object]] = {
    "00-1": [903168, 1806335, 1806336.5],
    "00-2": [["conv1"], ["conv1", "layer2.0.conv2", "layer3.0.conv2", "fc"]],
    "00-3": [
        lambda: fl.Plan.uniform(graph(), fl.score(graph(), "l1"), 0.1, multiple=1),
        lambda: fl.Plan.uniform(graph(), fl.score(graph(), "l1"), 0.5, multiple=1),
        lambda: fl.Plan({}, {}),
        lambda: fl.Plan.uniform(graph("vgg16-fashion-sparse"), fl.score(graph("vgg16-fashion-sparse"), "l1"), 0.3),
    ],
    "01-1": [6, 2.97, 3.03],
    "01-2": [[10, 13, 5], [14, 15, 3], [0, 1]],
    "01-3": ["fc", "layer2.1.conv1"],
    "02-1": [50, 499],
    "02-2": [0.6, 0.66, 0.37],
    "02-3": [-0.6, 0, 0.3],
    "03-1": [0, -0.5, 0.1],
    "03-2": [1500, 4501],
    "03-3": ["conv1", "layer3.0.conv2"],
    "04-1": [
        lambda: fl.Plan.from_ratios(graph(), fl.sensitivity.shipped("resnet20-fashion").scores, BY_HAND),
        lambda: fl.Plan.uniform(graph(), fl.score(graph(), "l1"), macs=0.7, multiple=1),
        lambda: fl.Plan.from_ratios(graph(), fl.score(graph(), "l1"), {"layer1.0.conv1": 0.5}),
        lambda: fl.Plan.from_ratios(
            graph(), fl.score(graph(), "l1"), dict.fromkeys(("layer1.0.conv1", *BY_HAND), 0.95), multiple=1
        ),
    ],
    "04-2": [["layer3.0.conv1", "layer3.1.conv1", "layer3.2.conv1"], ["conv1"]],
    "06-1": [[-6, 2], [-5.5, -2], [2, -5.5], [-5.5]],
    "06-2": [2.8, 1.4, 1.87],
    "06-3": [2, 11, 13],
    "07-1": [0.6, 0.4],
    "07-2": [2100, 6299],
    "08-1": [0.04, 0.1189, 0.05],
    "08-2": [(3, 3, 3), (2, 3, 4), (1, 2, 4), (0, 4, 5), (1, 8), "1, 3, 5", (4.5, 3.5, 1.0)],
    "08-3": [8, 16, 128],
    "09-1": [0.375, 0.5, 0.625],
    "09-2": [[8, 16, 24, 32, 40], [16, 32, 48], [16]],
    "10-1": ["test", "train", "whatever"],
    "10-2": [0, 0.2, 0.4],
    "10-3": [0.173, 0.122, 0.3],
    "11-1": [[93.42, 0.24], [93.4167, 0.2382], [93, 0.2], [93.4]],
    "11-2": [0.2333, 0.4572, 0.404],
    "11-3": [0.5103, 0.3608, 0.26],
}
EMPTY = [
    None,
    ...,
    "",
    "  ",
    [],
    (),
    {},
    float("nan"),
    np.nan,
    (..., ...),
    [None],
    np.array([]),
    torch.tensor([]),
    np.array([np.nan]),
    pd.DataFrame(),
]
ODD = [
    object(),
    "something",
    12345,
    -1.5,
    [1, 2, 3],
    {"a": 1},
    True,
    pd.DataFrame({"a": [1]}),
    float("inf"),
    1j,
    iter([1]),
]
