"""A network that is not the one of the task is told of before it is run."""

from __future__ import annotations

import copy
import re
import warnings
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import nn

import fpgmlab as fl
from fpgmlab.models.boxes import Decoded
from fpgmlab.tasks import Detection, YOLOv5Head
from tests.tasks.detection.made import Squares


def detector(*names: str, scale: float = 1.0) -> nn.Module:
    """Return a small YOLOv5 with anchors of another scale."""
    torch.manual_seed(0)
    model = fl.models.yolov5("n", classes=names or 2, width=0.25)
    model.model[-1].anchors.mul_(scale)
    return model.eval()


@pytest.fixture
def task() -> Detection:
    return Detection(Squares(), Squares(4, seed=1), size=64, augment=None)  # of red and green


def swept(model: nn.Module, task: Detection, **options: object) -> fl.Curves:
    graph = fl.trace(model, task.example_input)
    return fl.sweep(graph, fl.score(graph, "l2"), task, ratios=[0.5], max_samples=1, progress=False, **options)


def halved(model: nn.Module, task: Detection) -> nn.Module:
    graph = fl.trace(model, task.example_input)
    return fl.prune(graph, fl.Plan.uniform(graph, fl.score(graph, "l2"), 0.5, multiple=1))


USES = {
    "evaluate": fl.evaluate,
    "fit": lambda model, task: fl.fit(model, task, progress=False),
    "sweep": swept,
    "pruned": lambda model, task: fl.evaluate(halved(model, task), task),
    "parallel": lambda model, task: fl.evaluate(nn.DataParallel(model), task),
    "decoded": lambda model, task: fl.evaluate(Decoded(model), task),
    "gradually": lambda model, task: fl.prune_gradually(model, task, target=0.5, progress=False),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_anchors_of_its_own_need_the_networks_head(task: Detection, use: Callable):
    said = r"anchors are \(6 x 7\.8, .* those of the task's head \(10 x 13, .*head=fl\.tasks\.YOLOv5Head\.of\(model\)"
    with pytest.raises(ValueError, match=said):
        use(detector(scale=0.6), task)


def test_with_its_own_head_a_network_is_judged(task: Detection):
    model = detector(scale=0.6)
    own = replace(task, head=YOLOv5Head.of(model), metrics={})
    assert fl.evaluate(model, own)["samples"] == fl.evaluate(halved(model, own), own)["samples"] == 4
    with pytest.raises(ValueError, match=r"YOLOv5Head\.of\(model\)"):
        fl.evaluate(detector(), own)


def test_half_precision_rounds_anchors(task: Detection):
    model = detector(scale=0.61)
    own = replace(task, head=YOLOv5Head.of(model), metrics={})
    for dtype in (torch.float16, torch.bfloat16):
        rounded = copy.deepcopy(model).to(dtype)
        assert rounded.anchors.float().tolist() != model.anchors.tolist()
        own.check_network(rounded)


LABELLED = {name: use for name, use in USES.items() if name != "sweep"}


@pytest.mark.parametrize("use", LABELLED.values(), ids=LABELLED)
def test_the_same_classes_in_another_order_are_told(task: Detection, use: Callable):
    said = "network's classes are 'green', 'red', the task's 'red', 'green', in another order.*"
    with pytest.raises(ValueError, match=said + re.escape("fl.models.yolov5(weights=..., classes=['red', 'green'])")):
        use(detector("green", "red"), task)


def test_one_class_in_another_place_is_enough(task: Detection):
    with pytest.raises(ValueError, match="in another order: 'red' would be taken"):
        fl.evaluate(detector("blue", "Red"), task)


def test_a_sweep_by_agreement_asks_for_no_order(task: Detection):
    with pytest.warns(RuntimeWarning, match="no answer that counts"):  # the network is untrained
        assert swept(detector("green", "red"), task).complete
    with pytest.raises(ValueError, match="in another order"):
        swept(detector("green", "red"), task, metrics=["map50"])


def test_other_names_are_told_of_once(task: Detection):
    model = detector("tree", "shrub")
    with pytest.warns(UserWarning, match="'tree', 'shrub', the task's 'red', 'green': taken for the same") as told:
        fl.evaluate(model, task)
    assert told[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fl.evaluate(model, task)


@pytest.mark.parametrize("names", [("red", "green"), (" Red", "GREEN"), ("0", "1"), ()])
def test_the_same_names_and_none_pass(task: Detection, names: tuple[str, ...]):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        task.check_network(detector(*names))
        task.check_network(nn.Conv2d(3, 4, 1))  # says nothing of itself


def test_another_number_of_classes_is_told_before_anything_is_read(task: Detection, monkeypatch: pytest.MonkeyPatch):
    def never(*_: object) -> None:
        raise AssertionError("read")

    monkeypatch.setattr(Squares, "__getitem__", never)
    with pytest.raises(
        ValueError, match=r"the network has 3 classes, the task 2: load it .*classes=\['red', 'green'\]"
    ):
        fl.fit(detector("a", "b", "c"), task, progress=False)
