"""The browser's arithmetic against the kernel's: costs, predictions and allowed channels of random plans."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision

import fpgmlab as fl
from fpgmlab.allocation.forecast import forecast
from fpgmlab.allocation.staircase import SAME
from fpgmlab.plans.rounding import allowed_kept, kept_channels, lowest
from fpgmlab.widgets.common.bundle import script
from fpgmlab.widgets.desk.payload import desk_payload
from fpgmlab.widgets.desk.steps import ends_of_steps
from tests.allocation.made import branches, curves_of, rising
from tests.deployment.tables import made_up
from tests.heads import heads

STATIC = Path(fl.__file__).parent / "widgets" / "desk" / "static"
NETWORKS: dict[str, Callable[[], fl.ChannelGraph]] = {
    "branches": branches,
    "heads": heads,
    "resnet20": lambda: fl.trace(fl.models.build("resnet20", classes=10, channels=1), torch.randn(1, 1, 28, 28)),
    "regnet": lambda: fl.trace(torchvision.models.regnet_x_400mf(num_classes=5).eval(), torch.randn(1, 3, 64, 64)),
    "densenet": lambda: fl.trace(torchvision.models.densenet121(num_classes=5).eval(), torch.randn(1, 3, 64, 64)),
}
MODEL = """([desk, plans, multiple]) => {
  const model = deskModel(desk), metric = desk.metrics[0];
  return plans.map(({ kept, ratios }) => ({
    ...model.cost(kept, {}), ...model.predict(metric, kept), byGroup: null,
    msByGroup: [...model.cost(kept, {}).msByGroup],
    wasted: kept.map((count, g) => model.wasted(g, count)),
    snapped: ratios.map((ratio, g) => model.snapped(g, ratio, multiple)),
    allowed: kept.map((_, g) => model.allowed(g, multiple)),
  }));
}"""


def milliseconds_by_group(graph: fl.ChannelGraph, table: fl.LatencyTable, plan: fl.Plan) -> list[float]:
    """Return the milliseconds of the layers that make each group's channels."""
    found, times = dict.fromkeys(graph, 0.0), table.by_layer(graph, plan)
    for layer in graph.layers:
        for name in graph:
            where = graph.channels_of(name)
            if layer.name in times and where.start <= layer.outputs[0] < where.stop:
                found[name] += times[layer.name]
    return list(found.values())


def wasted(
    graph: fl.ChannelGraph, scores: dict, table: fl.LatencyTable, steps: list[int] | None, name: str, kept: int
) -> int | None:
    """Return the most channels that take no more than so many in the layers that they touch, all other groups whole."""
    if steps is None or kept in steps:
        return None
    mine = set(range(*graph.channels_of(name).indices(10**9)))
    own = {layer.name for layer in graph.layers if mine & {*layer.inputs.tolist(), *layer.outputs.tolist()}}
    near = {n for n, layer in table.layers.items() if n in own or own & set(layer.beside)}

    def alone(count: int) -> float:
        gone = {name: lowest(graph[name], scores, graph[name].channels - count)} if count < graph[name].channels else {}
        plan = fl.Plan({other: group.channels for other, group in graph.items()}, gone)
        return sum(ms for layer, ms in table.by_layer(graph, plan).items() if layer in near)

    return max((more for more in steps if more > kept and alone(more) <= alone(kept) * SAME), default=None)


@pytest.fixture(scope="module")
def page(browser: object) -> object:
    page = browser.new_page()
    page.add_script_tag(content="\n".join(script(STATIC / name) for name in ("model.js", "measured.js", "words.js")))
    yield page
    page.close()


