"""The recipes of ARCHITECTURE.md do their work: each skeleton is taken out of the page and run as it stands there."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest
import torch
from matplotlib.figure import Figure
from torch import nn

import fpgmlab as fl
from fpgmlab.deployment import RUNTIMES
from fpgmlab.graph.tracing.labels import RULES
from tests.networks import busy

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "ARCHITECTURE.md").read_text()
BLOCKS = dict(re.findall(r"^```python # recipe: (\w+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))


@pytest.fixture(autouse=True)
def _tables_as_before() -> Iterator[None]:
    tables = [(table, dict(table)) for table in (RULES, RUNTIMES)]
    yield
    for table, before in tables:
        table.clear()
        table.update(before)


@pytest.fixture(scope="module")
def graph() -> fl.ChannelGraph:
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 3),
    )  # fmt: skip
    return fl.trace(busy(model), torch.zeros(1, 1, 8, 8))


@pytest.fixture
def recipe(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], ModuleType]:
    """Give what imports the skeleton that a test is called after, as the file that it is meant to be."""
    name = request.function.__name__.removeprefix("test_")
    path = tmp_path / f"recipe_{name}.py"
    path.write_text(BLOCKS[name])
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, path.stem, raising=False)
    return lambda: import_module(path.stem)


def test_each_recipe_has_a_skeleton_and_a_test():
    headings = re.findall(r"^### To add an? (?:traced )?(\w+)$", PAGE, re.MULTILINE)
    assert (
        headings == list(BLOCKS) == ["criterion", "extra", "task", "operation", "layer", "figure", "panel", "runtime"]
    )
    assert PAGE.count("```python") == len(BLOCKS)
    assert {f"test_{name}" for name in BLOCKS} <= set(globals())


def test_criterion(recipe: Callable[[], ModuleType], graph: fl.ChannelGraph):
    peak = recipe().Peak
    scores = fl.score(graph, peak(power=2.0))
    weight = graph.model[3].weight.detach()
    torch.testing.assert_close(scores["3"], weight.double().flatten(1).abs().amax(1) ** 2)
    assert peak(power=2.0).label == "Peak(power=2)"
    plan = fl.Plan.uniform(graph, scores, 0.5, multiple=1)
    assert plan.removed["3"] == tuple(sorted(scores["3"].argsort()[:8].tolist()))
    assert fl.agreement(graph, plan) < 1e-5
    assert fl.prune(graph, plan)[3].out_channels == 8


def test_extra(recipe: Callable[[], ModuleType], task: fl.tasks.Classification):
    model = fl.models.build("resnet20", classes=3, channels=1, width=0.25)
    before = [p.detach().clone() for p in model.parameters()]
    clipping = recipe().Clipping
    fl.fit(model, task, lr=0.05, weight_decay=0.0, extras=[clipping(most=0.0)], progress=False)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    fl.fit(model, task, lr=0.05, weight_decay=0.0, extras=[clipping(most=1.0)], progress=False)
    assert not all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_task(recipe: Callable[[], ModuleType]):
    task = recipe().Brightness(torch.rand(96, 1, 8, 8), torch.rand(40, 1, 8, 8))
    model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 1))
    before = fl.evaluate(model, task)
    assert before["mse"] == pytest.approx(before["loss"], rel=1e-5)
    assert before["samples"] == 40
    fl.fit(model, task, 3, lr=0.1, batch_size=32, progress=False)
    assert fl.evaluate(model, task)["mse"] < 0.5 * before["mse"]
    graph = fl.trace(model, task.example_input)
    scores = fl.score(graph)
    frame = fl.sweep(graph, scores, task, progress=False).frame
    plan = fl.Plan.from_ratios(graph, scores, {"0": 0.5})
    with fl.simulate(graph, plan):
        masked = fl.evaluate(model, task)["loss"]
    (value,) = frame[(frame["kept"] == 4) & (frame["group"] == "0")]["value"]
    assert value == pytest.approx(masked, rel=1e-4)


class Waves(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 8, 3), nn.Conv2d(8, 2, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.second(torch.sinc(self.first(images)))


def test_operation(recipe: Callable[[], ModuleType]):
    model, example = busy(Waves()), torch.rand(2, 1, 8, 8)
    assert "enters 'sinc', which mixes or hides channels" in fl.trace(model, example)["first"].protected
    recipe()
    graph = fl.trace(model, example)
    assert graph["first"].protected is None
    plan = fl.Plan.from_ratios(graph, fl.score(graph), {"first": 0.5})
    assert fl.agreement(graph, plan) < 1e-5


def test_layer(recipe: Callable[[], ModuleType]):
    module = recipe()
    net = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), module.Binary(8, 12), nn.ReLU(), nn.Conv2d(12, 3, 3))
    graph = fl.trace(net.eval(), torch.randn(1, 1, 8, 8), layers=module.LAYERS)
    plan = fl.Plan.uniform(graph, fl.score(graph, "fpgm"), 0.5, multiple=1)
    assert plan.kept == {"0": 4, "2": 6, "4": 3}
    assert fl.agreement(graph, plan) < 1e-5
    assert fl.prune(graph, plan)[2].outputs == 6


@pytest.mark.parametrize("venue", fl.figures.VENUES)
def test_figure(recipe: Callable[[], ModuleType], graph: fl.ChannelGraph, venue: str, tmp_path: Path):
    frame = fl.Plan.uniform(graph, fl.score(graph), 0.5, multiple=1).frame(graph)
    figure = recipe().kept_channels(frame, style=fl.figures.style(venue))
    assert isinstance(figure, Figure)
    (axis,) = figure.axes
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("channel group, in network order", "channels that stay")
    assert axis.patches[0].get_data().values.tolist() == [4, 8, 3]
    fl.figures.save_figure(figure, frame, tmp_path / "figure")
    assert (tmp_path / "figure.png").stat().st_size > 1000


def test_panel(recipe: Callable[[], ModuleType], graph: fl.ChannelGraph):
    panel = recipe().RatioPanel(graph, fl.score(graph), ratio=0.5)
    assert panel.payload["kept"] == {"0": 4, "3": 8, "7": 3}
    panel.ratio = 0.0
    assert panel.payload["macs"] == graph.cost().macs
    assert "export default" in panel._esm
    panel.close()


def test_runtime(recipe: Callable[[], ModuleType], graph: fl.ChannelGraph):
    with pytest.raises(ValueError, match="runtime must be one of 'onnxruntime', 'torch', .*; not 'bfloat16'"):
        fl.latency_table(graph, runtime="bfloat16")
    recipe()
    table = fl.latency_table(graph, runtime="bfloat16", variants=2, rounds=1, progress=False)
    assert table.runtime == "bfloat16"
    assert table.frame["layer"].unique().tolist() == ["0", "3", "7"]
    assert (table.frame["ms"] > 0).all()
    assert table.latency(graph) > 0
