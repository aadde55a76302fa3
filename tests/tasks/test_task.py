"""What a task is: an object with the parts that `Task` names, nothing inherited, inputs of any form."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics import Metric
from torchmetrics.classification import MulticlassAccuracy

import fpgmlab as fl
from fpgmlab.common.batches import examples_in, on_device
from tests.conftest import blobs


class Plain:
    """A task that inherits nothing and has nothing that may be left out.

    Parameters
    ----------
    form : callable
        Makes the network's inputs of images, (batch, 1, 8, 8).
    """

    metric_name = "accuracy"
    higher_is_better = True

    def __init__(self, form: Callable[[Tensor], object]) -> None:
        self.form = form
        self.train, self.val = blobs(48), blobs(24, seed=1)

    def train_batches(self, batch_size: int, seed: int) -> Iterator[tuple[object, object]]:
        order = torch.randperm(len(self.train), generator=torch.Generator().manual_seed(seed))
        for part in order.split(batch_size):
            yield self.form(self.train.tensors[0][part]), self.train.tensors[1][part]

    def val_batches(self, batch_size: int, max_samples: int | None) -> Iterator[tuple[object, object]]:
        images, labels = (tensor[:max_samples] for tensor in self.val.tensors)
        for part in torch.arange(len(labels)).split(batch_size):
            yield self.form(images[part]), labels[part]

    def loss(self, outputs: Tensor, targets: Tensor, reduction: str = "mean") -> Tensor:
        return F.cross_entropy(outputs, targets, reduction=reduction)

    def metric(self) -> Metric:
        return MulticlassAccuracy(num_classes=3, average="micro")


class Net(nn.Module):
    """A network that takes one tensor; the others take the same picture in another form."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.last = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 3)

    def of(self, x: Tensor) -> Tensor:
        return self.last(torch.relu(self.norm(self.first(x))).mean((2, 3)))

    def forward(self, x: Tensor) -> Tensor:
        return self.of(x)


class Keywords(Net):
    def forward(self, *, image: Tensor, weight: Tensor) -> Tensor:
        return self.of(image * weight[:, None, None, None])


class Positional(Net):
    def forward(self, image: Tensor, weight: Tensor) -> Tensor:
        return self.of(image * weight[:, None, None, None])


class Pair(Net):
    def forward(self, pair: list[Tensor]) -> Tensor:
        return self.of(pair[0] * pair[1][:, None, None, None])


class ListOfPictures(Net):
    def forward(self, pictures: list[Tensor]) -> Tensor:
        return self.of(torch.stack(pictures))


FORMS: dict[str, tuple[type[Net], Callable[[Tensor], object]]] = {
    "tensor": (Net, lambda x: x),
    "dict": (Keywords, lambda x: {"image": x, "weight": torch.ones(len(x))}),
    "tuple": (Positional, lambda x: (x, torch.ones(len(x)))),
    "list": (ListOfPictures, lambda x: list(x)),
    "list of fields": (Pair, lambda x: [x, torch.ones(len(x))]),
}


@cache
def way_through(form: str) -> list[float]:
    """Evaluate, sweep, hold the sum against the whole, recalibrate and fit with inputs of one form; what came out."""
    kind, make = FORMS[form]
    torch.manual_seed(0)
    model, task = kind().eval(), Plain(make)
    example, _ = next(task.val_batches(2, 2))
    graph = fl.trace(model, example)
    found = list(fl.evaluate(model, task, batch_size=10).values())
    curves = fl.sweep(graph, fl.score(graph, "l1"), task, ratios=[0.5], batch_size=10, progress=False)
    assert curves.complete
    found += curves.frame["value"].tolist()
    assert found[1] == pytest.approx(curves.base["accuracy"])
    assert found[2] == 24
    plan = fl.Plan.uniform(graph, fl.score(graph, "l1"), 0.5, multiple=1)
    found += fl.additivity(graph, curves, plan, task, batch_size=10)["measured_so_far"].tolist()
    small = fl.prune(graph, plan)
    fl.recalibrate(small, task, batches=2, batch_size=12)
    found += small.norm.running_mean.tolist()
    extras = [fl.Distill(model)]
    history = fl.fit(small, task, epochs=1, batch_size=16, lr=0.1, extras=extras, progress=False)
    return found + history[["train_loss", "loss", "accuracy"]].iloc[0].tolist()


@pytest.mark.parametrize("form", [form for form in FORMS if form != "tensor"])
def test_a_task_that_inherits_nothing_goes_all_the_way_with_inputs_of_any_form(form: str):
    assert way_through(form) == pytest.approx(way_through("tensor"), rel=1e-4, abs=1e-5)


@pytest.mark.parametrize(
    ("inputs", "targets", "count"),
    [
        (torch.zeros(5, 2), None, 5),
        ({"a": torch.zeros(5, 2), "b": torch.zeros(())}, None, 5),
        ((torch.zeros(5, 2), torch.zeros(5)), torch.zeros(5), 5),
        ([torch.zeros(3, 4, 4)] * 5, torch.zeros(5), 5),
        ([torch.zeros(5, 2), torch.zeros(5)], torch.zeros(5), 5),
        ([torch.zeros(3, 4, 4)] * 5, [{}] * 5, 5),
        ({"pictures": [torch.zeros(3, 4, 4)] * 5}, torch.zeros(5), 5),
        (["a text"] * 5, torch.zeros(5), 5),
    ],
)
def test_examples_in_a_batch_are_counted(inputs: object, targets: object, count: int):
    assert examples_in(inputs, targets) == count


@pytest.mark.parametrize("inputs", [torch.zeros(()), {}, [], "text"])
def test_what_is_no_batch_is_refused(inputs: object):
    with pytest.raises(TypeError, match=r"must be a tensor \(examples, ...\), a list .*; got a"):
        examples_in(inputs)


def test_tensors_go_where_they_shall_and_the_rest_stays():
    batch = {"a": [torch.zeros(2, 3, 4, 4), "text"], "b": (torch.zeros(3), None)}
    moved = on_device(batch, torch.device("meta"))
    assert moved["a"][0].device.type == moved["b"][0].device.type == "meta"
    assert (moved["a"][1], moved["b"][1]) == ("text", None)
    laid_out = on_device(batch, torch.device("cpu"), channels_last=True)
    assert laid_out["a"][0].is_contiguous(memory_format=torch.channels_last)
    assert batch["a"][0].is_contiguous()
