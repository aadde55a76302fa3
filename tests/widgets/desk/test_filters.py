"""The filters below the bars: the order in which they go is that of the plans."""

from __future__ import annotations

import random
import threading

import numpy as np
import pytest
import torch
from torch import nn

import fpgmlab as fl
from fpgmlab.plans.rounding import allowed_kept, lowest
from fpgmlab.widgets import PlanEditor
from fpgmlab.widgets.desk import looking
from fpgmlab.widgets.desk.filters import filters_payload, going_order
from tests.allocation.made import branches, chain, curves_of, rising


def group_of(seed: int) -> fl.ChannelGroup:
    rng = random.Random(seed)
    blocks = rng.choice([None, tuple(c % 3 for c in range(12)), tuple(c // 6 for c in range(12))])
    parts = tuple(tuple(sorted(rng.sample(range(12), rng.randint(1, 4)))) for _ in range(rng.randint(0, 3)))
    return fl.ChannelGroup("g", 12, ("g",), (), blocks=blocks, parts=parts)


@pytest.mark.parametrize("seed", range(60))
def test_the_first_in_the_order_go(seed: int):
    group = group_of(seed)
    scores = {"g": torch.randint(0, 6, (12,), generator=torch.Generator().manual_seed(seed)).double()}
    order, exceptions = going_order(group, scores)
    assert sorted(order) == list(range(12))
    for kept in allowed_kept(group):
        if group.least <= kept < 12:
            gone = exceptions.get(12 - kept) or tuple(sorted(order[: 12 - kept].tolist()))
            assert gone == lowest(group, scores, 12 - kept)


def test_every_group_of_a_network_can_be_looked_at():
    graph = branches()
    scores = fl.score(graph)
    for name, group in graph.items():
        found = filters_payload(graph, scores, name)
        ranks = np.frombuffer(found["marks"]["ranks"], np.int32)
        assert [found["order"][rank] for rank in ranks] == found["scene"]["channels"]
        assert (found["marks"]["scores"] is None) == (group.protected is not None)
        assert any("protected" in note for note in found["notes"]) == (group.protected is not None)


def test_what_cannot_be_shown_is_said(monkeypatch: pytest.MonkeyPatch):
    model = nn.Sequential(nn.Conv1d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(24, 3)).eval()
    graph = fl.trace(model, torch.randn(1, 2, 8))
    editor = PlanEditor(graph, curves_of(graph, rising(graph, 0)), multiple=1)
    editor._handle_custom_msg({"do": "filters", "group": 0}, [])
    assert (editor.filters["group"], editor.filters["name"]) == (0, "0")
    assert editor.filters["scene"]["filters"] == [0, 1, 2, 3]
    with torch.no_grad():
        model[0].weight[0] = torch.nan
    editor._handle_custom_msg({"do": "filters", "group": 0}, [])
    assert "scene" not in editor.filters
    assert "NaN" in editor.filters["message"]
    monkeypatch.setattr(looking, "MOST", 3)
    editor._handle_custom_msg({"do": "filters", "group": 0}, [])
    assert editor.filters["message"].startswith("4 filters are too many")
    editor._handle_custom_msg({"do": "filters", "group": 9}, [])
    assert editor.notice["words"] == "group must be the place of a group, 0 to 1; got 9"
    editor.close()


def test_many_filters_are_looked_at_in_a_thread_and_the_last_request_wins(monkeypatch: pytest.MonkeyPatch):
    graph = chain(8, 4, 8)
    editor = PlanEditor(graph, curves_of(graph, rising(graph, 0)), multiple=1)
    monkeypatch.setattr(looking, "_AT_ONCE", 4)
    go, payload = threading.Event(), looking.filters_payload

    def slow(*what: object) -> dict:
        go.wait(10)
        return payload(*what)

    monkeypatch.setattr(looking, "filters_payload", slow)
    editor._handle_custom_msg({"do": "filters", "group": 0}, [])
    assert editor.filters["message"] == "Looking at 8 filters ..."
    first = editor._looker
    editor._handle_custom_msg({"do": "filters", "group": 2}, [])
    go.set()
    first.wait()
    editor._looker.wait()
    assert (editor.filters["group"], len(editor.filters["scene"]["filters"])) == (2, 8)
    editor.close()
