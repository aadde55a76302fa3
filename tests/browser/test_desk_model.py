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
from fpgmlab.plans.rounding import allowed_kept, kept_channels
from fpgmlab.widgets.common.bundle import script
from fpgmlab.widgets.desk.payload import desk_payload
from tests.allocation.made import branches, curves_of, rising
from tests.deployment.tables import made_up

STATIC = Path(fl.__file__).parent / "widgets" / "desk" / "static"
NETWORKS: dict[str, Callable[[], fl.ChannelGraph]] = {
    "branches": branches,
    "resnet20": lambda: fl.trace(fl.models.build("resnet20", classes=10, channels=1), torch.randn(1, 1, 28, 28)),
    "regnet": lambda: fl.trace(torchvision.models.regnet_x_400mf(num_classes=5).eval(), torch.randn(1, 3, 64, 64)),
    "densenet": lambda: fl.trace(torchvision.models.densenet121(num_classes=5).eval(), torch.randn(1, 3, 64, 64)),
}
MODEL = """([desk, plans, multiple]) => {
  const model = deskModel(desk), metric = desk.metrics[0];
  return plans.map(({ kept, ratios }) => ({
    ...model.cost(kept, {}), ...model.predict(metric, kept), byGroup: null,
    snapped: ratios.map((ratio, g) => model.snapped(g, ratio, multiple)),
    allowed: kept.map((_, g) => model.allowed(g, multiple)),
  }));
}"""


@pytest.fixture(scope="module")
def page(browser: object) -> object:
    page = browser.new_page()
    page.add_script_tag(content=script(STATIC / "model.js"))
    yield page
    page.close()


@pytest.mark.parametrize("name", [*list(NETWORKS)[:3], pytest.param("densenet", marks=pytest.mark.slow)])
@pytest.mark.parametrize("multiple", [4, "runtime"])
def test_the_browser_computes_what_the_kernel_does(page: object, name: str, multiple: int | str):
    torch.manual_seed(0)
    graph = NETWORKS[name]()
    drops = rising(graph, 0)
    some = {group: points for i, (group, points) in enumerate(drops.items()) if i % 5 != 4}  # not all were measured
    curves = curves_of(graph, some, "accuracy")
    table = made_up(graph, seed=1)
    desk = desk_payload(graph, curves, curves.scores, table=table)
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
        expected = forecast(graph, curves, plan, "accuracy")
        assert each["value"] == pytest.approx(expected.value, abs=1e-6)
        assert each["half"] == pytest.approx(expected.half, abs=1e-6)
        assert [list(graph)[g] for g in each["unknown"]] == list(expected.unknown)
        for group, ratio, snapped, allowed in zip(
            graph.values(), ratios, each["snapped"], each["allowed"], strict=True
        ):
            assert snapped == kept_channels(group, ratio, multiple)
            assert allowed == (list(allowed_kept(group, multiple)) if group.protected is None else [group.channels])
