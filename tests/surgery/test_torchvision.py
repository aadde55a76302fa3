"""Every classification network of torchvision: simulation against surgery, costs against counting.

The quick suite takes the smallest of each kind; a larger one repeats its blocks. All are in the slow suite.
"""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
import torchvision
from torch.utils.flop_counter import FlopCounterMode

import fpgmlab as fl
from tests.surgery.made import build

NAMES = torchvision.models.list_models(module=torchvision.models)
# The smallest of each kind of block: with and without batch norm, bottlenecks, grouped convolutions, fused ones, ...
SMALLEST = {
    *("alexnet", "convnext_tiny", "densenet121", "efficientnet_b0", "efficientnet_v2_s", "googlenet", "inception_v3"),
    *("maxvit_t", "mnasnet0_5", "mobilenet_v2", "mobilenet_v3_small", "regnet_x_400mf", "regnet_y_400mf", "resnet18"),
    *("resnet50", "resnext50_32x4d", "shufflenet_v2_x0_5", "squeezenet1_1", "swin_t", "swin_v2_t", "vit_b_32"),
}


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    # Threads that wait for each other make small networks ten times slower on a machine that does other work, too.
    threads, fast = torch.get_num_threads(), torch.backends.mha.get_fastpath_enabled()
    torch.set_num_threads(1)
    torch.backends.mha.set_fastpath_enabled(False)  # it hides its projections from the counter
    yield
    torch.set_num_threads(threads)
    torch.backends.mha.set_fastpath_enabled(fast)


@pytest.fixture(scope="module")
def table(request: pytest.FixtureRequest) -> Iterator[list[str]]:
    """Lines that are printed when all networks are done."""
    lines: list[str] = []
    yield lines
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        print(f"\n{'network':20} groups  free  agreement  why groups are out", *lines, sep="\n")


@contextmanager
def counted_macs() -> Iterator[Counter]:
    """Count MACs of convolutions and linear layers, by torch's own counter of operations."""
    macs: Counter = Counter()
    with FlopCounterMode(display=False) as counter:
        yield macs
    counts = counter.get_flop_counts()["Global"]
    macs["macs"] = sum(n for op, n in counts.items() if str(op) in {"aten.convolution", "aten.mm", "aten.addmm"}) // 2


def reasons(graph: fl.ChannelGraph) -> str:
    """Return why groups are protected, the most frequent first."""
    counts = Counter(g.protected.split(" in '")[0] for g in graph.values() if g.protected)
    return "; ".join(f"{count}x {reason}" for reason, count in counts.most_common())


def family(name: str) -> str:
    return torchvision.models.get_model_builder(name).__module__


KNOWN = {family(name) for name in (*SMALLEST, "vgg11")}  # AlexNet stands for VGG: plain, large linear layers
LARGER = {name for name in NAMES if name not in SMALLEST and family(name) in KNOWN}  # a new family is quick's


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow if n in LARGER else ()) for n in NAMES])
def test_network(name: str, table: list[str]):
    model, x = build(name)
    graph = fl.trace(model, x)
    free = [g for g in graph.values() if g.protected is None]
    assert free
    plan = fl.Plan.uniform(graph, fl.score(graph, "random"), 0.3, multiple=1)
    assert all(plan.removed[g.name] for g in free if g.channels / g.step > 1.7)

    small = fl.prune(graph, plan)
    with torch.no_grad():
        with counted_macs() as counted:
            pruned = small(x)
        with fl.simulate(graph, plan):
            simulated = model(x)
    agreement = float((simulated - pruned).abs().max() / pruned.abs().max())
    table.append(f"{name:20} {len(graph):6} {len(free):5}  {agreement:9.1e}  {reasons(graph)}")
    assert agreement <= 1e-4

    cost = graph.cost(plan)
    assert cost.params == sum(p.numel() for p in small.parameters()) < graph.cost().params
    assert cost.bytes == sum(t.numel() * t.element_size() for t in small.state_dict().values())
    assert cost.macs == counted["macs"] < graph.cost().macs
    del small

    empty = fl.Plan(plan.widths, {})
    same = fl.prune(graph, empty).state_dict()
    assert all(torch.equal(tensor, same[key]) for key, tensor in model.state_dict().items())
    assert graph.cost(empty) == graph.cost()
    del model, graph, same
    gc.collect()


def test_all_networks_are_here():
    assert len(NAMES) >= 80
    assert set(NAMES) >= SMALLEST
