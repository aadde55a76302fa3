"""The plan as code: executed where nothing else is known, it is exactly the plan on the desk."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
import torchvision

import fpgmlab as fl
from fpgmlab.widgets import PlanEditor
from fpgmlab.widgets.desk.code import criterion_of, plan_code
from tests.allocation.made import branches, curves_of, rising
from tests.checks import random_plan


@pytest.fixture(scope="module")
def shipped() -> tuple[fl.ChannelGraph, fl.Curves]:
    graph = fl.trace(fl.models.load("resnet20-fashion"), torch.zeros(1, 1, 28, 28))
    return graph, fl.sensitivity.shipped("resnet20-fashion")


@pytest.fixture
def make(shipped: tuple) -> Iterator[Callable[..., PlanEditor]]:
    """Return a function that makes editors, which are closed at the end."""
    editors = []

    def make_(*task: object, **options: object) -> PlanEditor:
        editors.append(PlanEditor(*shipped, *task, **{"multiple": 1, "measure": None, **options}))
        return editors[-1]

    yield make_
    for editor in editors:
        editor.close()


def executed(code: str, **names: object) -> dict[str, object]:
    """Execute code up to where the network is pruned; return its names."""
    exec(code.partition("small = ")[0], names)
    return names


def plans_of(graph: fl.ChannelGraph, scores: dict) -> list[fl.Plan]:
    names = [name for name, group in graph.items() if group.protected is None]
    return [
        fl.Plan.uniform(graph, scores, 0.3, multiple=1),
        fl.Plan.uniform(graph, scores, 0.37, multiple=4),
        fl.Plan.from_ratios(graph, scores, {names[0]: 0.5}),
        fl.Plan.by_depth(graph, scores, multiple=1),
        random_plan(graph, 1),
        fl.Plan({name: group.channels for name, group in graph.items()}, {}),
    ]


def test_executed_it_is_the_plan(make: Callable):
    task = fl.tasks.fashion_mnist()
    editor = make(task)
    for plan in plans_of(editor._graph, dict(editor._scores)):
        editor.plan = plan
        code = editor.code()
        assert executed(code)["plan"] == plan
        assert max(map(len, code.splitlines())) <= 120
    compile(editor.code(), "cell", "exec")


def test_the_shortest_form(make: Callable, shipped: tuple):
    graph, _ = shipped
    editor = make(fl.tasks.fashion_mnist())
    scores = fl.score(graph)
    editor.plan = fl.Plan.uniform(graph, scores, 0.3, multiple=1)
    assert "plan = fl.Plan.uniform(graph, scores, 0.3, multiple=1)\n" in editor.code()
    editor.plan = fl.Plan.from_ratios(graph, scores, {"conv1": 0.3, "layer1.0.conv1": 0.5})
    assert 'plan = fl.Plan.from_ratios(graph, scores, {"conv1": 0.3, "layer1.0.conv1": 0.5})\n' in editor.code()
    assert 'model = fl.models.load("resnet20-fashion")\n' in editor.code()
    gone = editor.plan.removed["conv1"]
    editor.exchange("conv1", stay=gone[0], go=next(c for c in range(16) if c not in gone))
    words = '# Chosen by hand, or by another rule:\nplan = fl.Plan(plan.widths, plan.removed | {"conv1": '
    assert words in editor.code()
    assert executed(editor.code())["plan"] == editor.plan


@pytest.mark.parametrize("name", ["l1", "fpgm", "bn_gamma"])
def test_any_named_criterion_is_found(shipped: tuple, name: str):
    graph, _ = shipped
    found = criterion_of(graph, fl.score(graph, name))
    assert found is not None
    assert found[0] == name


@pytest.mark.parametrize("network", ["branches", "regnet"])
def test_scores_of_no_criterion_are_told_channel_by_channel(network: str):
    torch.manual_seed(0)
    made = {
        "branches": branches,
        "regnet": lambda: fl.trace(torchvision.models.regnet_y_400mf(num_classes=3).eval(), torch.randn(1, 3, 64, 64)),
    }
    graph = made[network]()
    scores = {name: torch.rand(group.channels) for name, group in graph.items() if group.protected is None}
    assert criterion_of(graph, scores) is None
    for plan in plans_of(graph, scores):
        assert executed(plan_code(graph, None, plan), fl=fl, graph=graph)["plan"] == plan


def test_what_is_not_known_is_said():
    graph = branches()
    editor = PlanEditor(graph, curves_of(graph, rising(graph, 0)), measure=None)
    code = editor.code()
    assert f"# model: as the desk had it, a {type(graph.model).__name__} with " in code
    assert "graph = fl.trace(model, example_input)" in code
    assert "repair" not in code
    names = executed(code, model=graph.model, example_input=graph.example_input)
    assert names["plan"] == editor.plan
    editor.close()


def test_what_was_measured_is_told(make: Callable):
    editor = make(fl.tasks.fashion_mnist().subset(train=64, val=100), measure="repaired")
    editor.plan = fl.Plan.uniform(editor._graph, editor._scores, 0.3, multiple=1)
    assert editor.wait(60)
    values = editor.measured.query("metric == 'accuracy'").set_index("network")["value"]
    code = editor.code()
    assert "task = fl.tasks.fashion_mnist()  # the desk had 64 and 100 of its pictures\n" in code
    assert f"small = fl.prune(graph, plan)  # accuracy {values['as cut']:.4g} (" in code
    assert f"small = fl.repair(graph, plan, task)  # accuracy {values['repaired']:.4g} (" in code
    assert code.endswith("print(fl.evaluate(small, task))\n")


def test_the_figure_has_what_was_measured(make: Callable):
    editor = make(fl.tasks.fashion_mnist().subset(train=64, val=100), measure="repaired")
    editor.plan = fl.Plan.uniform(editor._graph, editor._scores, 0.3, multiple=1)
    assert editor.wait(60)
    values = editor.measured.query("metric == 'accuracy'").set_index("network")["value"]
    words = editor.figure().axes[0].get_title(loc="left")
    assert f"accuracy repaired {values['repaired']:.1%} (" in words
    assert f"as cut {values['as cut']:.1%} (" in words
    assert "predicted" not in words


def test_the_browser_asks_for_it(make: Callable):
    editor, sent = make(), []
    editor.send = lambda content, buffers=None: sent.append(content)
    editor._handle_custom_msg({"do": "code"}, [])
    assert sent == [{"code": editor.code()}]
