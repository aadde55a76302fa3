"""What a task cannot give is told before anything is measured, with what it can; so is a network that says nothing."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

import fpgmlab as fl
from fpgmlab.sensitivity.checks import silence
from fpgmlab.sensitivity.curves.metrics import METRICS
from fpgmlab.sensitivity.curves.task_metrics import TaskMetric
from fpgmlab.tasks.detection.metric import BoxPrecision
from tests.sensitivity.small import small_task
from tests.tasks.detection.made import ANCHORS, HEAD_OPTIONS, Given, Squares, TinyDetector, sure

OPTIONS = {"ratios": [0.5], "batch_size": 2, "progress": False}


@pytest.fixture
def task() -> fl.tasks.Detection:
    head = fl.tasks.YOLOv5Head(ANCHORS, (4, 8), options=HEAD_OPTIONS)
    return fl.tasks.Detection(Squares(), Squares(4, seed=1), size=64, head=head)


def graph_of(task: fl.tasks.Detection, prepare: Callable[[nn.Module], None]) -> fl.ChannelGraph:
    model = TinyDetector().eval()
    prepare(model)
    return fl.trace(model, task.example_input)


def quiet(model: nn.Module) -> None:
    """Make the network sure that there is nothing."""
    for head in model.heads:
        nn.init.constant_(head.bias, -12.0)


def sweep(graph: fl.ChannelGraph, task: object, **options: object) -> fl.Curves:
    return fl.sweep(graph, fl.score(graph, "l2"), task, **{**OPTIONS, **options})


# Metrics that cannot be had ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["accuracy", "agreement", "kl"])
def test_a_detector_has_no_logits(task: fl.tasks.Detection, tmp_path: Path, name: str):
    graph, seen = graph_of(task, sure), []
    words = (
        rf"^Detection cannot give the metric '{name}': .* logits, one tensor \(samples, classes\); the network gives a "
        r"tuple\. It can give: 'map50', 'map', 'agreement_map50', 'agreement_map', 'loss', 'change'\. These need no "
        r"labels: metrics=\['agreement_map50', 'agreement_map', 'change'\]$"
    )
    with pytest.raises(ValueError, match=words):
        sweep(graph, task, metrics=["change", name], path=tmp_path, on_update=seen.append)
    assert not seen
    # What it offers it gives, and the folder is free for another sweep.
    curves = sweep(graph, task, metrics=["loss", "map", "change"], path=tmp_path)
    assert curves.complete
    assert set(curves.base) == {"loss", "map", "change"}


def test_offers_leave_out_what_needs_what_is_not_there():
    class OnlyPictures:
        """Has neither loss nor labels."""

        val = small_task().val

        @staticmethod
        def val_batches(batch_size: int, max_samples: int):
            return iter([(small_task().val.tensors[0][:max_samples], None)])

    graph = fl.trace(nn.Sequential(nn.Conv2d(1, 4, 3), nn.Conv2d(4, 3, 3)).eval(), torch.rand(1, 1, 8, 8))
    words = r"cannot give the metric 'agreement': .* gives one of \(1, 3, 4, 4\)\. It can give: 'change'\. These need"
    with pytest.raises(ValueError, match=words):
        sweep(graph, OnlyPictures(), metrics="agreement", max_samples=4, batch_size=4)
    assert sweep(graph, OnlyPictures(), metrics="change", max_samples=4, batch_size=4).complete


def test_an_own_metric_that_is_broken_is_not_offered(task: fl.tasks.Detection):
    broken = fl.tasks.Detection(task.train, task.val, size=64, head=task.head, metrics={"broken": lambda: "no metric"})
    with pytest.raises(ValueError, match=r"It can give: 'map50', 'map'"):
        sweep(graph_of(task, sure), broken, metrics="kl")


# A network that says nothing -----------------------------------------------------------------------------------------


def test_agreement_with_a_network_that_detects_nothing_is_warned_of(task: fl.tasks.Detection, tmp_path: Path):
    graph, order = graph_of(task, quiet), []
    with pytest.warns(RuntimeWarning, match=r"^on 4 samples .* for 'agreement_map50' .* metrics='change'") as caught:
        curves = sweep(graph, task, path=tmp_path, on_update=lambda curves: order.append(len(caught)))
    assert order == [1, 1]  # before the first batch
    assert caught[0].filename == __file__
    frame = curves.frame
    assert (frame[frame["metric"] == "agreement_map50"]["value"] == 0).all()
    sweep(graph, task, path=tmp_path)  # complete: only read; warnings are errors
    sweep(graph, task, metrics=["change", "map50"])  # ask for nothing that is not there
    sweep(graph, task, stop=lambda: True)


def test_nothing_is_said_of_a_network_that_detects_something(task: fl.tasks.Detection):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sweep(graph_of(task, sure), task)


def detections(*scores: float) -> list[Tensor]:
    """Return a picture for each score, with one detection of it; to `Given` the picture is its own output."""
    return [torch.tensor([[[10.0, 10, 30, 30, score, 0]]]) for score in scores]


def test_one_answer_in_any_sample_is_enough():
    kinds = {"a": BoxPrecision(Given(), "map50", True), "b": BoxPrecision(Given(), "map", True)}
    chosen = [TaskMetric(name, metric) for name, metric in kinds.items()]
    model, asked = nn.Identity(), []

    def stop() -> bool:
        asked.append(1)
        return False

    assert silence(model, iter(detections(0.1, 0.2, 0.24)), chosen, stop).startswith("on 3 samples")
    assert "for 'a' and 'b' (a detector" in silence(model, iter(detections(0.1)), chosen, None)
    assert len(asked) == 3
    left = iter(detections(0.1, 0.26, 0.1))
    assert silence(model, left, chosen, stop) is None
    assert len(list(left)) == 1  # read no further
    labelled = TaskMetric("c", BoxPrecision(Given(), "map50", False))
    assert silence(model, iter(detections(0.1)), [labelled, *METRICS.values()], None) is None


def test_tasks_without_metrics_of_agreement_are_not_looked_at_twice():
    passes = []
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(144, 3)).eval()
    graph = fl.trace(model, torch.rand(1, 1, 8, 8))
    images = torch.rand(4, 1, 8, 8)
    task = fl.tasks.Classification(
        TensorDataset(images, torch.arange(4) % 3), TensorDataset(images, torch.arange(4) % 3), 3
    )
    handle = model.register_forward_hook(lambda *args: passes.append(1))
    sweep(graph, task, batch_size=4, surgery=True, metrics=["agreement", "loss"])
    handle.remove()
    assert len(passes) <= 5  # two at first, the recording of the batch, and one for each point
