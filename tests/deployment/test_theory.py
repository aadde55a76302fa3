"""Theory and practice: what layers do is counted, and what they lose has the reason that was made up."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import fpgmlab as fl
from fpgmlab.deployment.profiling import Profile
from fpgmlab.deployment.roofline import Roof
from fpgmlab.deployment.staircases.steps import Kernel, Steps
from fpgmlab.deployment.theory import REST, WHOLE, compared
from fpgmlab.deployment.work import Work, work_of
from tests.deployment.tables import made_up

ROOF = Roof("made up", 1, 1e9, (100, 1000), (1e10, 1e9))  # a MAC and a byte a nanosecond, ten bytes from the cache
STEPS = Steps(16, (16, 64), (1.0, 4.0))
KERNEL = Kernel((4, 4), (STEPS, STEPS), (STEPS, STEPS))


def test_work_is_what_the_graph_counts(graph: fl.ChannelGraph):
    works = work_of(graph.model, graph.example_input)
    assert sum(work.macs for work in works.values()) == graph.cost().macs
    first = works["conv1"]
    assert (first.inputs, first.outputs) == (1, 16)
    assert first.bytes == 4 * (28 * 28 + 16 * 9 + 16 * 28 * 28)


def test_work_of_other_kinds_and_of_layers_called_twice():
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.up = nn.Conv2d(4, 4, 3, padding=1, groups=2), nn.ConvTranspose2d(4, 2, 2, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.up(self.conv(self.conv(x)))

    works = work_of(Twice(), torch.randn(2, 4, 5, 5))
    assert works["conv"] == Work(2 * 2 * 25 * 4 * 2 * 9, 2 * 4 * (2 * 100 * 2 + 72), 4, 4)
    assert works["up"].macs == 2 * 25 * 4 * 2 * 4


def test_a_roof_is_the_least_time():
    computing, moving = ROOF.milliseconds(np.array([1e6, 0]), np.array([100, 1000]))
    assert computing == pytest.approx([1, 0])
    assert moving == pytest.approx([1e-5, 1e-3])
    assert ROOF.bandwidth == 1e9


# Of a layer of 64 to 64 channels that took 1 ms: channels after, the time, bytes after over those before, the reason.
CASES = {
    "kept": (64, 1.2, 1.0, "nothing removed"),
    "as promised": (32, 0.3, 0.5, "as its MACs"),
    "almost as promised": (32, 0.34, 0.5, "as its MACs"),
    "whole blocks": (36, 0.58, 0.5, "blocks"),
    "an odd number": (33, 1.4, 0.5, "layout"),
    "moving": (32, 0.6, 0.6, "memory"),
    "calls": (32, 0.6, 0.3, "overhead"),
}


@pytest.mark.parametrize(("channels", "ms", "moved", "reason"), CASES.values(), ids=CASES)
def test_what_is_lost_has_its_reason(channels: int, ms: float, moved: float, reason: str):
    before = Work(64 * 64, 1_000_000, 64, 64)
    after = Work(channels * channels, int(1_000_000 * moved), channels, channels)
    profiles = Profile({"a": 1.0}, 0.5, 1.5), Profile({"a": ms}, 0.25, ms + 0.25)
    frame = compared({"a": before}, {"a": after}, *profiles, ROOF, {"a": KERNEL})
    layer, rest, whole = frame.to_dict("records")
    assert layer["reason"] == reason
    assert layer["kept"] == f"{channels} of 64"
    share = (channels / 64) ** 2
    assert (layer["theory"], layer["practice"]) == pytest.approx((1 - share, 1 - ms))
    assert layer["lost_ms"] == pytest.approx(ms - share)
    assert (rest["layer"], whole["layer"]) == (REST, WHOLE)
    assert (rest["ms"], rest["ms_before"]) == pytest.approx((0.25, 0.5))
    assert (whole["ms"], whole["promised_ms"]) == pytest.approx((ms + 0.25, 1.5 * share))


def test_networks_without_a_common_layer_are_refused():
    profile = Profile({}, 0.0, 1.0)
    with pytest.raises(ValueError, match=r"no layer in common: \['a'\] and \['b'\]"):
        compared({"a": Work(1, 1, 1, 1)}, {"b": Work(1, 1, 1, 1)}, profile, profile, ROOF, {})


def test_a_pruned_network_beside_itself(tiny: nn.Module):
    example = torch.randn(1, 1, 16, 16)
    graph = fl.trace(tiny.eval(), example)
    plan = fl.Plan.uniform(graph, fl.score(graph), 0.5, multiple=1)
    small = fl.prune(graph, plan)
    frame = fl.theory_and_practice(graph.model, small, example, roof=ROOF, table=made_up(graph), rounds=2)
    *layers, rest, whole = frame.to_dict("records")
    assert (whole["macs"], whole["macs_before"]) == (graph.cost(plan).macs, graph.cost().macs)
    assert {row["layer"] for row in layers} == set(work_of(graph.model, example))
    for column in ("ms", "ms_before"):
        assert sum(row[column] for row in layers) + rest[column] == pytest.approx(whole[column])
    assert whole["practice"] == pytest.approx(1 - whole["ms"] / whole["ms_before"])
    assert isinstance(frame, pd.DataFrame)


@pytest.mark.slow
def test_a_machine_has_a_roof():
    roof = fl.machine_roof("torch")
    assert roof.peak > 1e9
    assert min(roof.bandwidths) > 1e8
    assert len(roof.bandwidths) == len(roof.sizes) > 5
    with pytest.raises(ValueError, match="runtime must be one of .*'torch'.*; not 'cuda'"):
        fl.machine_roof("cuda")
