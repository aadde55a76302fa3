"""A repair takes as many pictures as its layers need, and no more memory than it was given."""

from __future__ import annotations

import gc

import pytest
import torch
from torch import Tensor, nn

import fpgmlab as fl
from fpgmlab.common.inputs import parts_of
from fpgmlab.graph import enough_pictures, pictures
from tests.conftest import blobs


def maps(width: int = 64) -> nn.Sequential:
    """A detector's kind: it ends in a map, of 4 x 4 places a picture of 16 x 16."""
    return nn.Sequential(
        nn.Conv2d(3, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1, stride=4), nn.ReLU(),
        nn.Conv2d(width, 5, 1),
    ).eval()  # fmt: skip


def graph_of(model: nn.Module) -> fl.ChannelGraph:
    return fl.trace(model, torch.zeros(2, 3, 16, 16))


@pytest.mark.parametrize(
    ("width", "positions", "count"),
    [
        (64, None, 145),  # 9 x 64 weights and an offset, four equations each, 16 a picture
        (8, None, 32),  # 512 equations, 16 a picture
        (8, 4, 128),  # 4 of them are looked at
        (64, 1, 512),
    ],
)
def test_each_layer_gets_512_equations_and_four_for_an_unknown(width: int, positions: int | None, count: int):
    assert enough_pictures(graph_of(maps(width)), positions) == count


def test_of_a_layer_behind_a_pooling_one_there_is_one_equation_a_picture():
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 3)]
    assert enough_pictures(graph_of(nn.Sequential(*maps(8), *head).eval())) == 512


@pytest.mark.parametrize(("augment", "drawn"), [(None, 40), (fl.tasks.shift_and_flip(1), 512)])
def test_augmented_pictures_are_drawn_again_where_there_are_few(augment: object, drawn: int):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.Flatten(), nn.Linear(8 * 16, 3)).eval()
    task = fl.tasks.Classification(blobs(40), blobs(8, seed=1), classes=3, augment=augment)
    graph = fl.trace(model, task.example_input)
    plan = fl.Plan.uniform(graph, fl.score(graph, "fpgm"), 0.3, multiple=1)
    found = fl.repair(graph, plan, task, progress=False)  # does not warn either
    last = fl.recovery.repair_report(found).iloc[-1]
    assert last["equations"] == drawn  # one a picture
    same = fl.repair(graph, plan, task, samples=drawn, progress=False).state_dict()
    assert all(torch.equal(tensor, same[name]) for name, tensor in found.state_dict().items())


def test_parts_of_a_batch_are_the_batch():
    batch = {"x": torch.arange(22.0).reshape(11, 2), "flag": True}
    parts = parts_of(batch, 4)
    assert [len(part["x"]) for part in parts] == [3, 4, 4]
    assert torch.equal(torch.cat([part["x"] for part in parts]), batch["x"])
    assert [part for part in parts_of([torch.zeros(1)] * 5, 2)] == [[torch.zeros(1)] * n for n in (1, 2, 2)]
    assert parts_of(batch, 11) == [batch]


def job() -> tuple[fl.ChannelGraph, fl.Plan, list[Tensor]]:
    torch.manual_seed(0)
    graph = graph_of(maps(16))
    plan = fl.Plan.uniform(graph, fl.score(graph, "fpgm"), 0.5, multiple=1)
    return graph, plan, list(torch.randn(96, 3, 16, 16).split(48))


def test_large_batches_go_through_in_parts(monkeypatch: pytest.MonkeyPatch):
    graph, plan, batches = job()
    each = 2 * 16 * 16 * 16 * 4  # a convolution's map and what the ReLU makes of it
    monkeypatch.setattr(pictures, "PASS", 8.5 * each)
    sizes = []
    graph.model[0].register_forward_pre_hook(lambda module, args: sizes.append(len(args[0])))
    found = fl.repair(graph, plan, batches, samples=96, progress=False)
    assert max(sizes) == 8
    monkeypatch.undo()
    parts = [part for batch in batches for part in batch.split(8)]
    expected = fl.repair(graph, plan, parts, samples=96, progress=False)
    for mine, theirs in zip(found.parameters(), expected.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def held() -> int:
    """Bytes of all tensors that were made since the last `gc.freeze`."""
    found = {}
    for each in gc.get_objects():
        if issubclass(type(each), Tensor) and each.layout == torch.strided:
            storage = each.untyped_storage()
            found[storage.data_ptr()] = storage.nbytes()
    return sum(found.values())


def test_what_is_held_stays_within_the_memory():
    graph = fl.trace(maps(16), torch.zeros(1, 3, 32, 32))
    plan = fl.Plan.uniform(graph, fl.score(graph, "fpgm"), 0.5, multiple=1)
    batches = list(torch.randn(96, 3, 32, 32).split(2))
    pictured = sum(batch.nbytes for batch in batches)  # in the layout that the network takes
    a_pass = 2 * 2 * 16 * 32 * 32 * 4  # of two pictures: a convolution's map and what the ReLU makes of it
    moments = 2 * (9 * 8) ** 2 * 8  # of the layer that is solved: of the equations that are held out, and the others
    peaks = {}
    for memory in (4e9, 3e6, 1e6):
        seen = [0]

        def look(seen: list[int] = seen) -> bool:
            seen[0] = max(seen[0], held())
            return False

        gc.collect()
        gc.freeze()
        try:
            found = fl.repair(graph, plan, batches, samples=96, memory=memory, stop=look, progress=False)
        finally:
            gc.unfreeze()
        peaks[memory] = seen[0]
    places = 8 * int(fl.recovery.repair_report(found)["equations"].sum())  # the numbers of those that are looked at
    for memory in (3e6, 1e6):
        assert peaks[memory] <= memory + pictured + a_pass + moments + places
    assert peaks[4e9] > 6e6  # what there would be else