@pytest.mark.parametrize("name", [*list(NETWORKS)[:4], pytest.param("densenet", marks=pytest.mark.slow)])
@pytest.mark.parametrize("multiple", [4, "runtime"])
def test_the_browser_computes_what_the_kernel_does(page: object, name: str, multiple: int | str):
    torch.manual_seed(0)
    graph = NETWORKS[name]()
    drops = rising(graph, 0)
    some = {group: points for i, (group, points) in enumerate(drops.items()) if i % 5 != 4}  # not all were measured
    curves = curves_of(graph, some, "accuracy")
    table = made_up(graph, seed=1)
    desk = desk_payload(graph, curves, curves.scores, table=table)
    steps = ends_of_steps(graph, curves.scores, table)
    rng = np.random.default_rng(0)
    plans = []
    for _ in range(20):
        ratios = {n: float(rng.uniform(0, 1)) if g.protected is None else 0.0 for n, g in graph.items()}
        plans.append(fl.Plan.from_ratios(graph, curves.scores, ratios))
        plans[-1] = (plans[-1], list(ratios.values()))
    sent = [{"kept": list(plan.kept.values()), "ratios": ratios} for plan, ratios in plans]
    found = page.evaluate(MODEL, [json.loads(json.dumps(desk, allow_nan=False)), sent, multiple])
    for (plan, ratios), each in zip(plans, found, strict=True):
        cost = graph.cost(plan)
        assert (each["macs"], each["params"], each["bytes"]) == (cost.macs, cost.params, cost.bytes)
        assert each["latency"] == pytest.approx(table.latency(graph, plan), rel=1e-9)
        assert each["msByGroup"] == pytest.approx(milliseconds_by_group(graph, table, plan), abs=1e-9)
        if plan == plans[0][0]:
            for group, kept, better in list(zip(graph, plan.kept.values(), each["wasted"], strict=True))[:12]:
                assert better == wasted(graph, curves.scores, table, steps.get(group), group, kept), (group, kept)
        expected = forecast(graph, curves, plan, "accuracy")
        assert each["value"] == pytest.approx(expected.value, abs=1e-6)
        assert each["half"] == pytest.approx(expected.half, abs=1e-6)
        assert [list(graph)[g] for g in each["unknown"]] == list(expected.unknown)
        for group, ratio, snapped, allowed in zip(
            graph.values(), ratios, each["snapped"], each["allowed"], strict=True
        ):
            if group.protected is not None:
                assert (snapped, allowed) == (group.channels, [group.channels])
            elif multiple == "runtime" and len(steps[group.name]) > 1:  # the table's own
                assert allowed == steps[group.name]
                assert abs(snapped - (1 - ratio) * group.channels) == pytest.approx(
                    min(abs(kept - (1 - ratio) * group.channels) for kept in allowed)
                )
            else:
                assert snapped == kept_channels(group, ratio, multiple)
                assert allowed == list(allowed_kept(group, multiple))


def test_an_interval_that_is_not_known_is_infinite_here_as_well(page: object):
    curve = {"kept": [5, 4, 2], "drop": [0, 0.1, 0.3], "value": [0.9, 0.8, 0.6]}
    curve |= {"low": [0.9, None, None], "high": [0.9, None, None]}
    halves = page.evaluate("(curve) => [5, 4, 3, 2, 1].map((kept) => at(curve, kept).half)", curve)
    assert halves == [0, *[float("inf")] * 4]
    words = page.evaluate("(half) => wordsSpread({ share: true }, half)", float("inf"))
    assert words == "± unknown"


MEASURED = """([kept, name, told]) => {
  const found = measuredOf(kept, name, told);
  return [measuredFirst(found), found];
}"""
NONE = {"live": {}, "glimpse": {}, "results": {}}


def told(value: float, samples: int, stage: str = "as cut", kept: str = "4,3") -> dict:
    found = {"value": value, "low": value - 0.1, "high": None, "reference": 0.9}
    return {"kept": kept, "networks": {stage: {"accuracy": found}}, "samples": {stage: samples}, "of": 100}


def test_what_was_measured_of_a_plan_is_of_that_plan_only(page: object):
    def measured(**what: dict) -> list:
        return page.evaluate(MEASURED, [[4, 3], "accuracy", {**NONE, **what}])

    assert measured() == [None, {}]
    assert measured(live=told(0.7, 10, kept="4,2"), glimpse=told(0.7, 10, kept="43")) == [None, {}]
    first, found = measured(live=told(0.7, 10))
    assert (first, found["as cut"]) == (
        "as cut", {"value": 0.7, "low": 0.6, "high": None, "reference": 0.9, "samples": 10, "of": 100}
    )  # fmt: skip
    assert page.evaluate(MEASURED, [[4, 3], "loss", {**NONE, "live": told(0.7, 10)}]) == [None, {}]
    # What saw more pictures counts, wherever it comes from.
    results = {"4,3": {"pruned": {"accuracy": 0.5, "samples": 50, "intervals": {"accuracy": [0.4, 0.6]}}}}
    for live, value in ((told(0.7, 10), 0.5), (told(0.7, 60), 0.7)):
        assert measured(live=live, glimpse=told(0.1, 5), results=results)[1]["as cut"]["value"] == value
    results["4,3"]["repaired"] = {"accuracy": 0.8, "samples": 50}
    first, found = measured(live=told(0.7, 60), results=results)
    assert (first, found["repaired"]["low"]) == ("repaired", None)
